//! `stagger train`.

mod journal;
mod labels;
mod session;
mod signals;
mod snapshots;
mod stall;
mod start;
mod time_limit;

use stagger_report::{peak_resident_bytes, reset_peak_resident};
use stagger_runtime::{Fault, Interrupt, Outcome, RunError};

use super::{account, build, calibrate, closing};
use crate::failure::Failure;
use crate::flags::low::TrainArgs;
use crate::flags::snapshots::OnNan;
use journal::Journal;
use session::{From, Session};
use start::Start;
use time_limit::TimeLimit;

/// So often a run goes back to a snapshot, each time with half the learning rate.
const ROLLBACKS: usize = 10;

/// Trains.
pub fn run(arguments: TrainArgs) -> Result<(), Failure> {
    let profile_ops = arguments.profile_ops;
    let mut start = start::resolve(arguments)?;
    build::check_specs(&start.job)?;
    if let Some(path) = start.finished() {
        super::print(&format!(
            "{}: finished at version {}; nothing is left to do\n",
            path.display(),
            start.from.version()
        ))?;
        return Ok(());
    }
    let states = match start.from.snapshot {
        None => start::initial_states(&start.job, &mut start.notes)?,
        Some(_) => None,
    };
    let interrupt = signals::listen_for_interrupts()?;
    signals::quiet_panics_of_workers();

    let is_new = start.is_new();
    let folder = start.folder()?;
    let job = &start.job;
    let session = Session {
        job,
        folder: &folder,
        interrupt: &interrupt,
        states: states.as_deref(),
        profile_ops,
    };
    let result = Journal::open(&folder, job).and_then(|journal| {
        let result = train(&session, &start, is_new, &journal);
        if let Some(sentence) = result.as_ref().err().and_then(Failure::sentence) {
            // The failure itself is what the user has to hear of, whatever becomes of the log.
            let _ = journal.log.line(&format!("error: {sentence}"));
        }
        result
    });
    if let Err(Failure::Request(_) | Failure::Interrupted { trained: false }) = &result
        && is_new
    {
        // Nothing has been trained: leave nothing behind. What went wrong before matters more than
        // what goes wrong here.
        let _ = folder.discard();
    }
    result
}

fn train(
    session: &Session<'_>,
    start: &Start,
    is_new: bool,
    journal: &Journal,
) -> Result<(), Failure> {
    let (job, interrupt) = (session.job, session.interrupt);
    journal.say(&labels::headline(job))?;
    journal.say(&format!("run folder: {}", session.folder.path().display()))?;
    for line in &start.notes {
        journal.say(line)?;
    }
    let baseline = match is_new {
        true => calibrate(session, interrupt, journal)?,
        false => None,
    };

    reset_peak_resident();
    let mut from = start.from.clone();
    let mut limit = TimeLimit::new(job.time_limit, from.progress.epoch.elapsed, interrupt);
    let mut has_trained = !is_new;
    let stretch = loop {
        let stretch = session.run(&from, &mut limit, journal);
        // What has been trained is kept, whatever goes wrong from there on.
        let stretch = stretch.map_err(|failure| match has_trained {
            true => failure.of_run(),
            false => failure,
        })?;
        has_trained = true;
        match diverged_at(&stretch.ended) {
            Some((error, version))
                if job.on_nan == OnNan::Rollback && from.progress.rollbacks < ROLLBACKS =>
            {
                journal
                    .say(&format!("error: {error}"))
                    .map_err(Failure::Run)?;
                stretch.finished.map_err(failed)?;
                from = back(session, &from, version).map_err(Failure::of_run)?;
                let (version, factor) = (from.version(), from.progress.learning_rate_factor);
                journal
                    .say(&format!(
                        "rolled back to version {version}; learning rates are {factor} of the config's from there on"
                    ))
                    .map_err(Failure::Run)?;
            }
            _ => break stretch,
        }
    };
    let outcome = stretch.ended.map_err(failed)?;
    stretch.finished.map_err(failed)?;
    let mut lines = closing::lines(
        job,
        &outcome,
        &stretch.summary,
        baseline.as_ref(),
        peak_resident_bytes(),
    );
    if job.snapshots.is_some() {
        let (folder, stalls) = (session.folder, &stretch.stalls);
        lines.extend(closing::snapshots(folder, stalls, &outcome));
        if outcome.interrupted {
            let path = folder.path().display();
            lines.push(format!("go on with: stagger train --resume {path}"));
        }
    }
    for (stage, profile) in &stretch.profiles {
        lines.push(account::kernels(*stage, profile, outcome.version));
    }
    for line in lines {
        // The run has left its weights by now: they stay, whatever becomes of the log.
        journal.say(line.trim_end()).map_err(Failure::Run)?;
    }
    if outcome.interrupted {
        Err(Failure::Interrupted { trained: true })
    } else {
        Ok(())
    }
}

fn calibrate(
    session: &Session<'_>,
    interrupt: &Interrupt,
    journal: &Journal,
) -> Result<Option<stagger_report::RunSummary>, Failure> {
    let baseline = calibrate::run(session.job, interrupt);
    if let Err(Failure::Interrupted { .. }) = &baseline {
        journal.say("interrupted in the calibration: nothing has been trained")?;
    }
    let baseline = baseline?;
    if let Some(baseline) = &baseline {
        journal.say(&closing::calibration(session.job, baseline))?;
    }
    Ok(baseline)
}

/// At which version the loss was not finite any more.
fn diverged_at(ended: &Result<Outcome, RunError>) -> Option<(&RunError, usize)> {
    match ended {
        Err(
            error @ RunError::Stage {
                version,
                cause: Fault::NonFiniteLoss { .. },
                ..
            },
        ) => Some((error, *version)),
        _ => None,
    }
}

/// The last snapshot, or the start when there is none, with half the learning rate. When a lower rate has not brought the
/// run any further than before, its parameters were bad already where it went back to: then it goes back further.
fn back(session: &Session<'_>, from: &From, diverged_at: usize) -> Result<From, Failure> {
    let run = session.folder.path();
    let furthest = from.progress.diverged_at;
    let before = match furthest {
        Some(furthest) if diverged_at <= furthest => from.version(),
        _ => usize::MAX,
    };
    let (found, _) = snapshots::latest_before(before, run).map_err(failed)?;
    let mut back = found.map_or_else(From::default, |found| found.from);
    back.progress.learning_rate_factor = from.progress.learning_rate_factor / 2.0;
    back.progress.rollbacks = from.progress.rollbacks + 1;
    back.progress.diverged_at = furthest.max(Some(diverged_at));
    // What was better on the way that is given up does not count.
    snapshots::restore_best(
        session.folder,
        &labels::metadata(session.job),
        back.progress.best,
    )?;
    Ok(back)
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Run(error.into())
}
