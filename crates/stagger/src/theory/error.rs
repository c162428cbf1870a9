//! Why the constants of a run are not measured.

use stagger_engine::EngineError;
use stagger_runtime::FeedError;

use crate::refusal::Spelling;

/// Why the constants of docs/theory.md are not measured, or why there is nothing to see of them.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TheoryError {
    /// The theorems are not about the method.
    #[error(
        "docs/theory.md proves nothing of {schedule}, as {why}; use bp, dsp, fr, pipedream, ddg or fdg"
    )]
    Method {
        /// The schedule.
        schedule: String,
        /// What of it they leave out, as a clause.
        why: &'static str,
    },
    /// The theorems are not about the optimizer.
    #[error("docs/theory.md proves nothing of optimizer {found}; use sgd or momentum")]
    Optimizer {
        /// Its name.
        found: &'static str,
    },
    /// Stages have replicas.
    #[error(
        "constants are measured on one copy of each stage, and there are {found} replicas; leave `replicas` out"
    )]
    Replicas {
        /// How many.
        found: String,
    },
    /// Stages sleep instead of computing.
    #[error("stages that are emulated compute no gradients; leave `emulate` out")]
    Emulated,
    /// One batch has no variance.
    #[error("`probe_batches` is {found}; a variance needs at least 2")]
    Probes {
        /// Probe batches.
        found: usize,
    },
    /// The gradient of the probe batches cannot be computed.
    #[error("the gradient at version {version} cannot be computed: {source}")]
    Gradient {
        /// The version.
        version: usize,
        /// Why not.
        source: Box<EngineError>,
    },
    /// The images of the probe batches cannot be read.
    #[error("the probe batches cannot be read: {source}")]
    Images {
        /// Why not.
        source: FeedError,
    },
    /// The run is going astray.
    #[error("{what} at version {version} is not finite: the run diverges; use a smaller `lr`")]
    NotFinite {
        /// What is not.
        what: &'static str,
        /// The version.
        version: usize,
    },
    /// The gradient is the same at all versions.
    #[error(
        "weights, or gradients, did not change in any measured update, so there is nothing to learn of the loss's smoothness"
    )]
    Still,
}

impl TheoryError {
    /// The sentence, with options named in this way.
    #[must_use]
    pub fn sentence(&self, spelling: Spelling) -> String {
        let mut sentence = self.to_string();
        for option in ["replicas", "emulate", "probe_batches", "lr"] {
            let field = Spelling::Fields.name(option);
            sentence = sentence.replace(&field, &spelling.name(option));
        }
        sentence
    }

    /// Whether the request is wrong, and nothing has been computed.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Gradient { .. } | Self::Images { .. } | Self::NotFinite { .. } | Self::Still
        )
    }
}
