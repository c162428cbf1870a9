//! Options that are wrong, or that do not suit each other.

use std::fmt;
use std::path::PathBuf;

use stagger_engine::Precision;
use stagger_runtime::{CorrectionError, ReplicasError};

use crate::error::Source;

/// How a sentence names options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelling {
    /// As fields of [`TrainingOptions`](crate::TrainingOptions): `batch_size`, in backticks.
    #[default]
    Fields,
    /// As flags of a command line: `--batch-size`.
    Flags,
}

impl Spelling {
    /// The name of an option that is given in snake case.
    pub fn name(self, option: &str) -> String {
        match self {
            Self::Fields => format!("`{option}`"),
            Self::Flags => format!("--{}", option.replace('_', "-")),
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Fields => "option",
            Self::Flags => "flag",
        }
    }
}

/// Why a run is refused before it begins. `option` is the field of [`TrainingOptions`](crate::TrainingOptions) at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// A path is empty.
    EmptyPath {
        /// The option.
        option: &'static str,
    },
    /// A path begins with `~`, which a shell would have replaced by the home folder.
    Tilde {
        /// The option.
        option: &'static str,
        /// The path.
        path: PathBuf,
    },
    /// A count is 0.
    Zero {
        /// The option.
        option: &'static str,
    },
    /// A number is outside its range.
    Value {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// What it should be, with an article: `a duration`.
        kind: &'static str,
        /// The range, with an example.
        expected: &'static str,
    },
    /// A value that its reader refuses.
    Unreadable {
        /// The option.
        option: &'static str,
        /// What is wrong with it.
        source: Source,
    },
    /// A name that does not exist.
    Unknown {
        /// What is named: `optimizer`.
        kind: &'static str,
        /// The name.
        found: String,
        /// The names that exist.
        expected: &'static str,
    },
    /// A word that is none of the choices.
    Choice {
        /// The option.
        option: &'static str,
        /// The word.
        found: String,
        /// The choices.
        expected: &'static str,
    },
    /// An option that has no effect beside the value of another one.
    Unused {
        /// The option.
        option: &'static str,
        /// The other option.
        beside: &'static str,
        /// Its value.
        found: String,
        /// The value with which `option` has an effect.
        expected: &'static str,
    },
    /// An option that is fixed already by an object that was given.
    Fixed {
        /// The option.
        option: &'static str,
        /// The object: `optimizer`.
        by: &'static str,
    },
    /// An option that needs a run folder, in a run without one.
    NeedsFolder {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
    },
    /// More epochs than any run needs.
    Epochs {
        /// The epochs.
        found: usize,
        /// The most there may be.
        most: usize,
    },
    /// Learning-rate steps in a wrong order.
    LrSteps,
    /// A straggler of a stage that does not exist.
    Straggler {
        /// The straggler.
        text: String,
        /// Its stage.
        stage: usize,
        /// The last stage.
        last: usize,
    },
    /// An interval between snapshots is neither a number nor a time.
    SnapshotEvery {
        /// What was given.
        found: String,
    },
    /// An interval between snapshots of 0 batches.
    SnapshotEveryZero,
    /// Two intervals between snapshots of one kind.
    SnapshotEveryTwice {
        /// The second.
        found: String,
    },
    /// `f64` is not a format to train in.
    GradientCheckFormat,
    /// The engine does not compute in this format.
    Format {
        /// The engine.
        engine: &'static str,
        /// The format.
        found: Precision,
    },
    /// The engine has another name by now.
    Renamed {
        /// Its old name.
        found: &'static str,
        /// Its name.
        expected: &'static str,
    },
    /// One engine does not compute in this format, and others do.
    StageFormat {
        /// The first stage that it runs.
        stage: usize,
        /// The engine.
        engine: &'static str,
        /// The format.
        found: Precision,
    },
    /// Both the engine of all stages and those of each are given.
    EngineTwice,
    /// There are more or fewer engines than stages.
    Engines {
        /// Engines.
        found: usize,
        /// Stages.
        stages: usize,
    },
    /// This program is built without engine `torch`.
    NoTorch,
    /// Both the device of all stages and those of each are given.
    DeviceTwice,
    /// There are neither as many devices as stages nor as many as places.
    Devices {
        /// Devices.
        found: usize,
        /// Stages.
        stages: usize,
        /// Replicas of all stages.
        places: usize,
    },
    /// A device that the engine of its stage does not have.
    StageDevice {
        /// The stage.
        stage: usize,
        /// Its engine.
        engine: &'static str,
        /// The device.
        found: String,
    },
    /// Replicas of one stage on a processor and on a GPU.
    ReplicaDevices {
        /// The stage.
        stage: usize,
        /// A device of the one kind.
        one: String,
        /// A device of the other.
        other: String,
    },
    /// Options of CUDA devices, and no such device is used.
    NoCuda,
    /// A batch is too small for its micro-batches or for batch normalisation.
    BatchSize {
        /// The batch size.
        found: usize,
        /// The model.
        model: String,
        /// The schedule.
        schedule: String,
        /// What needs how many samples.
        reason: String,
        /// The smallest batch size that works.
        least: usize,
    },
    /// The last batch of an epoch is too small.
    LastBatch {
        /// The batch size.
        batch_size: usize,
        /// Training samples.
        samples: usize,
        /// Samples of the last batch.
        found: usize,
        /// What needs how many samples.
        reason: String,
    },
    /// The batch size times the accumulated batches overflows.
    AccumulatedBatchSize,
    /// The numbers of replicas do not suit the stages, or each other.
    Replicas(#[source] ReplicasError),
    /// The schedule says how many replicas there are, and the options something else.
    OtherReplicas {
        /// The schedule.
        schedule: String,
        /// What it says.
        expected: usize,
        /// What the options say.
        found: String,
    },
    /// Synthesizers of replicas would learn apart.
    SynthesizersWithReplicas {
        /// The schedule.
        schedule: String,
    },
    /// Synchronised batch normalisation of stages that have no replicas.
    SyncWithoutReplicas,
    /// Synchronised batch normalisation of a model that has none.
    SyncWithoutBatchNorm {
        /// The model.
        model: String,
    },
    /// The schedule's corrections do not suit optimizer or precision.
    Correction(#[source] CorrectionError),
    /// The schedule cannot leave a batch out.
    Skip {
        /// The schedule.
        schedule: String,
    },
    /// The schedule that was given has another number of stages.
    Stages {
        /// The schedule.
        schedule: String,
        /// Its stages.
        expected: usize,
        /// The stages that were asked for.
        found: usize,
    },
    /// The model that was given does not fit the data set.
    ModelInput {
        /// The model.
        model: String,
        /// Its input (channels, height, width) and classes.
        expected: ([usize; 3], usize),
        /// The data set.
        dataset: String,
        /// Its images and classes.
        found: ([usize; 3], usize),
    },
    /// All images are of one class.
    OneClass {
        /// The data set.
        dataset: String,
        /// The class.
        class: String,
        /// The folder of the images, where they are in one.
        folder: Option<PathBuf>,
    },
    /// Both weights to go on from and weights to fine-tune are given.
    WeightsTwice,
    /// The weights that a run should start from do not fit the model.
    WeightsFit {
        /// The option that names them: `resume_weights` or `pretrained`.
        option: &'static str,
        /// Where they are from.
        path: PathBuf,
        /// The model.
        model: String,
        /// Whether nothing but the last linear layer does not fit, so that `pretrained` would take them.
        head_only: bool,
        /// What does not fit.
        source: Source,
    },
    /// The state that a run should start from does not fit its stages.
    ResumeWeights {
        /// Where it is from.
        path: PathBuf,
        /// The model.
        model: String,
        /// What does not fit.
        source: Source,
    },
    /// The weights that a run should start from cannot be read.
    ResumeWeightsFile {
        /// The option that names them: `resume_weights` or `pretrained`.
        option: &'static str,
        /// Where they should be.
        path: PathBuf,
        /// Why not.
        source: Source,
    },
    /// There are no weights to start from.
    NoResumeWeights {
        /// The option that names them: `resume_weights` or `pretrained`.
        option: &'static str,
        /// Where they should be.
        path: PathBuf,
    },
}

impl Refusal {
    /// The sentence, with options named in this way.
    pub fn sentence(&self, spelling: Spelling) -> String {
        let name = |option: &str| spelling.name(option);
        match self {
            Self::EmptyPath { option } => format!(
                "{} is empty; name a folder that does not exist, or leave the {} out",
                name(option),
                spelling.noun()
            ),
            Self::Tilde { option, path } => {
                let home = std::env::home_dir().unwrap_or_else(|| "/home/NAME".into());
                let rest = path.strip_prefix("~").unwrap_or(path);
                format!(
                    "{} is {}, and no shell has replaced the ~; write {}, or ./{} for a folder of that name",
                    name(option),
                    path.display(),
                    home.join(rest).display(),
                    path.display()
                )
            }
            Self::Zero { option } => {
                format!("{} is 0; give a whole number of at least 1", name(option))
            }
            Self::Value {
                option,
                found,
                kind,
                expected,
            } => format!("{} {found} is not {kind}; give {expected}", name(option)),
            Self::Unreadable { option, source } => format!("{}: {source}", name(option)),
            Self::Unknown {
                kind,
                found,
                expected,
            } => format!("there is no {kind} `{found}`; use {expected}"),
            Self::Choice {
                option,
                found,
                expected,
            } => format!("{} `{found}` is no choice; use {expected}", name(option)),
            Self::Unused {
                option,
                beside,
                found,
                expected,
            } => {
                let (option, beside) = (name(option), name(beside));
                format!(
                    "{option} does nothing with {beside} {found}; leave it out, or use {beside} {expected}"
                )
            }
            Self::Fixed { option, by } => format!(
                "{} does nothing with an object as {by}, which has its own; leave it out",
                name(option)
            ),
            Self::NeedsFolder { option, found } => format!(
                "{} {found} needs a run folder; name one with {}",
                name(option),
                name("output")
            ),
            Self::Epochs { found, most } => format!(
                "{} {found} is more than any run needs; give at most {most}",
                name("epochs")
            ),
            Self::LrSteps => {
                let steps = name("lr_steps");
                format!("{steps} must rise; give for example {steps} 80,120")
            }
            Self::Straggler { text, stage, last } => format!(
                "{} `{text}`: there is no stage {stage}; stages count from 0 to {last}",
                name("straggler")
            ),
            Self::SnapshotEvery { found } => format!(
                "{} `{found}` is neither a number of batches nor a time; give for example 500 or 10min (units: s, min, h)",
                name("snapshot_every")
            ),
            Self::SnapshotEveryZero => format!(
                "{} 0 is no distance; give a whole number of at least 1",
                name("snapshot_every")
            ),
            Self::SnapshotEveryTwice { found } => format!(
                "{} `{found}` is the second of its kind; give at most one number of batches and one time",
                name("snapshot_every")
            ),
            Self::GradientCheckFormat => format!(
                "{} f64 is for checking gradients only; use f32 or bf16",
                name("dtype")
            ),
            Self::Format { engine, found } => {
                let option = name("engine");
                format!("{option} {engine} computes in f32, not in {found}; use {option} torch")
            }
            Self::StageFormat {
                stage,
                engine,
                found,
            } => format!(
                "{} {found} is a format of all stages, and engine {engine}, which runs stage {stage}, computes in f32; use \
                 f32, or engine torch for all stages",
                name("dtype")
            ),
            Self::EngineTwice => format!(
                "{} and {} exclude each other; use one of them",
                name("engine"),
                name("engines")
            ),
            Self::Engines { found, stages } => format!(
                "{} names {found} {} for {stages} {}; name one per stage",
                name("engines"),
                plural(*found, "engine"),
                plural(*stages, "stage")
            ),
            Self::Renamed { found, expected } => format!(
                "engine `{found}` is now `{expected}`; use {} {expected}",
                name("engine")
            ),
            Self::NoTorch => {
                "this stagger is built without engine torch; run `scripts/libtorch` in its source tree, then build with \
                 `cargo build --release --features torch`"
                    .to_owned()
            }
            Self::DeviceTwice => format!(
                "{} and {} exclude each other; use one of them",
                name("device"),
                name("devices")
            ),
            Self::Devices {
                found,
                stages,
                places,
            } if stages == places => format!(
                "{} names {found} devices for {stages} stages; name one per stage",
                name("devices")
            ),
            Self::Devices {
                found,
                stages,
                places,
            } => format!(
                "{} names {found} devices; name one per stage ({stages}) or one per replica of each stage ({places})",
                name("devices")
            ),
            Self::StageDevice {
                stage,
                engine,
                found,
            } => format!(
                "{} names {found} for stage {stage}, and engine {engine}, which runs that stage, has no device but cpu; name cpu \
                 there, or give the stage engine torch with {}",
                name("devices"),
                name("engines")
            ),
            Self::ReplicaDevices { stage, one, other } => format!(
                "{} has replicas of stage {stage} on {one} and on {other}, whose updates round differently, so that their \
                 weights would no longer be the same; name devices of one kind for a stage",
                name("devices")
            ),
            Self::NoCuda => format!(
                "{} and {} concern CUDA devices, and none is used; leave them out",
                name("tf32"),
                name("deterministic")
            ),
            Self::BatchSize {
                found,
                model,
                schedule,
                reason,
                least,
            } => {
                let option = name("batch_size");
                format!(
                    "{option} {found} does not work with {model} and {schedule}: {reason}; use {option} {least} or more"
                )
            }
            Self::LastBatch {
                batch_size,
                samples,
                found,
                reason,
            } => {
                let option = name("batch_size");
                format!(
                    "with {option} {batch_size} the last batch of the {samples} training samples holds {found}, and \
                     {reason}; use another {option} or {}",
                    name("drop_last")
                )
            }
            Self::AccumulatedBatchSize => format!(
                "{} times the accumulated batches is too large",
                name("batch_size")
            ),
            Self::Replicas(error) => format!("{}: {error}", name("replicas")),
            Self::OtherReplicas {
                schedule,
                expected,
                found,
            } => format!(
                "schedule {schedule} has {expected} replicas, and {} asks for {found}; leave it out",
                name("replicas")
            ),
            Self::SynthesizersWithReplicas { schedule } => format!(
                "schedule {schedule} has no replicas: its synthesizers would learn from different shares of a batch, and no longer be the same; leave {} out",
                name("replicas")
            ),
            Self::SyncWithoutReplicas => format!(
                "{} normalises over the replicas of a stage, and no stage has any; use {}, or leave it out",
                name("sync_batch_norm"),
                name("replicas")
            ),
            Self::SyncWithoutBatchNorm { model } => format!(
                "{} changes nothing: {model} has no batch normalisation; leave it out",
                name("sync_batch_norm")
            ),
            Self::Correction(error) => match error {
                CorrectionError::NoMomentum { .. } => {
                    format!("{error}; use {} momentum", name("optimizer"))
                }
                CorrectionError::RoundedWeights { .. } => {
                    format!("{error}; use {} f32, or leave gap-aware out", name("dtype"))
                }
                _ => error.to_string(),
            },
            Self::Skip { schedule } => format!(
                "{} skip cannot leave a batch out with `{schedule}`: by the time its loss is known, running statistics or \
                 updates have it already; use stop or rollback",
                name("on_nan")
            ),
            Self::Stages {
                schedule,
                expected,
                found,
            } => format!(
                "schedule {schedule} has {expected} stages, and {} is {found}; leave that out",
                name("stages")
            ),
            Self::ModelInput {
                model,
                expected: (input, classes),
                dataset,
                found: (image, labels),
            } => format!(
                "model {model} expects images of {} and {classes} classes, and {dataset} has images of {} and {labels} \
                 classes",
                shape(*input),
                shape(*image)
            ),
            Self::OneClass {
                dataset,
                class,
                folder,
            } => {
                let (place, remedy) = match folder {
                    Some(folder) => (
                        format!("{dataset}: {}", folder.display()),
                        "put each class into a folder of its own there",
                    ),
                    None => (dataset.clone(), "give a data set of two classes or more"),
                };
                format!(
                    "{place} has images of one class only, {class:?}, and there is nothing to tell it from; {remedy}"
                )
            }
            Self::WeightsTwice => {
                let (all, body) = (name("resume_weights"), name("pretrained"));
                format!(
                    "{all} and {body} exclude each other; use {all} to go on with weights and optimizer state as they are, {body} \
                     to fine-tune weights whose last layer may differ"
                )
            }
            Self::WeightsFit {
                option,
                path,
                model,
                head_only,
                source,
            } => {
                let hint = match head_only {
                    true => format!(
                        " ({} would keep the rest and start the last layer anew)",
                        name("pretrained")
                    ),
                    false => String::new(),
                };
                format!(
                    "{}: the weights of {} do not fit {model}{hint}: {source}",
                    name(option),
                    path.display()
                )
            }
            Self::ResumeWeights {
                path,
                model,
                source,
            } => format!(
                "{}: the weights of {} do not fit {model}: {source}",
                name("resume_weights"),
                path.display()
            ),
            Self::ResumeWeightsFile {
                option,
                path,
                source,
            } => {
                format!("{} {}: {source}", name(option), path.display())
            }
            Self::NoResumeWeights { option, path } => format!(
                "{}: {} is neither a run folder, nor a snapshot, nor a weights file",
                name(option),
                path.display()
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(Spelling::Fields))
    }
}

fn plural(count: usize, noun: &str) -> String {
    match count {
        1 => noun.to_owned(),
        _ => format!("{noun}s"),
    }
}

fn shape([channels, height, width]: [usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}
