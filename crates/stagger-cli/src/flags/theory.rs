//! Flags of `stagger theory` as written.

use std::path::PathBuf;

use clap::Args;
use stagger::TrainingOptions;

use super::options::flags;
use super::pipeline::{EngineFlags, PipelineFlags};
use super::train::{BatchFlags, DataFlags, LossFlags, OptimizerFlags};

pub const EXAMPLES: &str = "\
Examples:
  stagger theory
  stagger theory --schedule 'dsp(m=6,4,2,0)' --stages 4 --optimizer sgd --lr 0.01
  stagger theory --model resnet20 --dataset cifar10 --data-dir DIR -b 128 --epochs 100 --json";

pub const SCHEDULE: &str = "Method, one of those that the theorems are about: bp, dsp, dsp(m=4,2,0), fr, pipedream, ddg, fdg [default: dsp]";

pub const OPTIMIZER: &str = "Optimizer: sgd, momentum [default: momentum]";

pub const EPOCHS: &str =
    "Passes over the training set of the run that the bound is for [default: 4]";

pub const MAX_BATCHES: &str = "End that run after this many batches, whatever --epochs says";

pub const MOMENTUM: &str = "Momentum [default: 0.9]";

pub const LR: &str = "Learning rate [default: 0.1]";

pub const LR_SCHEDULE: &str = "Learning rate over time: constant, step, cosine, restarts, polynomial, one-cycle [default: constant, as in the theorems]";

pub const WARMUP_BATCHES: &str = "Batches over which the rate rises linearly, batch j of w having (j+1)/(w+1) of it [default: 0; with \
                                  --lr-schedule a tenth of the run, at most 200]";

/// Flags of `stagger theory`. Those that training has too mean the same.
#[derive(Debug, Args)]
pub struct TheoryArgs {
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    pipeline: PipelineFlags,
    #[command(flatten)]
    engine: EngineFlags,
    #[command(flatten)]
    batches: BatchFlags,
    #[command(flatten)]
    optimizer: OptimizerFlags,
    #[command(flatten)]
    loss: LossFlags,
    #[command(flatten)]
    start: StartFlags,

    /// Updates along which constants are measured, at six versions [default: 64; where the rate changes, no more than the run has]
    #[arg(long, value_name = "N", help_heading = "Measurement")]
    pub steps: Option<usize>,
    /// Batches whose mean gradient is taken for that of the loss, and whose variance for the noise
    #[arg(
        long,
        value_name = "N",
        default_value_t = 6,
        help_heading = "Measurement"
    )]
    pub probe_batches: usize,
    /// Print one JSON object instead of tables
    #[arg(long, help_heading = "Measurement")]
    pub json: bool,
}

impl TheoryArgs {
    /// What they say of the run.
    pub fn options(&self) -> TrainingOptions {
        (self.data.options())
            .or(self.pipeline.options())
            .or(self.engine.options())
            .or(self.batches.options())
            .or(self.optimizer.options())
            .or(self.loss.options())
            .or(self.start.options())
    }
}

flags! {
    /// What it starts from.
    #[command(next_help_heading = "Training")]
    pub struct StartFlags {
        /// Start from the weights of a file (safetensors, .pth), a run or a snapshot, without optimizer state
        #[arg(long, value_name = "FILE")]
        pretrained: PathBuf,
    }
}
