//! Flags that several verbs have.

use clap::{ArgAction, Args};
use stagger::{EstimateFor, TrainingOptions};

use super::amounts::trimmed;
use super::options::flags;

flags! {
    /// The stages of a pipeline.
    #[command(next_help_heading = "Pipeline")]
    pub struct PipelineFlags {
        /// Number of stages, each on a device of its own; a schedule's notation may say it [default: 2]
        #[arg(short = 'k', long, value_name = "K")]
        stages: usize,
        /// Method: bp, dsp, dsp(m=4,2,0), dp(2), gpipe(4), 1f1b(4), zb(4), pipedream, 2bw(4), pipemare, ddg, fr, fdg, adl(4), dni;
        /// with corrections as in 'dsp + predict' (see stagger explain) [default: dsp]
        #[arg(short, long, value_name = "METHOD")]
        schedule: String,
        /// How blocks are assigned to stages: auto (by an estimate), profile (by a short measurement), FILE (by what stagger
        /// profile has written there: a path with a / in it or ending in .json), uniform, or counts such as 7,4 [default: auto]
        #[arg(long, value_name = "CUT")]
        balance: String,
        /// Copies of each stage that share every batch: one number for all stages, or one for each, such as 2,1,1 [default: 1;
        /// dp(R) has R]
        #[arg(long, value_name = "N", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<usize>)]
        replicas: Vec<usize>,
        /// Normalise over the whole batch (or micro-batch) of all replicas of a stage, instead of each replica's share [default:
        /// false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        sync_batch_norm: bool,
    }
}

flags! {
    /// Which engine computes, and how: what estimates of time go by.
    #[command(next_help_heading = "Engine")]
    pub struct ComputeFlags {
        /// Engine: cpu (pure Rust), torch (libtorch; built with --features torch) [default: cpu]
        #[arg(long, value_name = "NAME")]
        engine: String,
        /// Engine of each stage, such as cpu,torch; replicas of a stage have one
        #[arg(long, value_name = "LIST", value_delimiter = ',', action = ArgAction::Set)]
        engines: Vec<String>,
        /// Let engine cpu make the sums of 3x3 convolutions by Winograd's method: fewer multiplications, other rounding [default:
        /// true]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        winograd: bool,
    }
}

flags! {
    /// Where it computes, and in which numbers; or that nothing does.
    #[command(next_help_heading = "Engine")]
    pub struct DeviceFlags {
        /// Number format of the passes: f32, or with engine torch for all stages bf16 [default: f32]
        #[arg(long, value_name = "NAME")]
        dtype: String,
        /// Device of all stages on engine torch: cpu, cuda, cuda:1 [default: cpu]
        #[arg(long, value_name = "NAME")]
        device: String,
        /// Device of each stage, such as cuda:0,cuda:1, or of each replica of each stage; engine cpu has device cpu
        #[arg(long, value_name = "LIST", value_delimiter = ',', action = ArgAction::Set)]
        devices: Vec<String>,
        /// Compute threads of each stage on the CPU; with engine cpu their number changes no result [default: 1]
        #[arg(long, value_name = "N")]
        threads_per_stage: usize,
        /// Let f32 products on GPUs round their factors to TF32 [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        tf32: bool,
        /// Give the same bits every time on GPUs too, at some cost in speed [default: true]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        deterministic: bool,
        /// Compute nothing: stages sleep as long as a profile (a JSON file) says of such devices, or all equally long for a batch, as
        /// in equal:40ms, and messages take their time; measures schedule and runtime, and learns nothing
        #[arg(long, value_name = "PROFILE")]
        emulate: String,
    }
}

pub const ESTIMATED_ENGINE: &str =
    "Engine that times, and so the cut, are estimated for: cpu, torch [default: cpu]";

/// What computes, and where.
#[derive(Args, Clone, Debug)]
pub struct EngineFlags {
    #[command(flatten)]
    compute: ComputeFlags,
    #[command(flatten)]
    device: DeviceFlags,
}

impl EngineFlags {
    /// What they say.
    pub fn options(&self) -> TrainingOptions {
        self.compute.options().or(self.device.options())
    }
}

impl ComputeFlags {
    /// What times are estimated for.
    pub fn estimate_for(&self) -> EstimateFor {
        EstimateFor {
            engine: self.engine.clone(),
            engines: self.engines.clone(),
            winograd: self.winograd,
        }
    }
}
