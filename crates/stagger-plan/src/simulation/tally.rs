//! What a simulated run comes to.

use stagger_schedule::Action;

use super::Step;
use super::lane::Lane;

/// A simulated run.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// From the start to the end of the last stage, in seconds.
    pub wall_seconds: f64,
    /// Batches that rates and shares count: behind the warm-up, and before stages run empty.
    pub batches: usize,
    /// The rate of the last stage over those; 0 if there is none.
    pub batches_per_second: f64,
    /// From stage 0 up.
    pub stages: Vec<StageSimulated>,
}

/// What a stage did over the batches that count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageSimulated {
    /// Share of the time in which it worked, 0 to 1. The rest is its bubble.
    pub busy_share: f64,
    /// Share of the time in which it waited for a message.
    pub receive_share: f64,
    /// Share of the time in which it waited for room for what it had sent.
    pub send_share: f64,
    /// Updates between forward and backward of a batch, in the mean.
    pub staleness_mean: f64,
    /// The most of them.
    pub staleness_max: usize,
    /// Activations that wait at the stage above, in the mean over the whole run.
    pub activations_mean: f64,
    /// Gradients that wait at this stage, in the mean over the whole run.
    pub gradients_mean: f64,
}

/// Sums over the batches of one stage that count.
pub(super) struct Tally {
    /// The updates behind which counting begins and ends.
    warmup: usize,
    until: usize,
    updates: usize,
    /// Time of the update at which counting began, and of the last one that counts.
    from: u64,
    to: u64,
    busy: u64,
    receive: u64,
    send: u64,
    backwards: usize,
    staleness: usize,
    staleness_max: usize,
}

impl Tally {
    pub fn new(warmup: usize, until: usize) -> Self {
        Self {
            warmup,
            until,
            updates: 0,
            from: 0,
            to: 0,
            busy: 0,
            receive: 0,
            send: 0,
            backwards: 0,
            staleness: 0,
            staleness_max: 0,
        }
    }

    /// An action of a stage that was free before, and whose queues had room from `room` on.
    pub fn add(&mut self, step: &Step, free: u64, room: u64) {
        if (self.warmup..self.until).contains(&self.updates) {
            self.busy += step.ends_at - step.starts_at;
            self.send += room - free;
            self.receive += step.starts_at - room;
        }
        if let Some(staleness) = step.staleness {
            self.backwards += 1;
            self.staleness += staleness;
            self.staleness_max = self.staleness_max.max(staleness);
        }
        if let Action::Update { .. } = step.action {
            self.updates += 1;
            if self.updates == self.warmup {
                self.from = step.ends_at;
            }
            if self.updates <= self.until {
                self.to = step.ends_at;
            }
        }
    }

    fn batches(&self) -> usize {
        self.updates.min(self.until).saturating_sub(self.warmup)
    }

    fn span(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }

    fn stage(&self) -> StageSimulated {
        let share = |time: u64| time as f64 / self.span().max(1) as f64;
        StageSimulated {
            busy_share: share(self.busy),
            receive_share: share(self.receive),
            send_share: share(self.send),
            staleness_mean: self.staleness as f64 / self.backwards.max(1) as f64,
            staleness_max: self.staleness_max,
            ..StageSimulated::default()
        }
    }
}

impl Simulated {
    pub(super) fn new(
        wall: u64,
        tallies: Vec<Tally>,
        activations: &[Lane],
        gradients: &[Lane],
    ) -> Self {
        let (batches, span) = (tallies.last()).map_or((0, 0), |last| (last.batches(), last.span()));
        let length = |lanes: &[Lane], stage: usize| {
            let lane = lanes.get(stage);
            lane.map_or(0.0, |lane| lane.mean_length(wall))
        };
        let stages = tallies
            .iter()
            .enumerate()
            .map(|(stage, tally)| StageSimulated {
                activations_mean: length(activations, stage),
                gradients_mean: length(gradients, stage),
                ..tally.stage()
            });
        Self {
            wall_seconds: wall as f64 / 1e9,
            batches,
            batches_per_second: match span {
                0 => 0.0,
                _ => batches as f64 * 1e9 / span as f64,
            },
            stages: stages.collect(),
        }
    }

    /// The busy share of the stage that works most. At 1 the run is as fast as that stage alone.
    #[must_use]
    pub fn busiest_share(&self) -> f64 {
        let shares = self.stages.iter().map(|stage| stage.busy_share);
        shares.fold(0.0, f64::max)
    }

    /// One minus the mean busy share of the stages.
    #[must_use]
    pub fn bubble_share(&self) -> f64 {
        let busy: f64 = self.stages.iter().map(|stage| stage.busy_share).sum();
        1.0 - busy / self.stages.len().max(1) as f64
    }
}
