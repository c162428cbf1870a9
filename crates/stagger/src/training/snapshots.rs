//! Snapshots of a run: taking them, and finding them again.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use stagger_data::shown_path;
use stagger_engine::StageState;
use stagger_model::quantity;
use stagger_report::snapshot::{
    Latest, MANIFEST_FILE, Manifest, SNAPSHOT_FORMAT, Skipped, SnapshotPlan, SnapshotStore,
    SnapshotWriter, Written, decode_stage,
};
use stagger_report::{
    BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, ReportError, RunFolder, RunLog, Weights, read_weights,
    write_weights,
};
use stagger_runtime::snapshot::Snapshot;

use super::session::{RunProgress, StartPoint};
use crate::config_file;
use crate::error::{Error, Source};
use crate::job::Job;
use crate::options::TrainingOptions;
use crate::refusal::Refusal;
use crate::resume_refusal::ResumeRefusal;

/// A run that takes snapshots.
pub struct WrittenRun<'a> {
    pub job: &'a Job,
    pub folder: &'a RunFolder,
    pub commit: Option<&'a str>,
}

impl WrittenRun<'_> {
    /// The sink that writes them. `progress` gives what is known of a version whose snapshot all stages have taken, before its
    /// evaluation and after.
    pub fn writer(
        &self,
        version: usize,
        log: Option<RunLog>,
        mut progress: impl FnMut(usize) -> RunProgress + 'static,
    ) -> Result<SnapshotWriter, Error> {
        let manifest = self.manifest()?;
        let describe = move |version| Manifest {
            version,
            // All of it are numbers.
            progress: serde_json::to_value(progress(version)).unwrap_or(Value::Null),
            ..manifest.clone()
        };
        let on_written = move |written: &Written| {
            let Some(log) = &log else { return };
            // A log that cannot be written is noticed by the run's own lines.
            let _ = log.line(&format!(
                "snapshot of version {}: {}, written in {:.0} ms",
                written.version,
                quantity::bytes(written.size_bytes),
                1e3 * written.took.as_secs_f64()
            ));
        };
        let plan = SnapshotPlan {
            from: version,
            evaluate_at: &self.job.horizon.evaluate_at,
            keep: self.job.options.keep_snapshots.unwrap_or_default(),
        };
        Ok(SnapshotWriter::start(
            self.folder.path(),
            plan,
            describe,
            on_written,
        )?)
    }

    fn manifest(&self) -> Result<Manifest, Error> {
        let job = self.job;
        Ok(Manifest {
            format_version: SNAPSHOT_FORMAT,
            batches: job.horizon.batches,
            stagger: env!("CARGO_PKG_VERSION").to_owned(),
            commit: self.commit.map(str::to_owned),
            model: job.model.name.clone(),
            schedule: job.schedule.to_string(),
            cut: job.cut.sizes(),
            seed: job.seed,
            engine: job.engine_name(),
            dtype: job.precision.to_string(),
            dataset: job.split.train.name().to_owned(),
            data_fingerprint: format!("{:016x}", job.split.train.fingerprint()),
            class_names: job.split.train.class_names().to_vec(),
            config: config_file::write(&job.options)?,
            ..Manifest::default()
        })
    }
}

/// The batches that a run was planned for, as its newest snapshot says, if that can be read.
pub fn planned(run: &Path) -> Option<usize> {
    let mut store = SnapshotStore::of_run(run);
    let (_, newest) = store.versions().ok()?.pop()?;
    Some(store.manifest(&newest).ok()?.batches)
}

/// A snapshot that was found.
pub struct Found {
    pub from: StartPoint,
    /// The options that its run had.
    pub options: TrainingOptions,
    pub cut: Vec<usize>,
    pub data_fingerprint: String,
    pub commit: Option<String>,
    /// Whether a build wrote it whose cosine began with the run and not where the warm-up ends: those said no names of classes.
    pub has_early_cosine: bool,
}

impl Found {
    fn of((manifest, snapshot): (Manifest, Snapshot), path: &Path) -> Result<Self, ResumeRefusal> {
        let refused = |source: Source| ResumeRefusal::Manifest {
            path: path.to_owned(),
            source,
        };
        let progress: RunProgress =
            serde_json::from_value(manifest.progress).map_err(|error| refused(error.into()))?;
        let options =
            config_file::parse(&manifest.config).map_err(|sentence| refused(sentence.into()))?;
        Ok(Self {
            from: StartPoint {
                snapshot: Some(Arc::new(snapshot)),
                progress,
            },
            options,
            cut: manifest.cut,
            data_fingerprint: manifest.data_fingerprint,
            commit: manifest.commit,
            has_early_cosine: manifest.class_names.is_empty(),
        })
    }
}

/// Whether a path is that of a snapshot.
pub fn is_snapshot(path: &Path) -> bool {
    path.join(MANIFEST_FILE).is_file()
}

/// The newest whole snapshot of a run before a version, with a line for each newer one that is not whole.
pub fn latest_before(end: usize, run: &Path) -> Result<(Option<Found>, Vec<String>), Error> {
    let Latest { found, skipped } = SnapshotStore::of_run(run).latest_before(end)?;
    let found = found.map(|found| Found::of(found, run)).transpose()?;
    Ok((found, skipped.iter().map(note).collect()))
}

fn note(skipped: &Skipped) -> String {
    format!("{} is left out: {}", shown_path(&skipped.path), skipped.why)
}

/// Makes `best.safetensors` that of the best evaluation so far, where the run has gone back behind a better one.
pub fn restore_best(
    folder: &RunFolder,
    metadata: &BTreeMap<String, String>,
    best: Option<(usize, f64)>,
) -> Result<(), Error> {
    let file = folder.file(BEST_WEIGHTS_FILE);
    let mut store = SnapshotStore::of_run(folder.path());
    let versions = store.versions()?;
    let path =
        best.and_then(|(best, _)| versions.into_iter().find(|(version, _)| *version == best));
    let Some((_, path)) = path else {
        return match std::fs::remove_file(&file) {
            Err(source) if source.kind() != ErrorKind::NotFound => Err(Error::Io {
                doing: "remove",
                path: file,
                source,
            }),
            _ => Ok(()),
        };
    };
    let (_, snapshot) = store.load(&path)?;
    let weights = Weights {
        metadata: metadata.clone(),
        state: whole(snapshot).without_optimizer(),
    };
    Ok(write_weights(&file, &weights)?)
}

/// The state of all stages.
fn whole(snapshot: Snapshot) -> StageState {
    let mut whole = StageState::default();
    for stage in snapshot.stages {
        whole.merge(stage.state);
    }
    whole
}

/// The snapshot in a folder.
pub fn load(path: &Path) -> Result<Found, Error> {
    Ok(Found::of(load_whole(path)?, path)?)
}

fn load_whole(path: &Path) -> Result<(Manifest, Snapshot), ReportError> {
    SnapshotStore::of_run(path).load(path)
}

/// Parameters, statistics and optimizer state of a whole model: of a run, a snapshot, one stage of one, or a weights file.
/// `option` is the one that names the path. With the names of its classes, where they are said.
pub fn weights(
    option: &'static str,
    path: &Path,
    notes: &mut Vec<String>,
) -> Result<(StageState, Option<Vec<String>>), Refusal> {
    let refused = |source: Source| Refusal::ResumeWeightsFile {
        option,
        path: path.to_owned(),
        source,
    };
    let unread = |error: ReportError| refused(error.into());
    if path.is_file() {
        let bytes = std::fs::read(path).map_err(|error| refused(error.into()))?;
        if let Ok(stage) = decode_stage(&bytes) {
            return Ok((stage.state, None));
        }
        return Ok(with_class_names(read_weights(path).map_err(unread)?));
    }
    let found = if is_snapshot(path) {
        Some(load_whole(path).map_err(unread)?)
    } else {
        let latest = SnapshotStore::of_run(path).latest();
        let Latest { found, skipped } = latest.map_err(unread)?;
        notes.extend(skipped.iter().map(note));
        found
    };
    if let Some((manifest, snapshot)) = found {
        let names = Some(manifest.class_names).filter(|names| !names.is_empty());
        return Ok((whole(snapshot), names));
    }
    let last: PathBuf = path.join(LAST_WEIGHTS_FILE);
    if !last.is_file() {
        return Err(Refusal::NoResumeWeights {
            option,
            path: path.to_owned(),
        });
    }
    Ok(with_class_names(read_weights(&last).map_err(unread)?))
}

/// The names of the classes of the outputs, where the file says them.
pub fn with_class_names(weights: Weights) -> (StageState, Option<Vec<String>>) {
    let names = weights.metadata.get("class_names");
    let names = names.and_then(|text| serde_json::from_str(text).ok());
    (weights.state, names)
}
