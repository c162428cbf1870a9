//! What the actions of whole stages take in a run of all of them.

use std::ops::Range;
use std::time::Duration;

use stagger_plan::{Distribution, StageTimes};
use stagger_runtime::Acted;
use stagger_schedule::Action;

/// The time that the actions of each stage computed, in seconds.
pub(super) struct StageSamples {
    /// Batches, and versions, that count.
    counted: Range<usize>,
    stages: Vec<Samples>,
}

#[derive(Clone, Default)]
struct Samples {
    forward: Vec<f64>,
    recompute: Vec<f64>,
    backward: Vec<f64>,
    /// Second halves of backward passes, in the order of the first halves.
    weights: Vec<f64>,
    learn: Vec<f64>,
    update: Vec<f64>,
    /// Bringing inputs of forward passes to the device.
    landing: Vec<f64>,
}

impl StageSamples {
    pub fn new(stages: usize, counted: Range<usize>) -> Self {
        Self {
            counted,
            stages: vec![Samples::default(); stages],
        }
    }

    pub fn add(&mut self, acted: &Acted) {
        let Some(stage) = self.stages.get_mut(acted.stage) else {
            return;
        };
        let (batch, times) = match acted.action {
            Action::Forward { batch, .. } => (batch, &mut stage.forward),
            Action::Recompute { batch, .. } => (batch, &mut stage.recompute),
            Action::Backward { batch, .. } => (batch, &mut stage.backward),
            Action::WeightGradients { batch, .. } => (batch, &mut stage.weights),
            Action::Learn { batch, .. } => (batch, &mut stage.learn),
            Action::Update { version } => (version, &mut stage.update),
            Action::Evaluate { .. } | Action::Snapshot { .. } => return,
        };
        if !self.counted.contains(&batch) {
            return;
        }
        times.push(computed(acted).as_secs_f64());
        if matches!(acted.action, Action::Forward { .. }) {
            stage.landing.push(acted.transfer.as_secs_f64());
        }
    }

    /// What stage `stage` takes to bring a micro-batch's input to its device.
    pub fn landing(&self, stage: usize) -> f64 {
        let stage = self.stages.get(stage);
        stage.map_or(0.0, |stage| distribution(stage.landing.clone()).center())
    }

    /// As a profile has them. A stage that does not recompute makes one forward pass, which builds the graph: it stands for both.
    pub fn times(self) -> Vec<StageTimes> {
        let stages = self.stages.into_iter();
        let times = |mut stage: Samples| {
            let weights_share = stage.join_halves();
            let recompute = match stage.recompute.is_empty() {
                true => stage.forward.clone(),
                false => stage.recompute,
            };
            StageTimes {
                forward: distribution(stage.forward),
                recompute: distribution(recompute),
                backward: distribution(stage.backward),
                weights_share,
                update: distribution(stage.update),
                learn: distribution(stage.learn),
            }
        };
        stages.map(times).collect()
    }
}

impl Samples {
    /// Makes whole passes of halves. Gives the part of them that the second halves are, if there are any.
    fn join_halves(&mut self) -> Option<f64> {
        let weights: f64 = self.weights.iter().sum();
        for (pass, half) in self.backward.iter_mut().zip(self.weights.drain(..)) {
            *pass += half;
        }
        let whole: f64 = self.backward.iter().sum();
        (weights > 0.0).then(|| (weights / whole).min(1.0))
    }
}

/// The time of an action in which its stage neither waited nor moved anything.
fn computed(acted: &Acted) -> Duration {
    let aside = acted.waits.total() + acted.transfer + acted.delayed;
    acted.lasted().saturating_sub(aside)
}

/// What was never done takes no time.
fn distribution(samples: Vec<f64>) -> Distribution {
    match samples.is_empty() {
        true => Distribution::ZERO,
        false => Distribution::Samples(samples),
    }
}

#[cfg(test)]
mod tests {
    use stagger_runtime::Waits;

    use super::*;

    fn acted(stage: usize, action: Action, from: u64, to: u64) -> Acted {
        Acted {
            stage,
            action,
            started_at: Duration::from_secs(from),
            ended_at: Duration::from_secs(to),
            waits: Waits {
                receive: Duration::from_secs(1),
                ..Waits::default()
            },
            transfer: Duration::from_secs(2),
            delayed: Duration::ZERO,
            staleness: None,
            gap: None,
        }
    }

    #[test]
    fn what_is_computed_after_the_warmup_counts() {
        let mut samples = StageSamples::new(2, 1..usize::MAX);
        let (batch, micro) = (1, 0);
        for stage in [0, 1] {
            let forward = Action::Forward { batch, micro };
            samples.add(&acted(stage, Action::Forward { batch: 0, micro }, 0, 90));
            samples.add(&acted(stage, forward, 0, 10));
            samples.add(&acted(stage, Action::Backward { batch, micro }, 10, 30));
            samples.add(&acted(stage, Action::Update { version: 1 }, 30, 35));
            samples.add(&acted(stage, Action::Evaluate { version: 1 }, 40, 90));
        }
        samples.add(&acted(0, Action::Recompute { batch, micro }, 10, 18));
        assert_eq!(samples.landing(1), 2.0);
        let times = samples.times();
        let one = |seconds: f64| Distribution::Samples(vec![seconds]);
        let whole = StageTimes {
            forward: one(7.0),
            recompute: one(7.0),
            backward: one(17.0),
            weights_share: None,
            update: one(2.0),
            learn: Distribution::ZERO,
        };
        assert_eq!(times[1], whole);
        let recomputes = StageTimes {
            recompute: one(5.0),
            ..whole
        };
        assert_eq!(times[0], recomputes);
    }

    #[test]
    fn both_halves_of_a_backward_make_a_whole() {
        let mut samples = StageSamples::new(1, 0..1);
        for micro in [0, 1] {
            samples.add(&acted(0, Action::Backward { batch: 0, micro }, 0, 12));
        }
        for (micro, ends_at) in [(0, 6), (1, 12)] {
            let action = Action::WeightGradients { batch: 0, micro };
            samples.add(&acted(0, action, 0, ends_at));
        }
        let times = samples.times();
        assert_eq!(times[0].backward, Distribution::Samples(vec![12.0, 18.0]));
        assert_eq!(times[0].weights_share, Some(0.4));
    }
}
