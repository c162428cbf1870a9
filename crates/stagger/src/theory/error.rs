//! Why the constants of a run are not measured.

use stagger_engine::EngineError;
use stagger_model::quantity::bytes;
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
    /// Batch normalisation would be over replicas.
    #[error(
        "constants are measured on one copy of each stage, so there is no batch normalisation to synchronise; leave `sync_batch_norm` out"
    )]
    Synchronized,
    /// Stages sleep instead of computing.
    #[error("stages that are emulated compute no gradients; leave `emulate` out")]
    Emulated,
    /// One batch has no variance.
    #[error("`probe_batches` is {found}; a variance needs at least 2")]
    Probes {
        /// Probe batches.
        found: usize,
    },
    /// No version that is to be measured has weights that are stale, so nothing would be known of the bias that they cause.
    #[error(
        "within {updates} of {schedule} no stale weights have moved, so their bias cannot be measured; give `steps` of at least 2, such \
         as 64, and a run of as many batches by `epochs` or `max_batches` where the rate changes",
        updates = counted(*.steps, "update", "updates")
    )]
    NothingStale {
        /// The schedule.
        schedule: String,
        /// Updates that were asked for, or that the run has.
        steps: usize,
    },
    /// The learning rate is planned for fewer batches than updates were asked for.
    #[error(
        "`steps` is {found}, and the learning rate is planned for a run of {batches}; give at most {planned}, or a longer run by `epochs` \
         or `max_batches`",
        batches = counted(*.planned, "batch", "batches")
    )]
    PastTheEnd {
        /// Updates that were asked for.
        found: usize,
        /// Batches of the run.
        planned: usize,
    },
    /// The images of the probe batches, and the weights at which their gradients are taken, are too large.
    #[error(
        "the images of {probes} probe batches and the weights of the measured versions need at least {} of memory, and {limit} leaves {}; \
         raise the limit, or use fewer `probe_batches` or a smaller `batch_size`",
        bytes(*.needed),
        bytes(*.found)
    )]
    Memory {
        /// Probe batches.
        probes: usize,
        /// Bytes that they need.
        needed: u64,
        /// Bytes that are left.
        found: u64,
        /// What limits them.
        limit: &'static str,
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
    /// Weights that are stale have not moved since, in any measured version.
    #[error(
        "in {updates} of {schedule} the weights of the stages that use stale ones have not moved, so that nothing is seen of the bias \
         which that causes; give more `steps`, or start from other weights",
        updates = counted(*.steps, "update", "updates")
    )]
    StaleStill {
        /// The schedule.
        schedule: String,
        /// Updates along which it was measured.
        steps: usize,
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
        for option in [
            "replicas",
            "sync_batch_norm",
            "emulate",
            "probe_batches",
            "batch_size",
            "steps",
            "epochs",
            "max_batches",
            "lr",
        ] {
            let field = Spelling::Fields.name(option);
            sentence = sentence.replace(&field, &spelling.name(option));
        }
        sentence
    }

    /// Whether the request is wrong.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(
            self,
            Self::Gradient { .. }
                | Self::Images { .. }
                | Self::NotFinite { .. }
                | Self::StaleStill { .. }
                | Self::Still
        )
    }
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
