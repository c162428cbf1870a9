//! GPipe: a batch travels in micro-batches, and the pipeline is flushed before every update.
//!
//! Source: Huang, Cheng, Bapna, Firat, Chen, Chen, Lee, Ngiam, Le, Wu, Chen, "GPipe: Efficient
//! Training of Giant Neural Networks using Pipeline Parallelism", NeurIPS 2019, arXiv 1811.06965.
//!
//! Notation: `gpipe(M)`. A stage forwards all M micro-batches of a batch, pulls all of them back, in
//! ascending order, so that sums add up in one order everywhere, and updates once. Locks removed:
//! none between batches; micro-batches of one batch overlap. Cost: one weight copy, the graphs of M
//! micro-batches, no extra compute (the paper recomputes to save memory; here graphs are kept, as in
//! 1F1B, which it is compared with), and a bubble of (K−1)/(M+K−1) of the time.

use std::sync::Arc;

use super::{Built, stages_given};
use crate::notation::Arguments;
use crate::{MAX_MICRO_BATCHES, Method, NotationProblem, Relation};

/// GPipe with M micro-batches.
#[derive(Debug)]
struct Gpipe {
    stages: usize,
    micro_batches: usize,
}

/// A right notation.
pub(super) fn example(_stages: Option<usize>) -> String {
    "gpipe(4)".to_owned()
}

/// `gpipe(M)` fits every number of stages.
pub(super) fn build(arguments: &Arguments, stages: Option<usize>) -> Built {
    let micro_batches = micro_batches("gpipe", arguments)?;
    let stages = stages_given("gpipe", stages)?;
    Ok(Arc::new(Gpipe {
        stages,
        micro_batches,
    }))
}

/// The one argument of a method that only has a number of micro-batches.
pub(super) fn micro_batches(
    method: &'static str,
    arguments: &Arguments,
) -> Result<usize, crate::notation::Fault> {
    let [micro_batches] = arguments.lists(["M"])?;
    let missing = NotationProblem::MissingNumber {
        method,
        what: "a number of micro-batches",
        example: 4,
    };
    let micro_batches = micro_batches.ok_or_else(|| arguments.fault(missing))?;
    Ok(micro_batches.whole("M", 1..=MAX_MICRO_BATCHES)?.value)
}

impl Method for Gpipe {
    fn name(&self) -> &'static str {
        "gpipe"
    }

    fn title(&self) -> &'static str {
        "GPipe"
    }

    fn notation(&self) -> String {
        format!("gpipe({})", self.micro_batches)
    }

    fn stages(&self) -> usize {
        self.stages
    }

    /// All micro-batches go up before the first comes down.
    fn delay(&self, _stage: usize) -> usize {
        self.micro_batches - 1
    }

    fn micro_batches(&self) -> usize {
        self.micro_batches
    }

    fn synchronous_batches(&self) -> usize {
        usize::MAX
    }

    fn accumulation_refused(&self) -> Option<String> {
        Some(
            "`gpipe(M)` sums over the micro-batches of a batch already; take a larger M".to_owned(),
        )
    }

    fn meaning(&self) -> String {
        "A batch goes up in micro-batches, one behind the other, so that stages work side by side; \
         when all are up, their gradients come down one behind the other, and every stage updates \
         once. Every gradient is exact, and stages wait while the pipeline fills and empties."
            .to_owned()
    }

    fn relations(&self) -> Vec<Relation> {
        let m = self.micro_batches;
        vec![
            Relation::new(
                format!("1f1b({m})"),
                "The same numbers, bit for bit, in another order: it holds the graphs of at most \
                 K−k micro-batches at stage k, here it is all M.",
            ),
            Relation::new(
                "bp",
                "The batch travels whole: one stage works at a time. The numbers differ where \
                 batch normalisation sees micro-batches instead of batches.",
            ),
        ]
    }
}
