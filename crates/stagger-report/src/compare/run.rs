//! One run of a comparison.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stagger_data::{foreign, shown_text};

use super::progress::{Progress, epoch};
use super::staleness::StageStaleness;
use crate::environment::Environment;
use crate::error::ReportError;
use crate::metrics::{EndRecord, Record};
use crate::metrics_reader::{self, read_line, read_metrics};
use crate::run_folder::{ENVIRONMENT_FILE, METRICS_FILE};
use crate::summary::EpochSummary;

/// Far more than a process says before it ends, and than is to say of a host.
const MAX_BYTES: u64 = 1 << 24;

/// A run in the plan of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedRun {
    /// The method as the user wrote it.
    pub method: String,
    /// Slow-down of its stages in percent; 0 for none.
    pub slowdown_percent: f64,
    /// Seed.
    pub seed: u64,
    /// Its run folder, which need not exist.
    pub folder: PathBuf,
    /// The command that repeats it.
    pub command: String,
}

/// The state of a planned run.
#[derive(Clone, Debug)]
pub enum RunState {
    /// It completed.
    Done(Box<RunResult>),
    /// It failed, with this cause.
    Failed(String),
    /// It was not run.
    Missing,
}

impl RunState {
    /// The result of a completed run.
    pub fn result(&self) -> Option<&RunResult> {
        match self {
            RunState::Done(result) => Some(result),
            _ => None,
        }
    }
}

/// The results of a completed run.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// The schedule in full notation.
    pub schedule: Option<String>,
    /// Copies of each stage: `1`, or `2,1` where stages differ.
    pub replicas: String,
    /// Fingerprints of the images that it was trained on and evaluated on, where its metrics say them.
    pub fingerprints: [Option<String>; 2],
    /// Its batches and evaluations.
    pub progress: Progress,
    /// Share of its training time in which each stage computed.
    pub busy_shares: Vec<f64>,
    /// Peak resident memory of the process.
    pub peak_memory_bytes: Option<u64>,
    /// Staleness of each stage.
    pub staleness: Vec<StageStaleness>,
    /// ‖w − w_fwd‖/‖w‖ of each stage, if measured.
    pub gaps: Vec<Option<f64>>,
    /// Its host and build, if its folder has them.
    pub environment: Option<Environment>,
    /// Why the file on its host and build says nothing, where it is damaged.
    pub fault: Option<String>,
    /// Duration of the whole run.
    pub wall_seconds: f64,
}

impl RunResult {
    /// One minus the mean busy share.
    pub fn bubble_share(&self) -> f64 {
        let stages = self.busy_shares.len().max(1) as f64;
        1.0 - self.busy_shares.iter().sum::<f64>() / stages
    }

    /// Test accuracy of the last evaluation, in percent.
    pub fn final_top1(&self) -> Option<f64> {
        Some(self.progress.evaluations.last()?.1)
    }

    /// Highest test accuracy, in percent.
    pub fn best_top1(&self) -> Option<f64> {
        let found = self.progress.evaluations.iter().map(|(_, top1)| *top1);
        found.max_by(f64::total_cmp)
    }
}

/// The file beside a run's folder that says why it failed.
pub fn error_file(folder: &Path) -> PathBuf {
    let mut name = OsString::from(folder);
    name.push(".err");
    name.into()
}

/// Reads the folder of a run. A run that was interrupted, killed, or whose files are damaged has failed.
pub fn read_run(folder: &Path) -> RunState {
    let told = match read(&error_file(folder)) {
        Ok(told) => told,
        Err(error) => return RunState::Failed(error.to_string()),
    };
    let told = told.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let told = told.and_then(|text| Some(text.lines().rfind(|line| !line.is_empty())?.to_owned()));
    let told = told.map(|line| shown_text(line.trim_start_matches("error: ")));
    let metrics = folder.join(METRICS_FILE);
    if !foreign::is_there(&metrics) {
        return told.map_or(RunState::Missing, RunState::Failed);
    }
    let failed = |sentence: String| RunState::Failed(told.clone().unwrap_or(sentence));
    let records = match read_metrics(&metrics) {
        Ok(records) => records,
        Err(error) => return failed(error.to_string()),
    };
    match records.last() {
        Some(Record::End(EndRecord {
            error: Some(error), ..
        })) => failed(shown_text(error)),
        Some(Record::End(end)) if end.interrupted => failed("interrupted".to_owned()),
        // It fell after its last record.
        Some(Record::End(_)) if told.is_some() => failed(String::new()),
        Some(Record::End(end)) => {
            let path = folder.join(ENVIRONMENT_FILE);
            let environment = match read(&path) {
                Ok(environment) => environment,
                Err(error) => return failed(error.to_string()),
            };
            let environment = environment.map(|json| serde_json::from_slice(&json));
            let environment = environment.transpose();
            let environment =
                environment.map_err(|error| ReportError::io("read", &path, error.into()));
            RunState::Done(Box::new(RunResult {
                fault: environment.as_ref().err().map(ReportError::to_string),
                ..result(&records, end, environment.unwrap_or_default())
            }))
        }
        _ => failed("the run was killed before its end".to_owned()),
    }
}

/// What is wrong with the metrics of a run that has come to its end: a line among them, so that nothing can be told of it.
pub fn damage_of_finished(folder: &Path) -> Option<ReportError> {
    let metrics = folder.join(METRICS_FILE);
    let Err(damage @ ReportError::Metrics { .. }) = read_metrics(&metrics) else {
        return None;
    };
    let bytes = foreign::read_inside(&metrics, metrics_reader::MAX_BYTES).ok()?;
    let last = bytes.split_inclusive(|byte| *byte == b'\n').next_back()?;
    match read_line(last, 2) {
        Ok(Record::End(end)) if end.error.is_none() && !end.interrupted => Some(damage),
        _ => None,
    }
}

/// A small file of a run, if it has it.
fn read(path: &Path) -> Result<Option<Vec<u8>>, ReportError> {
    match foreign::read_inside(path, MAX_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(ReportError::io("read", path, source)),
    }
}

fn result(records: &[Record], end: &EndRecord, environment: Option<Environment>) -> RunResult {
    let epochs: Vec<&EpochSummary> = records.iter().filter_map(epoch).collect();
    let stages = epochs.first().map_or(0, |epoch| epoch.stages.len());
    // The first epoch fills caches and pipeline.
    let settled = if epochs.len() > 1 {
        &epochs[1..]
    } else {
        &epochs
    };
    let fact = |name: &str| match records.first() {
        Some(Record::Run(run)) => run.facts.get(name).and_then(Value::as_str),
        _ => None,
    };
    RunResult {
        schedule: fact("schedule").map(str::to_owned),
        replicas: fact("replicas").unwrap_or("1").to_owned(),
        fingerprints: ["data_fingerprint", "evaluation_fingerprint"]
            .map(|name| fact(name).map(str::to_owned)),
        progress: Progress::of(records),
        busy_shares: (0..stages)
            .map(|stage| busy_share(settled, stage))
            .collect(),
        peak_memory_bytes: end.peak_memory_bytes,
        staleness: (0..stages).map(|stage| staleness(&epochs, stage)).collect(),
        gaps: (0..stages).map(|stage| gap(&epochs, stage)).collect(),
        environment,
        fault: None,
        wall_seconds: end.wall.as_secs_f64(),
    }
}

/// Mean over epochs, weighted by their time.
fn busy_share(epochs: &[&EpochSummary], stage: usize) -> f64 {
    weighted(epochs.iter().filter_map(|epoch| {
        let found = epoch.stages.get(stage)?;
        Some((found.busy_share, epoch.wall.as_secs_f64()))
    }))
    .unwrap_or_default()
}

fn gap(epochs: &[&EpochSummary], stage: usize) -> Option<f64> {
    weighted(epochs.iter().filter_map(|epoch| {
        let gap = epoch.stages.get(stage)?.gap_mean?;
        Some((gap, epoch.batches as f64))
    }))
}

fn staleness(epochs: &[&EpochSummary], stage: usize) -> StageStaleness {
    let mut sum = StageStaleness::default();
    for epoch in epochs {
        if let Some(found) = epoch.stages.get(stage) {
            sum.add(found.staleness_max, &found.staleness_counts);
        }
    }
    let means = epochs.iter().filter_map(|epoch| {
        let mean = epoch.stages.get(stage)?.staleness_mean;
        Some((mean, epoch.batches as f64))
    });
    sum.mean = weighted(means).unwrap_or_default();
    sum
}

/// Weighted mean of (number, weight); `None` if the weights add up to 0.
fn weighted(numbers: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
    let (sum, weight) = numbers.fold((0.0, 0.0), |(sum, all), (number, weight)| {
        (sum + number * weight, all + weight)
    });
    (weight > 0.0).then(|| sum / weight)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::compare::fixtures::FixtureRun;

    fn failure(state: RunState) -> String {
        match state {
            RunState::Failed(sentence) => sentence,
            other => panic!("not failed: {other:?}"),
        }
    }

    #[test]
    fn a_finished_run_is_summed_up() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("dsp-seed1");
        let run = FixtureRun {
            epochs: 3,
            ..FixtureRun::default()
        };
        run.write(&folder);
        let state = read_run(&folder);
        let result = state.result().unwrap();
        assert_eq!(result.schedule.as_deref(), Some("dsp(1,0;2,0)"));
        assert_eq!(result.busy_shares, [0.9, 0.8]);
        assert!((result.bubble_share() - 0.15).abs() < 1e-12);
        assert_eq!(result.staleness[0].max, 2);
        assert_eq!(result.staleness[0].counts, [3, 3, 24]);
        assert!((result.gaps[0].unwrap() - 0.02).abs() < 1e-12);
        assert_eq!(result.gaps[1], None);
        assert_eq!(result.final_top1(), Some(70.0));
    }

    #[test]
    fn whatever_is_not_a_good_end_is_a_failure() {
        let base = tempfile::tempdir().unwrap();
        let folder = base.path().join("run.9");
        assert!(matches!(read_run(&folder), RunState::Missing));
        let run = FixtureRun::default();
        run.write(&folder);
        let metrics = folder.join(METRICS_FILE);
        let whole = fs::read_to_string(&metrics).unwrap();
        let (before, end) = whole.trim_end().rsplit_once('\n').unwrap();
        fs::write(&metrics, format!("{before}\n")).unwrap();
        assert!(failure(read_run(&folder)).contains("killed"));
        let interrupted = end.replace("\"interrupted\":false", "\"interrupted\":true");
        fs::write(&metrics, format!("{before}\n{interrupted}\n")).unwrap();
        assert_eq!(failure(read_run(&folder)), "interrupted");
        let error = end.replace("\"error\":null", "\"error\":\"stage 1 failed\"");
        fs::write(&metrics, format!("{before}\n{error}\n")).unwrap();
        assert_eq!(failure(read_run(&folder)), "stage 1 failed");
        fs::write(&metrics, &whole[..whole.len() - 9]).unwrap();
        assert!(failure(read_run(&folder)).contains("cut short"));
        // What the process said last counts more.
        fs::write(error_file(&folder), "warning\nerror: out of memory\n").unwrap();
        assert_eq!(failure(read_run(&folder)), "out of memory");
        fs::remove_dir_all(&folder).unwrap();
        assert_eq!(failure(read_run(&folder)), "out of memory");
    }
}
