//! Why methods cannot be compared.

use std::fmt;

use stagger_data::shown_text;

use crate::error::Error;
use crate::refusal::{Spelling, counted};

/// Why the runs of a comparison are refused before the first of them begins. Fields are those of
/// [`ComparedMethods`](super::ComparedMethods) and of its [`TrainingOptions`](crate::TrainingOptions).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ComparisonError {
    /// A list names nothing.
    Empty {
        /// The field.
        field: &'static str,
    },
    /// A method is named twice.
    MethodTwice {
        /// The method.
        method: String,
    },
    /// A seed or a slow-down is named twice.
    Twice {
        /// The field.
        field: &'static str,
        /// What one of its values is called.
        noun: &'static str,
        /// The value.
        found: String,
    },
    /// A slow-down is outside its range.
    Slowdown {
        /// In percent.
        found: f64,
    },
    /// A probability is outside its range.
    Probability {
        /// What it is.
        found: f64,
    },
    /// A probability of slow-downs where there are none.
    ProbabilityAlone,
    /// Stages are slowed down by the options of all runs, and by the comparison.
    SlowedTwice,
    /// What all runs have in common names something of which each run has its own.
    OfEachRun {
        /// The option.
        option: &'static str,
        /// The field that names it for each run.
        field: &'static str,
    },
    /// All runs are to be written into one folder.
    OneFolder,
    /// An option would end a run before the others.
    EndsEarly {
        /// The option.
        option: &'static str,
    },
    /// Engines are named stage by stage, for another number of stages than a method has.
    Engines {
        /// Engines.
        found: usize,
        /// The method.
        method: String,
        /// Its stages.
        stages: usize,
    },
    /// The run of a method is refused.
    Method {
        /// The method.
        method: String,
        /// Why.
        why: Box<Error>,
    },
}

impl fmt::Display for ComparisonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence(Spelling::Fields))
    }
}

impl ComparisonError {
    /// The sentence, with options named in this way.
    #[must_use]
    pub fn sentence(&self, spelling: Spelling) -> String {
        let name = |field: &str| spelling.name(field);
        match self {
            Self::Empty { field } => format!("{} names nothing; name at least one", name(field)),
            Self::MethodTwice { method } => format!(
                "method `{}` is named twice; name it once, and use {} for several runs",
                shown_text(method),
                name("seeds")
            ),
            Self::Twice { field, noun, found } => format!(
                "{} names {found} twice; every {noun} is run once",
                name(field)
            ),
            Self::Slowdown { found } => format!(
                "{} {found} is no slow-down; give percents from 0 to 10000, as in 0,50,100",
                name("slowdowns")
            ),
            Self::Probability { found } => format!(
                "{} {found} is not a probability; give a number above 0 and up to 1",
                name("straggler_probability")
            ),
            Self::ProbabilityAlone => format!(
                "{} does nothing without slow-downs; add {} 0,50,100, or leave it out",
                name("straggler_probability"),
                name("slowdowns")
            ),
            Self::SlowedTwice => format!(
                "{} and {} both say how stages are slowed down; give one of them",
                name("straggler"),
                name("slowdowns")
            ),
            Self::OfEachRun { option, field } => format!(
                "{} is of a single run; name it for each run of the comparison with {}",
                name(option),
                name(field)
            ),
            Self::OneFolder => format!(
                "{} is the folder of a single run; leave it out, and give each run of the comparison one of its own",
                name("output")
            ),
            Self::EndsEarly { option } => format!(
                "{} would end a run before the others, and the runs of a comparison are equally long; leave it out",
                name(option)
            ),
            Self::Engines {
                found,
                method,
                stages,
            } => format!(
                "{} names {}, and method `{}` runs on {}; compare methods on one number of stages, or use {}",
                name("engines"),
                counted(*found, "engine"),
                shown_text(method),
                counted(*stages, "stage"),
                name("engine")
            ),
            Self::Method { method, why } => {
                format!(
                    "method `{}`: {}",
                    shown_text(method),
                    why.sentence(spelling)
                )
            }
        }
    }

    /// Whether the request is wrong, and nothing has been computed.
    pub(crate) fn is_refusal(&self) -> bool {
        match self {
            Self::Method { why, .. } => why.is_refusal(),
            _ => true,
        }
    }
}
