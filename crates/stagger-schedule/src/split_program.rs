//! A program whose backward passes are taken apart, with both halves one behind the other.

use crate::action::Unit;
use crate::{Action, Program};

/// Runs `WeightGradients` right after each `Backward`: the gradient of the input is on its way down by then.
pub(crate) struct SplitProgram {
    whole: Box<dyn Program>,
    /// The micro-batch whose second half comes next.
    pending: Option<Unit>,
}

impl SplitProgram {
    /// The same actions as `whole`, in which no backward pass is split.
    pub(crate) fn new(whole: Box<dyn Program>) -> Self {
        let pending = None;
        SplitProgram { whole, pending }
    }
}

impl Iterator for SplitProgram {
    type Item = Action;

    fn next(&mut self) -> Option<Action> {
        if let Some(Unit { batch, micro }) = self.pending.take() {
            return Some(Action::WeightGradients { batch, micro });
        }
        let action = self.whole.next()?;
        if let Action::Backward { batch, micro } = action {
            self.pending = Some(Unit { batch, micro });
        }
        Some(action)
    }
}

impl Program for SplitProgram {
    fn snapshot_at(&mut self, version: usize) {
        self.whole.snapshot_at(version);
    }

    fn halt_at(&mut self, version: usize) {
        self.whole.halt_at(version);
    }
}
