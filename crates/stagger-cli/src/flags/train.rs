//! Flags of `stagger train`.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args};
use stagger::{Augment, TrainingOptions};

use super::amounts::trimmed;
use super::options::flags;
use super::pipeline::{EngineFlags, PipelineFlags};
use super::rank_timeout::rank_timeout;

/// Flags of `stagger train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Read values from a TOML file, which flags override; its keys are the names of these flags (but for --accept-changed-data, --config,
    /// --metrics-listen, --profile-ops, --rank-timeout, --resume, --tensorboard, --trace, --tui)
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub config: Option<PathBuf>,
    /// Resume a run: its folder, or one of its snapshots; auto takes the folder of --output, or else the
    /// unfinished run that was written last, and starts a new one when there is none
    #[arg(long, value_name = "RUN", help_heading = "Snapshots")]
    pub resume: Option<PathBuf>,
    /// Resume with images that have changed since, such as repaired files, where there are as many as before
    #[arg(long, requires = "resume", help_heading = "Snapshots")]
    pub accept_changed_data: bool,
    /// Time every kind of kernel, and print it at the end
    #[arg(long, help_heading = "Output")]
    pub profile_ops: bool,
    /// Write what every stage does when in the first 1000 batches (fewer, with many micro-batches) to this file, which must not exist (a
    /// resumed run writes beside it); `stagger report --trace` draws it, and ui.perfetto.dev and chrome://tracing show it
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub trace: Option<PathBuf>,
    /// Write scalars and histograms for TensorBoard into this folder; what event files there have from the first step of this run on is replaced, as after
    /// a resume
    #[arg(long, value_name = "DIR", help_heading = "Output")]
    pub tensorboard: Option<PathBuf>,
    /// Show figures of the run to Prometheus at http://HOST:PORT/metrics for as long as it lasts, such as 127.0.0.1:9100; at an address
    /// that is not this machine's alone, others can read them
    #[arg(long, value_name = "HOST:PORT", help_heading = "Output")]
    pub metrics_listen: Option<String>,
    /// Show the run on the terminal while it trains, as stagger watch shows it, with what each stage does now; its lines go to run.log
    #[arg(long, help_heading = "Output")]
    pub tui: bool,
    /// Over several processes: end the run when a rank has not been heard of for so long, at least 3; 0 waits for ever [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = rank_timeout, help_heading = "Pipeline")]
    pub rank_timeout: Option<Duration>,
    /// The options.
    #[command(flatten)]
    pub flags: TrainFlags,
}

/// Reads a word of `--augment`, and lists them all where it is none.
pub(super) fn augment() -> impl TypedValueParser<Value = Augment> {
    PossibleValuesParser::new(Augment::WORDS).try_map(|word| word.parse::<Augment>())
}

/// A flag for each of [`TrainingOptions`].
#[derive(Args, Clone, Debug)]
pub struct TrainFlags {
    #[command(flatten)]
    data: DataFlags,
    #[command(flatten)]
    pipeline: PipelineFlags,
    #[command(flatten)]
    engine: EngineFlags,
    #[command(flatten)]
    batches: BatchFlags,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    optimizer: OptimizerFlags,
    #[command(flatten)]
    loss: LossFlags,
    #[command(flatten)]
    keep: KeepFlags,
}

impl TrainFlags {
    /// What they say.
    pub fn options(&self) -> TrainingOptions {
        (self.data.options())
            .or(self.pipeline.options())
            .or(self.engine.options())
            .or(self.batches.options())
            .or(self.run.options())
            .or(self.optimizer.options())
            .or(self.loss.options())
            .or(self.keep.options())
    }
}

flags! {
    /// Network and images.
    #[command(next_help_heading = "Model and data")]
    pub struct DataFlags {
        /// Network: resnet8 … resnet110, preact-resnet110, resnet164, wrn-28-10, resnext29-8x64d, densenet-bc-100-12, resnet18-cifar,
        /// resnet18 … resnet152, resnext50-32x4d, mobilenet-v2, vgg11-bn, vgg16-bn; or a TOML file of layers, such as ./my.toml
        /// [default: resnet8]
        #[arg(long, value_name = "NAME")]
        model: String,
        /// Data set: shapes, cifar10, cifar100, mnist, fashion-mnist, emnist, kmnist, qmnist, image-folder [default: the one that
        /// --data-dir holds; without that, shapes]
        #[arg(long, value_name = "NAME")]
        dataset: String,
        /// Where the data set's files are (shapes needs none)
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// Side in pixels to which an image folder's pictures are brought [default: theirs, if all agree, else 224]
        #[arg(long, value_name = "PIXELS")]
        image_size: usize,
        /// Colour behind transparent parts of an image folder's pictures, such as 000000 [default: ffffff]
        #[arg(long, value_name = "RRGGBB")]
        background: String,
        /// Mean of pixels by channel, scaled to 0…1, such as 0.485,0.456,0.406 [default: that of the training images]
        #[arg(long, value_name = "M,…", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<f64>, allow_negative_numbers = true)]
        mean: Vec<f64>,
        /// Their standard deviation, such as 0.229,0.224,0.225 [default: that of the training images]
        #[arg(long, value_name = "S,…", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<f64>, allow_negative_numbers = true)]
        std: Vec<f64>,
        /// Share of an image folder's images that is set aside for evaluation, of each class and by the seed, where no folder
        /// val holds images for that; such as 0.1
        #[arg(long, value_name = "SHARE")]
        val_split: f64,
        /// Train on an image folder even if more of its files are left out than used [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        allow_left_out: bool,
        /// Leave out an image folder's pictures that do not decode; every picture is decoded before training to find them [default:
        /// false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        skip_bad_images: bool,
        /// Keep decoded images in memory when they fit into this many bytes [default: 1 GiB]
        #[arg(long, value_name = "BYTES")]
        cache_bytes: u64,
        /// How training images are varied: true for random crops and flips, false for not at all, imagenet for random resized crops
        /// of an image folder's pictures and flips, evaluated on the centre of the resized picture [default: true]
        #[arg(long, value_name = "WORD", num_args = 0..=1, default_missing_value = "true", value_parser = augment())]
        augment: Augment,
        /// Change brightness, contrast and saturation of training images by factors that differ from 1 by so much at most, and turn
        /// their hue by so much of the circle (0 to 0.5), in random order; such as 0.4,0.4,0.4,0.1
        #[arg(long, value_name = "B,C,S,H", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<f64>)]
        color_jitter: Vec<f64>,
        /// RandAugment: N of 14 operations on each training image, of magnitude M (0 to 30); such as 2,9
        #[arg(long, value_name = "N,M", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<usize>)]
        rand_augment: Vec<usize>,
        /// Erase a random part of a training image, after normalisation, with this probability [default: 0]
        #[arg(long, value_name = "P")]
        random_erasing: f64,
        /// Threads that load and augment images [default: 1]
        #[arg(short = 'j', long, value_name = "N")]
        workers: usize,
    }
}

flags! {
    /// The batches of a run.
    #[command(next_help_heading = "Training")]
    pub struct BatchFlags {
        /// Passes over the training set [default: 4]
        #[arg(long, value_name = "N")]
        epochs: usize,
        /// End after this many batches, whatever --epochs says
        #[arg(long, value_name = "N")]
        max_batches: usize,
        /// Samples per batch [default: 64]
        #[arg(short, long, value_name = "N")]
        batch_size: usize,
        /// Leave out the last batch of an epoch when it is smaller [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        drop_last: bool,
    }
}

flags! {
    /// How else it ends, and what is done beside training.
    #[command(next_help_heading = "Training")]
    pub struct RunFlags {
        /// Batches of backpropagation on the same stages, timed before the run for comparison; 0 for
        /// none [default: 40 for asynchronous schedules]
        #[arg(long, value_name = "N", help_heading = "Pipeline")]
        calibration_batches: usize,

        /// Slow a stage down by a share of its own compute time, such as stage=1,probability=0.33,slowdown=100%; stage=* means
        /// all, kind= constant, random or burst; may be given several times
        #[arg(long, value_name = "SPEC", help_heading = "Pipeline")]
        straggler: Vec<String>,
        /// What connects the stages of one process: threads, or bytes (through the wire format, as between processes) [default:
        /// threads]
        #[arg(long, value_name = "NAME", help_heading = "Pipeline")]
        transport: String,
        /// Number format of tensors that leave a process, or go through bytes: f32, or bf16 for half the traffic [default: f32]
        #[arg(long, value_name = "NAME", help_heading = "Pipeline")]
        wire_dtype: String,
        /// Measure how far weights move between forward and backward every N batches; 0 for never [default: 50 for
        /// asynchronous schedules]
        #[arg(long, value_name = "N", help_heading = "Pipeline")]
        gap_every: usize,

        /// End after this many seconds of training, as if the run had been planned to end there; a resumed run has as many again
        #[arg(long, visible_alias = "seconds", value_name = "SECONDS")]
        max_seconds: f64,
        /// End when an evaluation reaches this accuracy
        #[arg(long, value_name = "PERCENT")]
        target: f64,
        /// End when so many evaluations in a row are not better than the best before them
        #[arg(long, value_name = "N")]
        patience: usize,
        /// Evaluate after every epoch and at the end [default: true]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        evaluate: bool,
        /// Samples per batch of the evaluation [default: the batch size]
        #[arg(long, value_name = "N")]
        eval_batch_size: usize,
    }
}

flags! {
    /// How gradients become updates.
    #[command(next_help_heading = "Training")]
    pub struct OptimizerFlags {
        /// Optimizer: sgd, momentum, adamw, lars, lion [default: momentum]
        #[arg(long, visible_alias = "opt", value_name = "NAME")]
        optimizer: String,
        /// Peak learning rate [default: 0.1; for adamw 0.001, for lion 0.0003, for lars 1]
        #[arg(long, value_name = "RATE")]
        lr: f64,
        /// Learning rate over time: constant, step, cosine, restarts (cosines one after another), polynomial, one-cycle [default:
        /// cosine]
        #[arg(long, value_name = "NAME")]
        lr_schedule: String,
        /// Epochs at which the step schedule lowers the rate [default: half and three quarters]
        #[arg(long, value_name = "EPOCHS", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<usize>)]
        lr_steps: Vec<usize>,
        /// Factor of each step [default: 0.1]
        #[arg(long, value_name = "FACTOR")]
        lr_gamma: f64,
        /// Rate at the end of cosine, of polynomial, and of each cosine of restarts [default: 0]
        #[arg(long, value_name = "RATE")]
        lr_last: f64,
        /// Exponent of polynomial [default: 1]
        #[arg(long, value_name = "POWER")]
        lr_power: f64,
        /// Epochs of the first cosine of restarts, and what each length after it is multiplied by, such as 10,2 [default: two
        /// cosines from warm-up to the end of the run]
        #[arg(long, value_name = "EPOCHS,FACTOR", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<usize>)]
        lr_restart: Vec<usize>,
        /// Batches over which the rate rises linearly, batch j of w having (j+1)/(w+1) of it [default: a tenth of the run, at most 200];
        /// with one-cycle those of its way up [default: three tenths]
        #[arg(long, value_name = "N")]
        warmup_batches: usize,
        /// Momentum of momentum and lars [default: 0.9]
        #[arg(long, value_name = "FACTOR")]
        momentum: f64,
        /// Nesterov momentum [default: false]
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        nesterov: bool,
        /// How far lars moves the weights of a layer at rate 1, as a share of their length [default: 0.01]
        #[arg(long, value_name = "SHARE")]
        trust: f64,
        /// Weight decay [default: 0.0005]
        #[arg(long, visible_alias = "wd", value_name = "FACTOR")]
        weight_decay: f64,
        /// Which parameters decay: all, or weights (no biases, and no scales and shifts of batch normalisation) [default: all]
        #[arg(long, value_name = "WHICH")]
        weight_decay_on: String,
    }
}

flags! {
    /// What else belongs to the loss and its gradient.
    #[command(next_help_heading = "Training")]
    pub struct LossFlags {
        /// Blend every image of a batch with the one before it, by a share from Beta(ALPHA, ALPHA), such as 0.2; labels likewise
        #[arg(long, value_name = "ALPHA")]
        mixup: f64,
        /// Paste a part of the image before it into every image of a batch, of a size from Beta(ALPHA, ALPHA), such as 1; labels likewise.
        /// With --mixup too, each batch takes one of both at random
        #[arg(long, value_name = "ALPHA")]
        cutmix: f64,
        /// Label smoothing, 0 to below 1 [default: 0]
        #[arg(long, value_name = "SHARE")]
        label_smoothing: f64,
        /// Scale the gradient down to this norm when it is larger. By methods whose updates wait for all stages it is the norm over all of
        /// them; by others each stage clips its own gradient
        #[arg(long, value_name = "NORM")]
        clip_norm: f64,
        /// Seed of initial weights, order of samples, augmentation and dropout [default: 1]
        #[arg(long, value_name = "N")]
        seed: u64,
    }
}

flags! {
    /// What else is done to the network, and what is left of the run.
    #[command(next_help_heading = "Training")]
    pub struct KeepFlags {
        /// Keep the running mean of the weights (EMA), with this share of the mean so far in every update, such as 0.999; it is evaluated beside
        /// the weights and written to average.safetensors
        #[arg(long, value_name = "SHARE")]
        ema: f64,
        /// Fine-tuning: the first so many stages keep their weights and running statistics [default: 0]
        #[arg(long, value_name = "N")]
        freeze_stages: usize,
        /// Fine-tuning: what the learning rate of the last linear layer is multiplied by [default: 1]
        #[arg(long, value_name = "FACTOR")]
        head_lr_factor: f64,
        /// Take snapshots every so many batches, or in such intervals (s, min, h), or both, as in 500,10min; the end of every
        /// epoch has one anyway
        #[arg(
            long,
            value_name = "BATCHES,TIME",
            value_delimiter = ',',
            help_heading = "Snapshots"
        )]
        snapshot_every: Vec<String>,
        /// How many of the last snapshots stay, beside the one with the best accuracy; 0 for no snapshots [default: 2]
        #[arg(long, value_name = "N", help_heading = "Snapshots")]
        keep_snapshots: usize,
        /// Start from the parameters and the optimizer state of a run, a snapshot or a weights file, whatever else is different; a
        /// weights file (safetensors, .pth) has no optimizer state, and sets nothing but the weights of version 0
        #[arg(long, value_name = "PATH", help_heading = "Snapshots")]
        resume_weights: PathBuf,
        /// Fine-tune: start from the weights of a file (safetensors, .pth), a run or a snapshot, without optimizer state; the last
        /// linear layer starts anew where it has another number of classes
        #[arg(long, value_name = "FILE", help_heading = "Snapshots")]
        pretrained: PathBuf,
        /// When the loss is not finite: stop, skip (leave that batch out), or rollback (to the last snapshot, with half the
        /// learning rate) [default: stop]
        #[arg(long, value_name = "WHAT", help_heading = "Snapshots")]
        on_nan: String,
        /// End the run when no stage has completed anything for so many seconds, and say which one the others wait for; 0 for
        /// never [default: 600]
        #[arg(long, value_name = "SECONDS", help_heading = "Snapshots")]
        stall_timeout: f64,

        /// Run folder; must not exist [default: runs/TIME-SCHEDULE-MODEL-DATASET]
        #[arg(short, long, value_name = "DIR", help_heading = "Output")]
        output: PathBuf,
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};
    use stagger::config_file::FLAGS_ONLY;

    use super::*;
    use crate::flags::{Cli, Command};

    /// Flags that are no options say where options are from, or how a run is watched.
    fn is_no_option(name: &str) -> bool {
        name == "help" || FLAGS_ONLY.contains(&name.replace('_', "-").as_str())
    }

    #[test]
    fn the_help_of_config_names_the_flags_that_are_no_keys() {
        let mut cli = Cli::command();
        cli.build();
        let train = cli.find_subcommand("train").unwrap();
        let long = |name: &str| {
            let mut flags = train.get_arguments();
            flags.find(|flag| flag.get_long() == Some(name)).unwrap()
        };
        let help = long("config").get_help().unwrap().to_string();
        let (_, named) = help.split_once("(but for ").unwrap();
        let named = named.trim_end_matches(')').split(", ");
        let named: Vec<&str> = named.map(|flag| flag.trim_start_matches('-')).collect();
        assert_eq!(named, FLAGS_ONLY);
        for name in FLAGS_ONLY {
            long(name);
        }
    }

    #[test]
    fn every_option_has_a_flag_and_every_flag_an_option() {
        let mut cli = Cli::command();
        cli.build();
        let train = cli.find_subcommand("train").unwrap();
        let flags = train.get_arguments().filter_map(|flag| {
            let name = flag.get_long()?.replace('-', "_");
            assert!(flag.get_help().is_some(), "{name}");
            Some(name)
        });
        let flags: Vec<String> = flags.filter(|name| !is_no_option(name)).collect();
        let mut expected = TrainingOptions::NAMES.to_vec();
        // What is in it has a file of its own, which `--model` names.
        expected.retain(|name| *name != "network");
        let mut found: Vec<&str> = flags.iter().map(String::as_str).collect();
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected);
    }

    /// Every flag, given a value, is in the options under its own name.
    #[test]
    fn flags_become_the_options_of_their_names() {
        for name in TrainingOptions::NAMES
            .iter()
            .filter(|name| **name != "network")
        {
            let flag = format!("--{}", name.replace('_', "-"));
            let said = ["true", "1", "0.5"].into_iter().find_map(|value| {
                let words = ["stagger", "train", &flag, value];
                let cli = Cli::try_parse_from(words).ok()?;
                let Command::Train(arguments) = cli.command else {
                    return None;
                };
                Some(arguments.flags.options())
            });
            let said = toml::Table::try_from(said.unwrap()).unwrap();
            let keys: Vec<String> = said.keys().map(|key| key.replace('-', "_")).collect();
            assert_eq!(keys, [*name]);
        }
    }

    /// The default value that the help shows is the default.
    #[test]
    fn help_shows_the_defaults() {
        let mut cli = Cli::command();
        cli.build();
        let train = cli.find_subcommand("train").unwrap();
        let defaults = toml::Table::try_from(TrainingOptions::defaults()).unwrap();
        for (key, value) in &defaults {
            let flag = train
                .get_arguments()
                .find(|flag| flag.get_long() == Some(key));
            let help = flag.and_then(|flag| flag.get_help()).unwrap().to_string();
            let shown = match value {
                toml::Value::String(text) if key == "dataset" => {
                    format!("the one that --data-dir holds; without that, {text}")
                }
                toml::Value::String(text) => text.clone(),
                toml::Value::Integer(bytes) if key == "cache-bytes" => {
                    format!("{} GiB", bytes >> 30)
                }
                toml::Value::Float(number) => number.to_string(),
                other => other.to_string(),
            };
            assert!(
                help.ends_with(&format!("[default: {shown}]")),
                "{key}: {help}"
            );
        }
    }
}
