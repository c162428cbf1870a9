//! Weights files of a run that are damaged, gone, or of another version than the run says: they are written anew from its snapshots.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use stagger_data::shown_path;
use stagger_report::snapshot::{Latest, SnapshotStore};
use stagger_report::{
    AVERAGE_WEIGHTS_FILE, BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, METRICS_FILE, Record, ReportError,
    RunFolder, Weights, encode_weights, read_metrics, read_weights_inside, write_weights,
};
use stagger_runtime::snapshot::Snapshot;

use super::session::StartPoint;
use super::snapshots::whole;
use crate::error::Error;

/// Makes sure that `best.safetensors` is whole, and that of the best evaluation so far: a run that goes on from an earlier snapshot may
/// have had a better one. Gives a line where a file had to go.
pub fn check_best(
    folder: &RunFolder,
    metadata: &BTreeMap<String, String>,
    best: Option<(usize, f64)>,
) -> Result<Option<String>, Error> {
    let file = folder.file(BEST_WEIGHTS_FILE);
    let why = match (read_weights_inside(&file), best) {
        (Err(ReportError::Io { source, .. }), None) if source.kind() == ErrorKind::NotFound => {
            return Ok(None);
        }
        (Err(error), _) => error.to_string(),
        (Ok(found), best) => {
            let version = best.map(|(version, _)| version.to_string());
            if found.metadata.get("version") != version.as_ref() {
                // The run comes there again.
                restore_best(folder, metadata, best)?;
                return Ok(None);
            }
            match of_snapshot(folder, metadata, best)? {
                Some(expected) if !is_same(&found, &expected) => format!(
                    "{} is not that of the snapshot of its version",
                    shown_path(&file)
                ),
                _ => return Ok(None),
            }
        }
    };
    let restored = restore_best(folder, metadata, best)?;
    Ok(Some(match best {
        Some((version, _)) if restored => {
            format!("{why}: it is written anew from the snapshot of version {version}")
        }
        Some((version, _)) => {
            format!("{why}, and there is no snapshot of version {version} to write it anew")
        }
        None => format!("{why}: it is removed, as no version before has been evaluated"),
    }))
}

/// The line on a whole `best.safetensors` that is not of the best version, where there is none to come that would replace it.
fn other_best(folder: &RunFolder, best: Option<(usize, f64)>) -> Option<String> {
    let file = folder.file(BEST_WEIGHTS_FILE);
    let found = read_weights_inside(&file).ok()?;
    let version = best.map(|(version, _)| version.to_string());
    let is_other = found.metadata.get("version") != version.as_ref();
    is_other.then(|| match best {
        Some((version, _)) => format!(
            "{} is not that of version {version}, the best: it makes way for that one",
            shown_path(&file)
        ),
        None => format!(
            "{} is removed, as no version has been evaluated",
            shown_path(&file)
        ),
    })
}

/// Makes sure that the weights files of a run at its end are whole and its own, and writes those anew that are not, from its last snapshot.
/// Gives a line for each.
pub fn mend_last(
    folder: &RunFolder,
    metadata: &BTreeMap<String, String>,
    from: &StartPoint,
) -> Result<Vec<String>, Error> {
    let Some(snapshot) = &from.snapshot else {
        return Ok(Vec::new());
    };
    let version = snapshot.version;
    let state = whole(Snapshot::clone(snapshot));
    let records = read_metrics(&folder.file(METRICS_FILE))?;
    let top1 = records.iter().rev().find_map(|record| match record {
        Record::Epoch(epoch) if epoch.version == version => Some(epoch.test_top1),
        _ => None,
    });
    let averaged = state.averaged();
    let averaged = averaged.map(|state| Weights::of_version(metadata, version, state, None));
    let last = state.without_optimizer();
    let last = Weights::of_version(metadata, version, last, top1.flatten());
    let files = [
        (LAST_WEIGHTS_FILE, Some(last)),
        (AVERAGE_WEIGHTS_FILE, averaged),
    ];
    let mut notes = Vec::new();
    for (name, expected) in files {
        let Some(expected) = expected else { continue };
        let file = folder.file(name);
        let why = match read_weights_inside(&file) {
            Ok(found) if is_same(&found, &expected) => continue,
            Ok(_) => format!("{} is not that of version {version}", shown_path(&file)),
            Err(error) => error.to_string(),
        };
        write_weights(&file, &expected)?;
        notes.push(format!(
            "{why}: it is written anew from the snapshot of version {version}"
        ));
    }
    let best = from.progress.best;
    notes.extend(other_best(folder, best));
    notes.extend(check_best(folder, metadata, best)?);
    Ok(notes)
}

/// Makes `best.safetensors` that of the best evaluation so far, where the run has gone back behind a better one. Without a snapshot
/// of that one the file is removed, and `false` given.
pub fn restore_best(
    folder: &RunFolder,
    metadata: &BTreeMap<String, String>,
    best: Option<(usize, f64)>,
) -> Result<bool, Error> {
    let file = folder.file(BEST_WEIGHTS_FILE);
    if let Some(weights) = of_snapshot(folder, metadata, best)? {
        write_weights(&file, &weights)?;
        return Ok(true);
    }
    match std::fs::remove_file(&file) {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Io {
            doing: "remove",
            path: file,
            source,
        }),
        _ => Ok(false),
    }
}

/// The best weights, from the snapshot of their version, where that is there and whole.
fn of_snapshot(
    folder: &RunFolder,
    metadata: &BTreeMap<String, String>,
    best: Option<(usize, f64)>,
) -> Result<Option<Weights>, Error> {
    let mut store = SnapshotStore::of_run(folder.path());
    let Some((version, top1)) = best else {
        return Ok(None);
    };
    let Latest { found, .. } = store.latest_that(|found| found == version, |_| Ok(()))?;
    Ok(found.map(|(_, snapshot)| {
        let state = whole(snapshot).without_optimizer();
        Weights::of_version(metadata, version, state, Some(top1))
    }))
}

/// Whether two weights are equal to the bit, whatever their metadata.
fn is_same(one: &Weights, other: &Weights) -> bool {
    let bytes = |weights: &Weights| {
        encode_weights(&Weights {
            metadata: BTreeMap::new(),
            state: weights.state.clone(),
        })
    };
    bytes(one) == bytes(other)
}
