//! Times of blocks, brought to those of whole stages.
//!
//! Blocks are measured one by one, and stages while all of them run, as they compete for memory then. A cut that was measured takes what
//! its stages took, and another one the sum of its blocks. So that the two can be compared, the times of all blocks are multiplied by
//! what the stages took over the sum of their blocks, pass by pass.

use super::{DeviceProfile, MeasuredStages, Profile, StageTimes};
use crate::distribution::Distribution;

impl Profile {
    /// The profile whose blocks take together what the measured stages took. Of several devices each has run one of these, and has a
    /// factor of its own; where stages had replicas, or where there are none, the blocks stay as they are.
    #[must_use]
    pub fn calibrated(mut self) -> Self {
        let Some(measured) = &self.stages else {
            return self;
        };
        match self.devices.len() {
            1 => {
                let stages = 0..measured.cut.len();
                self.devices[0].calibrate(measured, &stages.collect::<Vec<_>>());
            }
            count if count == measured.cut.len() => {
                for (stage, device) in self.devices.iter_mut().enumerate() {
                    device.calibrate(measured, &[stage]);
                }
            }
            _ => {}
        }
        self
    }
}

impl DeviceProfile {
    /// By these stages of those that were measured.
    fn calibrate(&mut self, measured: &MeasuredStages, stages: &[usize]) {
        let factor = |of_blocks: &[Distribution], of_stage: fn(&StageTimes) -> Option<f64>| {
            let (mut whole, mut sum) = (0.0, 0.0);
            for &stage in stages {
                let first: usize = measured.cut[..stage].iter().sum();
                let blocks = &of_blocks[first..first + measured.cut[stage]];
                let blocks: f64 = blocks.iter().map(Distribution::center).sum();
                // A pass that the method does not make was not measured.
                let stage = of_stage(&measured.times[stage]).filter(|seconds| *seconds > 0.0);
                if let (Some(stage), true) = (stage, blocks > 0.0) {
                    (whole, sum) = (whole + stage, sum + blocks);
                }
            }
            Some(whole / sum).filter(|factor| factor.is_finite() && *factor > 0.0)
        };
        let recompute = factor(&self.recompute, |stage| Some(stage.recompute.center()));
        // A stage that keeps its graph has made one forward pass, which stands for both.
        let forward = factor(&self.forward, |stage| {
            (stage.forward != stage.recompute).then(|| stage.forward.center())
        });
        let backward = factor(&self.backward, |stage| Some(stage.backward.center()));
        let update = factor(&self.update, |stage| Some(stage.update.center()));
        for (of_blocks, factor) in [
            (&mut self.forward, forward.or(recompute)),
            (&mut self.recompute, recompute),
            (&mut self.backward, backward),
            (&mut self.update, update),
        ] {
            let factor = factor.unwrap_or(1.0);
            for time in of_blocks.iter_mut() {
                *time = time.times(factor);
            }
        }
    }
}
