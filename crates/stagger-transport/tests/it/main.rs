//! Links: their contract, and the same under the model checker.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their files themselves"
)]

#[cfg(not(feature = "shuttle"))]
mod contract;
#[cfg(feature = "shuttle")]
mod model;
mod number;
#[cfg(not(feature = "shuttle"))]
mod wire;
