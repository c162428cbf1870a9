//! What a measurement says: a table for people, or one JSON object.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use stagger::account::{account, kernels};
use stagger::bench::Measured;
use stagger::data::shown_text;
use stagger::engine::Profile;
use stagger::model::quantity;
use stagger::report::StageSummary;

use crate::commands::figures::{images, shortened};

/// One object with everything.
pub fn json(measured: &Measured) -> Value {
    let Measured { job, summary, .. } = measured;
    let account = |stage: &StageSummary| -> Value {
        let seconds = account(stage);
        let wall: f64 = seconds.iter().map(|(_, seconds)| seconds).sum();
        let mut object: serde_json::Map<String, Value> = seconds
            .iter()
            .map(|(name, seconds)| (format!("{name}_seconds"), json!(seconds)))
            .collect();
        object.insert("wall_seconds".into(), json!(wall));
        object.into()
    };
    let profile = |(stage, profile): &(usize, Profile)| -> Value {
        let entry = |(name, calls, time): (&str, u64, Duration)| json!({"kernel": name, "calls": calls, "seconds": time.as_secs_f64()});
        json!({"stage": stage, "kernels": profile.entries().map(entry).collect::<Vec<_>>()})
    };
    let mut object = json!({
        "model": job.model.name,
        "schedule": job.schedule.to_string(),
        "stages": job.schedule.stages(),
        "replicas": job.replicas.to_string(),
        "cut": job.cut.sizes(),
        "engine": job.engine_name(),
        "dtype": job.precision.to_string(),
        "batch_size": job.batch_size,
        "batches": summary.batches,
        "images_per_second": summary.images_per_second,
        "seconds": measured.seconds,
        "busy": summary.stages.iter().map(|stage| stage.busy_share).collect::<Vec<_>>(),
        "accounting": summary.stages.iter().map(account).collect::<Vec<_>>(),
        "peak_resident_bytes": measured.peak_resident_bytes,
        "settled_resident_bytes": measured.settled_resident_bytes,
        "resident_bytes": measured.resident_bytes,
        "profile": measured.profiles.iter().map(profile).collect::<Vec<_>>(),
    });
    if let Some(said) = job.emulated() {
        object["emulated"] = said.into();
    }
    if !job.stragglers.is_empty() {
        object["stragglers"] = job.options.straggler.clone().into();
    }
    if job.options.winograd == Some(false) {
        object["winograd"] = false.into();
    }
    if job.sync_batch_norm {
        object["sync_batch_norm"] = true.into();
    }
    object
}

/// The same for people.
pub fn table(measured: &Measured) -> String {
    let Measured { job, summary, .. } = measured;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} · {} · {} {}{} (blocks {}) · {} · {} batches of {}",
        job.model.name,
        shortened(&job.schedule.to_string()),
        job.schedule.stages(),
        if job.schedule.stages() == 1 {
            "stage"
        } else {
            "stages"
        },
        job.with_replicas(),
        shortened(&job.cut.to_string()),
        match job.emulated() {
            Some(said) => format!("emulated ({}: stages sleep)", shown_text(said)),
            None => format!("{} {}", job.engine_name(), job.precision),
        },
        summary.batches,
        job.batch_size,
    );
    for straggler in &job.stragglers {
        let _ = writeln!(text, "slowed down: {straggler}");
    }
    let mut sorted = measured.seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let _ = writeln!(
        text,
        "{} images/s; median {:.1} ms per batch{}",
        images(summary.images_per_second),
        1e3 * median,
        job.emulated().map_or("", |_| " (emulated)")
    );
    if let Some(peak) = measured.peak_resident_bytes {
        let _ = writeln!(text, "peak {} resident", quantity::bytes(peak));
    }
    let emulated = job.emulated().map_or("", |_| " (emulated)");
    let _ = writeln!(
        text,
        "\nms per batch, and share of the stage's time{emulated}"
    );
    let _ = write!(text, "{:<12}", "stage");
    for stage in 0..summary.stages.len() {
        let _ = write!(text, "{stage:>16}");
    }
    text.push('\n');
    let accounts: Vec<_> = summary.stages.iter().map(account).collect();
    let names = account(&StageSummary::default()).map(|(name, _)| name);
    for (row, name) in names.iter().enumerate() {
        // Most methods do not split their backward passes.
        if *name == "weights" && accounts.iter().all(|account| account[row].1 == 0.0) {
            continue;
        }
        let _ = write!(text, "{name:<12}");
        for account in &accounts {
            let wall: f64 = account.iter().map(|(_, seconds)| seconds).sum();
            let per_batch = 1e3 * account[row].1 / summary.batches.max(1) as f64;
            let share = 100.0 * account[row].1 / wall.max(f64::MIN_POSITIVE);
            let _ = write!(text, "{per_batch:>8.2}{share:>6.1} %");
        }
        text.push('\n');
    }
    for (stage, profile) in &measured.profiles {
        text.push('\n');
        text.push_str(&kernels(*stage, profile, measured.batches));
    }
    text
}
