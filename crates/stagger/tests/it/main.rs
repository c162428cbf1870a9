//! The library as its users meet it.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their files themselves"
)]

mod balance;
mod clipping;
mod emulation;
mod engines;
mod examples;
mod fine_tuning;
mod fresh_crate;
mod gradients;
mod logits;
mod profiling;
mod ranks;
mod refusals;
mod replicas;
mod support;
mod sync_batch_norm;
mod training;
