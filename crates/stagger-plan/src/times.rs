//! The durations of one run, drawn.

use std::sync::Arc;

use stagger_schedule::{Action, Place, Replicas};

use crate::distribution::{Distribution, mix};
use crate::pipeline::{HopTimes, Pipeline, RingTimes};
use crate::profile::StageTimes;

/// What is added to the time of a place's actions for a batch, as a share of it: a straggler.
pub type Slowdown = Arc<dyn Fn(Place, usize) -> f64 + Send + Sync>;

/// The durations of one run over a pipeline, in nanoseconds: a function of the seed, and of what is done. A simulation and an
/// emulation with the same seed meet the same durations.
#[derive(Clone)]
pub struct Times {
    replicas: Replicas,
    places: Vec<PlaceTimes>,
    /// Each link between stages, with what tells it from others.
    hops: Vec<(u64, [Drawn; 3])>,
    /// Of each stage.
    rings: Vec<[Drawn; 2]>,
    micro_batches: usize,
    seed: u64,
    slowdown: Option<Slowdown>,
}

/// How long the actions of a place take.
#[derive(Clone)]
struct PlaceTimes {
    place: Place,
    /// Forward, recompute, backward, learn, update.
    drawn: [Drawn; 5],
    /// The part of a backward that the gradients of weights are.
    weights_share: f64,
}

/// A duration that is always the same is not drawn each time.
#[derive(Clone)]
enum Drawn {
    Always(u64),
    From(Distribution),
}

impl Drawn {
    fn of(distribution: &Distribution) -> Self {
        match distribution {
            Distribution::Constant(seconds) => Self::Always(nanoseconds(*seconds)),
            other => Self::From(other.clone()),
        }
    }

    fn draw(&self, key: impl FnOnce() -> u64) -> u64 {
        match self {
            Self::Always(time) => *time,
            Self::From(distribution) => nanoseconds(distribution.draw(key())),
        }
    }

    fn is_none(&self) -> bool {
        matches!(self, Self::Always(0))
    }
}

fn nanoseconds(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

/// Which way a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// An activation to the stage above.
    Up,
    /// A gradient to the stage below.
    Down,
}

/// What draws of one stage, and of its replicas, are keyed by: the first replica's are those of a stage that has no other.
fn whose(stage: usize, replica: usize) -> u64 {
    stage as u64 | (replica as u64) << 32
}

impl Times {
    /// Durations of a pipeline for batches of so many micro-batches.
    #[must_use]
    pub fn new(pipeline: &Pipeline, micro_batches: usize, seed: u64) -> Self {
        let Pipeline {
            replicas,
            places,
            hops,
            rings,
        } = pipeline;
        let place = |(number, times): (usize, &StageTimes)| {
            let drawn = [
                &times.forward,
                &times.recompute,
                &times.backward,
                &times.learn,
                &times.update,
            ]
            .map(Drawn::of);
            PlaceTimes {
                place: replicas.place(number),
                drawn,
                weights_share: times.weights_share(),
            }
        };
        let between = 0..replicas.stages().saturating_sub(1);
        let keys = between.flat_map(|stage| {
            let links = replicas.pairs(stage).enumerate();
            links.map(move |(link, _)| whose(stage, link))
        });
        let hop = |(key, hop): (u64, &HopTimes)| {
            let drawn = [&hop.activation, &hop.gradient, &hop.latency].map(Drawn::of);
            (key, drawn)
        };
        let ring = |ring: &RingTimes| [&ring.occupies, &ring.latency].map(Drawn::of);
        Self {
            places: places.iter().enumerate().map(place).collect(),
            hops: keys.zip(hops).map(hop).collect(),
            rings: rings.iter().map(ring).collect(),
            replicas: replicas.clone(),
            micro_batches: micro_batches.max(1),
            seed,
            slowdown: None,
        }
    }

    /// The same with places that are slowed down.
    #[must_use]
    pub fn slowed_by(self, slowdown: Slowdown) -> Self {
        Self {
            slowdown: Some(slowdown),
            ..self
        }
    }

    /// The number of stages.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.replicas.stages()
    }

    /// Copies of each stage.
    #[must_use]
    pub fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// How long the action takes at a place once it has what it needs. Without replicas places are stages. Evaluations and snapshots
    /// take no time. Where the stage `splits` its backward passes, `Backward` is the first half of one; the halves of a pass
    /// together always take what the whole one would.
    ///
    /// # Panics
    /// When there is no such place.
    #[must_use]
    pub fn action(&self, place: usize, action: Action, splits: bool) -> u64 {
        let whole = |action| self.whole(place, action);
        let second_half = |pass: u64| {
            let share = self.places[place].weights_share;
            ((pass as f64 * share).round() as u64).min(pass)
        };
        match action {
            Action::WeightGradients { batch, micro } => {
                second_half(whole(Action::Backward { batch, micro }))
            }
            Action::Backward { .. } if splits => {
                let pass = whole(action);
                pass - second_half(pass)
            }
            _ => whole(action),
        }
    }

    fn whole(&self, place: usize, action: Action) -> u64 {
        let (kind, batch, micro) = match action {
            Action::Forward { batch, micro } => (0, batch, micro),
            Action::Recompute { batch, micro } => (1, batch, micro),
            Action::Backward { batch, micro } | Action::WeightGradients { batch, micro } => {
                (2, batch, micro)
            }
            Action::Learn { batch, micro } => (3, batch, micro),
            Action::Update { version } => (4, version, 0),
            Action::Evaluate { .. } | Action::Snapshot { .. } => return 0,
        };
        let PlaceTimes {
            place: who, drawn, ..
        } = &self.places[place];
        let time = drawn[kind].draw(|| {
            let unit = self.unit(batch, micro);
            self.key(kind, whose(who.stage, who.replica), unit)
        });
        match &self.slowdown {
            None => time,
            Some(slowdown) => {
                time.saturating_add((time as f64 * slowdown(*who, batch)).round() as u64)
            }
        }
    }

    /// For how many nanoseconds a message occupies a link between stages, and how many it takes from then to its arrival. Links are numbered stage by stage, in the
    /// order of [`Replicas::pairs`]: without replicas, link k is above stage k.
    ///
    /// # Panics
    /// When there is no such link.
    #[must_use]
    pub fn transfer(&self, link: usize, way: Direction, batch: usize, micro: usize) -> (u64, u64) {
        let (of, kind) = match way {
            Direction::Up => (0, 5),
            Direction::Down => (1, 7),
        };
        let (who, times) = &self.hops[link];
        let unit = self.unit(batch, micro);
        let occupies = times[of].draw(|| self.key(kind, *who, unit));
        let latency = times[2].draw(|| self.key(kind + 1, *who, unit));
        (occupies, latency)
    }

    /// The same, in nanoseconds, of the link from a replica to the next one of its stage: message
    /// `step`, from 0, of those that sum up the gradients of version `version`.
    ///
    /// # Panics
    /// When there is no such stage.
    #[must_use]
    pub fn ring(&self, place: Place, version: usize, step: usize) -> (u64, u64) {
        let [occupies, latency] = &self.rings[place.stage];
        let who = whose(place.stage, place.replica);
        let unit = version * ring_steps(place.of) + step;
        (
            occupies.draw(|| self.key(9, who, unit)),
            latency.draw(|| self.key(10, who, unit)),
        )
    }

    /// Links between stages.
    #[must_use]
    pub fn links(&self) -> usize {
        self.hops.len()
    }

    /// Whether messages of a link between stages take any time.
    ///
    /// # Panics
    /// When there is no such link.
    #[must_use]
    pub fn moves(&self, link: usize) -> bool {
        !self.hops[link].1.iter().all(Drawn::is_none)
    }

    /// Whether the messages by which the replicas of a stage sum up their gradients take any time.
    ///
    /// # Panics
    /// When there is no such stage.
    #[must_use]
    pub fn sums_take_time(&self, stage: usize) -> bool {
        !self.rings[stage].iter().all(Drawn::is_none)
    }

    fn unit(&self, batch: usize, micro: usize) -> usize {
        batch * self.micro_batches + micro
    }

    fn key(&self, kind: usize, who: u64, unit: usize) -> u64 {
        mix(mix(mix(self.seed ^ ((kind as u64) << 56)) ^ who) ^ unit as u64)
    }
}

/// Messages that each of so many replicas sends for one sum.
pub(crate) fn ring_steps(replicas: usize) -> usize {
    2 * replicas.saturating_sub(1)
}
