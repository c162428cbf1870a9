//! One stage of a snapshot as a safetensors file.
//!
//! Parameters, running statistics, optimizer state and counters have their usual names, so that any reader of safetensors
//! finds them. Tensors in flight are under `pipeline/`, a prefix that no parameter has; their batch numbers are JSON in the
//! metadata, under `pipeline`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use stagger_engine::{HostTensor, StageState};
use stagger_runtime::snapshot::{
    KeptLesson, KeptPass, PipelineState, RunningMean, Sent, StageSnapshot, SynthesisState,
};

use crate::safetensors_writer::Contents;
use crate::weights_file;

const PREFIX: &str = "pipeline/";
const FORMAT_KEY: &str = "stagger_snapshot";
const FORMAT: &str = "1";
const INDEX_KEY: &str = "pipeline";

/// What the second replica and later ones hold is under a prefix of their own.
fn replica_prefix(number: usize) -> String {
    format!("{PREFIX}replica/{number}/")
}

/// `stage-0.safetensors`.
pub fn stage_file_name(stage: usize) -> String {
    format!("stage-{stage}.safetensors")
}

/// Whether a path ends with such a name.
pub(crate) fn is_stage_file_name(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str());
    let stage = name.and_then(|name| name.strip_prefix("stage-")?.strip_suffix(".safetensors"));
    stage.is_some_and(|stage| stage.parse::<usize>().is_ok())
}

/// The numbers of [`PipelineState`], and the number of tensors of each entry.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Index {
    kept: Vec<KeptIndex>,
    sent_up: Vec<UnitIndex>,
    sent_down: Vec<UnitIndex>,
    previous_weights: Option<usize>,
    mean_step: MeanIndex,
    #[serde(default)]
    skipped_in_a_row: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    statistics: Option<usize>,
    /// Of the replicas from the second one on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    replicas: Vec<Index>,
    synthesis: Option<SynthesisIndex>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UnitIndex {
    batch: usize,
    micro: usize,
    version: usize,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptIndex {
    batch: usize,
    micro: usize,
    version: usize,
    weights: Option<usize>,
    position: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MeanIndex {
    /// The bits of the mean, which are exact even if it is not finite.
    bits: u64,
    count: u32,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SynthesisIndex {
    scale: MeanIndex,
    lessons: Vec<LessonIndex>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LessonIndex {
    batch: usize,
    micro: usize,
    weights: usize,
}

impl From<RunningMean> for MeanIndex {
    fn from(mean: RunningMean) -> Self {
        Self {
            bits: mean.mean.to_bits(),
            count: mean.count,
        }
    }
}

impl From<MeanIndex> for RunningMean {
    fn from(index: MeanIndex) -> Self {
        Self {
            mean: f64::from_bits(index.bits),
            count: index.count,
        }
    }
}

/// The contents of a stage's file.
pub(super) struct StageFile<'a> {
    metadata: BTreeMap<String, String>,
    counters: Vec<(String, u64)>,
    tensors: Vec<(String, &'a HostTensor)>,
}

impl<'a> StageFile<'a> {
    /// # Errors
    /// A sentence when the numbers cannot be encoded as JSON.
    pub fn of(snapshot: &'a StageSnapshot) -> Result<Self, String> {
        let StageSnapshot {
            state,
            pipeline,
            replicas,
        } = snapshot;
        let mut file = Self {
            metadata: BTreeMap::new(),
            counters: Vec::new(),
            tensors: Vec::new(),
        };
        file.add_state("", state);
        let mut index = file.add_pipeline(PREFIX, pipeline);
        for (number, replica) in (1..).zip(replicas) {
            let prefix = replica_prefix(number);
            index.replicas.push(file.add_pipeline(&prefix, replica));
        }
        let index = serde_json::to_string(&index).map_err(|error| error.to_string())?;
        let entries = [
            ("format", "pt".to_owned()),
            (FORMAT_KEY, FORMAT.to_owned()),
            (INDEX_KEY, index),
        ];
        file.metadata = entries.map(|(name, value)| (name.to_owned(), value)).into();
        Ok(file)
    }

    pub fn contents(&self) -> Contents<'_> {
        Contents {
            metadata: &self.metadata,
            counters: self.counters.clone(),
            tensors: self.tensors.clone(),
        }
    }

    fn add(&mut self, name: String, tensor: &'a HostTensor) {
        self.tensors.push((name, tensor));
    }

    fn add_state(&mut self, prefix: &str, state: &'a StageState) {
        for (name, count) in &state.counters {
            self.counters.push((format!("{prefix}{name}"), *count));
        }
        for (name, tensor) in &state.tensors {
            self.add(format!("{prefix}{name}"), tensor);
        }
    }

    fn add_all(&mut self, prefix: &str, tensors: &'a [HostTensor]) -> usize {
        for (number, tensor) in tensors.iter().enumerate() {
            self.add(format!("{prefix}/{number}"), tensor);
        }
        tensors.len()
    }

    fn add_sent(&mut self, prefix: &str, sent: &'a [Sent]) -> Vec<UnitIndex> {
        let mut index = Vec::with_capacity(sent.len());
        for (number, sent) in sent.iter().enumerate() {
            self.add(format!("{prefix}/{number}"), &sent.tensor);
            index.push(UnitIndex {
                batch: sent.batch,
                micro: sent.micro,
                version: sent.version,
            });
        }
        index
    }

    fn add_pipeline(&mut self, from: &str, pipeline: &'a PipelineState) -> Index {
        let mut kept = Vec::with_capacity(pipeline.kept.len());
        for (number, pass) in pipeline.kept.iter().enumerate() {
            let prefix = format!("{from}kept/{number}");
            self.add(format!("{prefix}/input"), &pass.input);
            let mut all = |name: &str, tensors: &'a Option<Vec<HostTensor>>| {
                let tensors = tensors.as_ref()?;
                Some(self.add_all(&format!("{prefix}/{name}"), tensors))
            };
            kept.push(KeptIndex {
                batch: pass.batch,
                micro: pass.micro,
                version: pass.version,
                weights: all("weights", &pass.weights),
                position: all("position", &pass.position),
            });
        }
        let previous = pipeline.previous_weights.as_ref();
        Index {
            kept,
            sent_up: self.add_sent(&format!("{from}sent_up"), &pipeline.sent_up),
            sent_down: self.add_sent(&format!("{from}sent_down"), &pipeline.sent_down),
            previous_weights: previous
                .map(|tensors| self.add_all(&format!("{from}previous_weights"), tensors)),
            mean_step: pipeline.mean_step.into(),
            skipped_in_a_row: pipeline.skipped_in_a_row,
            statistics: (pipeline.statistics.as_ref())
                .map(|tensors| self.add_all(&format!("{from}statistics"), tensors)),
            synthesis: (pipeline.synthesis.as_ref())
                .map(|synthesis| self.add_synthesis(from, synthesis)),
            replicas: Vec::new(),
        }
    }

    fn add_synthesis(&mut self, from: &str, synthesis: &'a SynthesisState) -> SynthesisIndex {
        self.add_state(&format!("{from}synthesis/state/"), &synthesis.state);
        let mut lessons = Vec::with_capacity(synthesis.lessons.len());
        for (number, lesson) in synthesis.lessons.iter().enumerate() {
            let prefix = format!("{from}synthesis/lessons/{number}");
            self.add(format!("{prefix}/output"), &lesson.output);
            lessons.push(LessonIndex {
                batch: lesson.batch,
                micro: lesson.micro,
                weights: self.add_all(&format!("{prefix}/weights"), &lesson.weights),
            });
        }
        SynthesisIndex {
            scale: synthesis.scale.into(),
            lessons,
        }
    }
}

/// The bytes of a stage's file in memory. [`SnapshotStore::write`](super::SnapshotStore::write) writes the same bytes a
/// chunk at a time.
///
/// # Errors
/// A sentence when a tensor does not fit its shape, or a number cannot be encoded as JSON.
pub fn encode_stage(snapshot: &StageSnapshot) -> Result<Vec<u8>, String> {
    StageFile::of(snapshot)?.contents().encode()
}

/// Decodes the bytes of a stage's file. Allocates a few times their length at most.
///
/// # Errors
/// A sentence on what is wrong with them.
pub fn decode_stage(bytes: &[u8]) -> Result<StageSnapshot, String> {
    let mut file = weights_file::decode_weights(bytes)?;
    match file.metadata.get(FORMAT_KEY).map(String::as_str) {
        Some(FORMAT) => {}
        Some(found) => {
            return Err(format!(
                "its {FORMAT_KEY} is {found}; this version of stagger reads {FORMAT}"
            ));
        }
        None => return Err("it is a weights file, not a stage of a snapshot".to_owned()),
    }
    let index = file.metadata.remove(INDEX_KEY).unwrap_or_default();
    let mut index: Index = serde_json::from_str(&index)
        .map_err(|error| format!("what it says of the pipeline is damaged: {error}"))?;
    let mut parts = Parts::split(file.state);
    let mut replicas = Vec::new();
    for (number, replica) in (1..).zip(std::mem::take(&mut index.replicas)) {
        replicas.push(parts.pipeline(&replica_prefix(number), replica)?);
    }
    let snapshot = StageSnapshot {
        pipeline: parts.pipeline(PREFIX, index)?,
        replicas,
        state: parts.state,
    };
    let left = parts.tensors.keys().chain(parts.counters.keys()).next();
    match left {
        Some(name) => Err(format!("nothing is said of its tensor {name}")),
        None => Ok(snapshot),
    }
}

/// The tensors and counters of a file that are not decoded yet.
struct Parts {
    state: StageState,
    tensors: BTreeMap<String, HostTensor>,
    counters: BTreeMap<String, u64>,
}

impl Parts {
    fn split(mut state: StageState) -> Self {
        let of_pipeline = |name: &str| name.starts_with(PREFIX);
        let (tensors, own) = std::mem::take(&mut state.tensors)
            .into_iter()
            .partition(|(name, _)| of_pipeline(name));
        let (counters, own_counters) = std::mem::take(&mut state.counters)
            .into_iter()
            .partition(|(name, _)| of_pipeline(name));
        Self {
            state: StageState {
                tensors: own,
                counters: own_counters,
            },
            tensors,
            counters,
        }
    }

    fn take(&mut self, name: &str) -> Result<HostTensor, String> {
        let tensor = self.tensors.remove(name);
        tensor.ok_or_else(|| format!("its tensor {name} is missing"))
    }

    /// Takes tensors one by one: an index with too large a count allocates nothing for those that are missing.
    fn take_all(&mut self, prefix: &str, count: usize) -> Result<Vec<HostTensor>, String> {
        let mut tensors = Vec::new();
        for number in 0..count {
            tensors.push(self.take(&format!("{prefix}/{number}"))?);
        }
        Ok(tensors)
    }

    fn sent(&mut self, prefix: String, index: Vec<UnitIndex>) -> Result<Vec<Sent>, String> {
        let mut sent = Vec::new();
        for (number, unit) in index.into_iter().enumerate() {
            sent.push(Sent {
                batch: unit.batch,
                micro: unit.micro,
                version: unit.version,
                tensor: self.take(&format!("{prefix}/{number}"))?,
            });
        }
        Ok(sent)
    }

    fn pipeline(&mut self, from: &str, index: Index) -> Result<PipelineState, String> {
        if !index.replicas.is_empty() {
            return Err("one of its replicas has replicas".to_owned());
        }
        let mut kept = Vec::new();
        for (number, pass) in index.kept.into_iter().enumerate() {
            let prefix = format!("{from}kept/{number}");
            let mut all = |name: &str, count: Option<usize>| {
                let take = |count| self.take_all(&format!("{prefix}/{name}"), count);
                count.map(take).transpose()
            };
            let weights = all("weights", pass.weights)?;
            let position = all("position", pass.position)?;
            kept.push(KeptPass {
                batch: pass.batch,
                micro: pass.micro,
                version: pass.version,
                input: self.take(&format!("{prefix}/input"))?,
                weights,
                position,
            });
        }
        let previous = index.previous_weights;
        Ok(PipelineState {
            kept,
            sent_up: self.sent(format!("{from}sent_up"), index.sent_up)?,
            sent_down: self.sent(format!("{from}sent_down"), index.sent_down)?,
            previous_weights: previous
                .map(|count| self.take_all(&format!("{from}previous_weights"), count))
                .transpose()?,
            mean_step: index.mean_step.into(),
            skipped_in_a_row: index.skipped_in_a_row,
            statistics: (index.statistics)
                .map(|count| self.take_all(&format!("{from}statistics"), count))
                .transpose()?,
            synthesis: index
                .synthesis
                .map(|synthesis| self.synthesis(from, synthesis))
                .transpose()?,
        })
    }

    fn synthesis(&mut self, from: &str, index: SynthesisIndex) -> Result<SynthesisState, String> {
        let prefix = format!("{from}synthesis/state/");
        let mut state = StageState::default();
        take_prefixed(&mut self.tensors, &prefix, &mut state.tensors);
        take_prefixed(&mut self.counters, &prefix, &mut state.counters);
        let mut lessons = Vec::new();
        for (number, lesson) in index.lessons.into_iter().enumerate() {
            let prefix = format!("{from}synthesis/lessons/{number}");
            lessons.push(KeptLesson {
                batch: lesson.batch,
                micro: lesson.micro,
                output: self.take(&format!("{prefix}/output"))?,
                weights: self.take_all(&format!("{prefix}/weights"), lesson.weights)?,
            });
        }
        Ok(SynthesisState {
            state,
            scale: index.scale.into(),
            lessons,
        })
    }
}

fn take_prefixed<T>(from: &mut BTreeMap<String, T>, prefix: &str, into: &mut BTreeMap<String, T>) {
    let (taken, left) = std::mem::take(from)
        .into_iter()
        .partition(|(name, _)| name.starts_with(prefix));
    *from = left;
    let own = |(name, value): (String, T)| (name[prefix.len()..].to_owned(), value);
    let taken: BTreeMap<String, T> = taken;
    into.extend(taken.into_iter().map(own));
}

#[cfg(test)]
mod tests;
