//! Tests of the crate from outside.

mod rate;
mod replicas;
mod simulation;
mod staleness;
mod support;
