//! What a run says of itself: to people, in the metrics, in weights files.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use stagger_data::Framing;

use crate::job::Job;

/// The first line.
pub fn headline(job: &Job) -> String {
    let engine = engine_label(job);
    let stages = job.schedule.stages();
    let replicas = job.with_replicas();
    let micro_batches = match job.schedule.micro_batches() {
        1 => String::new(),
        several => format!(" in {several} micro-batches"),
    };
    format!(
        "{} on {} · {} on {stages} {}{replicas} (blocks {}) · {engine} · {} batches of {}{micro_batches}",
        job.model.name,
        job.split.train.name(),
        job.schedule,
        if stages == 1 { "stage" } else { "stages" },
        job.cut,
        job.horizon.batches,
        job.batch_size,
    )
}

/// The lines on what was taken for the data set, what is used of its folder, and what is left out.
pub fn data(job: &Job) -> impl Iterator<Item = String> {
    let account = job.split.account().into_iter();
    account.map(|line| format!("data: {line}"))
}

/// The line on stages that do not train.
pub fn frozen(job: &Job) -> Option<String> {
    let stages = job.options.freeze_stages.filter(|stages| *stages > 0)?;
    let first = job.cut.stages().first()?.start;
    let last = job.cut.stages().get(stages - 1)?.end;
    let name = |block: usize| job.model.blocks.get(block).map(|block| block.name.as_str());
    let which = match stages {
        1 => "stage 0 is frozen: its".to_owned(),
        _ => format!("stages 0 to {} are frozen: their", stages - 1),
    };
    Some(format!(
        "{which} blocks, {} to {}, keep parameters and running statistics",
        name(first)?,
        name(last - 1)?
    ))
}

/// The line on what gradients are clipped by, where that is not the norm of the whole gradient.
pub fn clipping(job: &Job) -> Option<String> {
    let limit = job
        .clip_norm_of_stages()
        .filter(|_| job.schedule.stages() > 1)?;
    Some(format!(
        "clipping: each stage clips its own gradient to the norm {limit}, as {} does not let stages wait for the norm of all",
        job.schedule
    ))
}

/// The engine or engines, with what is not their default.
fn engine_label(job: &Job) -> String {
    if let Some(said) = job.emulated() {
        return format!("emulated ({said}: stages sleep, and nothing is learned)");
    }
    let noun = match job.options.engines {
        Some(_) => "engines",
        None => "engine",
    };
    let mut label = format!("{noun} {}", job.engine_name());
    if job.precision != stagger_engine::Precision::F32 {
        label.push_str(&format!(" {}", job.precision));
    }
    let places = job.replicas.places();
    if (0..places).any(|place| job.engine.at(place).cuda().is_some()) {
        let is_per_place = (job.options.devices.as_ref()).is_some_and(|said| said.len() == places);
        let shown =
            (0..places).filter(|&place| is_per_place || job.replicas.place(place).replica == 0);
        let names: Vec<String> = shown
            .map(|place| job.engine.at(place).to_string())
            .collect();
        label.push_str(&format!(" on {}", names.join(", ")));
    }
    label
}

/// What the first line of the metrics says about the run.
pub fn facts(job: &Job) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut add = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    add("model", job.model.name.clone().into());
    add("dataset", job.split.train.name().into());
    let [trained, evaluated] = job.fingerprints();
    add("data_fingerprint", trained.into());
    add("evaluation_fingerprint", evaluated.into());
    add("schedule", job.schedule.to_string().into());
    add("stages", job.schedule.stages().into());
    if job.replicas.any() {
        add("replicas", job.replicas.to_string().into());
    }
    if job.sync_batch_norm {
        add("sync_batch_norm", true.into());
    }
    add("cut", job.cut.sizes().into());
    add("batch_size", job.batch_size.into());
    add("micro_batches", job.schedule.micro_batches().into());
    add("batches", job.horizon.batches.into());
    add("batches_per_epoch", job.sampler.batches_per_epoch().into());
    add("seed", job.seed.into());
    add("engine", job.engine_name().into());
    if let Some(said) = job.emulated() {
        add("emulated", said.into());
    }
    add("dtype", job.precision.to_string().into());
    facts
}

/// What a weights file says about itself.
pub fn metadata(job: &Job) -> BTreeMap<String, String> {
    let entry = |name: &str, value: String| (name.to_owned(), value);
    let trained_on = job.split.trained_on();
    let [channels, height, width] = trained_on.shape;
    let mut metadata = BTreeMap::from([
        entry("model", job.model.name.clone()),
        entry("dataset", job.split.train.name().to_owned()),
        entry("classes", job.model.classes.to_string()),
        entry("class_names", json!(trained_on.class_names).to_string()),
        entry("input", format!("{channels}x{height}x{width}")),
        entry("mean", json!(trained_on.normalization.mean).to_string()),
        entry("std", json!(trained_on.normalization.std).to_string()),
        entry("schedule", job.schedule.to_string()),
        entry("seed", job.seed.to_string()),
    ]);
    if trained_on.framing != Framing::default() {
        metadata.extend([entry("framing", trained_on.framing.name().to_owned())]);
    }
    metadata
}
