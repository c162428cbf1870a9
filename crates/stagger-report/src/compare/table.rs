//! Results as tables for people.

use super::method::{Comparison, MethodResult};
use super::staleness::StageStaleness;
use super::statistics::Spread;
use crate::table::Table;

const NOTHING: &str = "–";

/// All numbers, a row per method and slow-down.
pub fn main_table(comparison: &Comparison) -> Table {
    let slowed = comparison.plan.slowdowns_percent != [0.0];
    let target = comparison.plan.target_top1;
    let is_replicated = |result: &MethodResult| {
        result
            .replicas
            .as_ref()
            .is_some_and(|replicas| replicas != "1")
    };
    let has_replicas = comparison.results.iter().any(is_replicated);
    let mut headers = vec!["method".to_owned()];
    if has_replicas {
        headers.push("replicas".into());
    }
    if slowed {
        headers.push("slow-down".into());
    }
    headers.extend([
        rate_name(comparison).into(),
        format!("× {}", comparison.plan.baseline),
    ]);
    headers.extend(
        [
            "busy",
            "bubble",
            "memory",
            "staleness",
            "gap",
            "final top-1",
            "best top-1",
        ]
        .map(str::to_owned),
    );
    if let Some(target) = target {
        headers.push(format!("to {target} %"));
    }
    headers.push("runs".into());
    let rows = comparison
        .results
        .iter()
        .map(|result| {
            let mut row = vec![result.method.clone()];
            if has_replicas {
                row.push(
                    result
                        .replicas
                        .clone()
                        .unwrap_or_else(|| NOTHING.to_owned()),
                );
            }
            if slowed {
                row.push(format!("{} %", result.slowdown_percent));
            }
            row.extend(numbers(result));
            if target.is_some() {
                row.push(time(result));
            }
            row.push(format!("{}/{}", result.done, result.runs));
            row
        })
        .collect();
    Table { headers, rows }.without_empty_columns(NOTHING)
}

/// Samples per second, a row per method and a column per slow-down; `None` without slow-downs.
pub fn slowdown_table(comparison: &Comparison) -> Option<Table> {
    let slowdowns = &comparison.plan.slowdowns_percent;
    if slowdowns == &[0.0] {
        return None;
    }
    let mut headers = vec![format!("{} at a slow-down of", rate_name(comparison))];
    headers.extend(slowdowns.iter().map(|slowdown| format!("{slowdown} %")));
    let row = |method: &String| {
        let cells = comparison.results.iter().filter(|r| r.method == *method);
        let mut row = vec![method.clone()];
        row.extend(cells.map(slowed_rate));
        row
    };
    Some(Table {
        headers,
        rows: comparison.plan.methods.iter().map(row).collect(),
    })
}

/// What heads rates.
fn rate_name(comparison: &Comparison) -> &'static str {
    match comparison.plan.emulated {
        Some(_) => "images/s (emulated)",
        None => "images/s",
    }
}

fn slowed_rate(result: &MethodResult) -> String {
    let Some(rate) = result.images_per_second else {
        return NOTHING.to_owned();
    };
    match result.share_of_unslowed {
        Some(share) if result.slowdown_percent != 0.0 => {
            format!("{rate:.0} ({:.0} %)", 100.0 * share)
        }
        _ => format!("{rate:.0}"),
    }
}

/// From images per second to the best accuracy.
fn numbers(result: &MethodResult) -> [String; 9] {
    let or_nothing = |text: Option<String>| text.unwrap_or_else(|| NOTHING.to_owned());
    [
        or_nothing(result.images_per_second.map(|rate| format!("{rate:.0}"))),
        or_nothing(result.speedup.map(|speedup| format!("{speedup:.2}"))),
        list(result.busy_shares.iter().map(|share| percent(*share))),
        or_nothing(result.bubble_share.map(percent)),
        or_nothing(result.peak_memory_bytes.map(mebibytes)),
        list(result.staleness.iter().map(staleness)),
        if result.gaps.iter().all(Option::is_none) {
            NOTHING.to_owned()
        } else {
            list(
                result
                    .gaps
                    .iter()
                    .map(|gap| or_nothing(gap.map(small_percent))),
            )
        },
        or_nothing(result.final_top1.map(spread)),
        or_nothing(result.best_top1.map(spread)),
    ]
}

fn list(texts: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = texts.collect();
    if texts.is_empty() {
        NOTHING.to_owned()
    } else {
        texts.join("  ")
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

fn small_percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The mean, and the maximum if it differs.
fn staleness(stage: &StageStaleness) -> String {
    let mean = format!("{:.1}", stage.mean);
    match mean.strip_suffix(".0") {
        Some(whole) if whole == stage.max.to_string() => whole.to_owned(),
        _ => format!("{mean}≤{}", stage.max),
    }
}

fn spread(spread: Spread) -> String {
    match spread.deviation {
        Some(deviation) => format!("{:.1} ± {deviation:.1} %", spread.mean),
        None => format!("{:.1} %", spread.mean),
    }
}

/// Seconds to the target, and how many runs reached it if not all did.
fn time(result: &MethodResult) -> String {
    match result.seconds_to_target {
        Some(seconds) if result.reached_target == result.done => format!("{seconds:.1} s"),
        Some(seconds) => format!(
            "{seconds:.1} s in {} of {}",
            result.reached_target, result.done
        ),
        None if result.final_top1.is_some() => "not reached".to_owned(),
        None => NOTHING.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::fixtures::{comparison, replicated, straggling};

    #[test]
    fn columns_align() {
        let (_folder, comparison) = comparison();
        insta::assert_snapshot!("table", main_table(&comparison).to_string());
        assert_eq!(slowdown_table(&comparison), None);
    }

    #[test]
    fn slowdowns_have_a_table_of_their_own() {
        let (_folder, comparison) = straggling();
        let both = format!(
            "{}\n{}",
            main_table(&comparison),
            slowdown_table(&comparison).unwrap()
        );
        insta::assert_snapshot!("slowdown_table", both);
    }

    #[test]
    fn replicas_have_a_column_where_there_are_any() {
        let (_folder, comparison) = replicated();
        let table = main_table(&comparison);
        assert_eq!(table.headers[1], "replicas");
        let column: Vec<&str> = table.rows.iter().map(|row| row[1].as_str()).collect();
        assert_eq!(column, ["1", "2,1"]);
        let html = crate::compare::to_html(&comparison).unwrap();
        assert!(html.contains("replicas") && html.contains("2,1"), "{html}");
        let csv = crate::compare::to_csv(&comparison);
        assert!(csv.contains(r#"dsp,"dsp(1,0;2,0)","2,1",0,"#), "{csv}");
        assert!(csv.contains(r#"bp,"dsp(1,0;2,0)",1,0,"#), "{csv}");
        let json = crate::compare::to_json(&comparison);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["results"][0]["replicas"], "1");
        assert_eq!(json["results"][1]["replicas"], "2,1");
    }
}
