//! The binary as its users meet it.

mod support;

mod help;
mod refusals;
mod runs;
mod signals;
