//! `stagger summary`.

use anyhow::{Context, Result, bail};
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
        input_shape(&arguments.input)?,
        arguments.classes,
    )?;
    let cut = balance.cut(&model, &high::recomputes(&schedule), None)?;
    let stages = high::summary_inputs(&schedule);
    print(&summary(&model, &cut, &stages, arguments.batch_size)?)?;
    Ok(())
}

/// Reads `3x32x32`.
fn input_shape(text: &str) -> Result<[usize; 3]> {
    let sides: Vec<usize> = text
        .split('x')
        .map_while(|side| side.trim().parse().ok())
        .collect();
    match sides[..] {
        [channels, height, width] if text.split('x').count() == 3 && !sides.contains(&0) => {
            Ok([channels, height, width])
        }
        _ => {
            bail!("--input `{text}` is not a shape; give channels, height and width as in 3x32x32")
        }
    }
}
