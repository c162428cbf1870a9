//! How long everything takes that the stages of a run do.

use std::ops::Range;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stagger_schedule::{Action, Schedule};

use crate::distribution::{Distribution, mix};
use crate::profile::{Profile, StageTimes};

/// Stages with their durations, and what lies between them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pipeline {
    /// From stage 0 up.
    pub stages: Vec<StageTimes>,
    /// From stage k to stage k+1; one less than stages.
    pub hops: Vec<HopTimes>,
}

/// What a message takes from a stage to its neighbour. A link carries one message at a time in each direction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HopTimes {
    /// How long an activation of a micro-batch occupies the link, in seconds.
    pub activation: Distribution,
    /// How long a gradient does.
    pub gradient: Distribution,
    /// From then to its arrival. What the receiver has taken is known to the sender as much later.
    pub latency: Distribution,
}

impl HopTimes {
    /// A hop between threads: nothing moves.
    pub const NONE: Self = Self {
        activation: Distribution::ZERO,
        gradient: Distribution::ZERO,
        latency: Distribution::ZERO,
    };
}

/// Why a profile says nothing about a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PipelineError {
    /// Devices or links do not fit the stages.
    #[error(
        "the profile has {found} {what}; {stages} stages need {expected}, or one that counts for all"
    )]
    Count {
        /// `devices` or `links`.
        what: &'static str,
        /// How many it has.
        found: usize,
        /// How many there have to be.
        expected: usize,
        /// Stages of the pipeline.
        stages: usize,
    },
    /// The cut is one of another schedule.
    #[error("the schedule has {expected} stages, and the cut {found}")]
    Stages {
        /// Of the schedule.
        expected: usize,
        /// Of the cut.
        found: usize,
    },
    /// The cut is one of another model.
    #[error("the profile has {found} blocks, and the stages are cut from {expected}")]
    Blocks {
        /// Of the cut.
        expected: usize,
        /// Of the profile.
        found: usize,
    },
}

impl Pipeline {
    /// Stages that take equally long for a micro-batch under this schedule: `step` seconds, of which a forward pass is one part,
    /// a recompute where there is one another, and a backward pass two. Updates and transfers take no time.
    #[must_use]
    pub fn equal(schedule: &Schedule, step: f64) -> Self {
        let times = |recomputes: bool| {
            let part = step / if recomputes { 4.0 } else { 3.0 };
            StageTimes {
                forward: Distribution::Constant(part),
                recompute: Distribution::Constant(part),
                backward: Distribution::Constant(2.0 * part),
                update: Distribution::ZERO,
                learn: Distribution::ZERO,
            }
        };
        let stages: Vec<StageTimes> = schedule.recomputes().into_iter().map(times).collect();
        Self {
            hops: vec![HopTimes::NONE; stages.len() - 1],
            stages,
        }
    }

    /// What a profile says of the stages of a schedule that are cut like this, for micro-batches of `samples`. A stage that keeps
    /// its graph builds it in the forward pass, which takes what a recompute takes.
    ///
    /// Stages that were measured whole with this cut take what they took then; others take the sum of their blocks. Passes and
    /// transfers of other numbers of samples take time in proportion.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn of(
        profile: &Profile,
        schedule: &Schedule,
        cut: &[Range<usize>],
        samples: usize,
    ) -> Result<Self, PipelineError> {
        let stages = cut.len();
        if schedule.stages() != stages {
            return Err(PipelineError::Stages {
                expected: schedule.stages(),
                found: stages,
            });
        }
        let recomputes = schedule.recomputes();
        let expected = cut.last().map_or(0, |last| last.end);
        let found = profile.blocks.len();
        if expected != found {
            return Err(PipelineError::Blocks { expected, found });
        }
        let one_of = |what, found: usize, expected: usize, at: usize| match found {
            1 => Ok(0),
            _ if found == expected => Ok(at),
            _ => Err(PipelineError::Count {
                what,
                found,
                expected,
                stages,
            }),
        };
        let scale = samples as f64 / profile.samples.max(1) as f64;
        let sizes: Vec<usize> = cut.iter().map(ExactSizeIterator::len).collect();
        let whole = (profile.stages.as_ref())
            .filter(|measured| measured.cut == sizes)
            .map(|measured| &measured.times);
        let times = |(stage, blocks): (usize, &Range<usize>)| {
            if let Some(whole) = whole {
                let times = &whole[stage];
                let forward = match recomputes[stage] {
                    true => &times.forward,
                    false => &times.recompute,
                };
                return Ok(StageTimes {
                    forward: forward.times(scale),
                    recompute: times.recompute.times(scale),
                    backward: times.backward.times(scale),
                    ..times.clone()
                });
            }
            let device = one_of("devices", profile.devices.len(), stages, stage)?;
            let device = &profile.devices[device];
            let sum = |of: &[Distribution]| Distribution::sum(&of[blocks.clone()]);
            let forward = match recomputes[stage] {
                true => &device.forward,
                false => &device.recompute,
            };
            Ok(StageTimes {
                forward: sum(forward).times(scale),
                recompute: sum(&device.recompute).times(scale),
                backward: sum(&device.backward).times(scale),
                update: sum(&device.update),
                learn: Distribution::ZERO,
            })
        };
        let hop = |stage: usize| {
            if profile.links.is_empty() {
                return Ok(HopTimes::NONE);
            }
            let link = one_of("links", profile.links.len(), stages - 1, stage)?;
            let link = &profile.links[link];
            let bytes = profile.blocks[cut[stage].end - 1].output_bytes as f64 * scale;
            let occupies = link.per_megabyte.times(bytes / 1e6);
            Ok(HopTimes {
                activation: occupies.clone(),
                gradient: occupies,
                latency: link.latency.clone(),
            })
        };
        Ok(Self {
            stages: cut
                .iter()
                .enumerate()
                .map(times)
                .collect::<Result<_, _>>()?,
            hops: (0..stages.saturating_sub(1))
                .map(hop)
                .collect::<Result<_, _>>()?,
        })
    }
}

/// What is added to the time of a stage's actions for a batch, as a share of it: a straggler.
pub type Slowdown = Arc<dyn Fn(usize, usize) -> f64 + Send + Sync>;

/// The durations of one run over a pipeline, in nanoseconds: a function of the seed, and of what is done. A simulation and an
/// emulation with the same seed meet the same durations.
#[derive(Clone)]
pub struct Times {
    stages: Vec<[Drawn; 5]>,
    hops: Vec<[Drawn; 3]>,
    micro_batches: usize,
    seed: u64,
    slowdown: Option<Slowdown>,
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

impl Times {
    /// Durations of a pipeline for batches of so many micro-batches.
    #[must_use]
    pub fn new(pipeline: &Pipeline, micro_batches: usize, seed: u64) -> Self {
        let stage = |times: &StageTimes| {
            [
                &times.forward,
                &times.recompute,
                &times.backward,
                &times.learn,
                &times.update,
            ]
            .map(Drawn::of)
        };
        let hop = |hop: &HopTimes| [&hop.activation, &hop.gradient, &hop.latency].map(Drawn::of);
        Self {
            stages: pipeline.stages.iter().map(stage).collect(),
            hops: pipeline.hops.iter().map(hop).collect(),
            micro_batches: micro_batches.max(1),
            seed,
            slowdown: None,
        }
    }

    /// The same with stages that are slowed down.
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
        self.stages.len()
    }

    /// How long the action takes once it has what it needs. Evaluations and snapshots take no time.
    ///
    /// # Panics
    /// When there is no such stage.
    #[must_use]
    pub fn action(&self, stage: usize, action: Action) -> u64 {
        let (kind, batch, micro) = match action {
            Action::Forward { batch, micro } => (0, batch, micro),
            Action::Recompute { batch, micro } => (1, batch, micro),
            Action::Backward { batch, micro } => (2, batch, micro),
            Action::Learn { batch, micro } => (3, batch, micro),
            Action::Update { version } => (4, version, 0),
            Action::Evaluate { .. } | Action::Snapshot { .. } => return 0,
        };
        let time = self.stages[stage][kind].draw(|| self.key(kind, stage, batch, micro));
        match &self.slowdown {
            None => time,
            Some(slowdown) => time + (time as f64 * slowdown(stage, batch)).round() as u64,
        }
    }

    /// How long a message above this stage occupies the link, and from then to its arrival.
    ///
    /// # Panics
    /// When there is no stage above.
    #[must_use]
    pub fn transfer(&self, stage: usize, way: Direction, batch: usize, micro: usize) -> (u64, u64) {
        let (of, kind) = match way {
            Direction::Up => (0, 5),
            Direction::Down => (1, 7),
        };
        let hop = &self.hops[stage];
        let occupies = hop[of].draw(|| self.key(kind, stage, batch, micro));
        let latency = hop[2].draw(|| self.key(kind + 1, stage, batch, micro));
        (occupies, latency)
    }

    /// Whether messages of the hop above this stage take any time.
    ///
    /// # Panics
    /// When there is no stage above.
    #[must_use]
    pub fn moves(&self, stage: usize) -> bool {
        let still = |drawn: &Drawn| matches!(drawn, Drawn::Always(0));
        !self.hops[stage].iter().all(still)
    }

    fn key(&self, kind: usize, stage: usize, batch: usize, micro: usize) -> u64 {
        let unit = batch * self.micro_batches + micro;
        mix(mix(mix(self.seed ^ ((kind as u64) << 56)) ^ stage as u64) ^ unit as u64)
    }
}
