//! DP: data parallelism, several copies of the whole network.
//!
//! Notation: `dp(R)`. R replicas of one stage share every batch, and add their gradients up before every update. All locks are
//! held, as in backpropagation, but the devices work at once; what they pay for it is the sum, which is as large as the network.

use std::sync::Arc;

use super::Built;
use crate::notation::Arguments;
use crate::{MAX_REPLICAS, Method, NotationProblem, Relation};

/// Backpropagation on one stage of which there are several replicas.
#[derive(Debug)]
struct Dp {
    replicas: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "dp(2)".to_owned()
}

/// `dp(R)` has one stage.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let [replicas] = arguments.lists(["R"])?;
    let missing = NotationProblem::MissingNumber {
        method: "dp",
        what: "a number of replicas",
        example: 2,
    };
    let replicas = replicas.ok_or_else(|| arguments.fault(missing))?;
    let replicas = replicas.whole("R", 1..=MAX_REPLICAS)?.value;
    if let Some(found) = stages.filter(|&found| found != 1) {
        return Err(arguments.fault(NotationProblem::OneStage {
            method: "dp",
            found,
        }));
    }
    Ok(Arc::new(Dp { replicas }))
}

impl Method for Dp {
    fn name(&self) -> &'static str {
        "dp"
    }

    fn title(&self) -> &'static str {
        "Data parallelism"
    }

    fn notation(&self) -> String {
        format!("dp({})", self.replicas)
    }

    fn stages(&self) -> usize {
        1
    }

    fn replicas(&self) -> Option<usize> {
        Some(self.replicas)
    }

    fn delay(&self, _stage: usize) -> usize {
        0
    }

    fn meaning(&self) -> String {
        format!(
            "{} devices hold the whole network each. Every one of them takes its share of a batch, and before the update their \
             gradients are added up, so that all make the same one.",
            self.replicas
        )
    }

    fn relations(&self) -> Vec<Relation> {
        vec![Relation::new(
            "bp",
            "The same sum of gradients but for rounding, and for batch normalisation, which sees the share of a replica.",
        )]
    }
}
