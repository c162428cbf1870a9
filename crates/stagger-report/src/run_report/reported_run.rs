//! What a run folder says of its run.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;
use stagger_data::{foreign, shown_path, shown_text};

use super::thinned::Thinned;
use super::timeline::Traced;
use super::wrong_images::WrongImages;
use crate::environment::Environment;
use crate::error::ReportError;
use crate::metrics::{EndRecord, Record};
use crate::metrics_reader::each_record;
use crate::run_folder::{ENVIRONMENT_FILE, METRICS_FILE};
use crate::summary::EpochSummary;

/// Far more than any environment has.
const MAX_ENVIRONMENT_BYTES: u64 = 1 << 16;

/// A run, as far as its folder has it.
#[derive(Clone, Debug)]
pub struct ReportedRun {
    /// The name of its folder.
    pub(super) name: String,
    /// What it trains, on what, and how: names and values.
    pub(super) facts: Vec<(String, String)>,
    pub(super) environment: Option<Environment>,
    /// What of its folder cannot be read, a sentence for each.
    pub(super) faults: Vec<String>,
    pub(super) losses: Thinned,
    pub(super) rates: Thinned,
    pub(super) batches: usize,
    pub(super) skipped: usize,
    pub(super) epochs: Vec<EpochSummary>,
    /// Whether its stages slept instead of computing.
    pub(super) is_emulated: bool,
    /// How it ended, in words.
    pub(super) state: String,
    pub(super) peak_memory_bytes: Option<u64>,
    pub(super) wrong: Option<WrongImages>,
    pub(super) trace: Option<Traced>,
}

impl ReportedRun {
    /// Reads the folder of a run.
    ///
    /// # Errors
    /// [`ReportError::NoRun`] when it has no metrics, [`ReportError::Io`] when they cannot be read, [`ReportError::Metrics`] when they do
    /// not even begin like metrics.
    pub fn read(path: &Path) -> Result<Self, ReportError> {
        let metrics = path.join(METRICS_FILE);
        if !foreign::is_there(&metrics) {
            return Err(ReportError::NoRun {
                path: path.to_owned(),
            });
        }
        let mut run = Self::named(path);
        let mut last_at = None;
        let mut end = None;
        let read = each_record(&metrics, |record| match record {
            Record::Run(record) => {
                run.is_emulated = record.facts.contains_key("emulated");
                let fact = |(name, value): (&String, &Value)| {
                    let value = match value {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    };
                    (shown_text(&name.replace('_', " ")), shown_text(&value))
                };
                run.facts = record.facts.iter().map(fact).collect();
            }
            Record::Batch(batch) => {
                let at = batch.batch as f64;
                run.losses.push(at, f64::from(batch.loss));
                run.rates.push(at, batch.lr);
                run.batches += 1;
                last_at = Some(batch.batch);
            }
            Record::Skipped(_) => run.skipped += 1,
            Record::Epoch(epoch) => run.epochs.push(epoch),
            Record::End(record) => end = Some(record),
        })?;
        if let (1, Some(what)) = (read.line, &read.fault) {
            return Err(ReportError::Metrics {
                path: metrics,
                line: 1,
                what: what.clone(),
            });
        }
        run.peak_memory_bytes = end.as_ref().and_then(|end| end.peak_memory_bytes);
        run.state = match end {
            Some(end) => ended(&end),
            None => unended(last_at),
        };
        if let Some(sentence) = read.sentence() {
            run.state = format!("{}. {sentence}", run.state);
            let folder = shown_path(path);
            run.faults.push(format!("{folder}: {sentence}"));
        }
        match environment(&path.join(ENVIRONMENT_FILE)) {
            Ok(found) => run.environment = found,
            Err(error) => {
                let why = shown_text(&error.to_string());
                run.faults
                    .push(format!("the page lacks host and build: {why}"));
                run.facts
                    .push(("host and build".to_owned(), format!("unknown: {why}")));
            }
        }
        Ok(run)
    }

    /// What of its folder is not on the page as it cannot be read, a sentence for each.
    #[must_use]
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    fn named(path: &Path) -> Self {
        let name = match path.file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            // The root, or a path that ends in `..`.
            None => path.to_string_lossy().into_owned(),
        };
        Self {
            name: shown_text(&name),
            facts: Vec::new(),
            environment: None,
            faults: Vec::new(),
            losses: Thinned::default(),
            rates: Thinned::default(),
            batches: 0,
            skipped: 0,
            epochs: Vec::new(),
            is_emulated: false,
            state: String::new(),
            peak_memory_bytes: None,
            wrong: None,
            trace: None,
        }
    }
}

/// The environment, where there is one: a run trains without.
fn environment(path: &Path) -> Result<Option<Environment>, ReportError> {
    let text = match foreign::text_inside(path, MAX_ENVIRONMENT_BYTES) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ReportError::io("read", path, source)),
    };
    let read =
        serde_json::from_str(&text).map_err(|error| ReportError::io("read", path, error.into()));
    read.map(Some)
}

fn ended(end: &EndRecord) -> String {
    let seconds = end.wall.as_secs_f64();
    match (&end.error, end.interrupted) {
        (Some(error), _) => format!("failed after {seconds:.1} s: {}", shown_text(error)),
        (None, true) => format!(
            "interrupted at version {} after {seconds:.1} s; train --resume trains on",
            end.version
        ),
        (None, false) => format!("done at version {} after {seconds:.1} s", end.version),
    }
}

fn unended(last_batch: Option<usize>) -> String {
    match last_batch {
        Some(batch) => format!("not ended: it trains, or was killed; the last batch is {batch}"),
        None => "not ended: it trains, or was killed, and no batch is through".to_owned(),
    }
}
