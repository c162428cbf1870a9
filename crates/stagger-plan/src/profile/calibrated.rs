//! Times of blocks, brought to those of whole stages.
//!
//! Blocks are measured one by one, and stages while all of them run, as they compete for memory then. A cut that was measured takes what
//! its stages took, and another one the sum of its blocks. So that the two can be compared, the times of all blocks are multiplied by
//! what the stages took over the sum of their blocks, pass by pass. All devices have the same factors: how fast one is beside another,
//! its blocks say.

use super::{MeasuredStages, Profile, StageTimes};
use crate::distribution::Distribution;

impl Profile {
    /// The profile whose blocks take together what the measured stages took; the same again where no stages were measured, or on other
    /// devices than one for all or one for each.
    #[must_use]
    pub fn calibrated(mut self) -> Self {
        let Some(measured) = &self.stages else {
            return self;
        };
        if ![1, measured.cut.len()].contains(&self.devices.len()) {
            return self;
        }
        let factor = |pass: fn(&Self, usize) -> &[Distribution],
                      stage: fn(&StageTimes) -> Option<f64>| {
            self.factor(measured, pass, stage)
        };
        let recompute = factor(
            |profile, device| &profile.devices[device].recompute,
            |stage| Some(stage.recompute.center()),
        );
        // A stage that keeps its graph has made one forward pass, which stands for both.
        let forward = factor(
            |profile, device| &profile.devices[device].forward,
            |stage| (stage.forward != stage.recompute).then(|| stage.forward.center()),
        );
        let backward = factor(
            |profile, device| &profile.devices[device].backward,
            |stage| Some(stage.backward.center()),
        );
        let update = factor(
            |profile, device| &profile.devices[device].update,
            |stage| Some(stage.update.center()),
        );
        for device in &mut self.devices {
            for (of_blocks, factor) in [
                (&mut device.forward, forward.or(recompute)),
                (&mut device.recompute, recompute),
                (&mut device.backward, backward),
                (&mut device.update, update),
            ] {
                let factor = factor.unwrap_or(1.0);
                for time in of_blocks.iter_mut() {
                    *time = time.times(factor);
                }
            }
        }
        self
    }

    /// What stages took over the sum of their blocks, in one pass.
    fn factor(
        &self,
        measured: &MeasuredStages,
        pass: fn(&Self, usize) -> &[Distribution],
        of_stage: fn(&StageTimes) -> Option<f64>,
    ) -> Option<f64> {
        let (mut whole, mut sum, mut first) = (0.0, 0.0, 0);
        for (number, (blocks, stage)) in measured.cut.iter().zip(&measured.times).enumerate() {
            let own = pass(self, number.min(self.devices.len() - 1));
            let blocks = own.get(first..first + blocks).unwrap_or_default();
            first += blocks.len();
            let blocks: f64 = blocks.iter().map(Distribution::center).sum();
            // A pass that the method does not make was not measured.
            let stage = of_stage(stage).filter(|seconds| *seconds > 0.0);
            if let (Some(stage), true) = (stage, blocks > 0.0) {
                (whole, sum) = (whole + stage, sum + blocks);
            }
        }
        Some(whole / sum).filter(|factor| factor.is_finite() && *factor > 0.0)
    }
}
