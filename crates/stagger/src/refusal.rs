//! Options that are wrong, or that do not suit each other.

mod emulated;
mod literal_path;
mod sentence;
mod spelling;

use std::fmt;
use std::path::PathBuf;

use stagger_engine::Precision;
use stagger_runtime::{CorrectionError, ReplicasError};

use crate::error::Source;
pub(crate) use emulated::refuse_emulated;
pub use literal_path::check_path;
pub(crate) use sentence::counted;
pub use spelling::Spelling;
pub(crate) use spelling::said_number;

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
    /// A path has the name of a variable in it, which a shell would have replaced by its value.
    Variable {
        /// The option.
        option: &'static str,
        /// The path.
        path: PathBuf,
        /// The name, without its dollar sign.
        name: String,
    },
    /// The memory that this process may still take is too little.
    Memory {
        /// What needs more, with its verb: `the run needs`.
        what: &'static str,
        /// Bytes that it needs at least.
        needed: u64,
        /// Bytes that are left.
        found: u64,
        /// What leaves no more.
        limit: &'static str,
    },
    /// The system gives this process too few threads.
    Threads {
        /// Threads that the run needs besides that of the caller.
        needed: usize,
        /// Threads that could be started.
        found: usize,
        /// Whether stages have several threads.
        has_helpers: bool,
    },
    /// The system lets this process open too few files.
    Files {
        /// Files that the run has open at once.
        needed: usize,
        /// Files that could be opened.
        found: usize,
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
    /// Crops of pictures are asked for of a data set whose images have one size.
    NoPictures {
        /// The data set.
        dataset: String,
    },
    /// Crops of pictures are asked for without a size to bring them to.
    NoImageSize,
    /// An option that is fixed already by an object that was given.
    Fixed {
        /// The option.
        option: &'static str,
        /// The object: `optimizer`.
        by: &'static str,
    },
    /// Changed data are accepted, and no run is resumed.
    NothingResumed,
    /// An option that needs a run folder, in a run without one.
    NeedsFolder {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
    },
    /// More epochs, or threads, than any run needs.
    AboveMost {
        /// The option.
        option: &'static str,
        /// Its value.
        found: usize,
        /// The most there may be.
        most: usize,
    },
    /// The trace and the files for TensorBoard are to be written to one place.
    OnePlace,
    /// No stage is left to train.
    FreezeStages {
        /// Stages to freeze.
        found: usize,
        /// Stages.
        stages: usize,
    },
    /// The learning rate of a head in a model without a linear layer.
    NoHead {
        /// The model.
        model: String,
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
    /// An option that means nothing where stages sleep instead of computing.
    NotEmulated {
        /// The option.
        option: &'static str,
        /// Why it means nothing, as half a sentence.
        why: &'static str,
    },
    /// Each run of a series would have a cut of its own.
    CutAnew,
    /// An option that means nothing where speed is measured on random images.
    NotMeasured {
        /// The option.
        option: &'static str,
    },
    /// Stages that are slowed down on purpose are to be measured.
    PausesMeasured,
    /// Stages that sleep are to be measured.
    NothingToMeasure,
    /// The least staleness of a method that has none to find, in notation.
    KeepBusy {
        /// The schedule.
        found: String,
    },
    /// Emulated stages in several processes.
    RanksNotEmulated {
        /// Processes.
        ranks: usize,
    },
    /// The profile to emulate is one of another network.
    OtherProfile {
        /// Model, images and classes of the run.
        expected: String,
        /// Those of the profile.
        found: String,
    },
    /// The weights of a run that has learned nothing.
    EmulatedRun {
        /// The run folder, or a part of it.
        run: PathBuf,
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
    /// A profile has too few devices for a plan.
    PlannedDevices {
        /// Of the profile.
        found: usize,
        /// Of the plan.
        expected: usize,
    },
    /// A straggler of a device that a plan does not have.
    StragglingDevice {
        /// The straggler.
        text: String,
        /// Its device.
        device: usize,
        /// The last device.
        last: usize,
    },
    /// No method fits into the memory of the devices of a plan.
    NothingFits {
        /// The model.
        model: String,
        /// Samples of a batch.
        batch_size: usize,
        /// The most bytes that a device has.
        most: u64,
    },
    /// There are neither as many amounts of memory as devices, nor one for all.
    PlannedMemory {
        /// Amounts.
        found: usize,
        /// Devices.
        devices: usize,
    },
    /// A change of a plan's devices that is none.
    DeviceChange {
        /// What was given.
        found: String,
    },
    /// More devices like one that there is not.
    ChangedDevice {
        /// Its number.
        found: usize,
        /// Devices.
        devices: usize,
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
    /// The outputs of weights are of other classes.
    WeightsClasses {
        /// Where they are from.
        path: PathBuf,
        /// How the classes differ.
        difference: String,
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

/// Refuses a count above the `most` there may be, which `expected` says in words.
pub(crate) fn check_most(
    option: &'static str,
    found: usize,
    most: usize,
    kind: &'static str,
    expected: &'static str,
) -> Result<(), Refusal> {
    match found <= most {
        true => Ok(()),
        false => Err(Refusal::Value {
            option,
            found: found.to_string(),
            kind,
            expected,
        }),
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(Spelling::Fields))
    }
}
