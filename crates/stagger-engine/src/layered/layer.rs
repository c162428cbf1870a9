//! Layers: what runs forward, and what it keeps to run backward.

mod batch_norm;
mod concat;
mod conv;
mod dropout;
mod flatten;
mod linear;
mod pool;
mod relu;
mod residual;
mod sequence;
mod subsample_pad;

pub(crate) use sequence::{Building, Sequence, SequencePullback};

use std::sync::Arc;

use crate::error::EngineError;
use crate::precision::Precision;
use crate::replicas::AcrossReplicas;

use super::kernels::Kernels;
use super::parameters::RunningStatistics;
use super::product::Collected;

/// What a pass gives its layers besides their input.
pub(crate) struct Pass<'a, K: Kernels> {
    /// The stage's parameters in the format of the pass, in order.
    pub weights: &'a [K::Tensor],
    /// The running statistics of its batch normalisations, in order.
    pub statistics: &'a [RunningStatistics<K>],
    /// Key of dropout masks.
    pub seed: u64,
    /// Index of the batch; another part of the key.
    pub batch: usize,
    /// Format of activations.
    pub precision: Precision,
    /// Where new tensors go.
    pub device: &'a K::Device,
    /// The other replicas of the stage, where batch normalisation is over all of them.
    pub replicas: Option<&'a Arc<dyn AcrossReplicas>>,
}

/// The statistics of one batch, which a recorded pass leaves for the running ones.
pub(crate) struct BatchStatistics<K: Kernels> {
    /// Which batch normalisation.
    pub index: usize,
    /// `[C]`.
    pub mean: K::Tensor,
    /// Biased, `[C]`.
    pub variance: K::Tensor,
    /// Values per channel.
    pub count: usize,
}

/// One layer, ready to run.
pub(crate) trait Layer<K: Kernels>: Send {
    /// Training forward without a graph.
    fn forward(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError>;

    /// The same bits as [`Layer::forward`], with the way back; batch statistics are pushed onto `seen`.
    fn record(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Recorded<K>, EngineError>;

    /// As [`Layer::record`] when the output is not read.
    fn replay(
        &self,
        input: K::Tensor,
        pass: &Pass<'_, K>,
        seen: &mut Vec<BatchStatistics<K>>,
    ) -> Result<Pullback<K>, EngineError> {
        Ok(self.record(input, pass, seen)?.1)
    }

    /// Inference forward.
    fn evaluate(&self, input: K::Tensor, pass: &Pass<'_, K>) -> Result<K::Tensor, EngineError> {
        self.forward(input, pass)
    }
}

/// A layer's output and the way back.
pub(crate) type Recorded<K> = (<K as Kernels>::Tensor, Pullback<K>);

/// The way back through a layer. From the gradient of the output it adds to the parameters' gradients, and gives the gradient
/// of the input, if that is wanted. It holds its own handles of weights: an update afterwards does not reach them, since
/// kernels never write to a tensor that has another handle.
pub(crate) type Pullback<K> = Box<
    dyn FnOnce(
            <K as Kernels>::Tensor,
            &mut Collected<'_, K>,
            bool,
        ) -> Result<Option<<K as Kernels>::Tensor>, EngineError>
        + Send,
>;

/// The sides of a tensor of rank 4; 1 for those that are not there.
fn sides<K: Kernels>(tensor: &K::Tensor) -> [usize; 4] {
    let shape = K::shape(tensor);
    std::array::from_fn(|side| shape.get(side).copied().unwrap_or(1))
}
