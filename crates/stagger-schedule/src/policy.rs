//! What a stage keeps, and how far it may run ahead.

/// Which parameters the backward pass of a batch uses (DESIGN §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BackwardWeights {
    /// The newest ones, at the time of the backward pass.
    Current,
    /// Those of the forward pass of the same batch, stored until then.
    Stashed,
    /// Those predicted for the time of the backward pass when the forward pass ran.
    Predicted,
}

/// What a stage keeps of the forward pass of a batch until its backward pass (DESIGN §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kept {
    /// The input only. `Recompute` builds the graph from it.
    Input,
    /// The graph, built by `Forward`. There is no `Recompute`.
    Graph,
}

/// How one stage `k` of a schedule works, beside its program.
///
/// Queue lengths are in batches and belong to the hop between stages `k` and `k + 1`; at the last
/// stage, which has no such hop, both are 0. A queue of length 0 is a rendezvous: the sender waits
/// until the receiver takes the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StagePolicy {
    /// `m_k`: the number of updates between the forward and the backward pass of a batch.
    pub staleness: usize,
    /// `c_k`: length of the queue of activations from stage `k` up to stage `k + 1`.
    pub forward_queue: usize,
    /// `b_k`: length of the queue of gradients from stage `k + 1` down to stage `k`.
    pub backward_queue: usize,
    /// Which parameters the backward pass uses.
    pub backward_weights: BackwardWeights,
    /// What is kept between the passes.
    pub kept: Kept,
}
