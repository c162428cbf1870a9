//! Whole runs: the ladder of correctness, failures, snapshots, stalls.

#[cfg(not(feature = "shuttle"))]
mod failure;
#[cfg(not(feature = "shuttle"))]
mod ladder;
#[cfg(not(feature = "shuttle"))]
mod measurements;
#[cfg(feature = "shuttle")]
mod model;
#[cfg(not(feature = "shuttle"))]
mod non_finite;
#[cfg(not(feature = "shuttle"))]
mod oracle;
#[cfg(not(feature = "shuttle"))]
mod resnet56;
#[cfg(not(feature = "shuttle"))]
mod resume;
#[cfg(not(feature = "shuttle"))]
mod stall;
mod support;
#[cfg(not(feature = "shuttle"))]
mod synthetic_gradients;
