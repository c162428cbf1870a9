//! Results as JSON.

use serde_json::{Value, json};

use super::NO_BARRIERS;
use super::method::Comparison;
use super::run::{PlannedRun, RunState};

/// One object: the request, `results` per slow-down and method, and each of the `runs`.
pub fn to_json(comparison: &Comparison) -> String {
    let plan = &comparison.plan;
    let runs: Vec<Value> = plan.runs.iter().zip(&comparison.states).map(run).collect();
    let object = json!({
        "title": plan.title,
        "command": plan.command,
        "note": NO_BARRIERS,
        "emulated": plan.emulated,
        "baseline": plan.baseline,
        "target_top1": plan.target_top1,
        "environments": comparison.environments,
        "faults": comparison.faults().collect::<Vec<_>>(),
        "results": comparison.results,
        "runs": runs,
    });
    format!("{object:#}\n")
}

fn run((run, state): (&PlannedRun, &RunState)) -> Value {
    let mut object = json!({
        "method": run.method,
        "slowdown_percent": run.slowdown_percent,
        "seed": run.seed,
        "folder": run.folder,
        "command": run.command,
    });
    object["state"] = match state {
        RunState::Done(_) => "done",
        RunState::Failed(_) => "failed",
        RunState::Missing => "missing",
    }
    .into();
    match state {
        RunState::Done(result) => {
            object["images_per_second"] = result.progress.images_per_second.into();
            object["batches"] = result.progress.batches.len().into();
            object["final_top1"] = result.final_top1().into();
            object["best_top1"] = result.best_top1().into();
            object["peak_memory_bytes"] = result.peak_memory_bytes.into();
            object["wall_seconds"] = result.wall_seconds.into();
        }
        RunState::Failed(error) => object["error"] = error.clone().into(),
        RunState::Missing => {}
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::fixtures::comparison;

    #[test]
    fn results_and_runs_read_back() {
        let (_folder, comparison) = comparison();
        let object: Value = serde_json::from_str(&to_json(&comparison)).unwrap();
        assert_eq!(object["results"][1]["speedup"], 2.25);
        assert_eq!(object["results"][1]["final_top1"]["mean"], 71.0);
        assert_eq!(object["runs"][4]["error"], "out of memory");
        assert_eq!(object["runs"][0]["images_per_second"], 10.0);
        assert_eq!(object["environments"][0]["host"], "lab");
        assert!(object["note"].as_str().unwrap().contains("barrier"));
    }
}
