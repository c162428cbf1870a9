//! Flags of `stagger plan` as written.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use stagger::plan::Distribution;

use super::amounts::{bytes, megabytes_per_second, trimmed};

pub const EXAMPLES: &str = "\
Examples:
  stagger profile --model resnet20 --stages 2 --output resnet20.json
  stagger plan --profile resnet20.json
  stagger plan --profile resnet20.json --speeds 1,1,0.5 --latency 1ms --bandwidth 12.5
  stagger plan --profile resnet20.json --straggler 'probability=0.33,slowdown=100%'
  stagger plan --profile resnet20.json --what-if '+1 device like 0'";

/// Flags of `stagger plan`.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// What the network takes on a device: a file of stagger profile
    #[arg(long, value_name = "FILE")]
    pub profile: PathBuf,
    /// The devices: speed of each in multiples of the profile's, such as 1,1,0.5 [default: the profile's devices]
    #[arg(long, value_name = "LIST", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<f64>)]
    pub speeds: Vec<f64>,
    /// Memory of each device, or one amount for all, such as 8GiB [default: what the profile says]
    #[arg(long, value_name = "LIST", value_delimiter = ',', action = ArgAction::Set, value_parser = bytes)]
    pub memory: Vec<u64>,
    /// How long messages take to arrive, such as 1ms or pareto(50ms,2.5) [default: what the profile says]
    #[arg(long, value_name = "TIME")]
    pub latency: Option<Distribution>,
    /// What every link moves, in megabytes per second: 12.5 for 100 Mbit/s [default: what the profile says]
    #[arg(long, value_name = "MB/S", value_parser = megabytes_per_second)]
    pub bandwidth: Option<f64>,
    /// Slow devices down: stage=1,probability=0.33,slowdown=100% (stage=* for all); may be given several times
    #[arg(long, value_name = "SPEC")]
    pub straggler: Vec<String>,
    /// Samples per batch [default: those of the profile's micro-batch]
    #[arg(short, long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// Plan for other devices too, and say what they would bring, such as '+1 device like 0'
    #[arg(long, value_name = "CHANGE")]
    pub what_if: Option<String>,
    /// Write the devices and links of the marked plan (with --what-if, of the one for the changed devices) to a new file, for stagger
    /// simulate --profile and --emulate
    #[arg(long, value_name = "FILE")]
    pub write_profile: Option<PathBuf>,
    /// How many plans to print
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub top: usize,
    /// Seed of random times and of stragglers
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}
