//! A training run, from what is wanted to what came of it.

mod advice;
mod calibration;
mod closing;
mod data_check;
mod early_end;
mod extension;
mod final_test;
mod journal;
mod labels;
mod last_weights;
mod mended_weights;
mod place;
mod prepared;
mod resume;
mod rollback;
mod rolled_back;
mod run;
mod session;
mod snapshots;
pub(crate) use snapshots::with_class_names;
mod stall;
mod start_states;
mod told_gradients;
mod unused;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use stagger_data::Split;
use stagger_engine::{LearningRate, Optimizer};
use stagger_model::Model;
use stagger_report::trace::TraceFile;
use stagger_report::{DiskStall, EpochTally, NewFile, Sink, Sinks, TensorBoard, is_same_place};
use stagger_runtime::{EventError, Interrupt};
use stagger_schedule::Schedule;
use stagger_transport::World;

use crate::choice::Choice;
use crate::error::Error;
use crate::job::{Given, Job, check_snapshots};
use crate::options::TrainingOptions;
use crate::ranks;
use crate::refusal::Refusal;

pub use final_test::{FinalTest, TestScores};
pub(crate) use place::best_of_run;
pub use prepared::Prepared;
pub(crate) use prepared::set_stages;
pub use run::{Run, SnapshotCost};
pub use stall::Stalled;
pub(crate) use start_states::initial_states;
pub(crate) use unused::refuse_unused_transport;

/// A training run: a thread per stage, with helpers where they are asked for, in this process or in several.
///
/// Says what to train, on what, and how; everything else has a default. Model, data set, schedule and optimizer are
/// names, as on the command line, or objects. [`Training::run`] checks that all of it fits together before it trains.
///
/// ```no_run
/// use stagger::Training;
///
/// let run = Training::new()
///     .model("resnet20")
///     .dataset("shapes")
///     .schedule("dsp(1,1,0;4,2,0) + predict")
///     .stages(3)
///     .epochs(2)
///     .output("runs/first")
///     .run()?;
/// println!("best accuracy: {:?}", run.best);
/// # Ok::<(), stagger::Error>(())
/// ```
///
/// Without [`output`](Training::output) or [`run_folder`](Training::run_folder) nothing is written to disk; without
/// [`console`](Training::console) nothing is printed.
#[derive(Default)]
pub struct Training<'a> {
    options: TrainingOptions,
    given: Given,
    resume: Option<Resume>,
    accept_changed_data: bool,
    world: Option<World>,
    outputs: Outputs<'a>,
}

/// Where a run continues.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Resume {
    /// A run folder or a snapshot.
    From(PathBuf),
    /// The run in the output folder, or else the newest unfinished run, or else nowhere.
    Auto,
}

/// Who hears of a run, and who may end it.
#[derive(Default)]
struct Outputs<'a> {
    console: Option<ConsoleHook<'a>>,
    /// While it is raised, lines go to the log only.
    is_silent: Arc<AtomicBool>,
    folder: bool,
    sinks: Sinks<'a>,
    trace: Option<PathBuf>,
    tensorboard: Option<PathBuf>,
    interrupt: Interrupt,
    on_stall: Option<OnStall<'a>>,
    on_disk_stall: Option<OnDiskStall>,
    commit: Option<String>,
    command_line: Option<Vec<String>>,
    profile_kernels: bool,
    tell_gradients: bool,
}

impl Outputs<'_> {
    /// Makes sure that the files that were asked for can be written, and has the trace written. The folder `made` is one that the run
    /// makes later.
    fn open_files(&mut self, is_resumed: bool, made: Option<&Path>) -> Result<(), Error> {
        if let Some(folder) = &self.tensorboard {
            TensorBoard::check(folder, made)?;
            if (self.trace.as_deref()).is_some_and(|file| is_same_place(file, folder)) {
                return Err(Refusal::OnePlace.into());
            }
        }
        let Some(path) = self.trace.take() else {
            return Ok(());
        };
        let file = match is_resumed {
            true => NewFile::beside(&path, made)?,
            false => NewFile::at_or_within(&path, made)?,
        };
        self.sinks.push(TraceFile::new(file));
        Ok(())
    }
}

type OnDiskStall = Box<dyn FnOnce(DiskStall) + Send>;
type OnStall<'a> = Box<dyn FnMut(Stalled) -> Result<(), EventError> + 'a>;
type ConsoleHook<'a> = Box<dyn FnMut(&EpochTally, &mut Sinks<'a>) -> Box<dyn Write + Send> + 'a>;

impl<'a> Training<'a> {
    /// A run with the default options: ResNet-8 on the built-in data set `shapes`, by DSP over two stages.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets these options; those that are `None` stay as they are. A name replaces an object that was given before, as an object
    /// replaces a name: where options have all names, as those of a config or of [`TrainingOptions::defaults`], give objects after them.
    #[must_use]
    pub fn options(mut self, options: TrainingOptions) -> Self {
        self.given.replace_by(&options);
        self.options = options.or(self.options);
        self.outputs.folder |= self.options.output.is_some();
        self
    }

    /// The network: a name of the zoo, or a [`Model`] that fits the images of the data set.
    #[must_use]
    pub fn model(mut self, model: impl Into<Choice<String, Model>>) -> Self {
        (model.into()).store(&mut self.options.model, &mut self.given.model);
        self
    }

    /// The data set: a name, or a [`Split`] of one's own.
    #[must_use]
    pub fn dataset(mut self, dataset: impl Into<Choice<String, Split>>) -> Self {
        (dataset.into()).store(&mut self.options.dataset, &mut self.given.split);
        self
    }

    /// The folder of the data set's files.
    #[must_use]
    pub fn data_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.data_dir = Some(folder.into());
        self
    }

    /// The schedule: notation such as `dsp(1,0;2,0) + predict`, a [`Schedule`], or a method of one's own as
    /// `Arc<dyn Method>`. An object has its number of stages with it.
    #[must_use]
    pub fn schedule(mut self, schedule: impl Into<Choice<String, Schedule>>) -> Self {
        (schedule.into()).store(&mut self.options.schedule, &mut self.given.schedule);
        self
    }

    /// The number of stages, K.
    #[must_use]
    pub fn stages(mut self, stages: usize) -> Self {
        self.options.stages = Some(stages);
        self
    }

    /// The optimizer: a name, or an [`Optimizer`] with its settings.
    #[must_use]
    pub fn optimizer(mut self, optimizer: impl Into<Choice<String, Optimizer>>) -> Self {
        (optimizer.into()).store(&mut self.options.optimizer, &mut self.given.optimizer);
        self
    }

    /// The peak learning rate of a cosine with warm-up, or a whole [`LearningRate`].
    #[must_use]
    pub fn learning_rate(mut self, rate: impl Into<Choice<f64, LearningRate>>) -> Self {
        (rate.into()).store(&mut self.options.lr, &mut self.given.learning_rate);
        self
    }

    /// Samples per batch.
    #[must_use]
    pub fn batch_size(mut self, samples: usize) -> Self {
        self.options.batch_size = Some(samples);
        self
    }

    /// Shares the stages out over the processes of a world: rank 0 [runs](Training::run) the training, and the others
    /// [follow](Training::follow). Without it all stages are in this process.
    #[must_use]
    pub fn world(mut self, world: World) -> Self {
        self.world = Some(world);
        self
    }

    /// Passes over the training set.
    #[must_use]
    pub fn epochs(mut self, epochs: usize) -> Self {
        self.options.epochs = Some(epochs);
        self
    }

    /// The most batches to train on.
    #[must_use]
    pub fn max_batches(mut self, batches: usize) -> Self {
        self.options.max_batches = Some(batches);
        self
    }

    /// Seed of initial weights, order of samples, augmentation and dropout.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Writes config, metrics, log, weights and snapshots into this folder, which must not exist yet.
    #[must_use]
    pub fn output(mut self, folder: impl Into<PathBuf>) -> Self {
        self.options.output = Some(folder.into());
        self.run_folder()
    }

    /// The same in the folder of the options, or else in one under `runs/` that is named after time, schedule, model and
    /// data set.
    #[must_use]
    pub fn run_folder(mut self) -> Self {
        self.outputs.folder = true;
        self
    }

    /// Resumes a run: `run` is its folder, or one of its snapshots. Options that were not said here are those of the run;
    /// objects have to be given again.
    #[must_use]
    pub fn resume(mut self, run: impl Into<PathBuf>) -> Self {
        self.resume = Some(Resume::From(run.into()));
        self.run_folder()
    }

    /// Accepts images that have changed since a resumed run's snapshot, such as repaired files, where there are as many as
    /// before. Without this they are refused.
    #[must_use]
    pub fn accept_changed_data(mut self, accepted: bool) -> Self {
        self.accept_changed_data = accepted;
        self
    }

    /// Resumes the run in the output folder, or without one the newest unfinished run under `runs/`; starts a new run
    /// when there is none.
    #[must_use]
    pub fn resume_or_start(mut self) -> Self {
        self.resume = Some(Resume::Auto);
        self.run_folder()
    }

    /// Prints what the run is, a line per epoch and what came of it to standard output.
    #[must_use]
    pub fn console(self) -> Self {
        self.console_with(|_, _| Box::new(io::stdout()))
    }

    /// The same with a display of one's own, such as a progress bar: `hook` is called when training starts, and after each
    /// rollback. It may add sinks, and returns the writer for the lines in between.
    #[must_use]
    pub fn console_with(
        mut self,
        hook: impl FnMut(&EpochTally, &mut Sinks<'a>) -> Box<dyn Write + Send> + 'a,
    ) -> Self {
        self.outputs.console = Some(Box::new(hook));
        self
    }

    /// Keeps lines of the run from the standard output while this is raised, as while a display has the whole terminal. The log has them all.
    #[must_use]
    pub fn silent_while(mut self, is_raised: Arc<AtomicBool>) -> Self {
        self.outputs.is_silent = is_raised;
        self
    }

    /// Adds a receiver of events: by value, or as `&mut` to read it after the run. It gets the events of the whole run,
    /// also after a rollback.
    #[must_use]
    pub fn sink(mut self, sink: impl Sink + 'a) -> Self {
        self.outputs.sinks.push(sink);
        self
    }

    /// Writes what every stage does when, in the first 1000 batches, to a new file: a [`TraceFile`]. A restart repeats its command, so
    /// a resumed run writes beside a file of that name.
    #[must_use]
    pub fn trace(mut self, file: impl Into<PathBuf>) -> Self {
        self.outputs.trace = Some(file.into());
        self
    }

    /// Writes scalars and histograms into a folder for TensorBoard: a [`TensorBoard`], which is told the gradients of the last batch of
    /// every epoch.
    #[must_use]
    pub fn tensorboard(mut self, folder: impl Into<PathBuf>) -> Self {
        self.outputs.tensorboard = Some(folder.into());
        self.tell_gradients(true)
    }

    /// Ends the run early, and cleanly, once it is requested.
    #[must_use]
    pub fn interrupt(mut self, interrupt: Interrupt) -> Self {
        self.outputs.interrupt = interrupt;
        self
    }

    /// Calls this when nothing moves any more: the run is about to end with an error, but waits for all of its threads,
    /// and one that hangs may never end.
    #[must_use]
    pub fn on_stall(mut self, hook: impl FnMut(Stalled) -> Result<(), EventError> + 'a) -> Self {
        self.outputs.on_stall = Some(Box::new(hook));
        self
    }

    /// Calls this, from a thread of its own, when a write to the run folder does not return for the stall timeout: the run waits for
    /// it, and may wait for ever. Without a hook it does.
    #[must_use]
    pub fn on_disk_stall(mut self, hook: impl FnOnce(DiskStall) + Send + 'static) -> Self {
        self.outputs.on_disk_stall = Some(Box::new(hook));
        self
    }

    /// The commit that the program was built from, for `environment.json` and the snapshots: resuming a snapshot of
    /// another build says that the last bits may differ.
    #[must_use]
    pub fn commit(mut self, commit: Option<&str>) -> Self {
        self.outputs.commit = commit.map(str::to_owned);
        self
    }

    /// The words that this process was started with, without the program's name: ranks of a [world](Training::world) that have others
    /// than rank 0 are refused, as only rank 0 goes by its own. Without this they are not compared.
    #[must_use]
    pub fn command_line(mut self, words: Vec<String>) -> Self {
        self.outputs.command_line = Some(words);
        self
    }

    /// Times every kind of kernel; the closing lines and [`Run::profiles`] have the times.
    #[must_use]
    pub fn profile_kernels(mut self, wanted: bool) -> Self {
        self.outputs.profile_kernels = wanted;
        self
    }

    /// Tells sinks the gradients of the last batch of every epoch, as [`Event::Gradients`](stagger_runtime::Event::Gradients).
    #[must_use]
    pub fn tell_gradients(mut self, wanted: bool) -> Self {
        self.outputs.tell_gradients = wanted;
        self
    }

    /// Checks everything that can be checked without writing a file, and opens the data.
    ///
    /// # Errors
    /// One on the first option that is wrong or that does not suit another one, on the data set, the model, or the run to
    /// resume.
    pub fn prepare(self) -> Result<Prepared<'a>, Error> {
        Prepared::new(self)
    }

    /// The same without resuming: what the options mean. Memory and threads, which may be free by the time that it runs, are not looked
    /// at.
    ///
    /// # Errors
    /// As [`Training::prepare`], also on the weights to start from.
    pub fn check(self) -> Result<Job, Error> {
        self.given.check(&self.options)?;
        unused::refuse_unused_transport(&self.options, 1)?;
        check_snapshots(&self.options)?;
        let job = Job::new(self.options, &self.given)?;
        job.options.check_numbers()?;
        crate::stages::check(&job, 0..job.replicas.places())?;
        initial_states(&job, &mut Vec::new())?;
        Ok(job)
    }

    /// Takes part in the run of rank 0, until that ends. To be called on the other ranks of the [world](Training::world), with
    /// the same model, data set, schedule, optimizer and learning rate where these are objects, which is checked; everything
    /// else comes from rank 0, which also says what goes wrong. Writes no files. Without a world, or on rank 0, nothing happens.
    ///
    /// # Errors
    /// When rank 0 sends what this build does not understand.
    pub fn follow(self) -> Result<(), Error> {
        let Self {
            given,
            world,
            outputs,
            ..
        } = self;
        match world {
            Some(world) if world.rank() > 0 => {
                let origin = ranks::Origin {
                    commit: outputs.commit.as_deref(),
                    command_line: outputs.command_line.as_deref(),
                };
                ranks::follow(&world, &given, origin, &outputs.interrupt)
            }
            _ => Ok(()),
        }
    }

    /// Checks, trains, and gives what came of it.
    ///
    /// # Errors
    /// As [`Training::prepare`]; and when the run fails. What was trained until then is in the run folder.
    pub fn run(self) -> Result<Run, Error> {
        self.prepare()?.run()
    }
}
