//! Flags of `stagger simulate` as written.

use std::path::PathBuf;

use clap::{ArgAction, Args};
use stagger::plan::Distribution;

use super::amounts::trimmed;
use super::pipeline::ComputeFlags;

pub const EXAMPLES: &str = "\
Examples:
  stagger simulate dsp --stages 4
  stagger simulate 'dsp(1,1,0;4,2,0)' --grid
  stagger simulate pipedream --stages 8 --straggler 'probability=0.33,slowdown=100%'
  stagger simulate dsp --stages 4 --latency 50ms --keep-busy 99%
  stagger simulate 'gpipe(8)' --stages 4 --latency 'pareto(50ms,2.5)' --transfer 20ms
  stagger simulate dsp --stages 2 --replicas 2,1 --profile resnet20.json
  stagger simulate dsp --stages 2 --evaluate-every 100 --evaluation-batches 20
  stagger simulate dsp --stages 2 --profile resnet20.json --trace trace.json";

pub const ENGINE: &str =
    "Engine that --balance auto estimates times for: cpu, torch [default: cpu]";

/// Flags of `stagger simulate`.
#[derive(Debug, Args)]
pub struct SimulateArgs {
    /// The schedule, such as 'dsp(1,1,0;4,2,0)'
    pub schedule: String,
    /// Number of stages, where the schedule does not say it
    #[arg(short = 'k', long, value_name = "K")]
    pub stages: Option<usize>,
    /// Copies of each stage that share every batch: one number for all stages, or one for each, such as 2,1,1 [default: 1;
    /// dp(R) has R]
    #[arg(long, value_name = "N", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<usize>)]
    pub replicas: Option<Vec<usize>>,
    /// How long everything takes: a file of stagger profile, or equal:TIME for stages that all take as long for a batch
    #[arg(long, value_name = "PROFILE", default_value = "equal:40ms")]
    pub profile: String,
    /// How the profile's blocks are assigned to stages: profile (by its times), auto (by an estimate), uniform, or counts such as
    /// 7,4 [default: profile]
    #[arg(long, value_name = "CUT")]
    pub balance: Option<String>,
    /// Samples per batch [default: those of the profile's micro-batch]
    #[arg(short, long, value_name = "N")]
    pub batch_size: Option<usize>,
    /// How long messages take to arrive: 50ms, uniform(1ms,3ms), exponential(5ms), lognormal(5ms,0.5) or pareto(50ms,2.5)
    /// [default: what the profile says]
    #[arg(long, value_name = "TIME")]
    pub latency: Option<Distribution>,
    /// How long an activation or a gradient keeps its link from others, in the same forms; replicas send and get their shares of it
    /// [default: what the profile says]
    #[arg(long, value_name = "TIME")]
    pub transfer: Option<Distribution>,
    /// Slow stages down: stage=1,probability=0.33,slowdown=100% (stage=* for all); may be given several times
    #[arg(long, value_name = "SPEC")]
    pub straggler: Vec<String>,
    /// Evaluate after every N batches; each stage then spends its forward time on --evaluation-batches batches
    #[arg(long, value_name = "N")]
    pub evaluate_every: Option<usize>,
    /// Batches of an evaluation, as large as those of training
    #[arg(long, value_name = "N")]
    pub evaluation_batches: Option<usize>,
    /// Take a snapshot after every N batches; it stops each stage for --snapshot-time
    #[arg(long, value_name = "N")]
    pub snapshot_every: Option<usize>,
    /// How long a snapshot holds each stage up, such as 20ms
    #[arg(long, value_name = "TIME")]
    pub snapshot_time: Option<Distribution>,
    /// Take the least staleness of dsp that keeps the busiest stage working for this share of the time, such as 99%
    #[arg(long, value_name = "SHARE")]
    pub keep_busy: Option<String>,
    /// Batches to count
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub batches: usize,
    /// Batches before those
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub warmup: usize,
    /// Seed of random times and of stragglers
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed: u64,
    /// Draw what every stage does in the first N batches
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "8")]
    pub grid: Option<usize>,
    /// Write every action to a new file, for ui.perfetto.dev
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// The engine that the estimate of --balance auto is for.
    #[command(flatten)]
    pub compute: ComputeFlags,
}
