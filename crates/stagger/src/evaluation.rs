//! Evaluating weights on a test set.

use std::fmt;
use std::path::{Path, PathBuf};

use stagger_data::NAMES;
use stagger_engine::StageState;
use stagger_report::{
    BEST_WEIGHTS_FILE, CONFIG_FILE, DATA_FILE, LAST_WEIGHTS_FILE, RunFolder, read_weights,
};
use stagger_runtime::{Event, Interrupt, Plan, Replicas};
use stagger_schedule::{Horizon, Schedule};

use crate::config_file;
use crate::data_file;
use crate::error::Error;
use crate::job::{FORMER_CPU, Given, Job, images};
use crate::options::TrainingOptions;
use crate::stages;
use crate::training::with_class_names;
use crate::weights_fit::{self, Classes};

/// Which weights of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RunWeights {
    /// Those with the highest test accuracy.
    #[default]
    Best,
    /// Those at the end.
    Last,
    /// Those in a safetensors file.
    File(PathBuf),
}

/// What an evaluation gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// The weights file.
    pub weights: PathBuf,
    /// Lines for people: what names in the file were translated.
    pub notes: Vec<String>,
    /// Samples of the test set.
    pub samples: usize,
    /// Mean loss over them, without label smoothing.
    pub loss: f64,
    /// Samples whose label had the highest score, in percent.
    pub top1: f64,
    /// Samples whose label was among the five highest scores, in percent.
    pub top5: f64,
}

impl fmt::Display for Evaluation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            samples,
            loss,
            top1,
            top5,
            ..
        } = self;
        write!(
            f,
            "test {top1:.1} % (top-5 {top5:.1} %) · loss {loss:.3} · {samples} samples"
        )
    }
}

/// Evaluates weights of a finished run on the test set of its config. `said` takes precedence over that config: the folder of
/// the data, or the batch size of the evaluation.
///
/// # Errors
/// When `run` is no run folder, its data are not there, or the weights do not fit its model; and when the evaluation fails.
pub fn evaluate_run(
    run: &Path,
    weights: &RunWeights,
    said: TrainingOptions,
) -> Result<Evaluation, Error> {
    PreparedEvaluation::of_run(run, weights, said)?.run()
}

/// An evaluation that has been checked and is ready to start.
#[derive(Debug)]
pub struct PreparedEvaluation {
    job: Job,
    weights: PathBuf,
    notes: Vec<String>,
    states: Vec<StageState>,
}

impl PreparedEvaluation {
    /// Opens the data of a finished run and reads its weights; see [`evaluate_run`].
    ///
    /// # Errors
    /// When `run` is no run folder, its data are not there, or the weights do not fit its model.
    pub fn of_run(run: &Path, weights: &RunWeights, said: TrainingOptions) -> Result<Self, Error> {
        let folder = RunFolder::open(run)?;
        let elsewhere = said.data_dir.clone();
        let of_run = config_file::read(&folder.file(CONFIG_FILE))?;
        // Images are set aside in the run's own folder; another one is evaluated as it is.
        let is_elsewhere = elsewhere.is_some_and(|path| {
            let own = of_run.data_dir.as_ref();
            own.and_then(|own| own.canonicalize().ok()) != path.canonicalize().ok()
        });
        let mut options = said.or(of_run);
        options.val_split.take_if(|_| is_elsewhere);
        // Weights do not depend on the engine.
        options.engine = options.engine.filter(|engine| engine != FORMER_CPU);
        let given = Given {
            split: match data_file::read(&folder.file(DATA_FILE))? {
                // Options may name a data set that was given as an object; that one cannot be opened by name.
                Some(trained_on) if NAMES.contains(&trained_on.dataset.as_str()) => {
                    Some(images::open_for_evaluation(&options, &trained_on)?)
                }
                _ => None,
            },
            ..Given::default()
        };
        let job = Job::new(options, &given)?;
        job.engine.check(&job.options, 0..job.replicas.places())?;
        let path = match weights {
            RunWeights::Best => folder.file(BEST_WEIGHTS_FILE),
            RunWeights::Last => folder.file(LAST_WEIGHTS_FILE),
            RunWeights::File(path) => path.clone(),
        };
        if *weights == RunWeights::Best && !path.exists() {
            return Err(Error::NoBestWeights {
                run: run.to_owned(),
                file: BEST_WEIGHTS_FILE,
            });
        }
        let (state, there) = with_class_names(read_weights(&path)?);
        let here = job.split.train.class_names();
        let classes = Classes::compare(there.as_deref(), here);
        // What does not fit is told before anything runs.
        let mut notes = Vec::new();
        let from = path.display().to_string();
        let mut whole =
            weights_fit::fit(&job.model, state, &from, &mut notes).map_err(|misfit| {
                Error::Weights {
                    path: path.clone(),
                    model: Some(job.model.name.clone()),
                    what: misfit.to_string(),
                }
            })?;
        match classes {
            Classes::Order(order) => {
                weights_fit::reorder(&job.model, &mut whole, &order);
                let there = there.as_deref().unwrap_or_default();
                notes.push(weights_fit::reordered(&from, there, here));
            }
            Classes::Others(difference) => {
                return Err(Error::OtherClasses { path, difference });
            }
            Classes::Same => {}
        }
        let states = stages::split_state(&job, &whole);
        stages::check_states(&job, &states).map_err(|error| Error::Weights {
            path: path.clone(),
            model: None,
            what: error.to_string(),
        })?;
        Ok(Self {
            job,
            weights: path,
            notes,
            states,
        })
    }

    /// What is evaluated, and on what.
    pub fn job(&self) -> &Job {
        &self.job
    }

    /// Evaluates.
    ///
    /// # Errors
    /// When the evaluation fails.
    pub fn run(self) -> Result<Evaluation, Error> {
        let event = evaluate(&self.job, &self.states, &Interrupt::new())?;
        let Some(Event::Evaluated {
            samples,
            loss,
            correct_top1,
            correct_top5,
            ..
        }) = event
        else {
            return Err(Error::NotEvaluated);
        };
        let percent = |correct: usize| 100.0 * correct as f64 / samples as f64;
        Ok(Evaluation {
            weights: self.weights,
            notes: self.notes,
            samples,
            loss,
            top1: percent(correct_top1),
            top5: percent(correct_top5),
        })
    }
}

/// Runs a program that does nothing but evaluate, over the stages of the run. Gives
/// [`Event::Evaluated`], of version 0; nothing when it is interrupted.
pub(crate) fn evaluate(
    job: &Job,
    states: &[StageState],
    interrupt: &Interrupt,
) -> Result<Option<Event>, Error> {
    let schedule = Schedule::parse("bp", Some(job.schedule.stages()))?;
    let horizon = Horizon {
        batches: 0,
        evaluate_at: vec![0],
        snapshot_at: vec![],
    };
    let mut found = None;
    stages::run(
        job,
        &Plan {
            // One copy of each stage evaluates.
            replicas: Replicas::none(schedule.stages()),
            ..stages::plan(job, schedule, horizon, 1.0)
        },
        stages::Options {
            states: Some(states),
            ..stages::Options::default()
        },
        stages::feeds(job, 0..0)?,
        interrupt,
        |event| {
            if let Event::Evaluated { .. } = event {
                found = Some(event);
            }
            Ok(())
        },
    )?;
    Ok(found)
}
