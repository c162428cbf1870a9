//! Snapshots of a run: taking them, and finding them again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use stagger_data::{foreign, shown_path};
use stagger_engine::StageState;
use stagger_model::quantity;
use stagger_report::snapshot::{
    DataSeal, Keep, Latest, MANIFEST_FILE, Manifest, MetricsSeal, SNAPSHOT_FORMAT, Skipped,
    SnapshotPlan, SnapshotStore, SnapshotWriter, Written,
};
use stagger_report::{
    LAST_WEIGHTS_FILE, METRICS_FILE, MetricsCoverage, ReportError, RunFolder, RunLog,
    StageOrWeights, Weights, read_stage_or_weights, read_weights_inside,
};
use stagger_runtime::snapshot::Snapshot;

use super::data_check;
use super::place;
use super::rolled_back::RolledBack;
use super::session::{RunProgress, StartPoint};
use crate::config_file;
use crate::error::{Error, Source};
use crate::job::{Job, OnNan};
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
    /// The sink that writes them. `known` gives what is known of a version whose snapshot all stages have taken, before its
    /// evaluation and after, and the seal of the metrics up to there.
    pub fn writer(
        &self,
        version: usize,
        log: Option<RunLog>,
        mut known: impl FnMut(usize) -> (RunProgress, Option<MetricsSeal>) + 'static,
    ) -> Result<SnapshotWriter, Error> {
        let manifest = self.manifest()?;
        let describe = move |version| {
            let (progress, metrics) = known(version);
            Manifest {
                version,
                // All of it are numbers.
                progress: serde_json::to_value(progress).unwrap_or(Value::Null),
                metrics,
                ..manifest.clone()
            }
        };
        let on_written = move |written: Result<&Written, &ReportError>| {
            let Some(log) = &log else { return };
            let line = match written {
                Ok(written) => format!(
                    "snapshot of version {}: {}, written in {:.0} ms",
                    written.version,
                    quantity::bytes(written.size_bytes),
                    1e3 * written.took.as_secs_f64()
                ),
                Err(error) => format!("warning: {error}"),
            };
            // A log that cannot be written is noticed by the run's own lines.
            let _ = log.line(&line);
        };
        let plan = SnapshotPlan {
            from: version,
            evaluate_at: &self.job.horizon.evaluate_at,
            keep: keep(self.job),
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
            data: data_check::seals(job)?,
            class_names: job.split.train.class_names().to_vec(),
            config: config_file::write(&job.options)?,
            ..Manifest::default()
        })
    }
}

/// The snapshots of a run that stay.
pub fn keep(job: &Job) -> Keep {
    let newest = job.options.keep_snapshots.unwrap_or_default();
    match job.on_nan {
        OnNan::Rollback => Keep::ForRollbacks {
            newest,
            planned: job.horizon.snapshot_at.clone(),
            lead: job.schedule.lead(),
        },
        OnNan::Stop | OnNan::Skip => Keep::Newest(newest),
    }
}

/// The batches that a run was planned for, as the newest of its snapshots says that can be read.
pub fn planned(run: &Path) -> Option<usize> {
    let mut store = SnapshotStore::of_run(run);
    let newest_first = store.versions().ok()?.into_iter().rev();
    let mut manifests = newest_first.filter_map(|(_, path)| store.manifest(&path).ok());
    Some(manifests.next()?.batches)
}

/// Version and top-1 test accuracy of the best evaluation that the newest snapshot knows of.
pub fn best_known(run: &Path) -> Option<(usize, f64)> {
    let mut store = SnapshotStore::of_run(run);
    let (_, newest) = store.versions().ok()?.pop()?;
    let manifest = store.manifest(&newest).ok()?;
    let progress: RunProgress = serde_json::from_value(manifest.progress).ok()?;
    progress.best
}

/// A snapshot that was found.
pub struct Found {
    pub from: StartPoint,
    /// The options that its run had.
    pub options: TrainingOptions,
    pub cut: Vec<usize>,
    pub data_fingerprint: String,
    pub data: Vec<DataSeal>,
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
            data: manifest.data,
            commit: manifest.commit,
            has_early_cosine: manifest.class_names.is_empty(),
        })
    }
}

/// Whether a path is that of a snapshot.
pub fn is_snapshot(path: &Path) -> bool {
    foreign::is_there(&path.join(MANIFEST_FILE))
}

/// Versions behind a snapshot at which the pipeline of the run has drained, as later snapshots say whose manifests are whole.
pub fn later_drains(run: &Path, version: usize) -> Result<Vec<usize>, Error> {
    let mut store = SnapshotStore::of_run(run);
    let mut drains = Vec::new();
    for (_, path) in store
        .versions()?
        .into_iter()
        .filter(|(later, _)| *later > version)
    {
        let Ok(manifest) = store.manifest(&path) else {
            continue;
        };
        let progress: Result<RunProgress, _> = serde_json::from_value(manifest.progress);
        drains.extend(
            progress
                .map(|progress| progress.drained_at)
                .unwrap_or_default(),
        );
        // The end of the run, as it was planned then.
        if manifest.version == manifest.batches {
            drains.push(manifest.version);
        }
    }
    drains.retain(|drain| *drain > version);
    Ok(drains)
}

/// The newest whole snapshot of a run that `is_meant`, of those whose metrics are there and that no rollback has given up, with a line
/// for each newer one that does not serve.
pub fn latest_that(
    run: &Path,
    is_meant: impl Fn(usize) -> bool,
    rolled_back: Option<&RolledBack>,
) -> Result<(Option<Found>, Vec<String>), Error> {
    let mut store = SnapshotStore::of_run(run);
    if store.versions()?.is_empty() {
        return Ok((None, Vec::new()));
    }
    let metrics = MetricsCoverage::read(&run.join(METRICS_FILE))?;
    let Latest { found, skipped } = store.latest_that(is_meant, |manifest| {
        metrics.check(manifest.version, manifest.metrics.as_ref())?;
        rolled_back.map_or(Ok(()), |last| last.check(manifest))
    })?;
    let found = found.map(|found| Found::of(found, run)).transpose()?;
    let mut notes = left_out(&skipped);
    for path in store.in_the_way()? {
        if skipped.iter().all(|skipped| skipped.path != path) {
            notes.push(ReportError::InTheWay { path }.to_string());
        }
    }
    Ok((found, notes))
}

/// A line for each snapshot that does not serve, the newest first; those with one cause share theirs.
fn left_out(skipped: &[Skipped]) -> Vec<String> {
    let whys = skipped
        .iter()
        .map(|skipped| (skipped, skipped.why.to_string()));
    let whys: Vec<(&Skipped, String)> = whys.collect();
    let alike = whys.chunk_by(|(_, one), (_, other)| one == other);
    let line = |group: &[(&Skipped, String)]| {
        let (newest, why) = group.first()?;
        let path = shown_path(&newest.path);
        Some(match group.len() {
            1 => format!("{path} is left out: {why}"),
            2 => format!("{path} and the one before are left out: {why}"),
            more => format!("{path} and {} before it are left out: {why}", more - 1),
        })
    };
    alike.filter_map(line).collect()
}

/// Removes what a process has left that was killed while it wrote: of a run that has nothing left to do, no other process does.
pub fn remove_beginnings(folder: &RunFolder) -> Result<(), Error> {
    SnapshotStore::of_run(folder.path()).clean(usize::MAX)?;
    Ok(folder.remove_partial_files()?)
}

/// The state of all stages.
pub fn whole(snapshot: Snapshot) -> StageState {
    let mut whole = StageState::default();
    for stage in snapshot.stages {
        whole.merge(stage.state);
    }
    whole
}

/// The snapshot in a folder, of a run that has its metrics.
pub fn load(path: &Path, run: &Path) -> Result<Found, Error> {
    let (manifest, snapshot) = load_whole(path)?;
    let metrics = MetricsCoverage::read(&run.join(METRICS_FILE))?;
    metrics.check(manifest.version, manifest.metrics.as_ref())?;
    Ok(Found::of((manifest, snapshot), path)?)
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
    if foreign::is_there(path) && !path.is_dir() {
        return Ok(match read_stage_or_weights(path).map_err(unread)? {
            StageOrWeights::Stage(stage) => (stage.state, None),
            StageOrWeights::Weights(weights) => with_class_names(weights),
        });
    }
    let found = if is_snapshot(path) {
        Some(load_whole(path).map_err(unread)?)
    } else {
        let latest = SnapshotStore::of_run(path).latest();
        let Latest { found, skipped } = latest.map_err(unread)?;
        notes.extend(left_out(&skipped));
        found
    };
    let last: PathBuf = path.join(LAST_WEIGHTS_FILE);
    if let Some((manifest, snapshot)) = found {
        // A run that was resumed without snapshots has gone on behind its last one.
        let later = read_weights_inside(&last).ok().filter(|last| {
            let version = last
                .metadata
                .get("version")
                .and_then(|version| version.parse().ok());
            // Those of a continuation that was given up are of no run any more.
            let is_its_end = version == place::ended_well_at(&path.join(METRICS_FILE));
            is_its_end
                && version.is_some_and(|version| version > snapshot.version)
                && !is_snapshot(path)
        });
        if let Some(later) = later {
            notes.push(format!(
                "{} is later than the newest snapshot, of version {}: its weights are taken, without the state of an optimizer",
                shown_path(&last),
                snapshot.version
            ));
            return Ok(with_class_names(later));
        }
        let names = Some(manifest.class_names).filter(|names| !names.is_empty());
        return Ok((whole(snapshot), names));
    }
    if !foreign::is_there(&last) {
        return Err(Refusal::NoResumeWeights {
            option,
            path: path.to_owned(),
        });
    }
    Ok(with_class_names(
        read_weights_inside(&last).map_err(unread)?,
    ))
}

/// The names of the classes of the outputs, where the file says them.
pub fn with_class_names(weights: Weights) -> (StageState, Option<Vec<String>>) {
    let names = weights.metadata.get("class_names");
    let names = names.and_then(|text| serde_json::from_str(text).ok());
    (weights.state, names)
}
