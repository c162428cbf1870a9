//! `stagger eval`.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow};
use stagger_engine::StageState;
use stagger_report::{BEST_WEIGHTS_FILE, CONFIG_FILE, LAST_WEIGHTS_FILE, RunFolder, read_weights};
use stagger_runtime::{Event, Interrupt};
use stagger_schedule::{Horizon, Schedule};

use super::{build, print};
use crate::failure::Failure;
use crate::flags::config_file;
use crate::flags::high::{self, TrainJob};
use crate::flags::low::EvalArgs;

/// Evaluates the weights of a run on its test set.
pub fn run(arguments: EvalArgs) -> Result<(), Failure> {
    let folder = RunFolder::open(&arguments.run)?;
    let mut values = config_file::read(&folder.file(CONFIG_FILE))?;
    values.data_dir = arguments.data_dir.or(values.data_dir);
    values.eval_batch_size = arguments.eval_batch_size.or(values.eval_batch_size);
    let job = high::train(values)?;

    let path = match arguments.weights.as_str() {
        "best" => folder.file(BEST_WEIGHTS_FILE),
        "last" => folder.file(LAST_WEIGHTS_FILE),
        other => PathBuf::from(other),
    };
    if arguments.weights == "best" && !path.exists() {
        return Err(anyhow!(
            "{} has no {BEST_WEIGHTS_FILE}: the run ended before its first evaluation; use \
             --weights last",
            arguments.run.display()
        )
        .into());
    }
    let weights = read_weights(&path)?;
    let states = stage_states(&job, &weights.state);
    // What does not fit is told before anything runs: too much here, too little below.
    let known = |name: &String| states.iter().any(|state| state.tensors.contains_key(name));
    if let Some(name) = weights.state.tensors.keys().find(|name| !known(name)) {
        return Err(anyhow!(
            "the weights {} do not fit {}: it has no `{name}`; they belong to another model",
            path.display(),
            job.model.name
        )
        .into());
    }
    build::check_states(&job, &states)
        .with_context(|| format!("the weights {} do not fit", path.display()))?;
    let line = line(evaluate(&job, &states, &Interrupt::new())?);
    print(&format!("{}: {line}\n", path.display()))?;
    Ok(())
}

/// The states of all stages, out of weights of the whole model.
pub(super) fn stage_states(job: &TrainJob, whole: &StageState) -> Vec<StageState> {
    let blocks = job.cut.stages().iter();
    blocks
        .map(|blocks| whole.of_blocks(&job.model, blocks.clone()))
        .collect()
}

/// Runs a program that does nothing but evaluate, over the stages of the run. Gives
/// [`Event::Evaluated`], of version 0; nothing when it is interrupted.
pub(super) fn evaluate(
    job: &TrainJob,
    states: &[StageState],
    interrupt: &Interrupt,
) -> Result<Option<Event>, Failure> {
    let schedule = Schedule::parse("bp", Some(job.schedule.stages()))?;
    let horizon = Horizon {
        batches: 0,
        evaluate_at: vec![0],
        snapshot_at: vec![],
    };
    let mut found = None;
    let outcome = build::run(
        job,
        &build::plan(job, schedule, horizon),
        build::Options {
            states: Some(states),
            profile: false,
        },
        build::feeds(job, 0..0)?,
        interrupt,
        |event| {
            if let Event::Evaluated { .. } = event {
                found = Some(event);
            }
            Ok(())
        },
    );
    outcome.map_err(|error| Failure::Run(error.into()))?;
    Ok(found)
}

fn line(evaluated: Option<Event>) -> String {
    let Some(Event::Evaluated {
        samples,
        loss,
        correct_top1,
        correct_top5,
        ..
    }) = evaluated
    else {
        return "not evaluated".to_owned();
    };
    let percent = |correct: usize| 100.0 * correct as f64 / samples as f64;
    let (top1, top5) = (percent(correct_top1), percent(correct_top5));
    format!("test {top1:.1} % (top-5 {top5:.1} %) · loss {loss:.3} · {samples} samples")
}
