//! Results as comma-separated values.

use super::method::{Comparison, MethodResult};
use super::statistics::Spread;

const COLUMNS: [&str; 22] = [
    "method",
    "schedule",
    "replicas",
    "slowdown_percent",
    "runs",
    "done",
    "images_per_second",
    "speedup",
    "share_of_unslowed",
    "busy_shares",
    "bubble_share",
    "peak_memory_bytes",
    "staleness_mean",
    "staleness_max",
    "gap_mean",
    "final_top1_mean",
    "final_top1_deviation",
    "best_top1_mean",
    "best_top1_deviation",
    "seconds_to_target",
    "reached_target",
    "emulated",
];

/// A line of column names, then a line per slow-down and method. The numbers of several stages are in one field, with
/// spaces between them. An unknown number is an empty field, or a dash for a single stage.
pub fn to_csv(comparison: &Comparison) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let lines = std::iter::once(COLUMNS.map(str::to_owned)).chain(
        comparison
            .results
            .iter()
            .map(|result| line(comparison, result)),
    );
    for line in lines {
        // Writing to memory cannot fail.
        let _ = writer.write_record(line);
    }
    String::from_utf8(writer.into_inner().unwrap_or_default()).unwrap_or_default()
}

fn line(comparison: &Comparison, result: &MethodResult) -> [String; 22] {
    let deviation = |spread: Option<Spread>| number(spread.and_then(|spread| spread.deviation));
    let mean = |spread: Option<Spread>| number(spread.map(|spread| spread.mean));
    let gap = |gap: &Option<f64>| gap.map_or("-".to_owned(), |gap| gap.to_string());
    [
        result.method.clone(),
        result.schedule.clone().unwrap_or_default(),
        result.replicas.clone().unwrap_or_default(),
        result.slowdown_percent.to_string(),
        result.runs.to_string(),
        result.done.to_string(),
        number(result.images_per_second),
        number(result.speedup),
        number(result.share_of_unslowed),
        list(result.busy_shares.iter().map(f64::to_string)),
        number(result.bubble_share),
        number(result.peak_memory_bytes),
        list(result.staleness.iter().map(|stage| stage.mean.to_string())),
        list(result.staleness.iter().map(|stage| stage.max.to_string())),
        list(result.gaps.iter().map(gap)),
        mean(result.final_top1),
        deviation(result.final_top1),
        mean(result.best_top1),
        deviation(result.best_top1),
        number(result.seconds_to_target),
        result.reached_target.to_string(),
        comparison.plan.emulated.is_some().to_string(),
    ]
}

fn number(number: Option<impl ToString>) -> String {
    number.map_or_else(String::new, |number| number.to_string())
}

fn list(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::fixtures::comparison;

    #[test]
    fn every_number_has_its_column() {
        let (_folder, comparison) = comparison();
        insta::assert_snapshot!("csv", to_csv(&comparison));
    }
}
