//! What a training run can be told.

mod augment;
mod defaults;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::CPU;
use crate::refusal::Refusal;
pub use augment::Augment;

/// The first whole number in a value that is larger than TOML's.
fn too_large(value: &impl Serialize) -> Option<String> {
    let is_large = |number: &Value| number.is_u64() && !number.is_i64();
    match serde_json::to_value(value).ok()? {
        Value::Array(values) => values
            .iter()
            .find(|value| is_large(value))
            .map(Value::to_string),
        value => is_large(&value).then(|| value.to_string()),
    }
}

/// Defines [`TrainingOptions`]: every field optional.
macro_rules! options {
    ($($(#[$meta:meta])* $name:ident: $kind:ty,)*) => {
        /// Everything that decides what a training run does, as plain values; `None` means "not said here". The same
        /// names in kebab case are the keys of config files and the long flags of `stagger train`.
        #[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct TrainingOptions {
            $($(#[$meta])* pub $name: Option<$kind>,)*
        }

        impl TrainingOptions {
            /// The names of all options, in snake case.
            pub const NAMES: &[&str] = &[$(stringify!($name)),*];

            /// The values said here, and for the rest those of `other`. Where one of `engine` and `engines` is said here, neither
            /// of the other's counts, as both say the same thing; and where no stage is on engine `cpu` then, the other's `winograd` does
            /// not count either.
            #[must_use]
            pub fn or(self, mut other: Self) -> Self {
                if self.engine.is_some() || self.engines.is_some() {
                    (other.engine, other.engines) = (None, None);
                    let names = self.engine.iter().chain(self.engines.iter().flatten());
                    if names.into_iter().all(|name| name != CPU) {
                        other.winograd = None;
                    }
                }
                Self { $($name: self.$name.or(other.$name)),* }
            }

            /// Makes sure that a config can hold all numbers: what a run writes, it has to read again.
            ///
            /// # Errors
            /// [`Refusal::Value`] of the first that is too large.
            pub fn check_numbers(&self) -> Result<(), Refusal> {
                $(if let Some(found) = self.$name.as_ref().and_then(too_large) {
                    return Err(Refusal::Value {
                        option: stringify!($name),
                        found,
                        kind: "a number that a config can hold",
                        expected: "at most 9223372036854775807",
                    });
                })*
                Ok(())
            }

            /// The name of the first option that is said here, and has another value than in each of `usual`.
            pub(crate) fn first_unlike(&self, usual: &[Self]) -> Option<&'static str> {
                $(if self.$name.is_some() && usual.iter().all(|usual| self.$name != usual.$name) {
                    return Some(stringify!($name));
                })*
                None
            }
        }
    };
}

options! {
    /// Name of the network: [`MODEL_NAMES`](stagger_model::MODEL_NAMES); or the path of a file of one's own (with a `/` in it, or ending in
    /// `.toml`; [`Model::from_toml`](stagger_model::Model::from_toml)). Default: `resnet8`.
    model: String,
    /// The text of such a file. A run puts it here, and the name in it into `model`.
    network: String,
    /// Name of the data set: [`NAMES`](stagger_data::NAMES). Default: the one whose files `data_dir` holds; without that,
    /// `shapes`.
    dataset: String,
    /// Folder of the data set's files; `shapes` needs none.
    data_dir: PathBuf,
    /// Side in pixels to which an image folder's pictures are scaled. Default: theirs, if all agree, else 224.
    image_size: usize,
    /// What is seen through transparent parts of an image folder's pictures, as six hexadecimal digits; white without it.
    background: String,
    /// Mean of the images' pixels, scaled to 0…1, that is subtracted from them: one for each channel. Default: that of the training images.
    mean: Vec<f64>,
    /// Standard deviation by which they are divided then: one for each channel. Default: that of the training images.
    std: Vec<f64>,
    /// Share of an image folder's images that is set aside for evaluation, of each class and by the seed, where no folder `val`
    /// holds images for that: above 0 and below 1.
    val_split: f64,
    /// Train on an image folder even if more of its files are left out than used. Default: false.
    allow_left_out: bool,
    /// Leave out an image folder's pictures that do not decode; every picture is decoded before training to find them. Default: false.
    skip_bad_images: bool,
    /// Keep decoded images in memory when they fit into this many bytes. Default: 1 GiB.
    cache_bytes: u64,
    /// How training images are varied: random crops and flips, or as is usual for ImageNet. Default: [`Augment::CropAndFlip`].
    augment: Augment,
    /// How far the colours of training images are changed, as four numbers B, C, S, H: factors of brightness, contrast and saturation differ from 1 by so much at
    /// most, and the hue turns by so much of the circle, at most 0.5.
    color_jitter: Vec<f64>,
    /// RandAugment of the training images, as two numbers: how many operations, and their magnitude from 0 to 30.
    rand_augment: Vec<usize>,
    /// The probability with which a part of a training image is erased. Default: 0.
    random_erasing: f64,
    /// Threads that load and augment images. Default: 1.
    workers: usize,
    /// Number of stages, K. Default: that of the schedule, where its notation says it; else 2.
    stages: usize,
    /// Copies of each stage that share every batch: one number for all stages, or one for each. Default: 1; `dp(R)` has R.
    replicas: Vec<usize>,
    /// Batch normalisation of a stage with replicas is over the whole batch, or micro-batch, instead of each replica's share.
    /// Default: false.
    sync_batch_norm: bool,
    /// Notation of the schedule: [`Schedule::parse`](stagger_schedule::Schedule::parse). Default: `dsp`.
    schedule: String,
    /// How blocks are assigned to stages: `auto` (by an estimate), `profile` (by a short measurement on every rank), the path of a
    /// [`Profile`](stagger_plan::Profile) (with a `/` in it, or ending in `.json`), `uniform`, or counts such as `7,4`. Default:
    /// `auto`.
    balance: String,
    /// Stages that sleep instead of computing, and links on which messages take time: a [profile](stagger_plan::Profile) in a file, or
    /// `equal:40ms` for stages that all take that long for a batch. Nothing is learned then.
    emulate: String,
    /// Engine: `cpu`, or `torch` where it is built in. Default: `cpu`.
    engine: String,
    /// Engine of each stage, from stage 0 up, in place of `engine`. All replicas of a stage have one.
    engines: Vec<String>,
    /// Number format of the passes: `f32`, or with engine `torch` for all stages `bf16`. Default: `f32`.
    dtype: String,
    /// Let engine `cpu` make the sums of 3×3 convolutions by Winograd's method: fewer multiplications, other rounding. Default: true.
    winograd: bool,
    /// Device of all stages on engine `torch`: `cpu`, `cuda`, `cuda:1`. Default: `cpu`.
    device: String,
    /// Device of each stage, or of each replica: stage 0 replica 0, stage 0 replica 1, stage 1 replica 0, and so on. Engine `cpu`
    /// has device `cpu`.
    devices: Vec<String>,
    /// Compute threads of each stage on the CPU. With engine `cpu` their number changes no result. Default: 1.
    threads_per_stage: usize,
    /// Let f32 products on GPUs round their factors to TF32. Default: false.
    tf32: bool,
    /// Give the same bits every time on GPUs too. Default: true.
    deterministic: bool,
    /// What connects the stages of one process: `threads`, or `bytes` (every message goes through the wire format, as
    /// between processes). Default: `threads`.
    transport: String,
    /// Number format of tensors that leave a process, or go through `bytes`: `f32`, or `bf16` for half the traffic.
    /// Default: `f32`.
    wire_dtype: String,
    /// Batches of backpropagation on the same stages, timed before the run for comparison; 0 for none. Default: 40 for
    /// asynchronous schedules when the console shows it, else 0.
    calibration_batches: usize,
    /// Stages that are slowed down on purpose, in the notation of [`Straggler`](stagger_runtime::Straggler).
    straggler: Vec<String>,
    /// Sampling interval of the gap between forward and backward weights, in batches; 0 disables it. Default: 50 for
    /// asynchronous schedules, else 0.
    gap_every: usize,
    /// Passes over the training set. Default: 4.
    epochs: usize,
    /// End after this many batches, whatever `epochs` says.
    max_batches: usize,
    /// End after this many seconds of training, as if the run had been planned to end there. They are counted from each start: a
    /// run that is resumed has as many again, or no limit where this is not said.
    #[serde(alias = "seconds")]
    max_seconds: f64,
    /// End when an evaluation has this top-1 accuracy, in percent, as if the run had been planned to end there.
    target: f64,
    /// End when so many evaluations in a row have not been better than the best before them, as if the run had been planned to end there.
    patience: usize,
    /// Evaluate after every epoch and at the end. Default: true.
    evaluate: bool,
    /// Samples per batch. Default: 64.
    batch_size: usize,
    /// Leave out the last batch of an epoch when it is smaller. Default: false.
    drop_last: bool,
    /// Samples per batch of the evaluation. Default: the batch size.
    eval_batch_size: usize,
    /// Optimizer: [`Optimizer::NAMES`](stagger_engine::Optimizer::NAMES). Default: `momentum`.
    #[serde(alias = "opt")]
    optimizer: String,
    /// Peak learning rate. Default: 0.1; for `adamw` 0.001, for `lion` 0.0003, for `lars` 1.
    lr: f64,
    /// Learning rate over time: `constant`, `step`, `cosine`, `restarts` (cosines one after another), `polynomial`, `one-cycle`.
    /// Default: `cosine`.
    lr_schedule: String,
    /// Epochs at which the step schedule lowers the rate. Default: half and three quarters.
    lr_steps: Vec<usize>,
    /// Factor of each step. Default: 0.1.
    lr_gamma: f64,
    /// Rate at the end of `cosine`, of `polynomial`, and of each cosine of `restarts`, at most `lr`. Default: 0.
    lr_last: f64,
    /// Exponent of `polynomial`: 1 for a line. Default: 1.
    lr_power: f64,
    /// Epochs of the first cosine of `restarts`, and what each length after it is multiplied by (1 without that). Default: two
    /// cosines, from the end of warm-up to the end of the run.
    lr_restart: Vec<usize>,
    /// Batches of warm-up, w: batch j of them has (j + 1)/(w + 1) of the rate, and batch w is the first at the full rate. Default: a
    /// tenth of the run, at most 200. With `one-cycle` those of its way up. Default there: three tenths of the run.
    warmup_batches: usize,
    /// Momentum of `momentum` and `lars`. Default: 0.9.
    momentum: f64,
    /// Nesterov momentum. Default: false.
    nesterov: bool,
    /// How far `lars` moves the weights of a layer at rate 1, as a share of their length. Default: 0.01.
    trust: f64,
    /// Weight decay. Default: 0.0005.
    #[serde(alias = "wd")]
    weight_decay: f64,
    /// Which parameters decay: `all`, or `weights` (those of convolutions and linear layers, without biases and the scales and
    /// shifts of batch normalisation). Default: `all`.
    weight_decay_on: String,
    /// Fine-tuning: the first so many stages keep their weights and running statistics. Default: 0.
    freeze_stages: usize,
    /// Fine-tuning: what the learning rate of the last linear layer is multiplied by. Default: 1.
    head_lr_factor: f64,
    /// Keep the running mean of the weights, with this share of the mean so far in every update, above 0 and below 1, such as 0.999; evaluate it
    /// beside the weights, and write it.
    ema: f64,
    /// mixup: every image of a batch is blended with the one before it, by a share from `Beta(α, α)` with this α, such as 0.2; labels
    /// likewise.
    mixup: f64,
    /// CutMix: every image of a batch has a part of the one before it, of a size from `Beta(α, α)` with this α, such as 1; labels likewise. With
    /// `mixup` too, each batch takes one of both, at random.
    cutmix: f64,
    /// Label smoothing, 0 to below 1. Default: 0.
    label_smoothing: f64,
    /// Scale the gradient down to this norm when it is larger. By schedules whose updates wait for all stages
    /// ([`Schedule::is_synchronous`](stagger_schedule::Schedule::is_synchronous)) it is the norm over all of them; by others each stage
    /// clips its own gradient.
    clip_norm: f64,
    /// Seed of initial weights, order of samples, augmentation and dropout. Default: 1.
    seed: u64,
    /// Intervals between snapshots: a number of batches, a time (`90s`, `10min`, `2h`), or one of each. The end of every
    /// epoch has a snapshot anyway.
    snapshot_every: Vec<String>,
    /// How many of the last snapshots are kept, beside the one with the best accuracy; 0 for no snapshots. Default: 2.
    keep_snapshots: usize,
    /// Start from the parameters and the optimizer state of a run, a snapshot or a weights file.
    resume_weights: PathBuf,
    /// Start from the parameters and running statistics of a weights file, a run or a snapshot, without its optimizer state. The
    /// last linear layer starts anew where it does not fit. Excludes `resume_weights`.
    pretrained: PathBuf,
    /// What happens when the loss is not finite: `stop`, `skip` (leave that batch out), or `rollback` (to the last
    /// snapshot, with half the learning rate). Default: `stop`.
    on_nan: String,
    /// End the run when no stage has completed anything for so many seconds; 0 for never. Default: 600.
    stall_timeout: f64,
    /// The run folder; must not exist. Default: `runs/TIME-SCHEDULE-MODEL-DATASET`.
    output: PathBuf,
}
