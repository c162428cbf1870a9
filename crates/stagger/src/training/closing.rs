//! What a training run says at its end: throughput beside backpropagation's, and memory.

use std::path::Path;

use stagger_data::{path_for_shell, shown_path};
use stagger_model::quantity;
use stagger_report::RunSummary;
use stagger_runtime::EarlyEnd;
use stagger_schedule::Facts;

use super::advice::advice;
use super::early_end::{Goals, evaluations_since};
use super::run::Run;
use crate::account;
use crate::job::Job;
use crate::memory::TensorMemory;

/// The line on the calibration.
pub fn calibration(job: &Job, baseline: &RunSummary) -> String {
    format!(
        "calibration{}: bp on {}, {} batches: {:.0} images/s",
        emulated(job),
        same_stages(job),
        baseline.batches,
        baseline.images_per_second
    )
}

/// What stands behind the names of figures that no device has brought about.
fn emulated(job: &Job) -> &'static str {
    job.emulated().map_or("", |_| " (emulated)")
}

fn same_stages(job: &Job) -> String {
    match job.schedule.stages() {
        1 => "the same stage".to_owned(),
        stages => format!("the same {stages} stages"),
    }
}

/// The last lines of a run.
pub fn lines(job: &Job, run: &Run) -> Vec<String> {
    let mut lines = Vec::new();
    let how = if run.interrupted {
        "interrupted"
    } else {
        "done"
    };
    let best = run.best.map_or(String::new(), |(version, top1)| {
        format!(", best test accuracy {top1:.1} % at version {version}")
    });
    let seconds = run.wall.as_secs_f64();
    lines.push(format!(
        "{how} at version {} after {seconds:.1} s{}{best}",
        run.version,
        emulated(job)
    ));
    if let Some(tested) = &run.final_test {
        lines.push(tested.to_string());
    }
    if run.speed.batches > 0 {
        lines.push(throughput(job, &run.speed, run.baseline.as_ref()));
        let accounts = run.speed.stages.iter().enumerate();
        lines.extend(accounts.map(|(stage, summary)| {
            let first = job.replicas.places_of(0..stage).end;
            let name = job.replicas.names(first..first + 1) + emulated(job);
            account::line(&name, summary)
        }));
    }
    lines.extend(advice(job, &run.speed));
    if let Some(peak_bytes) = run.peak_resident_bytes {
        lines.push(memory(job, peak_bytes));
    }
    if let Some(folder) = run.folder.as_ref().filter(|_| job.snapshots.is_some()) {
        lines.extend(snapshots(job, folder, run));
        if run.interrupted {
            let path = path_for_shell(folder);
            lines.push(format!("resume with: stagger train --resume {path}"));
        }
    }
    for (stage, profile) in &run.profiles {
        lines.push(account::kernels(*stage, profile, run.version));
    }
    lines.extend(limited(job, run));
    lines
}

/// What ended the run before its last epoch, and how to go on.
fn limited(job: &Job, run: &Run) -> Option<String> {
    if run.interrupted {
        return None;
    }
    let options = &job.options;
    let batches = job.horizon.batches;
    let all = all_epochs(job);
    let (what, of, more) = match run.ended_by {
        Some(EarlyEnd::TimeLimit) => {
            let seconds = options.max_seconds?;
            let more = format!("--max-seconds {seconds}");
            (format!("the time limit of {seconds} s"), batches, more)
        }
        Some(EarlyEnd::Target) => {
            let what = format!("--target {}", options.target?);
            (what, batches, beyond(EarlyEnd::Target, job, run)?)
        }
        Some(EarlyEnd::Patience) => {
            let what = format!("--patience {}", options.patience?);
            (what, batches, beyond(EarlyEnd::Patience, job, run)?)
        }
        None if batches < all => {
            let more = format!("--max-batches {}", all.min(batches.saturating_mul(2)));
            // A goal that the last evaluation has met would end the longer run at once.
            let met = Goals::of(options).met(run.best, run.version, &job.horizon.evaluate_at);
            let goal = met.and_then(|met| beyond(met, job, run));
            let more = [Some(more), goal].into_iter().flatten().collect::<Vec<_>>();
            (format!("--max-batches {batches}"), all, more.join(" "))
        }
        None => return None,
    };
    let ended = format!("{what} ended the run at version {} of {of}", run.version);
    // An emulated run has no weights to go on from.
    let goes_on = job.snapshots.is_some() || job.emulated().is_none();
    let Some(folder) = run.folder.as_deref().filter(|_| goes_on) else {
        return Some(ended);
    };
    let path = path_for_shell(folder);
    let is_perfect = run.best.is_some_and(|(_, top1)| top1 >= 100.0);
    if is_perfect && run.ended_by == Some(EarlyEnd::Target) && job.snapshots.is_some() {
        return Some(format!(
            "{ended}, and there is no higher one; start a new run from its last weights with: stagger train --resume-weights {path}"
        ));
    }
    Some(match (&job.snapshots, run.ended_by) {
        (None, _) => format!(
            "{ended}, and it keeps no snapshots; start a new run from its last weights with: stagger train --resume-weights {path}"
        ),
        (Some(_), Some(EarlyEnd::TimeLimit)) => format!(
            "{ended}; go on for as long again with: stagger train --resume {path} {more}, or to the end without --max-seconds"
        ),
        (Some(_), _) => format!("{ended}; go on with: stagger train --resume {path} {more}"),
    })
}

/// The flag with which a run goes on that has met a goal.
fn beyond(goal: EarlyEnd, job: &Job, run: &Run) -> Option<String> {
    match goal {
        EarlyEnd::Target => Some("--target 100".to_owned()),
        EarlyEnd::Patience => {
            let most = job.options.patience?;
            let (best, _) = run.best.unwrap_or_default();
            let waited = evaluations_since(best, run.version, &job.horizon.evaluate_at);
            let more = most.saturating_mul(2).max(waited + 1);
            Some(format!("--patience {more}"))
        }
        EarlyEnd::TimeLimit => None,
    }
}

/// Batches of all epochs.
fn all_epochs(job: &Job) -> usize {
    let epochs = job.options.epochs.unwrap_or_default();
    epochs.saturating_mul(job.sampler.batches_per_epoch())
}

/// The line on a resumed run that has nothing left to do: at `version`, with the best evaluation so far, and what `met` may have ended.
pub fn finished(
    job: &Job,
    folder: &Path,
    version: usize,
    best: Option<(usize, f64)>,
    met: Option<EarlyEnd>,
) -> String {
    let options = &job.options;
    let at = format!("{}: finished at version {version}", shown_path(folder));
    let (at_best, top1) = best.unwrap_or_default();
    let (why, more) = match (met, options.target, options.patience) {
        (Some(EarlyEnd::Target), Some(target), _) if top1 >= 100.0 => {
            let path = path_for_shell(folder);
            return format!(
                "{at}, as it has met --target {target}; nothing is left to do; to train on, start a new run from its last weights with: \
                 stagger train --resume-weights {path}"
            );
        }
        (Some(EarlyEnd::Target), Some(target), _) => {
            // As lines of epochs show it, and not below.
            let reached = (10.0 * top1 - 1e-9).ceil() / 10.0;
            let more = match reached >= 100.0 {
                true => "--target 100".to_owned(),
                false => format!("--target above {reached}"),
            };
            let why = format!(", as it has met --target {target}");
            (why, Some(more))
        }
        (Some(EarlyEnd::Patience), _, Some(most)) => {
            let waited = evaluations_since(at_best, version, &job.horizon.evaluate_at);
            let why = format!(", as --patience {most} has run out");
            (why, Some(format!("--patience above {waited}")))
        }
        _ => (String::new(), None),
    };
    let batches = job.horizon.batches;
    let longer = (version >= batches).then(|| match options.max_batches {
        Some(most) if most < all_epochs(job) => format!("--max-batches above {most}"),
        _ => format!("--epochs above {}", options.epochs.unwrap_or_default()),
    });
    let with: Vec<String> = longer.into_iter().chain(more).collect();
    format!(
        "{at}{why}; nothing is left to do; to train on, resume it with {}",
        with.join(" and ")
    )
}

/// What the snapshots of a run cost it.
fn snapshots(job: &Job, folder: &Path, run: &Run) -> Option<String> {
    let taken = run.snapshots.iter().map(|cost| cost.taken).max()?;
    if taken == 0 {
        return None;
    }
    let each: Vec<String> = (run.snapshots.iter())
        .map(|cost| {
            let mean = cost.stalled.as_secs_f64() / cost.taken.max(1) as f64;
            format!("{:.1} ms", 1e3 * mean)
        })
        .collect();
    let total = run.snapshots.iter().map(|cost| cost.stalled).max();
    let total = total.unwrap_or_default();
    let share = 100.0 * total.as_secs_f64() / run.wall.as_secs_f64().max(1e-9);
    Some(format!(
        "snapshots{}: {taken} in {}, each stops its stages for {} ({share:.2} % of the run)",
        emulated(job),
        shown_path(folder),
        each.join(" "),
    ))
}

fn throughput(job: &Job, run: &RunSummary, baseline: Option<&RunSummary>) -> String {
    let rate = run.images_per_second;
    let own = format!(
        "throughput{}: {} {rate:.0} images/s",
        emulated(job),
        job.schedule
    );
    match baseline.filter(|baseline| baseline.images_per_second > 0.0) {
        None => own,
        Some(baseline) => format!(
            "{own}, bp on {} {:.0} images/s: {:.2} times (the ideal{} is {:.2} times; the \
             calibration is short, so this is rough)",
            same_stages(job),
            baseline.images_per_second,
            rate / baseline.images_per_second,
            match job.emulated() {
                Some(_) => ", where messages take no time,",
                None => "",
            },
            Facts::of(&job.schedule).ideal_speedup,
        ),
    }
}

/// Peak memory, and the parts of it that follow from shapes.
fn memory(job: &Job, peak_bytes: u64) -> String {
    if job.emulated().is_some() {
        let peak = quantity::bytes(peak_bytes);
        return format!("memory (emulated): peak {peak} resident, without any tensors");
    }
    let tensors = TensorMemory::of(job, |_| true);
    let sets = [&job.split.train, &job.split.test];
    let sets = sets.into_iter().chain(&job.split.final_test);
    let data_bytes: u64 = sets.map(|set| set.resident_bytes()).sum();
    format!(
        "memory: peak {} resident; from shapes: images {}, weights, gradients and optimizer {}, \
         kept inputs {}, graphs at most {} (the engine does not keep every output)",
        quantity::bytes(peak_bytes),
        quantity::bytes(data_bytes),
        quantity::bytes(tensors.weight_bytes),
        quantity::bytes(tensors.kept_input_bytes),
        quantity::bytes(tensors.graph_bytes),
    )
}
