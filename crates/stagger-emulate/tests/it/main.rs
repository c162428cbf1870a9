//! Tests of the crate from outside.

mod against_the_simulator;
