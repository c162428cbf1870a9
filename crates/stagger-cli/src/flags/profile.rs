//! Flags of `stagger profile` as written.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::pipeline::{EngineFlags, PipelineFlags};
use super::rank_timeout::rank_timeout;
use super::shape::RandomImageFlags;

pub const EXAMPLES: &str = "\
Examples:
  stagger profile --model resnet20 -b 128 --output resnet20.json
  stagger bench --model resnet20 -b 128 --balance resnet20.json
  stagger profile --model resnet110 --schedule bp --stages 4 --engine torch --json
  mpirun -n 2 stagger profile --model resnet20 --output two-hosts.json";

pub const BALANCE: &str = "How blocks are assigned to the stages that are measured whole: profile (by what they have \
                           just taken), auto (by an estimate), uniform, a FILE of an earlier profile, or counts such as \
                           7,4 [default: profile]";

/// Flags of `stagger profile`.
#[derive(Debug, Args)]
#[command(next_help_heading = "What runs")]
pub struct ProfileArgs {
    /// What runs.
    #[command(flatten)]
    pub images: RandomImageFlags,
    /// The stages.
    #[command(flatten)]
    pub pipeline: PipelineFlags,
    /// The engine.
    #[command(flatten)]
    pub engine: EngineFlags,

    /// Times that each block is measured
    #[arg(
        long,
        value_name = "N",
        default_value_t = 12,
        help_heading = "Measurement"
    )]
    pub rounds: usize,
    /// Batches of the run in which whole stages are measured
    #[arg(
        long,
        value_name = "N",
        default_value_t = 30,
        help_heading = "Measurement"
    )]
    pub batches: usize,
    /// Batches before those, which do not count
    #[arg(
        long,
        value_name = "N",
        default_value_t = 6,
        help_heading = "Measurement"
    )]
    pub warmup: usize,
    /// Over several processes: end when a rank has not been heard of for so long, at least 3; 0 waits for ever [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = rank_timeout, help_heading = "Measurement")]
    pub rank_timeout: Option<Duration>,
    /// The file to write, JSON; must not exist
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub output: Option<PathBuf>,
    /// Print the profile as one JSON object instead of tables
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}
