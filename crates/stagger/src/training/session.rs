//! One stretch of training: from the start or from a snapshot, to the end, to an interrupt or to a failure.

mod sinks;

use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stagger_data::foreign;
use stagger_engine::{Profile, StageState};
use stagger_report::{
    AVERAGE_WEIGHTS_FILE, EpochPlan, EpochProgress, EpochSummary, EpochTally, LAST_WEIGHTS_FILE,
    ReportError, RunFolder, RunSummary, RunTally, Sink, Sinks, read_weights_inside,
};
use stagger_runtime::snapshot::Snapshot;
use stagger_runtime::{EarlyEnd, Event, Interrupt, OnNonFinite, Outcome, Plan, RunError};
use stagger_schedule::Action;

use super::calibration::WARMUP_BATCHES;
use super::early_end::Ending;
use super::journal::Journal;
use super::last_weights::LastWeights;
use super::run::SnapshotCost;
use super::stall::{Ended, Stalled};
use super::{ConsoleHook, OnStall, start_states, told_gradients};
use crate::error::Error;
use crate::evaluation;
use crate::job::{Job, OnNan};
use crate::ranks::Leader;
use crate::stages;

/// What a snapshot says of the run besides the stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunProgress {
    /// The epoch up to there.
    pub epoch: EpochProgress,
    /// Version and top-1 test accuracy, in percent, of the best evaluation so far.
    pub best: Option<(usize, f64)>,
    /// What the learning rates of the config are multiplied by.
    pub learning_rate_factor: f64,
    /// Times that the run has gone back to a snapshot.
    pub rollbacks: usize,
    /// The latest version at which its loss was not finite.
    pub diverged_at: Option<usize>,
    /// The version to which it went back the last time. A snapshot that was taken since is no start to count from.
    #[serde(default)]
    pub rolled_back_to: Option<usize>,
    /// Versions at which the pipeline ran empty, as the run was planned to end there, and then went on.
    #[serde(default)]
    pub drained_at: Vec<usize>,
}

impl Default for RunProgress {
    fn default() -> Self {
        Self {
            epoch: EpochProgress::default(),
            best: None,
            learning_rate_factor: 1.0,
            rollbacks: 0,
            diverged_at: None,
            rolled_back_to: None,
            drained_at: Vec::new(),
        }
    }
}

/// Where a stretch begins.
#[derive(Clone, Debug, Default)]
pub struct StartPoint {
    /// `None` for version 0.
    pub snapshot: Option<Arc<Snapshot>>,
    pub progress: RunProgress,
}

impl StartPoint {
    pub fn version(&self) -> usize {
        self.snapshot.as_ref().map_or(0, |from| from.version)
    }

    /// Whether the version is still to be evaluated. A snapshot is taken before that, and told of it after.
    pub fn is_unevaluated(&self) -> bool {
        self.snapshot.is_some() && self.progress.epoch.ended.is_some()
    }
}

/// What all stretches of a run share.
pub struct Session<'a, 's> {
    pub job: &'a Job,
    pub folder: Option<&'a RunFolder>,
    pub interrupt: &'a Interrupt,
    /// The other processes that stages are shared out over.
    pub leader: Option<&'a Leader>,
    /// What version 0 starts from, instead of initial weights.
    pub states: Option<&'a [StageState]>,
    pub commit: Option<&'a str>,
    pub console: RefCell<Option<ConsoleHook<'s>>>,
    pub profile_kernels: bool,
    /// Whether sinks get the gradients at the end of every epoch.
    pub tell_gradients: bool,
    /// The folder for TensorBoard.
    pub tensorboard: Option<&'a Path>,
    /// The caller's own sinks, which outlive a stretch.
    pub own_sinks: Rc<RefCell<Sinks<'s>>>,
    pub on_stall: RefCell<Option<OnStall<'s>>>,
}

/// What came of a stretch.
pub struct Stretch {
    pub ended: Result<Outcome, RunError>,
    /// What ended it before its last batch.
    pub ended_by: Option<EarlyEnd>,
    /// Whether everything that is written at the end was.
    pub finished: Result<(), ReportError>,
    pub summary: RunSummary,
    pub profiles: Vec<(usize, Profile)>,
    /// What snapshots cost each stage.
    pub snapshots: Vec<SnapshotCost>,
    /// The last epoch that it has trained on.
    pub last_epoch: Option<EpochSummary>,
    /// Weights and statistics at the end, where no folder has them.
    pub last_weights: Option<StageState>,
}

/// The tallies that snapshots are told from.
struct Progress {
    epoch: EpochTally,
    run: RunTally,
    last_epoch: Option<EpochSummary>,
    /// The epoch up to the last snapshot.
    at_snapshot: EpochProgress,
    /// The last version that was evaluated.
    evaluated: Option<usize>,
    /// What the stretch began with.
    from: RunProgress,
}

impl<'s> Session<'_, 's> {
    /// Trains.
    pub fn run(
        &self,
        from: &StartPoint,
        ending: &mut Ending<'_>,
        journal: &Journal,
    ) -> Result<Stretch, Error> {
        let (job, version) = (self.job, from.version());
        if let Some(line) = ending.begin(from) {
            journal.say(&line)?;
        }
        let tally = self.tally(from);
        let skipped = (version + WARMUP_BATCHES).min(job.horizon.batches - 1);
        let progress = Rc::new(RefCell::new(Progress {
            epoch: match job.snapshots {
                Some(_) => tally.clone().capturing(),
                None => tally.clone(),
            },
            run: RunTally::new(skipped).with_best(from.progress.best),
            last_epoch: None,
            at_snapshot: from.progress.epoch.clone(),
            evaluated: None,
            from: from.progress.clone(),
        }));
        // A run that has gone back to its start, and had begun at a snapshot.
        let again = match (&from.snapshot, self.states) {
            (None, None) => start_states::initial_states(job, &mut Vec::new())?,
            _ => None,
        };
        let states = again.as_deref().or(self.states);
        let mut last_weights = LastWeights::new(job.schedule.stages());
        let mut sinks = self.sinks(from, &tally, journal, &progress)?;
        let has_ended = Ended::default();
        let mut profiles = Vec::new();
        let mut costs = vec![SnapshotCost::default(); job.schedule.stages()];

        let next = (from.snapshot.as_ref()).map_or(0, |from| from.next_batch(&job.schedule));
        let batches = next.min(job.horizon.batches)..job.horizon.batches;
        let mut ended = stages::run(
            job,
            &self.plan(from),
            stages::Options {
                states: states.filter(|_| from.snapshot.is_none()),
                profile: self.profile_kernels,
                learning_rate_factor: from.progress.learning_rate_factor,
                leader: self.leader,
            },
            stages::feeds(job, batches)?,
            self.interrupt,
            |event| {
                ending.look();
                progress.borrow_mut().take(&event);
                if let Event::Evaluated { version, .. } = event {
                    let best = progress.borrow().run.best();
                    if let Some(line) = ending.evaluated(best, version) {
                        journal.say(&line)?;
                    }
                }
                sinks.event(&event)?;
                match event {
                    Event::Profiled { stage, profile } => profiles.push((stage, profile)),
                    Event::Snapshot { .. } if self.folder.is_none() => last_weights.take(&event),
                    Event::Stalled(stall) => {
                        journal.say_lines(stall.grid.trim_end())?;
                        if let Some(hook) = self.on_stall.borrow_mut().as_mut() {
                            hook(Stalled::new(&stall, journal.log.clone(), &has_ended))?;
                        }
                    }
                    Event::Acted(acted) if matches!(acted.action, Action::Snapshot { .. }) => {
                        costs[acted.stage].stalled += acted.lasted();
                        costs[acted.stage].taken += 1;
                    }
                    _ => {}
                }
                Ok(())
            },
        );
        has_ended.set();
        let mut evaluated = Ok(());
        let ended_by = ended.as_ref().ok().and_then(|outcome| ending.of(outcome));
        if let (Ok(outcome), Some(_)) = (&mut ended, ended_by) {
            // The run has done what was asked for: it was not cut short.
            outcome.interrupted = false;
            outcome.ended_by = ended_by;
            let last = outcome.version;
            evaluated = (self.evaluate_the_end(last, &last_weights)).and_then(|events| {
                for event in events {
                    progress.borrow_mut().take(&event);
                    sinks.event(&event)?;
                }
                Ok(())
            });
        }
        // What is on its way to the disk gets there in any case.
        let finished = sinks.finish(ended.as_ref());
        evaluated.map_err(Error::in_training)?;
        let mut progress = progress.borrow_mut();
        Ok(Stretch {
            ended,
            ended_by,
            finished,
            summary: progress.run.summary(),
            profiles,
            snapshots: costs,
            last_epoch: progress.last_epoch(),
            last_weights: last_weights.state(),
        })
    }

    /// Evaluates a run that ends early, wherever that is, as any other.
    fn evaluate_the_end(&self, last: usize, kept: &LastWeights) -> Result<Vec<Event>, Error> {
        let job = self.job;
        let due = job.options.evaluate != Some(false);
        if !due || last == 0 || job.horizon.evaluate_at.contains(&last) {
            return Ok(Vec::new());
        }
        let read = |path| read_weights_inside(path).map(|weights| weights.state);
        let (state, averaged) = match self.folder {
            Some(folder) => {
                // Stages that have not updated have no mean.
                let average = folder.file(AVERAGE_WEIGHTS_FILE);
                let has_average = job.average.is_some() && foreign::is_there(&average);
                let averaged = has_average.then(|| read(&average)).transpose()?;
                (read(&folder.file(LAST_WEIGHTS_FILE))?, averaged)
            }
            None => (kept.state().ok_or(Error::NoWeights)?, kept.averaged()),
        };
        let mut events = Vec::new();
        let averaged = averaged.map(|averaged| self.evaluate(job, &averaged));
        if let Some(Event::Evaluated {
            samples,
            loss,
            correct_top1,
            correct_top5,
            ..
        }) = averaged.transpose()?.flatten()
        {
            events.push(Event::EvaluatedAverage {
                version: last,
                samples,
                loss,
                correct_top1,
                correct_top5,
            });
        }
        let mut evaluated = self.evaluate(job, &state)?;
        if let Some(Event::Evaluated { version, .. }) = &mut evaluated {
            *version = last;
        }
        events.extend(evaluated);
        Ok(events)
    }

    /// Evaluates weights on the test images of `job`, when all stages have ended.
    pub fn evaluate(&self, job: &Job, state: &StageState) -> Result<Option<Event>, Error> {
        let states = stages::split_state(job, state);
        let interrupt = Interrupt::new();
        match self.leader {
            None => evaluation::evaluate(job, &states, &interrupt),
            // This rank evaluates alone, and has its own devices only.
            Some(leader) => {
                let engine = job.engine.within(leader.places(job)?);
                let here = Job {
                    engine,
                    ..job.clone()
                };
                evaluation::evaluate(&here, &states, &interrupt)
            }
        }
    }

    fn tally(&self, from: &StartPoint) -> EpochTally {
        let job = self.job;
        let plan = EpochPlan {
            batches_per_epoch: job.sampler.batches_per_epoch(),
            batches: job.horizon.batches,
            evaluate_at: job.horizon.evaluate_at.clone(),
            emulated: job.emulated().is_some(),
        };
        match from.snapshot {
            Some(_) => EpochTally::resumed(plan, from.progress.epoch.clone()),
            None => EpochTally::new(plan),
        }
    }

    fn plan(&self, from: &StartPoint) -> Plan {
        let job = self.job;
        let (schedule, mut horizon) = (job.schedule.clone(), job.horizon.clone());
        if from.snapshot.is_some() && !from.is_unevaluated() {
            horizon.evaluate_at.retain(|at| *at != from.version());
        }
        let factor = from.progress.learning_rate_factor;
        Plan {
            gradients_at: match self.tell_gradients {
                true => told_gradients::batches(job),
                false => Vec::new(),
            },
            on_non_finite: match job.on_nan {
                OnNan::Skip => OnNonFinite::Skip,
                OnNan::Stop | OnNan::Rollback => OnNonFinite::Stop,
            },
            stall_timeout: job.stall_timeout,
            snapshot_interval: job.snapshots.and_then(|rhythm| rhythm.interval),
            resume: from.snapshot.clone(),
            ..stages::plan(job, schedule, horizon, factor)
        }
    }
}

impl Progress {
    fn take(&mut self, event: &Event) {
        if let Event::Evaluated { version, .. } = event {
            self.evaluated = Some(*version);
        }
        if let Some(epoch) = self.epoch.event(event) {
            self.last_epoch = Some(epoch);
        }
        self.run.event(event);
    }

    /// The last epoch, whole or not.
    fn last_epoch(&mut self) -> Option<EpochSummary> {
        self.epoch.flush().pop().or(self.last_epoch.take())
    }

    /// What is known of a version whose snapshot all stages have taken, before its evaluation or after.
    fn at(&mut self, version: usize) -> RunProgress {
        if let Some(epoch) = self.epoch.take_progress(version) {
            self.at_snapshot = epoch;
        }
        let mut epoch = self.at_snapshot.clone();
        if self.evaluated == Some(version) {
            epoch = self.epoch.after_evaluation(epoch);
        }
        RunProgress {
            epoch,
            best: self.run.best(),
            ..self.from.clone()
        }
    }
}
