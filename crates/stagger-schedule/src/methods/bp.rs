//! BP: backpropagation over stages, also called naive model parallelism.
//!
//! Notation: `bp`. All locks are held: one stage works at a time. It is the reference for the
//! numbers of all other methods, and DSP with m = 0 everywhere.

use std::sync::Arc;

use super::{Built, stages_given};
use crate::notation::Arguments;
use crate::{Method, Relation};

/// Backpropagation over a number of stages.
#[derive(Debug)]
struct Bp {
    stages: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "bp".to_owned()
}

/// `bp` fits every number of stages, so that number has to be given.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    arguments.none("bp")?;
    let stages = stages_given("bp", stages)?;
    Ok(Arc::new(Bp { stages }))
}

impl Method for Bp {
    fn name(&self) -> &'static str {
        "bp"
    }

    fn title(&self) -> &'static str {
        "Backpropagation"
    }

    fn stages(&self) -> usize {
        self.stages
    }

    fn delay(&self, _stage: usize) -> usize {
        0
    }

    fn meaning(&self) -> String {
        if self.stages == 1 {
            return "Plain training on one device: forward, backward and update of a batch, then \
                    the next batch."
                .to_owned();
        }
        "A batch goes up through all stages, its gradient comes down again, and only then does the \
         next batch start. Every gradient is exact, and all devices but one wait."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        if self.stages == 1 {
            return vec![Relation::new(
                "dsp(0;0)",
                "The same: with one stage there is nothing to be stale against.",
            )];
        }
        let zeros = vec!["0"; self.stages].join(",");
        vec![
            Relation::new(
                format!("dsp({zeros};{zeros})"),
                "The same run, bit for bit: BP is DSP with m = 0 everywhere.",
            ),
            Relation::new(
                super::dsp::example(Some(self.stages)),
                "The smallest lock-free DSP: all stages work at once, on gradients that are a few \
                 updates stale.",
            ),
        ]
    }
}
