//! A run that has been checked, and its way from there to the end.

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};
use stagger_data::shown_path;
use stagger_engine::StageState;
use stagger_report::{DEFAULT_BASE, DiskWatch, METRICS_FILE, RunFolder, Sink, reset_peak_resident};
use stagger_runtime::{EarlyEnd, RunError};
use stagger_schedule::Schedule;

use super::calibration::{self, Calibration};
use super::early_end::Goals;
use super::final_test::FinalTest;
use super::journal::Journal;
use super::place::{self, Place};
use super::resume;
use super::rollback;
use super::run::Run;
use super::session::{Session, StartPoint};
use super::unused::{refuse_unused_transport, refuse_without_folder};
use super::{Outputs, Training, closing, labels, mended_weights, snapshots, start_states};
use crate::balance;
use crate::error::Error;
use crate::job::{Job, check_snapshots};
use crate::limits;
use crate::options::TrainingOptions;
use crate::ranks::{Leader, RanksError};
use crate::refusal::Refusal;
use crate::stages;

/// A run that is ready to start. Nothing has been written yet.
pub struct Prepared<'a> {
    job: Job,
    from: StartPoint,
    /// What its first lines say of where it starts.
    notes: Vec<String>,
    folder: Folder,
    /// What version 0 starts from, instead of initial weights.
    states: Option<Vec<StageState>>,
    /// The other processes that stages are shared out over.
    leader: Option<Leader>,
    outputs: Outputs<'a>,
}

enum Folder {
    None,
    New,
    Reopened(RunFolder),
}

impl<'a> Prepared<'a> {
    pub(super) fn new(training: Training<'a>) -> Result<Self, Error> {
        let Training {
            mut options,
            given,
            resume,
            accept_changed_data,
            world,
            mut outputs,
        } = training;
        // From here on the other ranks are let go, whatever happens.
        let several = world.filter(|world| world.size() > 1);
        let leader = several.map(|world| Leader::new(world, outputs.interrupt.clone()));
        if let Some(leader) = &leader {
            leader.compare(outputs.command_line.as_deref())?;
        }
        outputs.open_files(resume.is_some(), options.output.as_deref())?;
        given.check(&options)?;
        refuse_unused_transport(&options, leader.as_ref().map_or(1, Leader::ranks))?;
        check_snapshots(&options)?;
        if accept_changed_data && resume.is_none() {
            return Err(Refusal::NothingResumed.into());
        }
        let place = match &resume {
            None => None,
            Some(resume) => Place::find(resume, options.output.as_deref())?,
        };
        if outputs.console.is_none() && place.is_none() {
            // It is timed to be shown.
            options.calibration_batches.get_or_insert(0);
        }
        let calibrates = place.is_none()
            && options
                .calibration_batches
                .is_some_and(|batches| batches > 0);
        let mut prepared = match place {
            Some(place) => {
                options.check_numbers()?;
                let reopened = resume::reopen(
                    &place,
                    options,
                    &given,
                    outputs.commit.as_deref(),
                    accept_changed_data,
                )?;
                Self {
                    job: reopened.job,
                    from: reopened.from,
                    notes: reopened.notes,
                    folder: Folder::Reopened(reopened.folder),
                    states: None,
                    leader,
                    outputs,
                }
            }
            None => {
                if !outputs.folder {
                    refuse_without_folder(&options)?;
                }
                if let (Some(leader), None) = (&leader, &given.schedule) {
                    set_stages(&mut options, leader.ranks());
                }
                let job = Job::new(options, &given)?;
                // What is wrong with a number by itself is said first.
                job.options.check_numbers()?;
                Self {
                    job,
                    from: StartPoint::default(),
                    notes: Vec::new(),
                    folder: match outputs.folder {
                        true => Folder::New,
                        false => Folder::None,
                    },
                    states: None,
                    leader,
                    outputs,
                }
            }
        };
        if let (Some(leader), Some(_)) = (&prepared.leader, prepared.job.emulated()) {
            let ranks = leader.ranks();
            return Err(Refusal::RanksNotEmulated { ranks }.into());
        }
        let places = match (&prepared.leader, prepared.finished()) {
            (Some(leader), None) => {
                let places = leader.places(&prepared.job);
                match &prepared.folder {
                    Folder::Reopened(_) => places.map_err(RanksError::of_resumed)?,
                    Folder::None | Folder::New => places?,
                }
            }
            (Some(_), Some(_)) => 0..0,
            (None, _) => 0..prepared.job.replicas.places(),
        };
        stages::check(&prepared.job, places.clone())?;
        if prepared.finished().is_none() {
            let writes = !matches!(prepared.folder, Folder::None);
            let watches = usize::from(writes && prepared.watches_disk());
            limits::check(&prepared.job, places, writes, watches)?;
            prepared.notes.extend(limits::cache_note(&prepared.job));
            let note = calibration::left_out(&prepared.job).filter(|_| calibrates);
            prepared.notes.extend(note);
        }
        if prepared.finished().is_none() {
            let (leader, commit) = (prepared.leader.as_ref(), prepared.outputs.commit.as_deref());
            let measured = balance::resolve(&mut prepared.job, leader, commit)?;
            prepared.notes.extend(measured);
        }
        if prepared.finished().is_none() && prepared.from.snapshot.is_none() {
            // A resumed run has its cut as numbers of blocks, by whatever they were made.
            prepared.notes.extend(prepared.job.unread_memory.take());
            prepared.states = start_states::initial_states(&prepared.job, &mut prepared.notes)?;
        }
        if let (Some(leader), None) = (&prepared.leader, prepared.finished()) {
            let commit = prepared.outputs.commit.as_deref();
            prepared
                .notes
                .extend(leader.prepare(&prepared.job, commit)?);
        }
        Ok(prepared)
    }

    /// Whether a thread sees to it that the disk answers.
    fn watches_disk(&self) -> bool {
        self.outputs.on_disk_stall.is_some() && self.job.stall_timeout.is_some()
    }

    /// What the options mean.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// What the first line of its metrics says of it: model, data set, schedule and the like.
    pub fn facts(&self) -> Map<String, Value> {
        labels::facts(&self.job)
    }

    /// The folder of a resumed run.
    pub fn resumed(&self) -> Option<&Path> {
        match &self.folder {
            Folder::Reopened(folder) => Some(folder.path()),
            Folder::None | Folder::New => None,
        }
    }

    /// The folder of a resumed run that has nothing left to do.
    pub fn finished(&self) -> Option<&Path> {
        let Folder::Reopened(folder) = &self.folder else {
            return None;
        };
        let is_at_end = self.from.version() >= self.job.horizon.batches || self.met().is_some();
        // One that was killed on its last steps takes them now, as does one whose last snapshot is damaged.
        let ended_at = place::ended_well_at(&folder.file(METRICS_FILE));
        (is_at_end && ended_at == Some(self.from.version())).then(|| folder.path())
    }

    /// The test of a finished run whose process ended before it was made.
    fn test_missing(&self) -> Result<Option<FinalTest>, Error> {
        let (Folder::Reopened(folder), None) = (&self.folder, self.job.emulated()) else {
            return Ok(None);
        };
        let session = Session {
            job: &self.job,
            folder: Some(folder),
            interrupt: &self.outputs.interrupt,
            leader: self.leader.as_ref(),
            states: None,
            commit: self.outputs.commit.as_deref(),
            console: RefCell::new(None),
            profile_kernels: false,
            tell_gradients: false,
            tensorboard: None,
            own_sinks: Rc::default(),
            on_stall: RefCell::new(None),
        };
        session.test_missing(&self.from).map_err(|source| {
            let run = Some(folder.path().to_owned());
            let source = Box::new(source);
            Error::NotTested { run, source }.in_training()
        })
    }

    /// Which goal a resumed run has reached already.
    fn met(&self) -> Option<EarlyEnd> {
        let evaluate_at = &self.job.horizon.evaluate_at;
        let (best, version) = (self.from.progress.best, self.from.version());
        Goals::of(&self.job.options).met(best, version, evaluate_at)
    }

    /// Trains.
    ///
    /// # Errors
    /// When a file cannot be written, when a stage fails, and when the data cannot be read. What was trained until then is
    /// in the run folder; a folder in which nothing has been trained is removed again.
    pub fn run(mut self) -> Result<Run, Error> {
        let console = self.outputs.console.is_some();
        if let Some(path) = self.finished().map(Path::to_owned) {
            // The last snapshot may be of a moment before the last evaluation, and the evaluation at a former end inside an epoch has no
            // line any more.
            let in_metrics = place::best_of(&path.join(METRICS_FILE))?;
            self.from.progress.best = place::better_of(self.from.progress.best, in_metrics);
            let version = self.from.version();
            let journal = Journal::open(None, &self.job, None, console)?;
            if let Folder::Reopened(folder) = &self.folder {
                snapshots::remove_beginnings(folder)?;
            }
            if let (Folder::Reopened(folder), None) = (&self.folder, self.job.emulated()) {
                let metadata = labels::metadata(&self.job);
                for note in mended_weights::mend_last(folder, &metadata, &self.from)? {
                    journal.print(&note);
                }
            }
            let best = self.from.progress.best;
            journal.print(&closing::finished(
                &self.job,
                &path,
                version,
                best,
                self.met(),
            ));
            let mut finished = Run::finished(&path, &self.job, &self.from);
            finished.final_test = self.test_missing()?;
            if let Some(tested) = &finished.final_test {
                journal.print(&tested.to_string());
            }
            return Ok(finished.printed(&journal));
        }
        let (folder, is_new) = match std::mem::replace(&mut self.folder, Folder::None) {
            Folder::None => (None, true),
            Folder::New => (Some(create(&self.job)?), true),
            Folder::Reopened(folder) => (Some(folder), false),
        };
        let commit = self.outputs.commit.clone();
        let hook = self.outputs.on_disk_stall.take();
        let watch = hook.zip(self.job.stall_timeout.filter(|_| folder.is_some()));
        let _watch = watch
            .map(|(hook, timeout)| DiskWatch::start(timeout, hook))
            .transpose()
            .map_err(|source| Error::Io {
                doing: "watch",
                path: folder
                    .as_ref()
                    .map(|folder| folder.path().to_owned())
                    .unwrap_or_default(),
                source,
            })?;
        let result = Journal::open(folder.as_ref(), &self.job, commit.as_deref(), console)
            .and_then(|journal| {
                let journal = journal.silent_while(Arc::clone(&self.outputs.is_silent));
                let result = self.train(folder.as_ref(), is_new, &journal);
                let result = result.map(|run| run.printed(&journal));
                if let (Err(error), Some(log)) = (&result, &journal.log) {
                    // The failure itself is what the user has to hear of, whatever becomes of the log.
                    let _ = log.line(&format!("error: {}", error.whole()));
                }
                result
            });
        let nothing_trained = match &result {
            Err(error) => error.is_refusal(),
            Ok(run) => run.folder.is_none(),
        };
        if let Some(folder) = folder
            && nothing_trained
            && is_new
        {
            // Leave nothing behind. What went wrong before matters more than what goes wrong here.
            let _ = folder.discard();
        }
        result
    }

    fn train(
        self,
        folder: Option<&RunFolder>,
        is_new: bool,
        journal: &Journal,
    ) -> Result<Run, Error> {
        let job = &self.job;
        journal.say(&labels::headline(job))?;
        for line in labels::data(job) {
            journal.say(&line)?;
        }
        for line in [labels::frozen(job), labels::clipping(job)] {
            line.map_or(Ok(()), |line| journal.say(&line))?;
        }
        if let Some(folder) = folder {
            journal.say(&format!("run folder: {}", shown_path(folder.path())))?;
            for warning in folder.warnings() {
                journal.say(&format!("warning: {warning}"))?;
            }
        }
        for line in &self.notes {
            journal.say(line)?;
        }
        if let (Some(folder), Some(_)) = (folder, &self.from.snapshot) {
            let best = self.from.progress.best;
            let note = mended_weights::check_best(folder, &labels::metadata(job), best)?;
            note.map_or(Ok(()), |note| journal.say(&note))?;
        }
        let interrupt = self.outputs.interrupt;
        let baseline = match is_new {
            true => match calibration::run(job, self.leader.as_ref(), &interrupt)? {
                Calibration::Interrupted => {
                    journal.say("interrupted in the calibration: nothing has been trained")?;
                    return Ok(Run::interrupted(job));
                }
                Calibration::Nothing => None,
                Calibration::Timed(baseline) => {
                    journal.say(&closing::calibration(job, &baseline))?;
                    Some(baseline)
                }
            },
            false => None,
        };
        reset_peak_resident();
        let own_sinks = Rc::new(RefCell::new(self.outputs.sinks));
        let session = Session {
            job,
            folder,
            interrupt: &interrupt,
            leader: self.leader.as_ref(),
            states: self.states.as_deref(),
            commit: self.outputs.commit.as_deref(),
            console: RefCell::new(self.outputs.console),
            profile_kernels: self.outputs.profile_kernels,
            tell_gradients: self.outputs.tell_gradients,
            tensorboard: self.outputs.tensorboard.as_deref(),
            own_sinks: Rc::clone(&own_sinks),
            on_stall: RefCell::new(self.outputs.on_stall),
        };
        let stretch = rollback::run(&session, self.from, is_new, journal).inspect_err(|error| {
            // A failure between two attempts is no stage's. The run's own error matters more than that of a sink.
            let ended = RunError::Event(error.to_string().into());
            let _ = own_sinks.borrow_mut().finish(Err(&ended));
        })?;
        let finished = own_sinks.borrow_mut().finish(stretch.ended.as_ref());
        let tested = session.test_at_the_end(&stretch);
        let mut run = Run::of(job, folder, stretch, baseline)?;
        finished.map_err(|error| Error::from(error).in_training())?;
        let mut not_tested = None;
        match tested {
            Ok(tested) => run.final_test = tested,
            Err(error) => not_tested = Some(error),
        }
        for line in closing::lines(job, &run) {
            // The run has left its weights by now: they stay, whatever becomes of the log.
            journal
                .say_lines(line.trim_end())
                .map_err(Error::in_training)?;
        }
        if let Some(source) = not_tested {
            return Err(Error::NotTested {
                run: run.folder,
                source: Box::new(source),
            }
            .in_training());
        }
        Ok(run)
    }
}

/// A process per stage, or per replica of one, where neither stages nor schedule say anything else.
pub(crate) fn set_stages(options: &mut TrainingOptions, ranks: usize) {
    let fixed = options.schedule.as_deref();
    if options.stages.is_some() || fixed.is_some_and(|text| Schedule::parse(text, None).is_ok()) {
        return;
    }
    options.stages = Some(match options.replicas.as_deref() {
        None | Some([]) => ranks,
        Some([all]) => (ranks / (*all).max(1)).max(1),
        Some(each) => each.len(),
    });
}

fn create(job: &Job) -> Result<RunFolder, Error> {
    Ok(match &job.options.output {
        Some(path) => RunFolder::create(path)?,
        None => RunFolder::create_named(Path::new(DEFAULT_BASE), &job.label(), SystemTime::now())?,
    })
}
