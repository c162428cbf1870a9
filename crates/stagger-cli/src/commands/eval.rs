//! `stagger eval`.

use stagger::{RunWeights, TrainingOptions, evaluate_run};

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
        eval_batch_size: arguments.eval_batch_size,
        ..TrainingOptions::default()
    };
    let found = evaluate_run(&arguments.run, &weights, said)?;
    for note in &found.notes {
        print(&format!("{note}\n"))?;
    }
    print(&format!("{}: {found}\n", found.weights.display()))?;
    Ok(())
}
