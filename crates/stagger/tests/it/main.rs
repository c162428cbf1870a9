//! The library as its users meet it.

mod balance;
mod engines;
mod examples;
mod fine_tuning;
mod fresh_crate;
mod logits;
mod ranks;
mod replicas;
mod support;
mod sync_batch_norm;
mod training;
