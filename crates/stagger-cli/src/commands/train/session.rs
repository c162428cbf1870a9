//! One stretch of training: from the start or from a snapshot, to the end, to an interrupt or to a failure.

use std::cell::RefCell;
use std::io::{self, IsTerminal};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stagger_engine::{Profile, StageState};
use stagger_report::snapshot::{SnapshotStore, SnapshotWriter};
use stagger_report::{
    Console, EpochPlan, EpochProgress, EpochTally, METRICS_FILE, MetricsFile, ReportError,
    RunFolder, RunSummary, RunTally, Sink, Sinks, WeightsFiles,
};
use stagger_runtime::snapshot::Snapshot;
use stagger_runtime::{Event, Interrupt, OnNonFinite, Outcome, Plan, RunError};
use stagger_schedule::Action;

use super::journal::Journal;
use super::stall::Grace;
use super::time_limit::{TimeLimit, evaluate_the_end};
use super::{labels, snapshots, start};
use crate::commands::{build, calibrate};
use crate::failure::Failure;
use crate::flags::high::TrainJob;
use crate::flags::snapshots::OnNan;

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
}

impl Default for RunProgress {
    fn default() -> Self {
        Self {
            epoch: EpochProgress::default(),
            best: None,
            learning_rate_factor: 1.0,
            rollbacks: 0,
            diverged_at: None,
        }
    }
}

/// Where a stretch begins.
#[derive(Clone, Debug, Default)]
pub struct From {
    /// `None` for version 0.
    pub snapshot: Option<Arc<Snapshot>>,
    pub progress: RunProgress,
}

impl From {
    pub fn version(&self) -> usize {
        self.snapshot.as_ref().map_or(0, |from| from.version)
    }
}

/// What all stretches of a run share.
pub struct Session<'a> {
    pub job: &'a TrainJob,
    pub folder: &'a RunFolder,
    pub interrupt: &'a Interrupt,
    /// What version 0 starts from, instead of initial weights.
    pub states: Option<&'a [StageState]>,
    pub profile_ops: bool,
}

/// What came of a stretch.
pub struct Stretch {
    pub ended: Result<Outcome, RunError>,
    /// Whether everything that is written at the end was.
    pub finished: Result<(), ReportError>,
    pub summary: RunSummary,
    pub profiles: Vec<(usize, Profile)>,
    /// Time that each stage spent on snapshots, and how many it took.
    pub stalls: Vec<(Duration, usize)>,
}

/// The tallies that snapshots are told from.
struct Progress {
    epoch: EpochTally,
    run: RunTally,
    /// What the stretch began with.
    from: RunProgress,
}

impl Session<'_> {
    /// Trains.
    pub fn run(
        &self,
        from: &From,
        limit: &mut TimeLimit<'_>,
        journal: &Journal,
    ) -> Result<Stretch, Failure> {
        let (job, version) = (self.job, from.version());
        let tally = self.tally(from);
        let skipped = (version + calibrate::WARMUP_BATCHES).min(job.horizon.batches - 1);
        let progress = Rc::new(RefCell::new(Progress {
            epoch: match job.snapshots {
                Some(_) => tally.clone().capturing(),
                None => tally.clone(),
            },
            run: RunTally::new(skipped).with_best(from.progress.best),
            from: from.progress.clone(),
        }));
        // A run that has gone back to its start, and had begun at a snapshot.
        let again = match (&from.snapshot, self.states) {
            (None, None) => start::initial_states(job, &mut Vec::new())?,
            _ => None,
        };
        let states = again.as_deref().or(self.states);
        let mut sinks = self.sinks(from, &tally, journal, &progress)?;
        let grace = Grace::default();
        let mut profiles = Vec::new();
        let mut stalls = vec![(Duration::ZERO, 0); job.schedule.stages()];

        let next = (from.snapshot.as_ref()).map_or(0, |from| from.next_batch(&job.schedule));
        let batches = next.min(job.horizon.batches)..job.horizon.batches;
        let mut ended = build::run(
            job,
            &self.plan(from),
            build::Options {
                states: states.filter(|_| from.snapshot.is_none()),
                profile: self.profile_ops,
            },
            build::feeds(job, batches)?,
            self.interrupt,
            |event| {
                limit.look();
                progress.borrow_mut().take(&event);
                sinks.event(&event)?;
                match event {
                    Event::Profiled { stage, profile } => profiles.push((stage, profile)),
                    Event::Stalled(stall) => grace.begin(&stall, journal)?,
                    Event::Acted {
                        stage,
                        action: Action::Snapshot { .. },
                        started_at,
                        ended_at,
                        ..
                    } => {
                        stalls[stage].0 += ended_at.saturating_sub(started_at);
                        stalls[stage].1 += 1;
                    }
                    _ => {}
                }
                Ok(())
            },
        );
        grace.end();
        let mut evaluated = Ok(());
        if let Ok(outcome) = &mut ended
            && limit.ended_the_run(outcome)
        {
            // What was asked for has been done: nobody cut the run short.
            outcome.interrupted = false;
            evaluated = evaluate_the_end(job, self.folder, outcome.version).and_then(|event| {
                let Some(event) = event else {
                    return Ok(());
                };
                progress.borrow_mut().take(&event);
                Ok(sinks.event(&event)?)
            });
        }
        // What is on its way to the disk gets there in any case.
        let finished = sinks.finish(ended.as_ref());
        evaluated.map_err(Failure::of_run)?;
        let summary = progress.borrow().run.summary();
        Ok(Stretch {
            ended,
            finished,
            summary,
            profiles,
            stalls,
        })
    }

    fn tally(&self, from: &From) -> EpochTally {
        let job = self.job;
        let plan = EpochPlan {
            batches_per_epoch: job.sampler.batches_per_epoch(),
            batches: job.horizon.batches,
            evaluate_at: job.horizon.evaluate_at.clone(),
        };
        match from.snapshot {
            Some(_) => EpochTally::resumed(plan, from.progress.epoch.clone()),
            None => EpochTally::new(plan),
        }
    }

    fn plan(&self, from: &From) -> Plan {
        let job = self.job;
        let plan = build::plan(job, job.schedule.clone(), job.horizon.clone());
        let (rate, factor) = (plan.learning_rate, from.progress.learning_rate_factor);
        Plan {
            learning_rate: Arc::new(move |batch| rate(batch) * factor),
            on_non_finite: match job.on_nan {
                OnNan::Skip => OnNonFinite::Skip,
                OnNan::Stop | OnNan::Rollback => OnNonFinite::Stop,
            },
            stall_timeout: job.stall_timeout,
            snapshot_interval: job.snapshots.and_then(|rhythm| rhythm.interval),
            resume: from.snapshot.clone(),
            ..plan
        }
    }

    fn sinks(
        &self,
        from: &From,
        tally: &EpochTally,
        journal: &Journal,
        progress: &Rc<RefCell<Progress>>,
    ) -> Result<Sinks, Failure> {
        let job = self.job;
        let mut sinks = Sinks::new();
        // Before the metrics lose what comes behind this version, the snapshots that would need it go.
        let writer = self.writer(from, journal, progress)?;
        sinks.push(self.metrics(tally)?);
        let best = from.progress.best.map(|(_, top1)| top1);
        sinks.push(WeightsFiles::new(self.folder, labels::metadata(job)).with_best(best));
        sinks.push(journal.log.sink(tally.clone()));
        sinks.push(Console::new(
            Box::new(io::stdout()),
            tally.clone(),
            io::stderr().is_terminal(),
        ));
        // Last: by then what the snapshot says is on disk.
        if let Some(writer) = writer {
            sinks.push(writer);
        }
        Ok(sinks)
    }

    fn writer(
        &self,
        from: &From,
        journal: &Journal,
        progress: &Rc<RefCell<Progress>>,
    ) -> Result<Option<SnapshotWriter>, Failure> {
        let (job, folder, version) = (self.job, self.folder, from.version());
        if job.snapshots.is_none() {
            SnapshotStore::of_run(folder.path()).clean(version)?;
            return Ok(None);
        }
        let progress = Rc::clone(progress);
        let of_version = move |version| progress.borrow_mut().at(version);
        let log = &journal.log;
        Ok(Some(snapshots::writer(
            job, folder, version, log, of_version,
        )?))
    }

    /// A file that was begun is gone on with, one that has not got a line is begun again.
    fn metrics(&self, tally: &EpochTally) -> Result<MetricsFile, Failure> {
        let path = self.folder.file(METRICS_FILE);
        if tally.start_version() == 0 {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Failure::Run(error.into()));
                }
                _ => {}
            }
            let facts = labels::facts(self.job);
            return Ok(MetricsFile::create(&path, tally.clone(), facts)?);
        }
        Ok(MetricsFile::resume(&path, tally.clone())?)
    }
}

impl Progress {
    fn take(&mut self, event: &Event) {
        self.epoch.event(event);
        self.run.event(event);
    }

    /// What is known when all stages are at this version.
    fn at(&mut self, version: usize) -> RunProgress {
        RunProgress {
            epoch: self.epoch.take_progress(version).unwrap_or_default(),
            best: self.run.best(),
            ..self.from.clone()
        }
    }
}
