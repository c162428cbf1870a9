//! What a measurement says: a table for people, or one JSON object.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use stagger_engine::Profile;
use stagger_model::quantity;
use stagger_report::{RunSummary, StageSummary};

use crate::commands::account::{account, kernels};
use crate::flags::high::TrainJob;

/// A finished measurement.
pub struct Measured {
    pub summary: RunSummary,
    /// Between the ends of consecutive updates of the last stage, in seconds.
    pub seconds: Vec<f64>,
    pub peak_resident_bytes: Option<u64>,
    /// After the first hundred batches, if there were as many.
    pub settled_resident_bytes: Option<u64>,
    /// At the end.
    pub resident_bytes: Option<u64>,
    /// Of each stage, over all batches.
    pub profiles: Vec<(usize, Profile)>,
    /// Batches run, warm-up included.
    pub batches: usize,
}

/// Times between consecutive ends, from the end of the last batch of the warm-up on.
pub fn intervals(ends: &[Duration], warmup: usize) -> Vec<f64> {
    let from = warmup.saturating_sub(1).min(ends.len());
    let pairs = ends[from..].windows(2);
    pairs
        .map(|pair| (pair[1] - pair[0]).as_secs_f64())
        .collect()
}

/// One object with everything.
pub fn json(job: &TrainJob, measured: &Measured) -> Value {
    let Measured { summary, .. } = measured;
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
    json!({
        "model": job.model.name,
        "schedule": job.schedule.to_string(),
        "stages": job.schedule.stages(),
        "cut": job.cut.sizes(),
        "engine": job.values.engine,
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
    })
}

/// The same for people.
pub fn table(job: &TrainJob, measured: &Measured) -> String {
    let Measured { summary, .. } = measured;
    let mut text = String::new();
    let _ = writeln!(
        text,
        "{} · {} · {} {} (blocks {}) · {} {} · {} batches of {}",
        job.model.name,
        job.schedule,
        job.schedule.stages(),
        if job.schedule.stages() == 1 {
            "stage"
        } else {
            "stages"
        },
        job.cut,
        job.values.engine.as_deref().unwrap_or_default(),
        job.precision,
        summary.batches,
        job.batch_size,
    );
    let mut sorted = measured.seconds.clone();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let _ = writeln!(
        text,
        "{:.0} images/s; median {:.1} ms per batch",
        summary.images_per_second,
        1e3 * median
    );
    if let Some(peak) = measured.peak_resident_bytes {
        let _ = writeln!(text, "peak {} resident", quantity::bytes(peak));
    }
    let _ = writeln!(text, "\nms per batch, and share of the stage's time");
    let _ = write!(text, "{:<12}", "stage");
    for stage in 0..summary.stages.len() {
        let _ = write!(text, "{stage:>16}");
    }
    text.push('\n');
    let accounts: Vec<_> = summary.stages.iter().map(account).collect();
    let names = account(&StageSummary::default()).map(|(name, _)| name);
    for (row, name) in names.iter().enumerate() {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_begin_after_the_warmup() {
        let ends: Vec<Duration> = [1, 3, 4, 9].map(Duration::from_secs).to_vec();
        assert_eq!(intervals(&ends, 0), [2.0, 1.0, 5.0]);
        assert_eq!(intervals(&ends, 1), [2.0, 1.0, 5.0]);
        assert_eq!(intervals(&ends, 3), [5.0]);
        assert!(intervals(&[], 3).is_empty());
    }
}
