//! The sentence of each refusal: what is wrong, where, and what to do.

use stagger_data::{shown_path, shown_text};
use stagger_model::quantity;
use stagger_runtime::CorrectionError;

use super::{Refusal, Spelling, literal_path};

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
                let shown = shown_path(path);
                let begin = format!("{} is {shown}, and no shell has replaced the ~", name(option));
                let or_here = format!("./{shown} for a folder of that name");
                match path.strip_prefix("~") {
                    Ok(rest) => {
                        let home = std::env::home_dir().unwrap_or_else(|| "/home/NAME".into());
                        let meant = home.join(rest);
                        format!("{begin}; write {}, or {or_here}", shown_path(&meant))
                    }
                    Err(_) => format!("{begin}; write the whole path, or {or_here}"),
                }
            }
            Self::Variable {
                option,
                path,
                name: variable,
            } => {
                let shown = shown_path(path);
                let begin = format!(
                    "{} is {shown}, and no shell has replaced ${variable}",
                    name(option)
                );
                match literal_path::replaced(path) {
                    Some(meant) => format!("{begin}; write {}", shown_path(&meant)),
                    None => format!("{begin}; write the whole path"),
                }
            }
            Self::Memory {
                what,
                needed,
                found,
                limit,
            } => {
                let begin = format!(
                    "{what} at least {} of memory, and {limit} leaves {}; raise the limit",
                    quantity::bytes(*needed),
                    quantity::bytes(*found)
                );
                match *what {
                    "the run needs" => format!(
                        "{begin}, or use a smaller {}, a smaller model, or a method that keeps less",
                        name("batch_size")
                    ),
                    _ => format!("{begin}, or use another data set"),
                }
            }
            Self::Threads {
                needed,
                found,
                has_helpers,
            } => {
                let of_stages = match has_helpers {
                    true => format!("{}, {}", name("threads_per_stage"), name("stages")),
                    false => name("stages"),
                };
                format!(
                    "the run needs {needed} threads besides the first (stages, loaders, snapshots, the watch over the disk), and this process may start {found}; raise \
                     the limit (ulimit -u or -v, or that of the container), or use fewer {of_stages} or {}",
                    name("workers")
                )
            }
            Self::Files { needed, found } => format!(
                "the run has up to {needed} files open at once, and this process may open {found} more; raise the limit (ulimit -n)"
            ),
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
            Self::NoPictures { dataset } => format!(
                "{augment} imagenet crops pictures of any size, and the images of {dataset} have one size; use {augment} true, or \
                 {} image-folder",
                name("dataset"),
                augment = name("augment")
            ),
            Self::NoImageSize => format!(
                "{} imagenet needs a size to bring its crops to; give one, such as {} 224",
                name("augment"),
                name("image_size")
            ),
            Self::Fixed { option, by } => format!(
                "{} does nothing with an object as {by}, which has its own; leave it out",
                name(option)
            ),
            Self::NothingResumed => format!(
                "{} is for a run that is resumed; name it with {}, or leave it out",
                name("accept_changed_data"),
                name("resume")
            ),
            Self::NeedsFolder { option, found } => format!(
                "{} {found} needs a run folder; name one with {}",
                name(option),
                name("output")
            ),
            Self::AboveMost {
                option,
                found,
                most,
            } => format!(
                "{} {found} is more than any run needs; give at most {most}",
                name(option)
            ),
            Self::OnePlace => format!(
                "{} and {} name one place; give the trace a file of its own",
                name("trace"),
                name("tensorboard")
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
                "{} names {} for {}; name one per stage",
                name("engines"),
                counted(*found, "engine"),
                counted(*stages, "stage")
            ),
            Self::Renamed { found, expected } => format!(
                "engine `{found}` is now `{expected}`; use {} {expected}",
                name("engine")
            ),
            Self::NotEmulated { option, why } => format!(
                "{} means nothing in an emulated run: {why}; leave it or {} out",
                name(option),
                name("emulate")
            ),
            Self::CutAnew => format!(
                "{} profile would cut the model anew for every run; write the cut that a run finds with it, such as 7,4",
                name("balance")
            ),
            Self::NotMeasured { option } => format!(
                "{} is of no use in a measurement on random images; leave it out",
                name(option)
            ),
            Self::PausesMeasured => format!(
                "{} would put its pauses among the times of the profile; leave it out, and give it to what uses the profile",
                name("straggler")
            ),
            Self::NothingToMeasure => format!(
                "{}: stages that sleep take what they are told, and there is nothing to measure; leave it out",
                name("emulate")
            ),
            Self::KeepBusy { found } => format!(
                "{} finds the staleness of dsp and of dsp + split, and the schedule is {}; give dsp {} K",
                name("keep_busy"),
                shown_text(found),
                name("stages")
            ),
            Self::RanksNotEmulated { ranks } => format!(
                "an emulated run is one process, and there are {ranks}; start it without mpirun"
            ),
            Self::OtherProfile { expected, found } => format!(
                "{}: the profile is of {found}, and the run trains {expected}; give the profile of that",
                name("emulate")
            ),
            Self::EmulatedRun { run } => format!(
                "{} is of an emulated run, whose stages slept and learned nothing: it has no weights; use that of a run without {}",
                shown_path(run),
                name("emulate")
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
                "{} names {} for {}; name one per stage",
                name("devices"),
                counted(*found, "device"),
                counted(*stages, "stage")
            ),
            Self::Devices {
                found,
                stages,
                places,
            } => format!(
                "{} names {}; name one per stage ({stages}) or one per replica of each stage ({places})",
                name("devices"),
                counted(*found, "device")
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
            Self::FreezeStages { found, stages } => {
                let (option, others) = (name("freeze_stages"), name("stages"));
                match stages {
                    1 => format!("{option} {found} leaves nothing to train on 1 stage; give {others} 2 or more"),
                    _ => format!(
                        "{option} {found} leaves nothing to train on {stages} stages; freeze {} at most",
                        stages - 1
                    ),
                }
            }
            Self::NoHead { model } => format!(
                "{} is for the last linear layer, and {model} has none; leave it out",
                name("head_lr_factor")
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
                "schedule {schedule} has {}, and {} asks for {found}; leave it out",
                counted(*expected, "replica"),
                name("replicas")
            ),
            Self::SynthesizersWithReplicas { schedule } => format!(
                "schedule {schedule} has no replicas: its synthesizers would learn from different shares of a batch, and no longer be the same; leave {} out",
                name("replicas")
            ),
            Self::PlannedDevices { found, expected } => format!(
                "the profile has {}, and the plan is for {expected}; give at most {found} {}, or a profile of one device \
                 that counts for all",
                counted(*found, "device"),
                name("speeds")
            ),
            Self::StragglingDevice { text, device, last } => format!(
                "{} `{text}`: there is no device {device}; devices count from 0 to {last}",
                name("straggler")
            ),
            Self::NothingFits {
                model,
                batch_size,
                most,
            } => format!(
                "no method that is tried trains {model} with batches of {batch_size} within the memory of the devices, of which the largest has \
                 {}; use a smaller {}, or more or larger devices",
                quantity::bytes(*most),
                name("batch_size")
            ),
            Self::PlannedMemory { found, devices } => format!(
                "{} has {} for {}; give one for all, or one for each",
                name("memory"),
                counted(*found, "amount"),
                counted(*devices, "device")
            ),
            Self::DeviceChange { found } => format!(
                "{} is `{}`; a right one is '+1 device like 0', for one more device as fast as device 0",
                name("what_if"),
                shown_text(found)
            ),
            Self::ChangedDevice { found, devices } => format!(
                "{}: there is no device {found}; devices count from 0 to {}",
                name("what_if"),
                devices.saturating_sub(1)
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
                "schedule {schedule} has {}, and {} is {found}; leave that out",
                counted(*expected, "stage"),
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
                        format!("{dataset}: {}", shown_path(folder)),
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
                    shown_path(path)
                )
            }
            Self::WeightsClasses { path, difference } => format!(
                "{}: the weights of {} are of other classes: {difference}; {} keeps the rest and starts the last layer anew",
                name("resume_weights"),
                shown_path(path),
                name("pretrained")
            ),
            Self::ResumeWeights {
                path,
                model,
                source,
            } => format!(
                "{}: the weights of {} do not fit {model}: {source}",
                name("resume_weights"),
                shown_path(path)
            ),
            Self::ResumeWeightsFile {
                option,
                path,
                source,
            } => {
                let (option, path, source) = (name(option), shown_path(path), source.to_string());
                match source.contains(&path) {
                    true => format!("{option}: {source}"),
                    false => format!("{option} {path}: {source}"),
                }
            }
            Self::NoResumeWeights { option, path } => format!(
                "{}: {} is neither a run folder, nor a snapshot, nor a weights file",
                name(option),
                shown_path(path)
            ),
        }
    }
}

/// `1 stage`, `2 stages`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {}", plural(count, noun))
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
