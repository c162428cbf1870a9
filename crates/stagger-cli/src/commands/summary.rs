//! `stagger summary`.

use anyhow::Context;
use stagger::job::summary_inputs;
use stagger::model::{Balance, SummaryTime, summary};
use stagger::schedule::ideal_speedup;
use stagger::{UnmeasuredCut, cut_without_measuring, named_model};

use super::{explain, print};
use crate::failure::Failure;
use crate::flags::{SummaryArgs, input_shape};
use crate::terminal::say;

/// As many as `stagger train` has.
const DEFAULT_STAGES: usize = 2;

/// Prints a model's layers, and what each stage costs.
pub fn run(arguments: &SummaryArgs) -> Result<(), Failure> {
    let schedule = explain::parse(&arguments.schedule, arguments.stages, DEFAULT_STAGES)?;
    let balance: Balance = arguments.balance.parse().context("--balance")?;
    let model = named_model(
        &arguments.model,
        input_shape(&arguments.input)?,
        arguments.classes,
    )?;
    let estimate = arguments.compute.estimate_for();
    let estimate = estimate.estimate(schedule.stages());
    let estimate = estimate.map_err(stagger::Error::from)?;
    let UnmeasuredCut { cut, misfit } =
        cut_without_measuring(&balance, &model, &schedule, arguments.batch_size, &estimate)?;
    let stages = summary_inputs(&schedule);
    let replicas = schedule.replicas().unwrap_or(1);
    let time = SummaryTime {
        costs: &estimate.costs,
        of: &estimate.computes,
        most_speedup: ideal_speedup(&schedule) * replicas as f64,
        replicas,
    };
    if let Some(misfit) = misfit {
        say(&misfit);
    }
    print(&summary(&model, &cut, &stages, arguments.batch_size, time)?)?;
    Ok(())
}
