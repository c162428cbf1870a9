//! A run of a schedule on paper: when every action of every stage begins and ends.
//!
//! A run is a Kahn network with bounded queues, so its times follow from one rule: an action begins once its stage is free, what
//! it takes has arrived, and the queues have room for what the stage sent last. No event queue is needed. Each stage runs ahead
//! as far as what is known allows, and the order in which stages are looked at changes nothing.
//!
//! Replicas of a stage each execute its program, on their share of every micro-batch. An update begins once a replica has the sum
//! of all replicas' gradients.

mod lane;
mod pauses;
mod ring;
mod tally;

use std::collections::VecDeque;
use std::ops::Range;

use stagger_schedule::{
    Action, Deadlock, ForwardWeights, GradientSource, Horizon, Interpreter, Place, Program,
    Schedule,
};

use crate::pipeline::counted;
use crate::times::{Direction, Times};
use lane::{Lane, Transfer};
use ring::Ring;
use tally::Tally;

pub use pauses::Pauses;
pub use tally::{Simulated, StageSimulated};

/// An action of a simulated run. Times are nanoseconds since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The stage.
    pub stage: usize,
    /// Which of its replicas.
    pub replica: usize,
    /// What it does.
    pub action: Action,
    /// When it begins to work: all that it needs is there.
    pub starts_at: u64,
    /// When it has worked. What it gives is sent then.
    pub ends_at: u64,
    /// For a backward: the updates between this batch's forward and this backward, counted.
    pub staleness: Option<usize>,
}

/// What to simulate.
#[derive(Clone)]
pub struct Simulation<'a> {
    /// The method on its stages.
    pub schedule: &'a Schedule,
    /// How long everything takes.
    pub times: &'a Times,
    /// Batches of the run.
    pub batches: usize,
    /// Batches before those that rates and shares count.
    pub warmup: usize,
}

/// Why a run cannot be simulated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SimulationError {
    /// The times are those of another number of stages.
    #[error("the schedule has {}, and the times are of {found}", counted(*expected, "stages"))]
    Stages {
        /// Of the schedule.
        expected: usize,
        /// Of the times.
        found: usize,
    },
    /// The programs do not fit together, which no parsed schedule's do.
    #[error(transparent)]
    Deadlock(#[from] Deadlock),
}

impl Simulation<'_> {
    /// Runs it, and tells `on_step` of every action. The actions of one place come in their order; those of different places do
    /// not come in the order of time.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn run(&self, on_step: impl FnMut(Step)) -> Result<Simulated, SimulationError> {
        self.run_with(&Pauses::default(), on_step)
    }

    /// The same with evaluations and snapshots, whose time counts as work of the place.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn run_with(
        &self,
        pauses: &Pauses,
        on_step: impl FnMut(Step),
    ) -> Result<Simulated, SimulationError> {
        let (expected, found) = (self.schedule.stages(), self.times.stages());
        if expected != found {
            return Err(SimulationError::Stages { expected, found });
        }
        let horizon = pauses.horizon(self.batches);
        let mut network = Network::new(self, pauses, &horizon, on_step);
        network.run();
        if network.places.iter().any(|place| place.next.is_some()) {
            // The interpreter names what each stage waits for.
            let order = Interpreter::new(self.schedule, &horizon);
            if let Some(deadlock) = order.into_iter().find_map(Result::err) {
                return Err(deadlock.into());
            }
        }
        Ok(network.end())
    }
}

struct Network<'a, F> {
    times: &'a Times,
    pauses: &'a Pauses,
    places: Vec<Running>,
    /// Each link between two places of neighbouring stages, as [`Times::transfer`] numbers them.
    activations: Vec<Lane>,
    gradients: Vec<Lane>,
    /// The places that each place may hold up: those at the other ends of its links, and the other replicas of its stage.
    neighbours: Vec<Vec<usize>>,
    /// Of each stage with replicas.
    rings: Vec<Option<Ring>>,
    on_step: F,
}

/// A place in the middle of its program.
struct Running {
    place: Place,
    /// Its links to the stage below, in the order of the rows, and to the stage above.
    below: Range<usize>,
    above: Range<usize>,
    program: Box<dyn Program>,
    next: Option<Action>,
    gradient: GradientSource,
    splits: bool,
    /// When it has ended its last action.
    free: u64,
    version: usize,
    forward_weights: ForwardWeights,
    /// The versions of the weights with which the micro-batches were forwarded that are not pulled back.
    forwarded_at: VecDeque<usize>,
    tally: Tally,
}

/// When the next action of a place can begin, and what it waits for until then.
struct Start {
    at: u64,
    /// When the queues have room for what the place has sent.
    room: u64,
    taken: Option<Taken>,
}

/// Links that an action takes a message from each of.
struct Taken {
    way: Direction,
    links: Range<usize>,
}

impl<'a, F: FnMut(Step)> Network<'a, F> {
    fn new(
        simulation: &'a Simulation<'_>,
        pauses: &'a Pauses,
        horizon: &Horizon,
        on_step: F,
    ) -> Self {
        let Simulation {
            schedule, times, ..
        } = simulation;
        let replicas = times.replicas();
        let policies = schedule.policies();
        // What a stage does once nothing more comes up counts for no rate.
        let lead = schedule.lead();
        let until = simulation.batches.saturating_sub(lead);
        let place = |number: usize| {
            let place = replicas.place(number);
            let mut program = schedule.program(place.stage, horizon);
            Running {
                place,
                below: 0..0,
                above: 0..0,
                next: program.next(),
                program,
                gradient: policies[place.stage].gradient,
                splits: policies[place.stage].split.is_some(),
                forward_weights: policies[place.stage].forward_weights,
                free: 0,
                version: 0,
                forwarded_at: VecDeque::new(),
                tally: Tally::new(simulation.warmup, until),
            }
        };
        let mut network = Self {
            times,
            pauses,
            places: (0..replicas.places()).map(place).collect(),
            activations: Vec::with_capacity(times.links()),
            gradients: Vec::with_capacity(times.links()),
            neighbours: vec![Vec::with_capacity(2); replicas.places()],
            rings: Vec::with_capacity(replicas.stages()),
            on_step,
        };
        let mut first = 0;
        for stage in 0..replicas.stages() {
            let of = replicas.of(stage);
            let ring = (of > 1).then(|| Ring::new(stage, of, times));
            network.rings.push(ring);
            let own = first..first + of;
            first += of;
            for number in own.clone() {
                let others = own.clone().filter(|&other| other != number);
                network.neighbours[number].extend(others);
            }
        }
        network.connect(schedule);
        network
    }

    fn connect(&mut self, schedule: &Schedule) {
        let replicas = self.times.replicas();
        let (mut lower, mut upper) = (0, 0);
        for stage in 0..replicas.stages() - 1 {
            upper += replicas.of(stage);
            let (activations, gradients) = replicas.queues(stage, schedule);
            for (below, above) in replicas.pairs(stage) {
                let link = self.activations.len();
                let (below, above) = (lower + below, upper + above);
                self.neighbours[below].push(above);
                self.neighbours[above].push(below);
                self.activations.push(Lane::new(activations));
                self.gradients.push(Lane::new(gradients));
                add_link(&mut self.places[below].above, link);
                add_link(&mut self.places[above].below, link);
            }
            lower = upper;
        }
    }

    fn run(&mut self) {
        let count = self.places.len();
        let mut waiting: VecDeque<usize> = (0..count).collect();
        let mut is_listed = vec![true; count];
        while let Some(number) = waiting.pop_front() {
            is_listed[number] = false;
            if !self.advance(number) {
                continue;
            }
            for &other in &self.neighbours[number] {
                if !is_listed[other] {
                    is_listed[other] = true;
                    waiting.push_back(other);
                }
            }
        }
    }

    /// Runs a place as far as it can go by now. Says whether it has done anything.
    fn advance(&mut self, number: usize) -> bool {
        let mut has_advanced = false;
        while let Some(action) = self.places[number].next {
            let Some(start) = self.start(number, action) else {
                break;
            };
            self.perform(number, action, start);
            let running = &mut self.places[number];
            running.next = running.program.next();
            has_advanced = true;
        }
        has_advanced
    }

    /// `None` while that depends on what a neighbour or another replica has yet to do.
    fn start(&mut self, number: usize, action: Action) -> Option<Start> {
        let running = &self.places[number];
        let mut room = running.free;
        for up in &mut self.activations[running.above.clone()] {
            room = room.max(up.has_room_at()?);
        }
        for down in &mut self.gradients[running.below.clone()] {
            room = room.max(down.has_room_at()?);
        }
        let mut at = room;
        let taken = running.taken_by(action);
        match (action, &taken) {
            (_, Some(Taken { way, links })) => {
                let lanes = match way {
                    Direction::Up => &self.activations,
                    Direction::Down => &self.gradients,
                };
                for lane in &lanes[links.clone()] {
                    at = at.max(lane.arrives_at()?);
                }
            }
            (Action::Update { version }, None) => {
                let Place { stage, replica, .. } = running.place;
                if let Some(ring) = &mut self.rings[stage] {
                    at = ring.sum(replica, room, version, self.times)?;
                }
            }
            _ => {}
        }
        Some(Start { at, room, taken })
    }

    fn lanes(&mut self, way: Direction) -> &mut [Lane] {
        match way {
            Direction::Up => &mut self.activations,
            Direction::Down => &mut self.gradients,
        }
    }

    fn perform(&mut self, number: usize, action: Action, start: Start) {
        let running = &self.places[number];
        let (place, below, above) = (running.place, running.below.clone(), running.above.clone());
        if let Some(Taken { way, links }) = start.taken {
            // One after the other, as they arrive.
            let mut at = start.room;
            for lane in &mut self.lanes(way)[links] {
                at = lane.arrives_at().map_or(at, |arrival| arrival.max(at));
                lane.take(at);
            }
        }
        let pause = self.pauses.action(number, action);
        let splits = self.places[number].splits;
        let lasts = pause.unwrap_or_else(|| self.times.action(number, action, splits));
        let ends_at = start.at.saturating_add(lasts);
        match action {
            Action::Forward { batch, micro } => {
                self.send(above, Direction::Up, batch, micro, ends_at);
            }
            Action::Backward { batch, micro } => {
                self.send(below, Direction::Down, batch, micro, ends_at);
            }
            Action::Update { .. } => {
                if let Some(ring) = &mut self.rings[place.stage] {
                    ring.leave(place.replica);
                }
            }
            _ => {}
        }
        let running = &mut self.places[number];
        let mut staleness = None;
        match action {
            Action::Forward { batch, .. } => {
                let version = match running.forward_weights {
                    ForwardWeights::Current | ForwardWeights::Predicted => running.version,
                    ForwardWeights::Previous => batch.saturating_sub(1).min(running.version),
                };
                running.forwarded_at.push_back(version);
            }
            Action::Backward { .. } => {
                let forwarded = running.forwarded_at.pop_front();
                staleness = forwarded.map(|version| running.version - version);
            }
            Action::Update { .. } => running.version += 1,
            _ => {}
        }
        let step = Step {
            stage: place.stage,
            replica: place.replica,
            action,
            starts_at: start.at,
            ends_at,
            staleness,
        };
        running.tally.add(&step, running.free, start.room);
        running.free = ends_at;
        (self.on_step)(step);
    }

    /// Sends the parts of a message over links.
    fn send(&mut self, links: Range<usize>, way: Direction, batch: usize, micro: usize, at: u64) {
        for link in links {
            let (occupies, latency) = self.times.transfer(link, way, batch, micro);
            self.lanes(way)[link].send(at, Transfer { occupies, latency });
        }
    }

    fn end(self) -> Simulated {
        let wall = self.places.iter().map(|place| place.free).max();
        let wall = wall.unwrap_or_default();
        let length = |lanes: &[Lane], links: &Range<usize>| {
            let lengths = lanes[links.clone()].iter();
            let lengths = lengths.map(|lane| lane.mean_length(wall));
            lengths.fold(0.0, |sum, length| sum + length) / links.len().max(1) as f64
        };
        let places = self.places.iter().map(|running| {
            let stage = running.tally.place(
                length(&self.activations, &running.above),
                length(&self.gradients, &running.above),
            );
            (running.place, stage)
        });
        let places: Vec<(Place, StageSimulated)> = places.collect();
        let last = self.places.iter().rfind(|running| running.place.is_first());
        Simulated::new(wall, &places, last.map(|running| &running.tally))
    }
}

/// The links of a place in one direction come one after the other.
fn add_link(links: &mut Range<usize>, link: usize) {
    if links.start == links.end {
        links.start = link;
    }
    links.end = link + 1;
}

impl Running {
    /// The links that an action takes messages from.
    fn taken_by(&self, action: Action) -> Option<Taken> {
        let (way, links) = match action {
            Action::Forward { .. } => (Direction::Up, &self.below),
            Action::Backward { .. } if self.gradient == GradientSource::Above => {
                (Direction::Down, &self.above)
            }
            Action::Learn { .. } => (Direction::Down, &self.above),
            Action::Backward { .. }
            | Action::WeightGradients { .. }
            | Action::Recompute { .. }
            | Action::Update { .. }
            | Action::Evaluate { .. }
            | Action::Snapshot { .. } => return None,
        };
        let links = links.clone();
        (links.start < links.end).then_some(Taken { way, links })
    }
}
