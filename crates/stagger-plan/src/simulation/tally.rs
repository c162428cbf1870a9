//! What a simulated run comes to.

use stagger_schedule::{Action, Place};

use super::Step;

/// A simulated run.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// From the start to the end of the last stage, in seconds.
    pub wall_seconds: f64,
    /// Batches that rates and shares count: behind the warm-up, and before stages run empty.
    pub batches: usize,
    /// The rate of the last stage over those; 0 if there is none.
    pub batches_per_second: f64,
    /// From stage 0 up. Of a stage with replicas, what that one did that works for the largest share of the time; the first of
    /// equals.
    pub stages: Vec<StageSimulated>,
}

/// What a stage did over the batches that count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageSimulated {
    /// Copies of the stage.
    pub replicas: usize,
    /// Its updates per second; 0 if none of them counts.
    pub updates_per_second: f64,
    /// Share of the time in which its replicas worked, in the mean over them.
    pub mean_busy_share: f64,
    /// Share of the time in which it worked, 0 to 1. The rest is its bubble.
    pub busy_share: f64,
    /// Share of the time in which it waited for a message.
    pub receive_share: f64,
    /// Share of the time in which it waited for room for what it had sent.
    pub send_share: f64,
    /// Share of the time, 0 to 1, in which it waited for the sum of all replicas' gradients.
    pub sum_share: f64,
    /// Updates between forward and backward of a batch, in the mean.
    pub staleness_mean: f64,
    /// The most of them.
    pub staleness_max: usize,
    /// Activations that wait at the stage above, in the mean over the whole run, and over its links to that stage.
    pub activations_mean: f64,
    /// Gradients that wait at this stage, likewise.
    pub gradients_mean: f64,
}

/// Sums over the batches of one place that count.
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
    sum: u64,
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
            sum: 0,
            backwards: 0,
            staleness: 0,
            staleness_max: 0,
        }
    }

    /// An action of a place that was free before, and whose queues had room from `room` on.
    pub fn add(&mut self, step: &Step, free: u64, room: u64) {
        if (self.warmup..self.until).contains(&self.updates) {
            self.busy += step.ends_at - step.starts_at;
            self.send += room - free;
            // An update takes no message from a neighbour.
            match step.action {
                Action::Update { .. } => self.sum += step.starts_at - room,
                _ => self.receive += step.starts_at - room,
            }
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

    /// What it comes to, where so many messages wait above and here.
    pub fn place(&self, activations_mean: f64, gradients_mean: f64) -> StageSimulated {
        let share = |time: u64| time as f64 / self.span().max(1) as f64;
        StageSimulated {
            replicas: 1,
            updates_per_second: match self.span() {
                0 => 0.0,
                span => self.batches() as f64 * 1e9 / span as f64,
            },
            mean_busy_share: share(self.busy),
            busy_share: share(self.busy),
            receive_share: share(self.receive),
            send_share: share(self.send),
            sum_share: share(self.sum),
            staleness_mean: self.staleness as f64 / self.backwards.max(1) as f64,
            staleness_max: self.staleness_max,
            activations_mean,
            gradients_mean,
        }
    }
}

impl Simulated {
    /// The places come stage by stage; `last` is one of the last stage.
    pub(super) fn new(wall: u64, places: &[(Place, StageSimulated)], last: Option<&Tally>) -> Self {
        let (batches, span) = last.map_or((0, 0), |last| (last.batches(), last.span()));
        let of_stages = places.chunk_by(|(one, _), (next, _)| one.stage == next.stage);
        let stage = |replicas: &[(Place, StageSimulated)]| {
            let shares = replicas.iter().map(|(_, of)| of.busy_share);
            let mean = shares.sum::<f64>() / replicas.len() as f64;
            let busiest = replicas.iter().rev().map(|(_, of)| of);
            let busiest = busiest.max_by(|a, b| a.busy_share.total_cmp(&b.busy_share));
            StageSimulated {
                replicas: replicas.len(),
                mean_busy_share: mean,
                ..busiest.cloned().unwrap_or_default()
            }
        };
        Self {
            wall_seconds: wall as f64 / 1e9,
            batches,
            batches_per_second: match span {
                0 => 0.0,
                _ => batches as f64 * 1e9 / span as f64,
            },
            stages: of_stages.map(stage).collect(),
        }
    }

    /// The rate of the stage with the fewest updates, in batches per second: what the run comes to if it is long. The last stage may be
    /// faster until it has used up what the others were ahead.
    #[must_use]
    pub fn lasting_batches_per_second(&self) -> f64 {
        let rates = self.stages.iter().map(|of| of.updates_per_second);
        rates.reduce(f64::min).unwrap_or_default()
    }

    /// The largest share of the time, 0 to 1, that any stage works or sums up gradients with its replicas. At 1 the run is as fast as
    /// that stage alone.
    #[must_use]
    pub fn busiest_share(&self) -> f64 {
        let shares = self.stages.iter().map(|of| of.busy_share + of.sum_share);
        shares.fold(0.0, f64::max)
    }

    /// The same of the stage with the most work for a batch, at the [rate that lasts](Self::lasting_batches_per_second). For short runs, in
    /// which a stage looks busy while it works off what others had made ahead of it.
    #[must_use]
    pub fn lasting_busiest_share(&self) -> f64 {
        let seconds = |of: &StageSimulated| match of.updates_per_second > 0.0 {
            true => (of.busy_share + of.sum_share) / of.updates_per_second,
            false => 0.0,
        };
        let most = self.stages.iter().map(seconds).fold(0.0, f64::max);
        most * self.lasting_batches_per_second()
    }

    /// One minus the mean busy share of all stages and their replicas.
    #[must_use]
    pub fn bubble_share(&self) -> f64 {
        let of = |stage: &StageSimulated| stage.replicas as f64 * stage.mean_busy_share;
        let busy: f64 = self.stages.iter().map(of).sum();
        let places: usize = self.stages.iter().map(|stage| stage.replicas).sum();
        1.0 - busy / places.max(1) as f64
    }
}
