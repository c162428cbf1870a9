//! A run of a schedule on paper: when every action of every stage begins and ends.
//!
//! A run is a Kahn network with bounded queues, so its times follow from one rule: an action begins once its stage is free, what
//! it takes has arrived, and the queues have room for what the stage sent last. No event queue is needed. Each stage runs ahead
//! as far as what is known allows, and the order in which stages are looked at changes nothing.

mod lane;
mod tally;

use std::collections::VecDeque;

use stagger_schedule::{
    Action, Deadlock, ForwardWeights, GradientSource, Horizon, Interpreter, Program, Schedule,
};

use crate::pipeline::{Direction, Times};
use lane::{Lane, Transfer};
use tally::Tally;

pub use tally::{Simulated, StageSimulated};

/// An action of a simulated run. Times are nanoseconds since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The stage.
    pub stage: usize,
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
    #[error("the schedule has {expected} stages, and the times are of {found}")]
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
    /// Runs it, and tells `on_step` of every action. The actions of one stage come in their order; those of different stages do
    /// not come in the order of time.
    ///
    /// # Errors
    /// [`SimulationError`].
    pub fn run(&self, on_step: impl FnMut(Step)) -> Result<Simulated, SimulationError> {
        let (expected, found) = (self.schedule.stages(), self.times.stages());
        if expected != found {
            return Err(SimulationError::Stages { expected, found });
        }
        let horizon = Horizon::of(self.batches);
        let mut network = Network::new(self, &horizon, on_step);
        network.run();
        if network.stages.iter().any(|stage| stage.next.is_some()) {
            // The interpreter names what each stage waits for.
            let order = Interpreter::new(self.schedule, &horizon);
            if let Some(deadlock) = order.into_iter().find_map(Result::err) {
                return Err(deadlock.into());
            }
        }
        let ends = network.stages.iter().map(|stage| stage.free).max();
        let tallies = network.stages.into_iter().map(|stage| stage.tally);
        Ok(Simulated::new(
            ends.unwrap_or_default(),
            tallies.collect(),
            &network.activations,
            &network.gradients,
        ))
    }
}

struct Network<'a, F> {
    times: &'a Times,
    stages: Vec<Stage>,
    /// Between stage k and k+1.
    activations: Vec<Lane>,
    gradients: Vec<Lane>,
    on_step: F,
}

/// A stage in the middle of its program.
struct Stage {
    program: Box<dyn Program>,
    next: Option<Action>,
    gradient: GradientSource,
    /// When it has ended its last action.
    free: u64,
    version: usize,
    forward_weights: ForwardWeights,
    /// The versions of the weights with which the micro-batches were forwarded that are not pulled back.
    forwarded_at: VecDeque<usize>,
    tally: Tally,
}

/// When the next action of a stage can begin, and what it waits for until then.
struct Start {
    at: u64,
    /// When the queues have room for what the stage has sent.
    room: u64,
}

impl<'a, F: FnMut(Step)> Network<'a, F> {
    fn new(simulation: &'a Simulation<'_>, horizon: &Horizon, on_step: F) -> Self {
        let Simulation {
            schedule, times, ..
        } = simulation;
        let hops = schedule.stages() - 1;
        let policies = schedule.policies();
        let lanes = |capacity: fn(&stagger_schedule::StagePolicy) -> usize| {
            let below = policies[..hops].iter();
            below.map(|policy| Lane::new(capacity(policy))).collect()
        };
        // What a stage does once nothing more comes up counts for no rate.
        let lead = schedule.lead();
        let until = simulation.batches.saturating_sub(lead);
        let stage = |stage: usize| {
            let mut program = schedule.program(stage, horizon);
            Stage {
                next: program.next(),
                program,
                gradient: policies[stage].gradient,
                forward_weights: policies[stage].forward_weights,
                free: 0,
                version: 0,
                forwarded_at: VecDeque::new(),
                tally: Tally::new(simulation.warmup, until),
            }
        };
        Self {
            times,
            stages: (0..=hops).map(stage).collect(),
            activations: lanes(|policy| policy.forward_queue),
            gradients: lanes(|policy| policy.backward_queue),
            on_step,
        }
    }

    fn run(&mut self) {
        let count = self.stages.len();
        let mut waiting: VecDeque<usize> = (0..count).collect();
        let mut is_listed = vec![true; count];
        while let Some(stage) = waiting.pop_front() {
            is_listed[stage] = false;
            if !self.advance(stage) {
                continue;
            }
            for neighbour in [stage.wrapping_sub(1), stage + 1] {
                if let Some(listed @ false) = is_listed.get_mut(neighbour) {
                    *listed = true;
                    waiting.push_back(neighbour);
                }
            }
        }
    }

    /// Runs a stage as far as it can go by now. Says whether it has done anything.
    fn advance(&mut self, stage: usize) -> bool {
        let mut has_advanced = false;
        while let Some(action) = self.stages[stage].next {
            let Some(start) = self.start(stage, action) else {
                break;
            };
            self.perform(stage, action, &start);
            let running = &mut self.stages[stage];
            running.next = running.program.next();
            has_advanced = true;
        }
        has_advanced
    }

    /// `None` while that depends on what a neighbour has yet to do.
    fn start(&mut self, stage: usize, action: Action) -> Option<Start> {
        let mut room = self.stages[stage].free;
        if let Some(up) = self.activations.get_mut(stage) {
            room = room.max(up.has_room_at()?);
        }
        if let Some(below) = stage.checked_sub(1) {
            room = room.max(self.gradients[below].has_room_at()?);
        }
        let at = match self.taken_by(stage, action) {
            None => room,
            Some(lane) => room.max(lane.arrives_at()?),
        };
        Some(Start { at, room })
    }

    /// The lane that an action takes a message from.
    fn taken_by(&mut self, stage: usize, action: Action) -> Option<&mut Lane> {
        match action {
            Action::Forward { .. } => self.activations.get_mut(stage.checked_sub(1)?),
            Action::Backward { .. } if self.stages[stage].gradient == GradientSource::Above => {
                self.gradients.get_mut(stage)
            }
            Action::Learn { .. } => self.gradients.get_mut(stage),
            Action::Backward { .. }
            | Action::Recompute { .. }
            | Action::Update { .. }
            | Action::Evaluate { .. }
            | Action::Snapshot { .. } => None,
        }
    }

    fn perform(&mut self, stage: usize, action: Action, start: &Start) {
        if let Some(lane) = self.taken_by(stage, action) {
            lane.take(start.at);
        }
        let ends_at = start.at + self.times.action(stage, action);
        match action {
            Action::Forward { batch, micro } => {
                self.send(stage, Direction::Up, batch, micro, ends_at);
            }
            Action::Backward { batch, micro } if stage > 0 => {
                self.send(stage - 1, Direction::Down, batch, micro, ends_at);
            }
            _ => {}
        }
        let running = &mut self.stages[stage];
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
            stage,
            action,
            starts_at: start.at,
            ends_at,
            staleness,
        };
        running.tally.add(&step, running.free, start.room);
        running.free = ends_at;
        (self.on_step)(step);
    }

    /// Sends a message over the hop above a stage.
    fn send(&mut self, hop: usize, way: Direction, batch: usize, micro: usize, at: u64) {
        let lanes = match way {
            Direction::Up => &mut self.activations,
            Direction::Down => &mut self.gradients,
        };
        if let Some(lane) = lanes.get_mut(hop) {
            let (occupies, latency) = self.times.transfer(hop, way, batch, micro);
            lane.send(at, Transfer { occupies, latency });
        }
    }
}
