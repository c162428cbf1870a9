//! What a training run says at its end: throughput beside backpropagation's, and memory.

use std::ops::Range;
use std::time::Duration;

use stagger_model::{StageMemory, StageSummaryInput, quantity};
use stagger_report::{RunFolder, RunSummary};
use stagger_runtime::Outcome;
use stagger_schedule::Facts;

use super::account;
use crate::flags::high::{self, TrainJob};

/// The line on the calibration.
pub fn calibration(job: &TrainJob, baseline: &RunSummary) -> String {
    format!(
        "calibration: bp on {}, {} batches: {:.0} images/s",
        same_stages(job),
        baseline.batches,
        baseline.images_per_second
    )
}

fn same_stages(job: &TrainJob) -> String {
    match job.schedule.stages() {
        1 => "the same stage".to_owned(),
        stages => format!("the same {stages} stages"),
    }
}

/// The last lines of a run.
pub fn lines(
    job: &TrainJob,
    outcome: &Outcome,
    run: &RunSummary,
    baseline: Option<&RunSummary>,
    peak_bytes: Option<u64>,
) -> Vec<String> {
    let mut lines = Vec::new();
    let how = if outcome.interrupted {
        "interrupted"
    } else {
        "done"
    };
    let best = run.best_test_top1.map_or(String::new(), |(version, top1)| {
        format!(", best test accuracy {top1:.1} % at version {version}")
    });
    let seconds = outcome.wall.as_secs_f64();
    lines.push(format!(
        "{how} at version {} after {seconds:.1} s{best}",
        outcome.version
    ));
    if run.batches > 0 {
        lines.push(throughput(job, run, baseline));
        let accounts = run.stages.iter().enumerate();
        lines.extend(accounts.map(|(stage, summary)| account::line(stage, summary)));
    }
    if let Some(peak_bytes) = peak_bytes {
        lines.push(memory(job, peak_bytes));
    }
    lines
}

/// What the snapshots of a run cost it.
pub fn snapshots(
    folder: &RunFolder,
    stalls: &[(Duration, usize)],
    outcome: &Outcome,
) -> Option<String> {
    let taken = stalls.iter().map(|(_, taken)| *taken).max()?;
    if taken == 0 {
        return None;
    }
    let each: Vec<String> = stalls
        .iter()
        .map(|(stalled, taken)| {
            let mean = stalled.as_secs_f64() / (*taken).max(1) as f64;
            format!("{:.1} ms", 1e3 * mean)
        })
        .collect();
    let total = stalls
        .iter()
        .map(|(stalled, _)| *stalled)
        .max()
        .unwrap_or_default();
    let share = 100.0 * total.as_secs_f64() / outcome.wall.as_secs_f64().max(1e-9);
    Some(format!(
        "snapshots: {taken} in {}, each stops its stages for {} ({share:.2} % of the run)",
        folder.path().display(),
        each.join(" "),
    ))
}

fn throughput(job: &TrainJob, run: &RunSummary, baseline: Option<&RunSummary>) -> String {
    let rate = run.images_per_second;
    let own = format!("throughput: {} {rate:.0} images/s", job.schedule);
    match baseline.filter(|baseline| baseline.images_per_second > 0.0) {
        None => own,
        Some(baseline) => format!(
            "{own}, bp on {} {:.0} images/s: {:.2} times (the ideal is {:.2} times; the \
             calibration is short, so this is rough)",
            same_stages(job),
            baseline.images_per_second,
            rate / baseline.images_per_second,
            Facts::of(&job.schedule).ideal_speedup,
        ),
    }
}

/// Peak memory, and the parts of it that follow from shapes.
fn memory(job: &TrainJob, peak_bytes: u64) -> String {
    let estimate = |(blocks, input): (&Range<usize>, StageSummaryInput)| {
        let shape = job.model.stage_input_shape(blocks.start).ok()?;
        let cost = job.model.cost(blocks.clone()).ok()?;
        Some(StageMemory::estimate(&cost, &shape, input, job.batch_size))
    };
    let stages = job
        .cut
        .stages()
        .iter()
        .zip(high::summary_inputs(&job.schedule));
    let parts: Vec<StageMemory> = stages.filter_map(estimate).collect();
    let sum = |part: fn(&StageMemory) -> u64| parts.iter().map(part).sum::<u64>();
    let data_bytes = job.split.train.resident_bytes() + job.split.test.resident_bytes();
    // Gradients, and the optimizer's own, beside the weights in all their versions.
    let copies = 1 + job.optimizer.slots().len() as u64;
    let weight_bytes: u64 = job
        .cut
        .stages()
        .iter()
        .zip(Facts::of(&job.schedule).stages)
        .filter_map(|(blocks, stage)| {
            let cost = job.model.cost(blocks.clone()).ok()?;
            Some(cost.parameter_bytes() * (copies + stage.weight_copies as u64))
        })
        .sum();
    format!(
        "memory: peak {} resident; from shapes: images {}, weights, gradients and optimizer {}, \
         kept inputs {}, graphs at most {} (the engine does not keep every output)",
        quantity::bytes(peak_bytes),
        quantity::bytes(data_bytes),
        quantity::bytes(weight_bytes),
        quantity::bytes(sum(|part| part.kept_input_bytes)),
        quantity::bytes(sum(|part| part.graph_bytes)),
    )
}
