//! Flags of `stagger bench` as written.

use clap::Args;

use super::pipeline::{EngineFlags, PipelineFlags};
use super::shape::RandomImageFlags;

pub const EXAMPLES: &str = "\
Examples:
  stagger bench --model resnet20
  stagger bench --model resnet110 --engine torch --dtype bf16 --schedule bp --stages 1
  stagger bench --model resnet110 --stages 4 --emulate equal:40ms --straggler 'probability=0.33,slowdown=100%'
  stagger bench --model resnet50 --input 3x224x224 --classes 1000 --engine torch --device cuda --json";

/// Flags of `stagger bench`.
#[derive(Debug, Args)]
#[command(next_help_heading = "What runs")]
pub struct BenchArgs {
    /// What runs.
    #[command(flatten)]
    pub images: RandomImageFlags,
    /// Learning rate; small, so that random labels do not drive the loss to infinity
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    pub lr: f64,
    /// The stages.
    #[command(flatten)]
    pub pipeline: PipelineFlags,
    /// Slow stages down, as for stagger train: stage=1,probability=0.33,slowdown=100% (stage=* for all); may be given several times
    #[arg(long, value_name = "SPEC", help_heading = "Pipeline")]
    pub straggler: Vec<String>,
    /// The engine.
    #[command(flatten)]
    pub engine: EngineFlags,

    /// Batches to time, on the slowest stage; as many more follow as stages are ahead
    #[arg(
        long,
        value_name = "N",
        default_value_t = 40,
        help_heading = "Measurement"
    )]
    pub batches: usize,
    /// Batches before those, which are not timed
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        help_heading = "Measurement"
    )]
    pub warmup: usize,
    /// Time every kind of kernel
    #[arg(long, help_heading = "Measurement")]
    pub profile_ops: bool,
    /// Print one JSON object instead of a table
    #[arg(long, help_heading = "Measurement")]
    pub json: bool,
}
