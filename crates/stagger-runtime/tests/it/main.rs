//! Whole runs: the ladder of correctness, failures, snapshots, stalls; or, with feature `shuttle`, the model check.

mod support;

#[cfg(feature = "shuttle")]
mod model;

#[cfg(not(feature = "shuttle"))]
mod bytes;
#[cfg(not(feature = "shuttle"))]
mod clipping;
#[cfg(not(feature = "shuttle"))]
mod failure;
#[cfg(not(feature = "shuttle"))]
mod measurements;
#[cfg(not(feature = "shuttle"))]
mod non_finite;
#[cfg(not(feature = "shuttle"))]
mod oracle;
#[cfg(not(feature = "shuttle"))]
mod ranks;
#[cfg(not(feature = "shuttle"))]
mod replicas;
#[cfg(not(feature = "shuttle"))]
mod resnet56;
#[cfg(not(feature = "shuttle"))]
mod resume;
#[cfg(not(feature = "shuttle"))]
mod stall;
#[cfg(not(feature = "shuttle"))]
mod sync_batch_norm;
#[cfg(not(feature = "shuttle"))]
mod synthetic_gradients;
#[cfg(not(feature = "shuttle"))]
mod theory;

#[cfg(not(feature = "shuttle"))]
stagger_conformance::ladder_of_correctness!(stagger_cpu::Cpu);
