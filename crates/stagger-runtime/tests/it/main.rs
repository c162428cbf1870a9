//! Whole runs: the ladder of correctness, failures, snapshots, stalls; or, with feature `shuttle`, the model check.

mod support;

#[cfg(not(feature = "shuttle"))]
#[path = "../ladder/ladder.rs"]
mod ladder;

#[cfg(feature = "shuttle")]
mod model;

#[cfg(not(feature = "shuttle"))]
mod bytes;
#[cfg(not(feature = "shuttle"))]
mod failure;
#[cfg(not(feature = "shuttle"))]
mod ladder_on_cpu;
#[cfg(not(feature = "shuttle"))]
mod measurements;
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
#[cfg(not(feature = "shuttle"))]
mod synthetic_gradients;
