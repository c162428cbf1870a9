//! `stagger eval`.

use anyhow::anyhow;
use stagger::data::{EvaluationPart, shown_path, shown_text};
use stagger::report::{ConfusionFormat, NewFile};
use stagger::{PreparedEvaluation, TrainingOptions};

use super::{print, run_weights};
use crate::failure::Failure;
use crate::flags::EvalArgs;

/// Evaluates the weights of a run on its test set.
pub fn run(arguments: EvalArgs) -> Result<(), Failure> {
    let weights = run_weights(&arguments.weights);
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
    let classes = prepared.job().split.test.classes();
    let output = match arguments.confusion.as_deref() {
        Some(path) => Some((ConfusionFormat::of(path, classes)?, NewFile::at(path)?)),
        None => None,
    };
    for line in prepared.job().split.account() {
        print(&format!("data: {}\n", shown_text(&line)))?;
    }
    let (found, confusion) = match arguments.per_class || output.is_some() {
        true => prepared
            .run_by_class()
            .map(|(found, by_class)| (found, Some(by_class)))?,
        false => (prepared.run()?, None),
    };
    for note in &found.notes {
        print(&format!("{}\n", shown_text(note)))?;
    }
    print(&format!("{}: {found}\n", shown_path(&found.weights)))?;
    let Some(confusion) = confusion else {
        return Ok(());
    };
    if arguments.per_class {
        print(&confusion.per_class_text())?;
    }
    if let Some((format, file)) = output {
        let text = confusion.in_format(format).map_err(|what| anyhow!(what))?;
        file.write(text.as_bytes()).map_err(Failure::of_run)?;
        print(&format!("confusion matrix: {}\n", shown_path(file.path())))?;
    }
    Ok(())
}
