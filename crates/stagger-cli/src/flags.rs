//! The command line as written: every value optional, no checks across values, no side effects.
//!
//! Flags of a training run become [`TrainingOptions`](stagger::TrainingOptions), which a config file has too;
//! defaults < file < flags. What they mean, and whether they suit each other, the library knows.

mod amounts;
pub mod bench;
pub mod compare;
pub mod data;
mod options;
pub mod pipeline;
mod plan;
mod predict;
pub mod profile;
mod rank_timeout;
mod report;
mod shape;
mod simulate;
pub mod sweep;
pub mod theory;
pub mod train;
mod watch;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub use bench::BenchArgs;
pub use compare::CompareArgs;
pub use data::{DataArgs, DataCommand, InspectDataArgs};
pub use plan::PlanArgs;
pub use predict::PredictArgs;
pub use profile::ProfileArgs;
pub use report::ReportArgs;
pub use shape::input_shape;
pub use simulate::SimulateArgs;
pub use sweep::SweepArgs;
pub use theory::TheoryArgs;
pub use train::TrainArgs;
pub use watch::WatchArgs;

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
    #[command(after_help = TRAIN_EXAMPLES, args_override_self = true, allow_negative_numbers = true)]
    Train(TrainArgs),
    /// Evaluate the weights of a run
    #[command(allow_negative_numbers = true)]
    Eval(EvalArgs),
    /// Say what pictures show, by the weights of a run
    #[command(after_help = predict::EXAMPLES)]
    Predict(PredictArgs),
    /// Look at images before training on them
    Data(DataArgs),
    /// Print what a snapshot, a weights file or a run folder holds
    Inspect(InspectArgs),
    /// Make a page of runs: curves, stages, epochs; also of a run that still trains
    #[command(after_help = report::EXAMPLES)]
    Report(ReportArgs),
    /// Show a run on the terminal, live or finished: stages, curves, what is unusual
    #[command(after_help = watch::EXAMPLES, allow_negative_numbers = true)]
    Watch(WatchArgs),
    /// Copy weights to a safetensors file, under the names that another program has for them
    #[command(after_help = WEIGHTS_EXAMPLES)]
    Weights(WeightsArgs),
    /// Explain a schedule: its grid over time, staleness, queues, locks, memory
    #[command(after_help = EXPLAIN_EXAMPLES, allow_negative_numbers = true)]
    Explain(ExplainArgs),
    /// Measure the constants of the convergence theorems on a model and its data, and say which learning rate they allow
    #[command(
        after_help = theory::EXAMPLES,
        args_override_self = true,
        allow_negative_numbers = true,
        mut_arg("schedule", |schedule| schedule.help(theory::SCHEDULE)),
        mut_arg("optimizer", |optimizer| optimizer.help(theory::OPTIMIZER)),
        mut_arg("epochs", |epochs| epochs.help(theory::EPOCHS)),
        mut_arg("max_batches", |batches| batches.help(theory::MAX_BATCHES)),
        mut_arg("lr", |rate| rate.help(theory::LR)),
        mut_arg("lr_schedule", |schedule| schedule.help(theory::LR_SCHEDULE)),
        mut_arg("warmup_batches", |batches| batches.help(theory::WARMUP_BATCHES)),
        mut_arg("trust", |trust| trust.hide(true)),
        mut_arg("momentum", |momentum| momentum.help(theory::MOMENTUM)),
        mut_arg("emulate", |emulate| emulate.hide(true)),
        mut_arg("replicas", |replicas| replicas.hide(true)),
        mut_arg("sync_batch_norm", |sync| sync.hide(true))
    )]
    Theory(TheoryArgs),
    /// Print a model's layers and what each stage costs
    #[command(
        allow_negative_numbers = true,
        mut_arg("engine", |engine| engine.help(pipeline::ESTIMATED_ENGINE))
    )]
    Summary(SummaryArgs),
    /// Find the method, cut and staleness that are fastest on given devices, by a profile
    #[command(after_help = plan::EXAMPLES, allow_negative_numbers = true)]
    Plan(PlanArgs),
    /// Simulate a schedule: what it would reach with given durations
    #[command(
        after_help = simulate::EXAMPLES,
        allow_negative_numbers = true,
        mut_arg("engine", |engine| engine.help(simulate::ENGINE))
    )]
    Simulate(SimulateArgs),
    /// Measure the speed of a pipeline on fixed random images
    #[command(after_help = bench::EXAMPLES, allow_negative_numbers = true)]
    Bench(BenchArgs),
    /// Measure what each block, stage and link takes, for --balance FILE and for planning
    #[command(
        after_help = profile::EXAMPLES,
        allow_negative_numbers = true,
        mut_arg("balance", |balance| balance.help(profile::BALANCE)),
        mut_arg("emulate", |emulate| emulate.hide(true))
    )]
    Profile(ProfileArgs),
    /// Compare methods: speed, accuracy, memory, staleness; as tables, files and a report
    #[command(
        after_help = compare::EXAMPLES,
        args_override_self = true,
        allow_negative_numbers = true,
        mut_arg("schedule", |schedule| schedule.hide(true)),
        mut_arg("seed", |seed| seed.hide(true)),
        mut_arg("calibration_batches", |batches| batches.help(compare::CALIBRATION)),
        mut_arg("target", |target| target.help(compare::TARGET).help_heading("Comparison")),
        mut_arg("patience", |patience| patience.hide(true)),
        mut_arg("output", |output| output.help(compare::OUTPUT))
    )]
    Compare(CompareArgs),
    /// Try values of options: each combination, or some drawn at random; as a table, best first
    #[command(
        after_help = sweep::EXAMPLES,
        args_override_self = true,
        allow_negative_numbers = true,
        mut_arg("calibration_batches", |batches| batches.help(compare::CALIBRATION)),
        mut_arg("output", |output| output.help(sweep::OUTPUT))
    )]
    Sweep(SweepArgs),
}

const TRAIN_EXAMPLES: &str = "\
Examples:
  stagger train
  stagger train --schedule 'dsp(1,1,0;4,2,0)' --stages 3
  stagger train --schedule bp --stages 1 --output runs/bp
  stagger train --output runs/a --snapshot-every 500,10min
  stagger train --resume runs/a
  stagger train --config configs/cifar10-resnet20.toml --data-dir ~/data/cifar-10-images";

const WEIGHTS_EXAMPLES: &str = "\
Examples:
  stagger weights runs/a a.safetensors --names torchvision
  stagger weights resnet18.pth own.safetensors --model resnet18";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  stagger explain 'dsp(1,1,0;4,2,0)'
  stagger explain dsp --stages 4 --batches 16
  stagger explain bp --stages 3";

/// Flags of `stagger eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The run folder
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Which weights: best, last, average (of a run with --ema), or a safetensors file
    #[arg(long, value_name = "WHICH", default_value = "best")]
    pub weights: String,
    /// Where the data set's files are, if not where the run found them
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Print the accuracy of each class and the most frequent confusions, too
    #[arg(long)]
    pub per_class: bool,
    /// Write which classes are taken for which to a new file: .csv, .svg or .txt
    #[arg(long, value_name = "FILE")]
    pub confusion: Option<PathBuf>,
    /// Which images of an image folder: val, those that choose the best weights, or test [default: val; test where there is no
    /// val]
    #[arg(long, value_name = "SPLIT", value_parser = ["val", "test"])]
    pub split: Option<String>,
    /// Evaluate on an image folder even if more of its files are left out than used
    #[arg(long)]
    pub allow_left_out: bool,
    /// Leave out an image folder's pictures that do not decode
    #[arg(long)]
    pub skip_bad_images: bool,
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

/// Flags of `stagger weights`.
#[derive(Debug, Args)]
pub struct WeightsArgs {
    /// A run folder (its best weights, or else its last ones), a snapshot's folder, or a weights file (safetensors, .pth)
    #[arg(value_name = "PATH")]
    pub from: PathBuf,
    /// The safetensors file to write; must not exist
    #[arg(value_name = "FILE")]
    pub to: PathBuf,
    /// Whose names the tensors get: own (as in run folders), torchvision, timm, or cifar (those of the usual ports for CIFAR)
    #[arg(long, value_name = "WHOSE", default_value = "own")]
    pub names: String,
    /// The network, such as resnet20, where PATH does not say it
    #[arg(long, value_name = "NAME")]
    pub model: Option<String>,
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
    /// The network, such as resnet20, or a TOML file of layers, such as ./my.toml
    pub model: String,
    /// Number of stages; a schedule's notation may say it [default: 2]
    #[arg(short = 'k', long, value_name = "K")]
    pub stages: Option<usize>,
    /// The schedule, which decides what each stage keeps
    #[arg(short, long, value_name = "METHOD", default_value = "dsp")]
    pub schedule: String,
    /// How blocks are assigned to stages: auto, uniform, a FILE of stagger profile, or counts such as 7,4
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
    /// The engine that times are estimated for.
    #[command(flatten)]
    pub compute: pipeline::ComputeFlags,
}
