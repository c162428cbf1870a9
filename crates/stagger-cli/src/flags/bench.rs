//! Flags of `stagger bench` as written.

use clap::Args;

pub(super) const EXAMPLES: &str = "\
Examples:
  stagger bench --model resnet20
  stagger bench --model resnet110 --engine torch --dtype bf16 --schedule bp --stages 1
  stagger bench --model resnet50 --input 3x224x224 --classes 1000 --engine torch --device cuda --json";

/// Flags of `stagger bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The network, such as resnet20
    #[arg(
        long,
        value_name = "NAME",
        default_value = "resnet20",
        help_heading = "What runs"
    )]
    pub model: String,
    /// Shape of one image: channels x height x width
    #[arg(
        long,
        value_name = "CxHxW",
        default_value = "3x32x32",
        help_heading = "What runs"
    )]
    pub input: String,
    /// Number of classes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 10,
        help_heading = "What runs"
    )]
    pub classes: usize,
    /// Number of stages
    #[arg(
        short = 'k',
        long,
        value_name = "K",
        default_value_t = 2,
        help_heading = "What runs"
    )]
    pub stages: usize,
    /// The schedule
    #[arg(
        short,
        long,
        value_name = "METHOD",
        default_value = "dsp",
        help_heading = "What runs"
    )]
    pub schedule: String,
    /// How blocks are dealt to stages: auto, uniform, or counts such as 7,4
    #[arg(
        long,
        value_name = "CUT",
        default_value = "auto",
        help_heading = "What runs"
    )]
    pub balance: String,
    /// Samples per batch
    #[arg(
        short,
        long,
        value_name = "N",
        default_value_t = 128,
        help_heading = "What runs"
    )]
    pub batch_size: usize,
    /// Learning rate; small, so that random labels do not drive the loss to infinity
    #[arg(
        long,
        value_name = "RATE",
        default_value_t = 0.01,
        help_heading = "What runs"
    )]
    pub lr: f64,
    /// Seed of weights and images
    #[arg(
        long,
        value_name = "SEED",
        default_value_t = 1,
        help_heading = "What runs"
    )]
    pub seed: u64,

    /// Tensor library: burn, torch
    #[arg(
        long,
        value_name = "NAME",
        default_value = "burn",
        help_heading = "Engine"
    )]
    pub engine: String,
    /// Number format of the passes: f32, or with engine torch bf16
    #[arg(
        long,
        value_name = "NAME",
        default_value = "f32",
        help_heading = "Engine"
    )]
    pub dtype: String,
    /// Device of all stages, engine torch: cpu, cuda, cuda:1
    #[arg(long, value_name = "NAME", help_heading = "Engine")]
    pub device: Option<String>,
    /// Device of each stage, engine torch, such as cuda:0,cuda:1
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        help_heading = "Engine"
    )]
    pub devices: Option<Vec<String>>,
    /// Compute threads of each stage on the CPU, engine torch
    #[arg(long, value_name = "N", help_heading = "Engine")]
    pub threads_per_stage: Option<usize>,
    /// Let f32 products on GPUs round their factors to TF32
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Engine")]
    pub tf32: Option<bool>,
    /// Give the same bits every time on GPUs too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Engine")]
    pub deterministic: Option<bool>,

    /// Batches to time
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
