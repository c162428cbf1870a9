//! Describes a file or folder of a run as text.

use std::fmt::Write;
use std::path::Path;

use stagger_data::{foreign, shown_text};
use stagger_engine::{HostTensor, StageState};
use stagger_runtime::snapshot::{PipelineState, Sent, StageSnapshot};

use crate::epoch_line::format_epoch;
use crate::error::ReportError;
use crate::metrics::Record;
use crate::metrics_reader::each_record;
use crate::run_folder::{CONFIG_FILE, METRICS_FILE};
use crate::snapshot::{MANIFEST_FILE, Manifest, SnapshotStore};
use crate::weights_file::Weights;
use crate::weights_reader::{StageOrWeights, read_stage_or_weights};

/// Far more than any config has.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Describes a run folder, a snapshot's folder, the file of one of its stages, or a weights file.
///
/// # Errors
/// When it is none of these, or damaged.
pub fn inspect(path: &Path) -> Result<String, ReportError> {
    if foreign::is_there(&path.join(MANIFEST_FILE)) {
        let (manifest, snapshot) = SnapshotStore::of_run(path).load(path)?;
        let mut text = of_manifest(&manifest);
        for (stage, snapshot) in snapshot.stages.iter().enumerate() {
            let _ = writeln!(text, "\nstage {stage}");
            text.push_str(&of_stage(snapshot));
        }
        return Ok(text);
    }
    if foreign::is_there(&path.join(CONFIG_FILE)) {
        return of_run(path);
    }
    Ok(match read_stage_or_weights(path)? {
        StageOrWeights::Stage(stage) => of_stage(&stage),
        StageOrWeights::Weights(weights) => of_weights(&weights),
    })
}

fn of_run(path: &Path) -> Result<String, ReportError> {
    let mut text = String::new();
    let config = path.join(CONFIG_FILE);
    let values = foreign::text_inside(&config, MAX_CONFIG_BYTES)
        .map_err(|source| ReportError::io("read", &config, source))?;
    let _ = writeln!(text, "{CONFIG_FILE}");
    for line in values.lines() {
        let _ = writeln!(text, "  {}", shown_text(line));
    }
    let metrics = path.join(METRICS_FILE);
    match foreign::is_there(&metrics) {
        true => text.push_str(&of_metrics(&metrics)?),
        false => {
            let _ = writeln!(text, "{METRICS_FILE} is not there");
        }
    }
    let mut store = SnapshotStore::of_run(path);
    let versions = store.versions()?;
    let _ = writeln!(text, "snapshots: {}", versions.len());
    for (version, path) in versions {
        let whole = match store.load(&path) {
            Ok((manifest, _)) => size(&manifest),
            Err(error) => shown_text(&format!("damaged: {error}")),
        };
        let _ = writeln!(text, "  version {version}: {whole}");
    }
    Ok(text)
}

fn of_metrics(path: &Path) -> Result<String, ReportError> {
    let mut records = Vec::new();
    let end = each_record(path, |record| records.push(record))?;
    let batches = records
        .iter()
        .filter(|record| matches!(record, Record::Batch(_)));
    let mut text = format!("{METRICS_FILE}: {} batches\n", batches.count());
    for record in &records {
        match record {
            Record::Epoch(epoch) => {
                let _ = writeln!(text, "  {}", format_epoch(epoch));
            }
            Record::End(end) => {
                let how = match (&end.error, end.interrupted) {
                    (Some(error), _) => format!("failed: {}", shown_text(error)),
                    (None, true) => "interrupted".to_owned(),
                    (None, false) => "done".to_owned(),
                };
                let _ = writeln!(text, "  {how} at version {}", end.version);
            }
            _ => {}
        }
    }
    if let Some(sentence) = end.sentence() {
        let _ = writeln!(text, "{sentence}");
    }
    Ok(text)
}

fn of_manifest(manifest: &Manifest) -> String {
    let cut: Vec<String> = manifest.cut.iter().map(usize::to_string).collect();
    let top1 = manifest
        .test_top1
        .map_or(String::new(), |top1| format!(", test accuracy {top1:.1} %"));
    format!(
        "version {} of {}{top1}\n\
         {} on {}, {} on {} stages (blocks {}), seed {}\n\
         engine {} {}, stagger {}{}\n\
         {}\n",
        manifest.version,
        manifest.batches,
        shown_text(&manifest.model),
        shown_text(&manifest.dataset),
        shown_text(&manifest.schedule),
        manifest.cut.len(),
        cut.join(","),
        manifest.seed,
        shown_text(&manifest.engine),
        shown_text(&manifest.dtype),
        shown_text(&manifest.stagger),
        (manifest.commit.as_ref())
            .map_or(String::new(), |commit| format!(" ({})", shown_text(commit))),
        size(manifest),
    )
}

fn size(manifest: &Manifest) -> String {
    let bytes: u64 = manifest.files.iter().map(|file| file.size_bytes).sum();
    format!("{bytes} bytes in {} files", manifest.files.len())
}

fn of_stage(stage: &StageSnapshot) -> String {
    let mut text = of_state(&stage.state);
    text.push_str(&of_pipeline(&stage.pipeline));
    for (number, replica) in (1..).zip(&stage.replicas) {
        let _ = writeln!(text, " replica {number}");
        text.push_str(&of_pipeline(replica));
    }
    text
}

fn of_pipeline(pipeline: &PipelineState) -> String {
    let mut text = String::new();
    for pass in &pipeline.kept {
        let _ = writeln!(
            text,
            "  kept: batch {}.{} forwarded at version {}, input {}",
            pass.batch,
            pass.micro,
            pass.version,
            shape(&pass.input)
        );
    }
    let mut sent = |what: &str, sent: &[Sent]| {
        for sent in sent {
            let _ = writeln!(
                text,
                "  {what}: batch {}.{} computed at version {}, {}",
                sent.batch,
                sent.micro,
                sent.version,
                shape(&sent.tensor)
            );
        }
    };
    sent("sent up", &pipeline.sent_up);
    sent("sent down", &pipeline.sent_down);
    if let Some(weights) = &pipeline.previous_weights {
        let _ = writeln!(text, "  weights before the last update: {}", count(weights));
    }
    if let Some(statistics) = &pipeline.statistics {
        let _ = writeln!(text, "  running statistics: {}", count(statistics));
    }
    if let Some(synthesis) = &pipeline.synthesis {
        let _ = writeln!(
            text,
            "  synthesizer: {} values, {} lessons to learn",
            values(&synthesis.state),
            synthesis.lessons.len()
        );
    }
    text
}

fn of_weights(weights: &Weights) -> String {
    let mut text = String::new();
    for (name, value) in &weights.metadata {
        let _ = writeln!(text, "{}: {}", shown_text(name), shown_text(value));
    }
    text.push_str(&of_state(&weights.state));
    text
}

fn of_state(state: &StageState) -> String {
    let mut text = String::new();
    for (name, tensor) in &state.tensors {
        let _ = writeln!(text, "  {} {}", shown_text(name), shape(tensor));
    }
    for (name, count) in &state.counters {
        let _ = writeln!(text, "  {} = {count}", shown_text(name));
    }
    let _ = writeln!(
        text,
        "  {} tensors, {} values",
        state.tensors.len(),
        values(state)
    );
    text
}

fn values(state: &StageState) -> usize {
    state.tensors.values().map(|tensor| tensor.data.len()).sum()
}

fn count(tensors: &[HostTensor]) -> String {
    let values: usize = tensors.iter().map(|tensor| tensor.data.len()).sum();
    format!("{} tensors, {values} values", tensors.len())
}

fn shape(tensor: &HostTensor) -> String {
    format!("{:?}", tensor.shape)
}
