//! `stagger summary`.

use anyhow::Context;
use stagger::cut_by_profile;
use stagger::job::summary_inputs;
use stagger::model::{Balance, Model, summary};

use super::{explain, print};
use crate::failure::Failure;
use crate::flags::{SummaryArgs, input_shape};

/// As many as `stagger train` has.
const DEFAULT_STAGES: usize = 2;

/// Prints a model's layers, and what each stage costs.
pub fn run(arguments: &SummaryArgs) -> Result<(), Failure> {
    let schedule = explain::parse(&arguments.schedule, arguments.stages, DEFAULT_STAGES)?;
    let balance: Balance = arguments.balance.parse().context("--balance")?;
    let model = Model::by_name(
        &arguments.model,
        input_shape(&arguments.input)?,
        arguments.classes,
    )?;
    let cut = match &balance {
        Balance::File(path) => cut_by_profile(path, &model, &schedule, arguments.batch_size)?,
        said => said.cut(&model, &schedule.recomputes(), None)?,
    };
    let stages = summary_inputs(&schedule);
    print(&summary(&model, &cut, &stages, arguments.batch_size)?)?;
    Ok(())
}
