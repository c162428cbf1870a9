//! What everything takes in an emulated run.

use std::sync::Arc;

use stagger_plan::{HopTimes, Pipeline, StageTimes, Times};
use stagger_schedule::{Place, Schedule};

use crate::links::EmulatedLinks;
use crate::stage::EmulatedStage;

/// Stages, their replicas and links of a run, as durations for micro-batches of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Emulation {
    pipeline: Pipeline,
    micro_batches: usize,
    seed: u64,
}

impl Emulation {
    /// A pipeline whose durations are those of batches of so many micro-batches. Which ones are drawn is a function of the seed.
    #[must_use]
    pub fn new(pipeline: Pipeline, micro_batches: usize, seed: u64) -> Self {
        Self {
            pipeline,
            micro_batches: micro_batches.max(1),
            seed,
        }
    }

    /// The durations.
    #[must_use]
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The same stages and links for a run by this schedule, whose batches may have another number of micro-batches: these are larger
    /// or smaller then, and passes and transfers of them take time in proportion.
    #[must_use]
    pub fn under(&self, schedule: &Schedule) -> Emulated {
        let micro_batches = schedule.micro_batches();
        let factor = self.micro_batches as f64 / micro_batches as f64;
        let pipeline = match micro_batches == self.micro_batches {
            true => self.pipeline.clone(),
            false => scaled(&self.pipeline, factor),
        };
        Emulated {
            times: Arc::new(Times::new(&pipeline, micro_batches, self.seed)),
            micro_batches,
            recomputes: schedule.recomputes(),
        }
    }
}

/// A pipeline for micro-batches of so many times as many samples.
fn scaled(pipeline: &Pipeline, factor: f64) -> Pipeline {
    let stage = |times: &StageTimes| times.for_share(factor);
    let hop = |times: &HopTimes| HopTimes {
        activation: times.activation.times(factor),
        gradient: times.gradient.times(factor),
        latency: times.latency.clone(),
    };
    Pipeline {
        places: pipeline.places.iter().map(stage).collect(),
        hops: pipeline.hops.iter().map(hop).collect(),
        ..pipeline.clone()
    }
}

/// Stages and links under a schedule.
#[derive(Clone)]
pub struct Emulated {
    times: Arc<Times>,
    micro_batches: usize,
    recomputes: Vec<bool>,
}

impl Emulated {
    /// A stage, or a replica of one, to be called on the thread that runs it. `profiled` has it add up its durations for
    /// [`Stage::profile`](stagger_engine::Stage::profile).
    ///
    /// # Panics
    /// When there is no such place.
    #[must_use]
    pub fn stage(&self, place: Place, profiled: bool) -> EmulatedStage {
        let recomputes = self.recomputes[place.stage];
        EmulatedStage::new(place, &self.times, self.micro_batches, recomputes, profiled)
    }

    /// What connects them.
    #[must_use]
    pub fn links(&self) -> EmulatedLinks {
        EmulatedLinks::new(Arc::clone(&self.times))
    }
}

#[cfg(test)]
mod tests {
    use stagger_schedule::Action;

    use super::*;

    /// Backpropagation over whole batches, on the devices of a run in micro-batches.
    #[test]
    fn devices_stay_what_they_are_under_another_schedule() {
        let gpipe = Schedule::parse("gpipe(4)", Some(2)).unwrap();
        let emulation = Emulation::new(Pipeline::equal(&gpipe, 0.010), 4, 1);
        let forward = |schedule: &Schedule| {
            let action = Action::Forward { batch: 0, micro: 0 };
            emulation.under(schedule).times.action(1, action, false)
        };
        let bp = Schedule::parse("bp", Some(2)).unwrap();
        let (of_gpipe, of_bp) = (forward(&gpipe) as f64, forward(&bp) as f64);
        assert!((of_bp - 4.0 * of_gpipe).abs() < 4.0, "{of_bp} {of_gpipe}");
    }
}
