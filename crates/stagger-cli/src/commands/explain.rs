//! `stagger explain`.

use anyhow::anyhow;
use stagger::schedule::{NotationError, NotationProblem, Schedule, explain};

use super::print;
use crate::failure::Failure;
use crate::flags::ExplainArgs;

/// Enough stages for the picture to show what happens in the middle.
const DEFAULT_STAGES: usize = 3;

/// Prints what a schedule does.
pub fn run(arguments: &ExplainArgs) -> Result<(), Failure> {
    if arguments.batches == 0 {
        return Err(anyhow!("--batches is 0; draw at least one").into());
    }
    let schedule = parse(&arguments.schedule, arguments.stages, DEFAULT_STAGES)?;
    print(&explain(&schedule, arguments.batches))?;
    Ok(())
}

/// Without a number of stages, a schedule that does not say it gets `default`.
pub(super) fn parse(
    text: &str,
    stages: Option<usize>,
    default: usize,
) -> Result<Schedule, NotationError> {
    match Schedule::parse(text, stages) {
        Err(error) if matches!(error.problem(), NotationProblem::StagesUnknown { .. }) => {
            Schedule::parse(text, Some(default))
        }
        result => result,
    }
}
