//! Training through losses that are not finite: back to a snapshot, with half the learning rate.

use stagger_runtime::{Fault, Outcome, RunError};

use super::early_end::Ending;
use super::journal::Journal;
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
        RolledBack::forget_later(folder, &from)?;
    }
    let mut ending = Ending::new(job, session.interrupt);
    let mut has_trained = !is_new;
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
                from = back(session, &from, version, journal).map_err(Error::in_training)?;
                let (version, factor) = (from.version(), from.progress.learning_rate_factor);
                let said = journal.say(&format!(
                    "rolled back to version {version}; learning rates are {factor} of the config's from there on"
                ));
                said.map_err(Error::in_training)?;
            }
            _ => return Ok(stretch),
        }
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
fn back(
    session: &Session<'_, '_>,
    from: &StartPoint,
    diverged_at: usize,
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
    let candidates = keep.candidates(furthest);
    let is_meant = |version| version < before && candidates.contains(&version);
    let (found, notes) = snapshots::latest_that(folder.path(), is_meant, None)?;
    for note in notes {
        journal.say(&note)?;
    }
    let mut back = found.map_or_else(StartPoint::default, |found| found.from);
    back.progress.learning_rate_factor = from.progress.learning_rate_factor / 2.0;
    back.progress.rollbacks = from.progress.rollbacks + 1;
    back.progress.drained_at = from.progress.drained_at.clone();
    back.progress.diverged_at = Some(furthest);
    back.progress.rolled_back_to = Some(back.version());
    RolledBack::to(&back).write(folder)?;
    // A better version that is given up with the rollback does not count.
    snapshots::restore_best(
        folder,
        &super::labels::metadata(session.job),
        back.progress.best,
    )?;
    Ok(back)
}
