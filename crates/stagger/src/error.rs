//! What can go wrong with a run.

use std::error::Error as StdError;
use std::io;
use std::path::PathBuf;

use stagger_data::{DataError, shown_path, shown_sentence, shown_text};
use stagger_engine::{EngineError, LearningRateError, OptimizerError};
use stagger_model::{CutError, ModelError};
use stagger_plan::{RateError, SimulationError, StalenessError};
use stagger_report::ReportError;
use stagger_runtime::RunError;
use stagger_schedule::NotationError;

use crate::config_file::ConfigError;
use crate::durations::DurationsError;
use crate::ranks::RanksError;
use crate::refusal::{Refusal, Spelling};
use crate::resume_refusal::ResumeRefusal;
use crate::series::ComparisonError;
use crate::theory::TheoryError;
use crate::weights_copy::WeightsCopyError;

/// An error of another crate, as the cause of one of this crate.
pub type Source = Box<dyn StdError + Send + Sync>;

/// Why a run did not start, or did not come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An option is wrong, or does not suit another one.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A run cannot be resumed.
    #[error(transparent)]
    Resume(#[from] ResumeRefusal),
    /// The processes of a run cannot run together.
    #[error(transparent)]
    Ranks(#[from] RanksError),
    /// A config file cannot be read or written.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The schedule's notation is wrong.
    #[error(transparent)]
    Notation(#[from] NotationError),
    /// The data set cannot be opened.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model does not exist, or does not fit the images.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model cannot be cut into these stages.
    #[error(transparent)]
    Cut(#[from] CutError),
    /// There are no durations to go by.
    #[error(transparent)]
    Durations(Box<DurationsError>),
    /// A run cannot be simulated.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
    /// No least staleness was found.
    #[error(transparent)]
    Staleness(Box<StalenessError>),
    /// A schedule has no exact rate.
    #[error(transparent)]
    Rate(#[from] RateError),
    /// A setting of the optimizer is outside its range.
    #[error(transparent)]
    Optimizer(#[from] OptimizerError),
    /// A setting of the learning rate is outside its range.
    #[error(transparent)]
    LearningRate(#[from] LearningRateError),
    /// A stage cannot be built.
    #[error("stage {stage}: {source}")]
    Stage {
        /// The stage.
        stage: usize,
        /// Why not.
        source: Box<EngineError>,
    },
    /// The file on a run's data cannot be read.
    #[error(
        "{}: {}; restore the file, or remove it to take classes and normalisation from the data at hand",
        shown_path(path),
        shown_text(what)
    )]
    DataFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A run does not say what its network was trained on.
    #[error(
        "{} has no {file}, so its classes, image size and normalisation are not known: it was made by an older version; \
         train again, or evaluate it as it did itself, with `stagger eval`",
        shown_path(run)
    )]
    NoDataFile {
        /// The run folder.
        run: PathBuf,
        /// The missing file.
        file: &'static str,
    },
    /// A network gives no finite scores for a picture.
    #[error(
        "{}: its scores are not finite; the weights, or their training, are damaged",
        shown_path(path)
    )]
    NoScores {
        /// The picture.
        path: PathBuf,
    },
    /// A run has no weights of its best version.
    #[error(
        "{} has no {file}: the run ended before its first evaluation",
        shown_path(run)
    )]
    NoBestWeights {
        /// The run folder.
        run: PathBuf,
        /// The missing file.
        file: &'static str,
    },
    /// The weights of a run's best version are not in its folder any more.
    #[error(
        "{} has no {file} any more: the run has been evaluated, and the file is gone; {}",
        shown_path(run),
        anew(*snapshot)
    )]
    BestWeightsGone {
        /// The run folder.
        run: PathBuf,
        /// The missing file.
        file: &'static str,
        /// That version, where there is a snapshot of it, from which a resumed run writes the file anew.
        snapshot: Option<usize>,
    },
    /// A run has no running mean of its weights.
    #[error(
        "{} has no {file}: the run keeps no running mean of its weights (ema), or has no snapshot yet",
        shown_path(run)
    )]
    NoAverageWeights {
        /// The run folder.
        run: PathBuf,
        /// The missing file.
        file: &'static str,
    },
    /// An evaluation ended without a result.
    #[error("not evaluated")]
    NotEvaluated,
    /// A run has come to its end, and its weights cannot be tested then.
    #[error("training is complete, but its test at the end failed: {source}{}", test_again(.run.as_ref()))]
    NotTested {
        /// The run folder.
        run: Option<PathBuf>,
        /// Why.
        source: Box<Error>,
    },
    /// Nothing has been trained, so no weights are left.
    #[error("no weights: nothing has been trained")]
    NoWeights,
    /// Weights do not fit the model.
    #[error("the weights {} do not fit{}: {}", shown_path(path), .model.as_ref().map_or(String::new(), |model| format!(" {model}")), shown_sentence(what))]
    Weights {
        /// The weights file.
        path: PathBuf,
        /// The model, where it has not all of the tensors.
        model: Option<String>,
        /// What does not fit.
        what: String,
    },
    /// The outputs of weights are of other classes than those that are evaluated.
    #[error("the weights {} are of other classes: {difference}", shown_path(path))]
    OtherClasses {
        /// The weights file.
        path: PathBuf,
        /// How the classes differ.
        difference: String,
    },
    /// Weights cannot be copied.
    #[error(transparent)]
    WeightsCopy(#[from] WeightsCopyError),
    /// A file or folder cannot be looked at or removed.
    #[error("cannot {doing} {}: {source}", shown_path(path))]
    Io {
        /// What was tried, as a verb: `read`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A result cannot be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The result of work that is done cannot be written.
    #[error(transparent)]
    NotWritten(ReportError),
    /// A stage failed, or another part of the run.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Timing backpropagation before the run failed.
    #[error("the calibration with bp failed: {0}")]
    Calibration(#[source] RunError),
    /// The blocks of a model cannot be measured.
    #[error("the blocks of {model} cannot be measured: {source}")]
    Measuring {
        /// The model.
        model: String,
        /// Why not.
        source: Box<EngineError>,
    },
    /// A hop between two stages cannot be measured.
    #[error("the hop above stage {stage} cannot be measured: {source}")]
    Hop {
        /// The stage below.
        stage: usize,
        /// Why not.
        source: Source,
    },
    /// The constants of the theory are not measured.
    #[error(transparent)]
    Theory(#[from] TheoryError),
    /// Methods cannot be compared.
    #[error(transparent)]
    Comparison(Box<ComparisonError>),
    /// What went wrong after training had begun. What has been written stays.
    #[error(transparent)]
    Training(Box<Error>),
}

fn anew(snapshot: Option<usize>) -> String {
    match snapshot {
        Some(version) => {
            format!("resume the run, which writes it anew from the snapshot of version {version}")
        }
        None => "take it from a copy of the run, as there is no snapshot of its version to write it anew from"
            .to_owned(),
    }
}

fn test_again(run: Option<&PathBuf>) -> String {
    run.map_or(String::new(), |run| {
        let run = shown_path(run);
        format!("; once that is mended: stagger eval --run {run} --split test")
    })
}

impl From<StalenessError> for Error {
    fn from(error: StalenessError) -> Self {
        Self::Staleness(Box::new(error))
    }
}

impl From<DurationsError> for Error {
    fn from(error: DurationsError) -> Self {
        Self::Durations(Box::new(error))
    }
}

impl From<ComparisonError> for Error {
    fn from(error: ComparisonError) -> Self {
        Self::Comparison(Box::new(error))
    }
}

impl Error {
    /// The same, after training has begun.
    pub(crate) fn in_training(self) -> Self {
        match self {
            Self::Training(_) => self,
            other => Self::Training(Box::new(other)),
        }
    }

    /// Whether the request is wrong, and nothing has been computed.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Training(_)
            | Self::Run(_)
            | Self::NotWritten(_)
            | Self::Calibration(_)
            | Self::Hop { .. } => false,
            Self::Theory(error) => error.is_refusal(),
            Self::Comparison(error) => error.is_refusal(),
            _ => true,
        }
    }

    /// What it says and why, in one sentence: causes that it does not quote follow behind colons.
    pub(crate) fn whole(&self) -> String {
        let mut sentence = self.to_string();
        let mut cause = StdError::source(self);
        while let Some(error) = cause {
            let text = error.to_string();
            if !sentence.contains(&text) {
                sentence.push_str(": ");
                sentence.push_str(&text);
            }
            cause = error.source();
        }
        shown_sentence(&sentence)
    }

    /// What it says, with options named in this way. On one line, but for a table under it, which is indented: what users, files
    /// or other hosts have said in it drives no terminal.
    pub fn sentence(&self, spelling: Spelling) -> String {
        shown_sentence(&self.unescaped(spelling))
    }

    fn unescaped(&self, spelling: Spelling) -> String {
        match self {
            Self::Refused(refusal) => refusal.sentence(spelling),
            Self::Resume(refusal) => refusal.sentence(spelling),
            Self::Theory(error) => error.sentence(spelling),
            Self::Comparison(error) => error.sentence(spelling),
            Self::NoBestWeights { .. } if spelling == Spelling::Flags => {
                format!("{self}; use --weights last")
            }
            Self::BestWeightsGone { .. } if spelling == Spelling::Flags => {
                format!("{self}, or use --weights last")
            }
            Self::Training(error) => error.unescaped(spelling),
            other => other.to_string(),
        }
    }
}
