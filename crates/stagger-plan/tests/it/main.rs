//! Tests of the crate from outside.

mod rate;
mod simulation;
mod staleness;
mod support;
