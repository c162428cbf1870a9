//! Flags as written.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use serde::{Deserialize, Serialize};

use super::bench::{self, BenchArgs};
use super::compare::CompareArgs;

/// Train deep convolutional networks split over several devices, with diversely stale parameters.
#[derive(Debug, Parser)]
#[command(
    name = "stagger",
    version,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "parsed once")]
pub enum Command {
    /// Train a network, cut into stages that run in parallel
    #[command(after_help = TRAIN_EXAMPLES, args_override_self = true)]
    Train(TrainArgs),
    /// Evaluate the weights of a run
    Eval(EvalArgs),
    /// Print what a snapshot, a weights file or a run folder holds
    Inspect(InspectArgs),
    /// Explain a schedule: its grid over time, staleness, queues, locks, memory
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainArgs),
    /// Print a model's layers and what each stage costs
    Summary(SummaryArgs),
    /// Measure the speed of a pipeline on fixed random images
    #[command(after_help = bench::EXAMPLES)]
    Bench(BenchArgs),
    /// Compare methods: speed, accuracy, memory, staleness; as tables, files and a report
    #[command(
        after_help = super::compare::EXAMPLES,
        args_override_self = true,
        mut_arg("schedule", |schedule| schedule.hide(true)),
        mut_arg("seed", |seed| seed.hide(true)),
        mut_arg("calibration_batches", |batches| batches.hide(true)),
        mut_arg("output", |output| output.help(super::compare::OUTPUT))
    )]
    Compare(CompareArgs),
}

const TRAIN_EXAMPLES: &str = "\
Examples:
  stagger train
  stagger train --schedule 'dsp(1,1,0;4,2,0)' --stages 3
  stagger train --schedule bp --stages 1 --output runs/bp
  stagger train --output runs/a --snapshot-every 500,10min
  stagger train --resume runs/a
  stagger train --config configs/cifar10-resnet20.toml --data-dir ~/data/cifar-10-images";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  stagger explain 'dsp(1,1,0;4,2,0)'
  stagger explain dsp --stages 4 --batches 16
  stagger explain bp --stages 3";

/// Flags of `stagger train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Read values from a TOML file; its keys are the names of these flags, which override it
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub config: Option<PathBuf>,
    /// Go on with a run: its folder, or one of its snapshots; auto takes the folder of --output, or else the newest
    /// unfinished run, and starts anew when there is none
    #[arg(long, value_name = "RUN", help_heading = "Snapshots")]
    pub resume: Option<PathBuf>,
    /// Time every kind of kernel, and print it at the end
    #[arg(long, help_heading = "Output")]
    pub profile_ops: bool,
    /// The values themselves.
    #[command(flatten)]
    pub values: TrainValues,
}

/// Everything that decides what a training run does. The same names on the command line and as
/// TOML keys; `None` means "not said here".
#[derive(Args, Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TrainValues {
    /// Network: resnet8 … resnet110, resnet164, resnet18-cifar, resnet18 … resnet152, vgg11-bn, vgg16-bn [default: resnet8]
    #[arg(long, value_name = "NAME", help_heading = "Model and data")]
    pub model: Option<String>,
    /// Data set: shapes, cifar10, cifar100, mnist, fashion-mnist, image-folder [default: shapes]
    #[arg(long, value_name = "NAME", help_heading = "Model and data")]
    pub dataset: Option<String>,
    /// Where the data set's files are (shapes needs none)
    #[arg(long, value_name = "DIR", help_heading = "Model and data")]
    pub data_dir: Option<PathBuf>,
    /// Side in pixels to which an image folder's pictures are brought [default: theirs, if all agree]
    #[arg(long, value_name = "PIXELS", help_heading = "Model and data")]
    pub image_size: Option<usize>,
    /// Keep decoded images in memory when they fit into this many bytes [default: 1 GiB]
    #[arg(long, value_name = "BYTES", help_heading = "Model and data")]
    pub cache_bytes: Option<u64>,
    /// Random crops and flips of the training images [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Model and data")]
    pub augment: Option<bool>,
    /// Threads that load and augment images [default: 1]
    #[arg(short = 'j', long, value_name = "N", help_heading = "Model and data")]
    pub workers: Option<usize>,

    /// Number of stages, each on a device of its own [default: 2]
    #[arg(short = 'k', long, value_name = "K", help_heading = "Pipeline")]
    pub stages: Option<usize>,
    /// Method: bp, dsp, dsp(m=4,2,0), gpipe(4), 1f1b(4), pipedream, 2bw(4), pipemare, ddg, fr, fdg, adl(4), dni; with
    /// corrections as in 'dsp + predict' (see stagger explain) [default: dsp]
    #[arg(short, long, value_name = "METHOD", help_heading = "Pipeline")]
    pub schedule: Option<String>,
    /// How blocks are dealt to stages: auto, uniform, or counts such as 7,4 [default: auto]
    #[arg(long, value_name = "CUT", help_heading = "Pipeline")]
    pub balance: Option<String>,
    /// Tensor library: burn (pure Rust), torch (libtorch; built with --features torch) [default: burn]
    #[arg(long, value_name = "NAME", help_heading = "Engine")]
    pub engine: Option<String>,
    /// Number format of the passes: f32, or with engine torch bf16 [default: f32]
    #[arg(long, value_name = "NAME", help_heading = "Engine")]
    pub dtype: Option<String>,
    /// Device of all stages, engine torch: cpu, cuda, cuda:1 [default: cpu]
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
    /// Compute threads of each stage on the CPU, engine torch [default: 1]
    #[arg(long, value_name = "N", help_heading = "Engine")]
    pub threads_per_stage: Option<usize>,
    /// Let f32 products on GPUs round their factors to TF32 [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Engine")]
    pub tf32: Option<bool>,
    /// Give the same bits every time on GPUs too, at some cost in speed [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Engine")]
    pub deterministic: Option<bool>,
    /// Batches of backpropagation on the same stages, timed before the run for comparison; 0 for
    /// none [default: 40 for asynchronous schedules]
    #[arg(long, value_name = "N", help_heading = "Pipeline")]
    pub calibration_batches: Option<usize>,

    /// Slow a stage down by a share of its own compute time, such as stage=1,probability=0.33,slowdown=100%; stage=* means
    /// all, kind= constant, random or burst; may be given several times
    #[arg(long, value_name = "SPEC", help_heading = "Pipeline")]
    pub straggler: Option<Vec<String>>,
    /// Measure how far weights move between forward and backward every N batches; 0 for never [default: 50 for
    /// asynchronous schedules]
    #[arg(long, value_name = "N", help_heading = "Pipeline")]
    pub gap_every: Option<usize>,

    /// Passes over the training set [default: 4]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub epochs: Option<usize>,
    /// End after this many batches, whatever --epochs says
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub max_batches: Option<usize>,
    /// End after this many seconds of training, as if the run had been planned to end there
    #[arg(
        long,
        visible_alias = "seconds",
        value_name = "SECONDS",
        help_heading = "Training"
    )]
    #[serde(alias = "seconds")]
    pub max_seconds: Option<f64>,
    /// Evaluate after every epoch and at the end [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Training")]
    pub evaluate: Option<bool>,
    /// Samples per batch [default: 64]
    #[arg(short, long, value_name = "N", help_heading = "Training")]
    pub batch_size: Option<usize>,
    /// Leave out the last batch of an epoch when it is smaller [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Training")]
    pub drop_last: Option<bool>,
    /// Samples per batch of the evaluation [default: the batch size]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub eval_batch_size: Option<usize>,
    /// Optimizer: sgd, momentum, adamw [default: momentum]
    #[arg(
        long,
        visible_alias = "opt",
        value_name = "NAME",
        help_heading = "Training"
    )]
    #[serde(alias = "opt")]
    pub optimizer: Option<String>,
    /// Peak learning rate [default: 0.1; for adamw 0.001]
    #[arg(long, value_name = "RATE", help_heading = "Training")]
    pub lr: Option<f64>,
    /// Learning rate over time: constant, step, cosine [default: cosine]
    #[arg(long, value_name = "NAME", help_heading = "Training")]
    pub lr_schedule: Option<String>,
    /// Epochs at which the step schedule lowers the rate [default: half and three quarters]
    #[arg(
        long,
        value_name = "EPOCHS",
        value_delimiter = ',',
        help_heading = "Training"
    )]
    pub lr_steps: Option<Vec<usize>>,
    /// Factor of each step [default: 0.1]
    #[arg(long, value_name = "FACTOR", help_heading = "Training")]
    pub lr_gamma: Option<f64>,
    /// Batches over which the rate rises linearly from 0 [default: a tenth of the run, at most 200]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub warmup_batches: Option<usize>,
    /// Momentum [default: 0.9]
    #[arg(long, value_name = "FACTOR", help_heading = "Training")]
    pub momentum: Option<f64>,
    /// Nesterov momentum [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", help_heading = "Training")]
    pub nesterov: Option<bool>,
    /// Weight decay [default: 0.0005]
    #[arg(
        long,
        visible_alias = "wd",
        value_name = "FACTOR",
        help_heading = "Training"
    )]
    #[serde(alias = "wd")]
    pub weight_decay: Option<f64>,
    /// Label smoothing, 0 to below 1 [default: 0]
    #[arg(long, value_name = "SHARE", help_heading = "Training")]
    pub label_smoothing: Option<f64>,
    /// Scale a stage's gradient down to this norm when it is larger
    #[arg(long, value_name = "NORM", help_heading = "Training")]
    pub clip_norm: Option<f64>,
    /// Seed of initial weights, order of samples, augmentation and dropout [default: 1]
    #[arg(long, value_name = "N", help_heading = "Training")]
    pub seed: Option<u64>,

    /// Take snapshots every so many batches, or in such intervals (s, min, h), or both, as in 500,10min; the end of every
    /// epoch has one anyway
    #[arg(
        long,
        value_name = "BATCHES,TIME",
        value_delimiter = ',',
        help_heading = "Snapshots"
    )]
    pub snapshot_every: Option<Vec<String>>,
    /// How many of the last snapshots stay, beside the one with the best accuracy; 0 for no snapshots [default: 2]
    #[arg(long, value_name = "N", help_heading = "Snapshots")]
    pub keep_snapshots: Option<usize>,
    /// Start from the parameters and the optimizer state of a run, a snapshot or a weights file, whatever else is different
    #[arg(long, value_name = "PATH", help_heading = "Snapshots")]
    pub resume_weights: Option<PathBuf>,
    /// When the loss is not finite: stop, skip (leave that batch out), or rollback (to the last snapshot, with half the
    /// learning rate) [default: stop]
    #[arg(long, value_name = "WHAT", help_heading = "Snapshots")]
    pub on_nan: Option<String>,
    /// End the run when no stage has completed anything for so many seconds, and say which one the others wait for; 0 for
    /// never [default: 600]
    #[arg(long, value_name = "SECONDS", help_heading = "Snapshots")]
    pub stall_timeout: Option<f64>,

    /// Run folder; must not exist [default: runs/TIME-SCHEDULE-MODEL-DATASET]
    #[arg(short, long, value_name = "DIR", help_heading = "Output")]
    pub output: Option<PathBuf>,
}

impl TrainValues {
    /// The values said here, and for the rest those of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        macro_rules! first {
            ($($field:ident),* $(,)?) => { Self { $($field: self.$field.or(other.$field)),* } };
        }
        first!(
            model,
            dataset,
            data_dir,
            image_size,
            cache_bytes,
            augment,
            workers,
            stages,
            schedule,
            balance,
            engine,
            dtype,
            device,
            devices,
            threads_per_stage,
            tf32,
            deterministic,
            calibration_batches,
            straggler,
            gap_every,
            epochs,
            max_batches,
            max_seconds,
            evaluate,
            batch_size,
            drop_last,
            eval_batch_size,
            optimizer,
            lr,
            lr_schedule,
            lr_steps,
            lr_gamma,
            warmup_batches,
            momentum,
            nesterov,
            weight_decay,
            label_smoothing,
            clip_norm,
            seed,
            snapshot_every,
            keep_snapshots,
            resume_weights,
            on_nan,
            stall_timeout,
            output,
        )
    }
}

/// Flags of `stagger eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The run folder
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Which weights: best, last, or a safetensors file
    #[arg(long, value_name = "WHICH", default_value = "best")]
    pub weights: String,
    /// Where the data set's files are, if not where the run found them
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Samples per batch, if not as in the run
    #[arg(long, value_name = "N")]
    pub eval_batch_size: Option<usize>,
}

/// Flags of `stagger inspect`.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A run folder, a snapshot's folder, or a safetensors file
    #[arg(value_name = "PATH")]
    pub path: PathBuf,
}

/// Flags of `stagger explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The schedule, such as 'dsp(1,1,0;4,2,0)'
    pub schedule: String,
    /// Number of stages, where the schedule does not say it [default: 3]
    #[arg(short = 'k', long, value_name = "K")]
    pub stages: Option<usize>,
    /// Batches to draw
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub batches: usize,
}

/// Flags of `stagger summary`.
#[derive(Debug, Args)]
pub struct SummaryArgs {
    /// The network, such as resnet20
    pub model: String,
    /// Number of stages
    #[arg(short = 'k', long, value_name = "K", default_value_t = 2)]
    pub stages: usize,
    /// The schedule, which decides what each stage keeps
    #[arg(short, long, value_name = "METHOD", default_value = "dsp")]
    pub schedule: String,
    /// How blocks are dealt to stages: auto, uniform, or counts such as 7,4
    #[arg(long, value_name = "CUT", default_value = "auto")]
    pub balance: String,
    /// Samples per batch
    #[arg(short, long, value_name = "N", default_value_t = 64)]
    pub batch_size: usize,
    /// Shape of one image: channels x height x width
    #[arg(long, value_name = "CxHxW", default_value = "3x32x32")]
    pub input: String,
    /// Number of classes
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub classes: usize,
}
