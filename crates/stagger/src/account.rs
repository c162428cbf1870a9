//! Where the time of a stage went.

use std::fmt::Write as _;

use stagger_engine::Profile;
use stagger_report::StageSummary;

/// Where the time of a stage went, by name, in seconds.
pub fn account(stage: &StageSummary) -> [(&'static str, f64); 10] {
    [
        ("forward", stage.forward.as_secs_f64()),
        ("recompute", stage.recompute.as_secs_f64()),
        ("backward", stage.backward.as_secs_f64()),
        ("weights", stage.weights.as_secs_f64()),
        ("update", stage.update.as_secs_f64()),
        ("transfer", stage.transfer.as_secs_f64()),
        ("loader", stage.loader.as_secs_f64()),
        ("receive", stage.receive.as_secs_f64()),
        ("send", stage.send.as_secs_f64()),
        ("unaccounted", stage.unaccounted.as_secs_f64()),
    ]
}

/// One line on a stage by its name, in percent of its training time; what is under half a percent is left out.
pub fn line(name: &str, summary: &StageSummary) -> String {
    let account = account(summary);
    let wall: f64 = account.iter().map(|(_, seconds)| seconds).sum();
    let shares = account.iter().filter_map(|(name, seconds)| {
        let percent = 100.0 * seconds / wall.max(f64::MIN_POSITIVE);
        (percent >= 0.5).then(|| format!("{name} {percent:.0} %"))
    });
    let shares: Vec<String> = shares.collect();
    format!("time of {name}: {}", shares.join(", "))
}

/// A table of the kernels of a stage, per batch.
pub fn kernels(stage: usize, profile: &Profile, batches: usize) -> String {
    let total: f64 = profile
        .entries()
        .map(|(_, _, time)| time.as_secs_f64())
        .sum();
    let batches = batches.max(1) as f64;
    let mut text = format!("kernels of stage {stage}: calls and ms per batch, share\n");
    for (name, calls, time) in profile.entries() {
        let seconds = time.as_secs_f64();
        let _ = writeln!(
            text,
            "{name:<24}{:>8.1}{:>10.3}{:>7.1} %",
            calls as f64 / batches,
            1e3 * seconds / batches,
            100.0 * seconds / total.max(f64::MIN_POSITIVE)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn shares_are_of_everything_and_small_ones_are_left_out() {
        let summary = StageSummary {
            forward: Duration::from_secs(3),
            backward: Duration::from_secs(6),
            receive: Duration::from_secs(1),
            send: Duration::from_millis(1),
            ..StageSummary::default()
        };
        assert_eq!(
            line("stage 1", &summary),
            "time of stage 1: forward 30 %, backward 60 %, receive 10 %"
        );
    }

    #[test]
    fn kernels_are_counted_per_batch() {
        let mut profile = Profile::default();
        for _ in 0..4 {
            profile.add("convolution", Duration::from_millis(3));
        }
        profile.add("sum", Duration::from_millis(4));
        let text = kernels(0, &profile, 2);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1].split_whitespace().collect::<Vec<_>>(),
            ["convolution", "2.0", "6.000", "75.0", "%"]
        );
    }
}
