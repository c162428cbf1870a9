//! A program: the actions of one stage, in order.

use serde::{Deserialize, Serialize};

use crate::Action;

/// How long a run is, and which versions it evaluates and takes snapshots of.
///
/// The lists hold versions: version `n` is the state after `n` updates, so version 0 is the
/// initial state and version `batches` the final one. Versions beyond `batches` are ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Horizon {
    /// Number of batches of the whole run, over all epochs.
    pub batches: usize,
    /// Versions to evaluate, sorted.
    pub evaluate_at: Vec<usize>,
    /// Versions to write a snapshot of, sorted.
    pub snapshot_at: Vec<usize>,
    /// Versions at which the pipeline runs empty and fills again, sorted: no batch from there on is forwarded before. A run that
    /// was planned to end there, and then went on, has done that.
    #[serde(default)]
    pub drain_at: Vec<usize>,
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
/// timing (docs/algorithm.md, "Facts" 1).
pub trait Program: Iterator<Item = Action> + Send {
    /// Adds a snapshot of a version that was not listed.
    ///
    /// To be called before the program has passed that version, that is, before it has yielded any
    /// training action behind `Update { version: version - 1 }`.
    fn snapshot_at(&mut self, version: usize);

    /// Ends the program with `Snapshot { version }`, whether it was listed or not, and the evaluation of that version if it
    /// was listed. What is in flight
    /// at that version stays in flight: the program is the beginning of what it would have been.
    ///
    /// To be called before the program has passed that version.
    fn halt_at(&mut self, version: usize);

    /// Skips everything up to `Snapshot { version }`, for a stage that resumes from one. Gives the
    /// number of micro-batches that the skipped actions have forwarded and not pulled back.
    fn skip_to(&mut self, version: usize) -> usize {
        self.snapshot_at(version);
        let mut kept = 0;
        for action in self {
            match action {
                Action::Forward { .. } => kept += 1,
                Action::Backward { .. } => kept -= 1,
                Action::Snapshot { version: found } if found == version => break,
                _ => {}
            }
        }
        kept
    }
}
