//! What a method has to say.

use std::fmt::Debug;

use crate::{Horizon, Program, StagePolicy};

/// A way to train a network that is cut into stages, on a given number of stages.
///
/// A method is pure data: it describes what each stage does, and leaves the doing to others. To
/// add one, write a file in `methods/` and give it a line in the registry there.
pub trait Method: Debug + Send + Sync {
    /// The name in the notation, in lower case: `dsp`.
    fn name(&self) -> &'static str;

    /// The name in words: `Diversely Stale Parameters`.
    fn title(&self) -> &'static str;

    /// The canonical notation, which parses back to an equal method on as many stages.
    fn notation(&self) -> String;

    /// The number of stages, K ≥ 1.
    fn stages(&self) -> usize;

    /// Queues, staleness and memory of a stage.
    ///
    /// # Panics
    ///
    /// If `stage` is not below [`stages`](Method::stages).
    fn policy(&self, stage: usize) -> StagePolicy;

    /// What a stage does, action by action.
    ///
    /// # Panics
    ///
    /// If `stage` is not below [`stages`](Method::stages).
    fn program(&self, stage: usize, horizon: &Horizon) -> Box<dyn Program>;

    /// One paragraph that says what the method does and why, for [`explain`](crate::explain).
    fn meaning(&self) -> String;

    /// How the method relates to its neighbours, for [`explain`](crate::explain).
    fn relations(&self) -> Vec<Relation>;
}

/// A neighbouring schedule and what sets it apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Notation or name of the neighbour.
    pub other: String,
    /// One or two sentences.
    pub difference: String,
}
