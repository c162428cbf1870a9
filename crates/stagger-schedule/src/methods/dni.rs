//! DNI: decoupled neural interfaces with synthetic gradients.
//!
//! Source: Jaderberg, Czarnecki, Osindero, Vinyals, Graves, Silver, Kavukcuoglu, "Decoupled Neural
//! Interfaces using Synthetic Gradients", ICML 2017, arXiv 1608.05343.
//!
//! Notation: `dni`. m_k = 0: a stage forwards a batch, asks a small network at its upper boundary for
//! the gradient of its output, pulls that back and updates at once. The gradient that the stage above
//! sends, itself pulled back from a synthetic one except at the top, comes later and trains the
//! synthesizer (`Learn`). After the update of batch n a stage learns from batch n−1; what is left at
//! the end of the run is learned after the last evaluation and snapshot, so that a longer run begins
//! with the same actions.
//! Locks removed: backward and update by the synthesizers. Forward passes depend on each other as
//! before, but as lower stages wait for nothing, they run a batch ahead. Cost: one weight copy and
//! the graph of one batch, the parameters and passes of the synthesizers, no bubble, and gradients
//! that are guessed, which costs accuracy.

use std::sync::Arc;

use super::{Built, stages_given};
use crate::notation::Arguments;
use crate::{GradientSource, Method, Relation, StagePolicy, delayed_policy};

/// DNI on a number of stages.
#[derive(Debug)]
struct Dni {
    stages: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "dni".to_owned()
}

/// `dni` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    arguments.none("dni")?;
    let stages = stages_given("dni", stages)?;
    Ok(Arc::new(Dni { stages }))
}

impl Method for Dni {
    fn name(&self) -> &'static str {
        "dni"
    }

    fn title(&self) -> &'static str {
        "Decoupled neural interfaces (DNI)"
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, _stage: usize) -> usize {
        0
    }

    /// The stage above may be done with two batches before this one learns from the first.
    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        let policy = delayed_policy(self, stage, micro_batches);
        if stage + 1 == self.stages {
            return policy;
        }
        StagePolicy {
            forward_queue: 1,
            backward_queue: 2,
            gradient: GradientSource::Synthetic,
            ..policy
        }
    }

    fn accumulation_refused(&self) -> Option<String> {
        Some(
            "`dni` updates at once on every guessed gradient, so there is nothing to accumulate"
                .to_owned(),
        )
    }

    fn meaning(&self) -> String {
        "A stage does not wait for the gradient of its output: a synthesizer, a small network at \
         its upper boundary, guesses it from the output, and the stage pulls that back and updates \
         at once. When the gradient from the stage above comes, it trains the synthesizer. Nothing \
         is stale, but all gradients below the last stage are guesses."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        vec![
            Relation::new(
                "bp",
                "Waits for the gradients instead of guessing them: exact, one stage at a time.",
            ),
            Relation::new(
                super::dsp::example(Some(self.stages)),
                "The smallest lock-free DSP: true gradients that are some updates stale.",
            ),
        ]
    }
}
