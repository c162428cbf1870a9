//! `stagger predict`.

use std::io::{self, IsTerminal};

use anyhow::anyhow;
use stagger::data::{shown_json, shown_lines, shown_text};
use stagger::report::NewFile;
use stagger::{Error, Prediction, PreparedPrediction, ReportError, Spelling, TrainingOptions};

use super::run_weights;
use crate::failure::Failure;
use crate::flags::PredictArgs;
use crate::terminal::{self, is_gone};

/// Says what pictures show.
pub fn run(arguments: PredictArgs) -> Result<(), Failure> {
    if arguments.top == 0 {
        return Err(anyhow!("--top is 0; give a whole number of at least 1").into());
    }
    let logits_file = arguments.logits.as_deref().map(NewFile::at).transpose()?;
    let said = TrainingOptions {
        background: arguments.background,
        eval_batch_size: arguments.eval_batch_size,
        ..TrainingOptions::default()
    };
    let weights = run_weights(&arguments.weights);
    let prepared = PreparedPrediction::of_run(&arguments.run, &weights, &arguments.images, said)?;
    for note in prepared.notes() {
        terminal::say(&shown_text(&note));
    }
    let form = match (arguments.json, arguments.csv) {
        (true, _) => Form::Json,
        (_, true) => Form::Csv,
        _ => Form::Text,
    };
    let mut logits = logits_file.is_some().then(|| prepared.collect_logits());
    let (mut predicted, mut failed) = (0, 0);
    let mut is_output_closed = false;
    let result = prepared.run(arguments.top, |found| {
        let (prediction, row) = match found {
            Ok(found) => found,
            Err(error) => {
                failed += 1;
                terminal::say(&error.sentence(Spelling::Flags));
                return Ok(());
            }
        };
        predicted += 1;
        if let Some(logits) = &mut logits {
            logits.push(&prediction, row);
        }
        if is_output_closed {
            return Ok(());
        }
        match form.write(&prediction, predicted == 1) {
            // The file has been asked for all the same.
            Err(error) if is_gone(&error) && logits.is_some() => {
                is_output_closed = true;
                Ok(())
            }
            result => result,
        }
    });
    match result {
        // A reader that has gone away, as `head`, is no failure, and has seen enough.
        Err(Error::Report(ReportError::Output { source })) if is_gone(&source) => return Ok(()),
        result => result?,
    }
    // What may be a picture among them is not known.
    let unread = prepared.unreadable();
    let all = prepared.pictures();
    if predicted == 0 {
        return Err(anyhow!("{}", none_of(all)).into());
    }
    if let (Some(file), Some(logits)) = (logits_file, logits) {
        let bytes = logits.to_safetensors().map_err(|what| anyhow!(what))?;
        file.write(&bytes).map_err(Failure::of_run)?;
    }
    match told(failed, all, unread) {
        None => Ok(()),
        Some(told) => Err(Failure::Run(anyhow!(told))),
    }
}

/// What has not been predicted, where there is something.
fn told(failed: usize, all: usize, unread: usize) -> Option<String> {
    let pictures = format!("{failed} of {all} pictures could not be predicted; the others were");
    let folders = match unread {
        1 => "1 file or folder could not be read".to_owned(),
        _ => format!("{unread} files or folders could not be read"),
    };
    match (failed, unread) {
        (0, 0) => None,
        (_, 0) => Some(pictures),
        (0, _) => Some(format!("{folders}; the pictures elsewhere were predicted")),
        _ => Some(format!("{pictures}, and {folders}")),
    }
}

fn none_of(all: usize) -> String {
    match all {
        1 => "the picture could not be predicted".to_owned(),
        all => format!("none of the {all} pictures could be predicted"),
    }
}

/// How predictions are printed.
#[derive(Clone, Copy)]
enum Form {
    Text,
    Json,
    Csv,
}

impl Form {
    fn write(self, prediction: &Prediction, is_first: bool) -> io::Result<()> {
        let mut text = match self {
            Self::Text => format!("{prediction}\n"),
            Self::Json => shown_json(&prediction.to_json()),
            // For programs as the names are, and for people so that they drive no terminal.
            Self::Csv if io::stdout().is_terminal() => shown_lines(&prediction.to_csv()),
            Self::Csv => prediction.to_csv(),
        };
        if is_first && matches!(self, Self::Csv) {
            text.insert_str(0, Prediction::CSV_HEAD);
        }
        terminal::write(&text)
    }
}
