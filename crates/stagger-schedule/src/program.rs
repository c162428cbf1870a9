//! A program: the actions of one stage, in order.

use crate::Action;

/// How long a run is, and at which versions it pauses to look at itself.
///
/// The lists hold versions: version `n` is the state after `n` updates, so version 0 is the
/// initial state and version `batches` the final one. Versions beyond `batches` are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Horizon {
    /// Number of batches of the whole run, over all epochs.
    pub batches: usize,
    /// Versions to evaluate, sorted.
    pub evaluate_at: Vec<usize>,
    /// Versions to write a snapshot of, sorted.
    pub snapshot_at: Vec<usize>,
}

impl Horizon {
    /// A run of `batches` batches without evaluation or snapshot.
    pub fn of(batches: usize) -> Self {
        Horizon {
            batches,
            ..Horizon::default()
        }
    }
}

/// The actions of one stage, lazily and in the order in which they are executed.
///
/// Batches are forwarded in order, and pulled back in order. The programs of all stages of a
/// schedule fit together: executed over FIFO queues of the lengths in
/// [`StagePolicy`](crate::StagePolicy) they never deadlock and give one result, whatever the
/// timing (DESIGN §2, fact 1).
pub trait Program: Iterator<Item = Action> + Send {
    /// Shortens the run to `batches` batches.
    ///
    /// No batch from `batches` on is forwarded, what is in flight drains, and the program ends
    /// with `Snapshot { version: batches }` whether it was listed or not. Listed evaluations and
    /// snapshots up to version `batches` stay; later ones are dropped. A run that is already
    /// shorter keeps its length.
    ///
    /// To be called before the program has yielded a `Forward` of a batch from `batches` on,
    /// except that the very last action may be `Forward { batch: batches }`: a stage learns from
    /// the stage below that there is no such batch just when it wants to take it. The caller then
    /// drops that action.
    fn end_at(&mut self, batches: usize);
}
