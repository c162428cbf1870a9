//! What passes keep: for the later passes of their micro-batch, and for the update of their batch.

use std::collections::VecDeque;

use stagger_engine::Stage;

use super::micro_batch::Unit;
use crate::fault::Fault;

/// Micro-batches between their forward and their backward, oldest first.
pub(super) struct Kept<S: Stage> {
    /// To be recomputed.
    pub inputs: VecDeque<KeptInput<S>>,
    /// To be pulled back.
    pub graphs: VecDeque<KeptGraph<S>>,
    /// Pulled back, with the gradients of weights put off. Their updates wait for them, so there are none at a version.
    pub halves: VecDeque<KeptHalf<S>>,
}

/// What is kept of a forward until its recompute.
pub(super) struct KeptInput<S: Stage> {
    pub unit: Unit,
    pub origin: Origin<S>,
    pub input: S::Activation,
    /// The weights of the forward, where the backward runs at them too.
    pub weights: Option<S::Weights>,
}

/// What is kept of the pass that built the graph until its backward.
pub(super) struct KeptGraph<S: Stage> {
    pub unit: Unit,
    pub origin: Origin<S>,
    pub graph: S::Graph,
    pub output_grad: OutputGrad<S::Activation>,
    /// What the graph was built from, where graphs outlive an update and so are part of snapshots.
    pub recorded: Option<Recorded<S>>,
}

/// What is kept of the first half of a backward until the second.
pub(super) struct KeptHalf<S: Stage> {
    pub unit: Unit,
    /// `None` where the loss is not finite, so that nothing was pulled back.
    pub pending: Option<S::Pending>,
}

/// At which weights a forward ran, for the backward to compare with.
pub(super) struct Origin<S: Stage> {
    /// See [`Worker::forward_version`](super::Worker::forward_version).
    pub version: usize,
    /// Where its weights were, when the gap of this micro-batch is to be measured.
    pub position: Option<S::Position>,
}

/// The gradient of a pass's output.
pub(super) enum OutputGrad<T> {
    /// It comes from the stage above.
    FromAbove,
    /// The stage has it itself: that of the loss, or a synthetic one.
    Known(T),
    /// There is none, as the loss is not finite.
    Void,
}

/// Input and weights of a recorded pass.
pub(super) struct Recorded<S: Stage> {
    pub input: S::Activation,
    pub weights: S::Weights,
}

/// What the passes of a batch leave to its update.
pub(super) struct BatchInWork<S: Stage> {
    /// Whether a loss of the batch is not finite, so that its update is skipped.
    pub is_void: bool,
    /// The running statistics before its first pass, where its update may be skipped.
    pub statistics_before: Option<S::Statistics>,
    /// The largest gap that was measured; not divided by the norm of the weights.
    pub largest_gap: f64,
}

impl<S: Stage> Kept<S> {
    /// The input of a micro-batch, which has to be the oldest.
    pub fn take_input(&mut self, unit: Unit) -> Result<KeptInput<S>, Fault> {
        let oldest = self.inputs.pop_front().filter(|kept| kept.unit == unit);
        oldest.ok_or(Fault::Program {
            what: "a recompute without a kept input",
        })
    }

    /// The graph of a micro-batch, which has to be the oldest.
    pub fn take_graph(&mut self, unit: Unit) -> Result<KeptGraph<S>, Fault> {
        let oldest = self.graphs.pop_front().filter(|kept| kept.unit == unit);
        oldest.ok_or(Fault::Program {
            what: "a backward without a graph",
        })
    }

    /// The pending half of a micro-batch, which has to be the oldest.
    pub fn take_half(&mut self, unit: Unit) -> Result<KeptHalf<S>, Fault> {
        let oldest = self.halves.pop_front().filter(|kept| kept.unit == unit);
        oldest.ok_or(Fault::Program {
            what: "gradients of weights without the backward before",
        })
    }
}

impl<S: Stage> Default for Kept<S> {
    fn default() -> Self {
        Self {
            inputs: VecDeque::new(),
            graphs: VecDeque::new(),
            halves: VecDeque::new(),
        }
    }
}

impl<S: Stage> Default for BatchInWork<S> {
    fn default() -> Self {
        Self {
            is_void: false,
            statistics_before: None,
            largest_gap: 0.0,
        }
    }
}
