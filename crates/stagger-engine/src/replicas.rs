//! What replicas of a stage tell each other within a pass.

use crate::error::EngineError;

/// The replicas of a stage, as one of them sees them: what batch normalisation over a whole batch needs of the others, which
/// have the other rows of it.
///
/// All replicas run the same passes in the same order, so they make the same calls in the same order.
pub trait AcrossReplicas: Send + Sync {
    /// The values of all replicas, in their order, of which `own` are those of this one. All give as many. Waits until the others
    /// have called it as often.
    ///
    /// # Errors
    /// [`EngineError::Replicas`] when a replica is gone, or has made another call.
    fn gather(&self, own: Vec<f32>) -> Result<Vec<Vec<f32>>, EngineError>;
}
