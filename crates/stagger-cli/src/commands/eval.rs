//! `stagger eval`.

use stagger::data::EvaluationPart;
use stagger::{PreparedEvaluation, RunWeights, TrainingOptions};

use super::print;
use crate::failure::Failure;
use crate::flags::EvalArgs;

/// Evaluates the weights of a run on its test set.
pub fn run(arguments: EvalArgs) -> Result<(), Failure> {
    let weights = match arguments.weights.as_str() {
        "best" => RunWeights::Best,
        "last" => RunWeights::Last,
        path => RunWeights::File(path.into()),
    };
    let said = TrainingOptions {
        data_dir: arguments.data_dir,
        allow_left_out: arguments.allow_left_out.then_some(true),
        skip_bad_images: arguments.skip_bad_images.then_some(true),
        eval_batch_size: arguments.eval_batch_size,
        ..TrainingOptions::default()
    };
    let part = arguments.split.map(|split| match split.as_str() {
        "val" => EvaluationPart::Validation,
        _ => EvaluationPart::Test,
    });
    let prepared = PreparedEvaluation::of_part(&arguments.run, &weights, part, said)?;
    if let Some(inventory) = &prepared.job().split.inventory {
        print(&format!("data: {inventory}\n"))?;
    }
    let found = prepared.run()?;
    for note in &found.notes {
        print(&format!("{note}\n"))?;
    }
    print(&format!("{}: {found}\n", found.weights.display()))?;
    Ok(())
}
