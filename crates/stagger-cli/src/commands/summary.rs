//! `stagger summary`.

use anyhow::Context;
use stagger::job::summary_inputs;
use stagger::model::{Balance, Model, summary};
use stagger::schedule::Schedule;

use super::print;
use crate::failure::Failure;
use crate::flags::{SummaryArgs, input_shape};

/// Prints a model's layers, and what each stage costs.
pub fn run(arguments: &SummaryArgs) -> Result<(), Failure> {
    let schedule = Schedule::parse(&arguments.schedule, Some(arguments.stages))?;
    let balance: Balance = arguments.balance.parse().context("--balance")?;
    let model = Model::by_name(
        &arguments.model,
        input_shape(&arguments.input)?,
        arguments.classes,
    )?;
    let cut = balance.cut(&model, &schedule.recomputes(), None)?;
    let stages = summary_inputs(&schedule);
    print(&summary(&model, &cut, &stages, arguments.batch_size)?)?;
    Ok(())
}
