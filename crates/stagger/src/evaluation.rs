//! Evaluating weights on a test set.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stagger_data::{EvaluationPart, NAMES};
use stagger_engine::{HostTensor, StageState};
use stagger_report::{CONFIG_FILE, Confusion, DATA_FILE, RunFolder};
use stagger_runtime::{Event, EventError, Interrupt, Plan, Replicas};
use stagger_schedule::{Horizon, Schedule};

use crate::config_file;
use crate::data_file;
use crate::error::Error;
use crate::job::{FORMER_CPU, Given, Job, images};
use crate::options::TrainingOptions;
use crate::refusal::{check_path, refuse_emulated};
use crate::run_weights::{InStages, RunWeights};
use crate::stages;

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
        Self::of_part(run, weights, None, said)
    }

    /// The same on a part of the images that are not trained on; `None` is those that chose the best weights, or, in another folder,
    /// those that would.
    ///
    /// # Errors
    /// As [`PreparedEvaluation::of_run`]; where the data set does not have that part; [`Error::NoDataFile`].
    pub fn of_part(
        run: &Path,
        weights: &RunWeights,
        part: Option<EvaluationPart>,
        said: TrainingOptions,
    ) -> Result<Self, Error> {
        check_path("run", run)?;
        if let RunWeights::File(path) = weights {
            check_path("weights", path)?;
        }
        if let Some(path) = &said.data_dir {
            check_path("data_dir", path)?;
        }
        refuse_emulated(run, None)?;
        let folder = RunFolder::open(run)?;
        let elsewhere = said.data_dir.clone();
        let of_run = config_file::read_of_run(&folder.file(CONFIG_FILE))?;
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
                    Some(images::open_for_evaluation(&options, &trained_on, part)?)
                }
                _ if part.is_some() => {
                    return Err(Error::NoDataFile {
                        run: run.to_owned(),
                        file: DATA_FILE,
                    });
                }
                _ => None,
            },
            ..Given::default()
        };
        let job = Job::new(options, &given)?;
        job.engine.check(&job.options, 0..job.replicas.places())?;
        let InStages {
            path,
            notes,
            states,
        } = weights.read(&folder, &job)?;
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
        self.run_with(None)
    }

    /// The same, and counts which classes are taken for which.
    ///
    /// # Errors
    /// When the evaluation fails.
    pub fn run_by_class(self) -> Result<(Evaluation, Confusion), Error> {
        let test = Arc::clone(&self.job.split.test);
        let mut confusion = Confusion::new(test.class_names().to_vec());
        let mut labels = (0..test.len()).map(|index| test.label(index));
        let mut count = |_batch: usize, logits: HostTensor| {
            for row in logits.data.chunks_exact(test.classes()) {
                let label = labels.next().ok_or("more logits than samples")?;
                confusion.add(label, row);
            }
            Ok(())
        };
        let found = self.run_with(Some(&mut count))?;
        Ok((found, confusion))
    }

    /// The same, and hands on the logits of each batch.
    pub(crate) fn run_with(self, on_logits: Option<OnLogits<'_>>) -> Result<Evaluation, Error> {
        let event = evaluate_with(&self.job, &self.states, &Interrupt::new(), on_logits)?;
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
    evaluate_with(job, states, interrupt, None)
}

/// Takes the number of a batch and its logits, `[N, classes]`.
pub(crate) type OnLogits<'a> = &'a mut dyn FnMut(usize, HostTensor) -> Result<(), EventError>;

/// As [`evaluate`], and hands on the logits of each batch, in order.
pub(crate) fn evaluate_with(
    job: &Job,
    states: &[StageState],
    interrupt: &Interrupt,
    mut on_logits: Option<OnLogits<'_>>,
) -> Result<Option<Event>, Error> {
    let schedule = Schedule::parse("bp", Some(job.schedule.stages()))?;
    let horizon = Horizon {
        batches: 0,
        evaluate_at: vec![0],
        snapshot_at: vec![],
        ..Horizon::default()
    };
    let mut found = None;
    stages::run(
        job,
        &Plan {
            // One copy of each stage evaluates.
            replicas: Replicas::none(schedule.stages()),
            logits: on_logits.is_some(),
            ..stages::plan(job, schedule, horizon, 1.0)
        },
        stages::Options {
            states: Some(states),
            ..stages::Options::default()
        },
        stages::feeds(job, 0..0)?,
        interrupt,
        |event| {
            match event {
                Event::Evaluated { .. } => found = Some(event),
                Event::Logits { batch, logits } => {
                    if let Some(on_logits) = &mut on_logits {
                        on_logits(batch, logits)?;
                    }
                }
                _ => {}
            }
            Ok(())
        },
    )?;
    Ok(found)
}
