//! The trait that every method implements.

use std::fmt::Debug;

use crate::stale_program::{Rhythm, StaleProgram};
use crate::{Corrections, Horizon, Program, StagePolicy};

/// A way to train a network that is cut into stages, on a given number of stages.
///
/// A method is pure data: it describes what each stage does, and the runtime does it. To add one,
/// write a file in `methods/` and add a line to the registry there. Most methods need a name, a
/// [`delay`](Method::delay), a text for `explain`, and the fields of the
/// [`policy`](Method::policy) that differ from the default; the program follows.
///
/// Where a function takes `micro_batches`, that is the number of them per update: the method's own
/// times what `accumulate` in the notation asks for.
pub trait Method: Debug + Send + Sync {
    /// The name in the notation, in lower case: `dsp`.
    fn name(&self) -> &'static str;

    /// The name in words: `Diversely Stale Parameters`.
    fn title(&self) -> &'static str;

    /// The canonical notation, which parses back to an equal method on as many stages. The name,
    /// unless the method says otherwise.
    fn notation(&self) -> String {
        self.name().to_owned()
    }

    /// The number of stages, K ≥ 1.
    fn stages(&self) -> usize;

    /// Copies of each stage that share every batch, R ≥ 1, where the notation says how many.
    fn replicas(&self) -> Option<usize> {
        None
    }

    /// By how many micro-batches the forward passes of a stage are ahead of its backward passes.
    /// Must not increase with the stage; 0 at the last one, except in a method that flushes.
    fn delay(&self, stage: usize) -> usize;

    /// Micro-batches per update, M ≥ 1.
    fn micro_batches(&self) -> usize {
        1
    }

    /// In this many first batches no stage runs ahead of the batch that it pulls back. `usize::MAX`
    /// for a method that flushes the pipeline after every batch. Anything but 0 and `usize::MAX` needs
    /// the [`program`](Method::program) that is there unless the method brings its own.
    fn synchronous_batches(&self) -> usize {
        0
    }

    /// Queues, staleness and memory of a stage.
    ///
    /// # Panics
    ///
    /// If `stage` is not below [`stages`](Method::stages).
    fn policy(&self, stage: usize, micro_batches: usize) -> StagePolicy {
        delayed_policy(self, stage, micro_batches)
    }

    /// What a stage does beyond its program.
    fn corrections(&self) -> Corrections {
        Corrections::default()
    }

    /// Why the notation must not add `accumulate` to this method, in one sentence; `None` if it
    /// may.
    fn accumulation_refused(&self) -> Option<String> {
        None
    }

    /// What a stage does, action by action.
    ///
    /// # Panics
    ///
    /// If `stage` is not below [`stages`](Method::stages).
    fn program(&self, stage: usize, micro_batches: usize, horizon: &Horizon) -> Box<dyn Program> {
        let synchronous = self.synchronous_batches();
        delayed_program(self, stage, micro_batches, synchronous, horizon)
    }

    /// One paragraph that says what the method does and why, for [`explain`](crate::explain).
    fn meaning(&self) -> String;

    /// How the method relates to its neighbours, for [`explain`](crate::explain).
    fn relations(&self) -> Vec<Relation> {
        Vec::new()
    }
}

/// The policy that follows from the delays of a method, for methods that change a part of it: see
/// [`StagePolicy::of_delay`] and [`StagePolicy::of_flush`].
///
/// # Panics
///
/// If `stage` is not below [`stages`](Method::stages).
pub fn delayed_policy<M: Method + ?Sized>(
    method: &M,
    stage: usize,
    micro_batches: usize,
) -> StagePolicy {
    let stages = method.stages();
    assert!(stage < stages, "stage {stage} of {stages}");
    let delay = method.delay(stage);
    let is_last = stage + 1 == stages;
    if method.synchronous_batches() == usize::MAX {
        return StagePolicy::of_flush(micro_batches.min(delay.saturating_add(1)), is_last);
    }
    let above = (!is_last).then(|| method.delay(stage + 1));
    StagePolicy::of_delay(delay, above, micro_batches)
}

/// The program that follows from the delays of a method.
pub(crate) fn delayed_program<M: Method + ?Sized>(
    method: &M,
    stage: usize,
    micro_batches: usize,
    synchronous_batches: usize,
    horizon: &Horizon,
) -> Box<dyn Program> {
    let rhythm = Rhythm {
        delay: method.delay(stage),
        micro_batches,
        synchronous_batches,
    };
    let policy = method.policy(stage, micro_batches);
    let program = StaleProgram::new(rhythm, &policy, horizon);
    Box::new(program)
}

/// A neighbouring schedule and what sets it apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Notation or name of the neighbour.
    pub other: String,
    /// One or two sentences.
    pub difference: String,
}

impl Relation {
    /// A neighbour and its difference.
    pub fn new(other: impl Into<String>, difference: impl Into<String>) -> Self {
        Relation {
            other: other.into(),
            difference: difference.into(),
        }
    }
}
