//! Training through losses that are not finite: back to a snapshot, with half the learning rate.

use std::collections::BTreeSet;

use stagger_report::RunFolder;
use stagger_runtime::{Fault, MOST_SKIPPED_IN_A_ROW, Outcome, RunError};

use super::early_end::Ending;
use super::journal::Journal;
use super::labels;
use super::mended_weights;
use super::rolled_back::RolledBack;
use super::session::{Session, StartPoint, Stretch};
use super::snapshots;
use crate::error::Error;
use crate::job::OnNan;

/// The most rollbacks of a run, each with half the learning rate of the one before.
const ROLLBACKS: usize = 10;

/// Trains to the end, in several stretches where the run rolls back.
pub fn run(
    session: &Session<'_, '_>,
    mut from: StartPoint,
    is_new: bool,
    journal: &Journal,
) -> Result<Stretch, Error> {
    let job = session.job;
    if let Some(folder) = session.folder {
        RolledBack::forget_later(folder, &from, session.job)?;
    }
    let mut ending = Ending::new(job, session.interrupt);
    let mut has_trained = !is_new;
    let mut taken_anew = BTreeSet::new();
    loop {
        // What has been trained is kept, whatever goes wrong from there on.
        let stretch =
            (session.run(&from, &mut ending, journal)).map_err(|error| match has_trained {
                true => error.in_training(),
                false => error,
            })?;
        has_trained = true;
        match (diverged_at(&stretch.ended), session.folder) {
            (Some((error, version)), Some(_))
                if job.on_nan == OnNan::Rollback && from.progress.rollbacks < ROLLBACKS =>
            {
                let said = journal.say(&format!("error: {error}"));
                said.map_err(Error::in_training)?;
                (stretch.finished).map_err(|error| Error::from(error).in_training())?;
                from = back(session, &from, version, &mut taken_anew, journal)
                    .map_err(Error::in_training)?;
            }
            (diverged, _) => {
                let limit = diverged.and_then(|_| limit(job.on_nan));
                if let (Some(limit), Some(_)) = (limit, session.folder) {
                    journal.say(&limit).map_err(Error::in_training)?;
                }
                return Ok(stretch);
            }
        }
    }
}

/// Why a run that goes on through losses that are not finite ends at one.
fn limit(on_nan: OnNan) -> Option<String> {
    match on_nan {
        OnNan::Stop => None,
        OnNan::Skip => Some(format!(
            "--on-nan skip ends the run: {MOST_SKIPPED_IN_A_ROW} batches in a row had no finite loss"
        )),
        OnNan::Rollback => Some(format!(
            "--on-nan rollback ends the run: it has gone back {ROLLBACKS} times"
        )),
    }
}

/// The error and the version at which the loss stopped being finite.
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

/// Where the run goes back to, with half the learning rate: to the newest snapshot that all stages have taken by then, however fast
/// each of them is. When a lower rate has not brought the run any further than before, the parameters were bad already at the last
/// rollback: then it goes back further, and finally to the start. It is on disk before the run goes on.
///
/// Where that snapshot is damaged or gone, the run trains from the one before it as it did then, takes it anew, and comes to the same
/// rollback: `taken_anew` holds the versions for which it has done so.
fn back(
    session: &Session<'_, '_>,
    from: &StartPoint,
    diverged_at: usize,
    taken_anew: &mut BTreeSet<usize>,
    journal: &Journal,
) -> Result<StartPoint, Error> {
    let Some(folder) = session.folder else {
        return Ok(StartPoint::default());
    };
    let furthest = from.progress.diverged_at;
    let before = match furthest {
        Some(furthest) if diverged_at <= furthest => {
            (from.progress.rolled_back_to).unwrap_or_else(|| from.version())
        }
        _ => usize::MAX,
    };
    let furthest = furthest.max(Some(diverged_at)).unwrap_or_default();
    let keep = snapshots::keep(session.job);
    let mut candidates = keep.candidates(furthest).to_vec();
    candidates.retain(|version| *version < before);
    let newest = candidates.last().copied();
    let mut found = latest(folder, journal, |version| Some(version) == newest)?;
    if let (None, Some(missing)) = (&found, newest) {
        if taken_anew.insert(missing) {
            return before_it(session, from, missing, folder, journal);
        }
        found = latest(folder, journal, |version| {
            version != missing && candidates.contains(&version)
        })?;
    }
    let mut back = found.unwrap_or_default();
    back.progress.learning_rate_factor = from.progress.learning_rate_factor / 2.0;
    back.progress.rollbacks = from.progress.rollbacks + 1;
    back.progress.drained_at = from.progress.drained_at.clone();
    back.progress.diverged_at = Some(furthest);
    back.progress.rolled_back_to = Some(back.version());
    RolledBack::to(&back, session.job)?.write(folder)?;
    // A better version that is given up with the rollback does not count.
    let metadata = labels::metadata(session.job);
    mended_weights::restore_best(folder, &metadata, back.progress.best)?;
    let (version, factor) = (back.version(), back.progress.learning_rate_factor);
    journal.say(&format!(
        "rolled back to version {version}; learning rates are {factor} of the config's from there on"
    ))?;
    Ok(back)
}

/// The newest whole snapshot of those that are meant, with a line for each newer one that does not serve.
fn latest(
    folder: &RunFolder,
    journal: &Journal,
    is_meant: impl Fn(usize) -> bool,
) -> Result<Option<StartPoint>, Error> {
    let (found, notes) = snapshots::latest_that(folder.path(), is_meant, None)?;
    for note in notes {
        journal.say(&note)?;
    }
    Ok(found.map(|found| found.from))
}

/// The point before a snapshot that is damaged or gone, with the learning rate that the run had there.
fn before_it(
    session: &Session<'_, '_>,
    from: &StartPoint,
    missing: usize,
    folder: &RunFolder,
    journal: &Journal,
) -> Result<StartPoint, Error> {
    let mut back = latest(folder, journal, |version| version < missing)?.unwrap_or_default();
    back.progress.drained_at = from.progress.drained_at.clone();
    RolledBack::forget_later(folder, &back, session.job)?;
    let metadata = labels::metadata(session.job);
    mended_weights::restore_best(folder, &metadata, back.progress.best)?;
    let version = back.version();
    journal.say(&format!(
        "there is no whole snapshot of version {missing} to go back to: it is taken anew, from version {version} on"
    ))?;
    Ok(back)
}
