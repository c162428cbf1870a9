//! Corrections: what a stage does to weights, gradients and rates beyond its program.
//!
//! All of them are plain numbers and formulas, each in a file of its own with its source. The
//! runtime asks them what to do; nothing here touches a tensor.

mod damping;
mod discrepancy;
mod look_ahead;
mod prediction;
mod rescheduling;
mod shrinking;

pub use damping::Damping;
pub use discrepancy::Discrepancy;
pub use look_ahead::LookAhead;
pub use prediction::Prediction;
pub use rescheduling::Rescheduling;
pub use shrinking::Shrinking;

/// The corrections of a schedule: those of its method and those added to it in the notation.
///
/// | correction | in the notation | what it is for |
/// | --- | --- | --- |
/// | [`Prediction`] | `+ predict` | forward and backward pass see about the same weights; costs a copy of them and needs momentum |
/// | [`Shrinking`] | `+ shrink(0.9)`, `fdg`, `adl` | stale gradients count less, the more boundaries they have crossed |
/// | [`Rescheduling`] | `+ reschedule(2000)`, `pipemare` | stale stages diverge early in training, when rates are high and weights move fast |
/// | [`Discrepancy`] | `pipemare` | as weight stashing, with one running mean instead of many copies |
/// | [`Damping`] | `+ gap-aware` | gradients count less when the weights have moved far, and only then |
/// | [`LookAhead`] | `+ look-ahead` | momentum carries weights to about where a late gradient belongs |
///
/// Accumulation (`+ accumulate(4)`) is no correction but makes fewer updates come in between: see
/// [`Schedule::accumulated_batches`](crate::Schedule::accumulated_batches).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corrections {
    /// Forward passes run at predicted parameters.
    pub prediction: Option<Prediction>,
    /// Gradients shrink at every stage boundary.
    pub shrinking: Option<Shrinking>,
    /// Stale stages start with smaller learning rates.
    pub rescheduling: Option<Rescheduling>,
    /// Backward passes run at parameters moved back towards those of the forward pass.
    pub discrepancy: Option<Discrepancy>,
    /// Gradients are divided by how far the parameters have moved.
    pub damping: Option<Damping>,
    /// Momentum rises with staleness, with Nesterov's look-ahead.
    pub look_ahead: Option<LookAhead>,
}

impl Corrections {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Corrections::default()
    }

    /// These and, where these have none, the others'.
    pub(crate) fn or(self, others: Corrections) -> Corrections {
        Corrections {
            prediction: self.prediction.or(others.prediction),
            shrinking: self.shrinking.or(others.shrinking),
            rescheduling: self.rescheduling.or(others.rescheduling),
            discrepancy: self.discrepancy.or(others.discrepancy),
            damping: self.damping.or(others.damping),
            look_ahead: self.look_ahead.or(others.look_ahead),
        }
    }
}
