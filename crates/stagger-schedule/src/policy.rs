//! What a stage keeps, and how far it may run ahead.

/// Which parameters the forward pass uses (docs/algorithm.md, "A schedule is a program per stage").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ForwardWeights {
    /// The newest ones, at the time of the forward pass.
    Current,
    /// Those predicted for the time of the backward pass, by
    /// [`Prediction`](crate::Prediction).
    Predicted,
    /// Those of one update before the batch's own version: batch `j` runs at `w^max(j−1,0)`.
    Previous,
}

/// Which parameters the backward pass of a batch uses (docs/algorithm.md, "A schedule is a program
/// per stage").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackwardWeights {
    /// The newest ones, at the time of the backward pass.
    Current,
    /// Those of the forward pass of the same micro-batch, stored until then.
    Stashed,
    /// The newest ones, moved back towards those of the forward pass by
    /// [`Discrepancy`](crate::Discrepancy).
    Corrected,
}

/// What a stage keeps of the forward pass of a micro-batch until its backward pass
/// (docs/algorithm.md, "A schedule is a program per stage").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// The input only. `Recompute` builds the graph from it.
    Input,
    /// The graph, built by `Forward`. There is no `Recompute`.
    Graph,
}

/// Where the backward pass takes the gradient of the stage's output from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum GradientSource {
    /// From the stage above; at the last stage, from the loss.
    Above,
    /// From a synthesizer that guesses it from the output. The gradient that the stage above sends
    /// is taken later, by `Learn`.
    Synthetic,
}

/// How one stage `k` of a schedule works, beside its program.
///
/// Queue lengths are in micro-batches and belong to the hop between stages `k` and `k + 1`; at the
/// last stage, which has no such hop, both are 0, and so is `in_flight`. A queue of length 0 is a
/// rendezvous: the sender waits until the receiver takes the micro-batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StagePolicy {
    /// `m_k`: the number of updates between the forward and the backward pass of a batch, in the
    /// steady state; the largest over its micro-batches. With [`ForwardWeights::Previous`], the
    /// updates between the parameters of the passes and those that the gradient is applied to.
    pub staleness: usize,
    /// Activations between this stage and the next, in micro-batches, when both are cut at one
    /// version (docs/algorithm.md, "Facts" 4), in the steady state.
    pub in_flight: usize,
    /// `c_k`: length of the queue of activations from stage `k` up to stage `k + 1`.
    pub forward_queue: usize,
    /// `b_k`: length of the queue of gradients from stage `k + 1` down to stage `k`.
    pub backward_queue: usize,
    /// Which parameters the forward pass uses.
    pub forward_weights: ForwardWeights,
    /// Which parameters the backward pass uses.
    pub backward_weights: BackwardWeights,
    /// What is kept between the passes.
    pub kept: Kept,
    /// Where the backward pass takes its gradient from.
    pub gradient: GradientSource,
    /// How many micro-batches of a batch the gradients of weights are behind those of inputs at the most, where a backward
    /// pass is split in two: `Backward` and, later, `WeightGradients`. `None` where it is whole.
    pub split: Option<usize>,
}

impl StagePolicy {
    /// The policy of a stage whose forward passes run `delay` micro-batches ahead of its backward
    /// passes, below a stage that runs `above` ahead (`None` at the last stage), with an update
    /// every `micro_batches` micro-batches.
    ///
    /// Both passes use the newest parameters; inputs are kept, or the graph where no update comes
    /// in between. Of the `delay − above` micro-batches in flight the queue of activations has room
    /// for half, rounded up, and that of gradients for the others, but for one at least.
    pub fn of_delay(delay: usize, above: Option<usize>, micro_batches: usize) -> Self {
        let in_flight = above.map_or(0, |above| delay.saturating_sub(above));
        let forward_queue = in_flight.div_ceil(2);
        StagePolicy {
            staleness: delay.div_ceil(micro_batches.max(1)),
            in_flight,
            forward_queue,
            backward_queue: (in_flight - forward_queue).max(in_flight.min(1)),
            forward_weights: ForwardWeights::Current,
            backward_weights: BackwardWeights::Current,
            // Without staleness the graph of the forward pass is still the right one.
            kept: if delay == 0 { Kept::Graph } else { Kept::Input },
            gradient: GradientSource::Above,
            split: None,
        }
    }

    /// The same with the graph kept and the parameters of the forward pass stashed for the backward
    /// pass. A stage without staleness needs no stash.
    pub fn stashed(self) -> Self {
        StagePolicy {
            backward_weights: match self.staleness {
                0 => BackwardWeights::Current,
                _ => BackwardWeights::Stashed,
            },
            kept: Kept::Graph,
            ..self
        }
    }

    /// Whether the stage runs its forward pass twice: it keeps the input, and recomputes the graph from it.
    pub fn recomputes(&self) -> bool {
        self.kept == Kept::Input
    }

    /// The policy of a stage that empties between batches, with up to `ahead` micro-batches of a
    /// batch forwarded and not yet pulled back. Below another stage both queues have room for all
    /// of them, so no sender waits.
    pub fn of_flush(ahead: usize, is_last: bool) -> Self {
        let queue = if is_last { 0 } else { ahead };
        StagePolicy {
            forward_queue: queue,
            backward_queue: queue,
            ..StagePolicy::of_delay(0, None, 1)
        }
    }
}
