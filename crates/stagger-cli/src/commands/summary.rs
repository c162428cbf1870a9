//! `stagger summary`.

use anyhow::Context;
use stagger_model::{Balance, Model, summary};

use super::print;
use crate::failure::Failure;
use crate::flags::high;
use crate::flags::low::SummaryArgs;

/// Prints a model's layers, and what each stage costs.
pub fn run(arguments: &SummaryArgs) -> Result<(), Failure> {
    let schedule = high::schedule(&arguments.schedule, arguments.stages)?;
    let balance: Balance = arguments.balance.parse().context("--balance")?;
    let model = Model::by_name(
        &arguments.model,
        high::input_shape(&arguments.input)?,
        arguments.classes,
    )?;
    let cut = balance.cut(&model, &high::recomputes(&schedule), None)?;
    let stages = high::summary_inputs(&schedule);
    print(&summary(&model, &cut, &stages, arguments.batch_size)?)?;
    Ok(())
}
