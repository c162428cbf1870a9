//! The binary as its users meet it.

mod support;

mod bench;
mod compare;
mod help;
mod methods;
mod real_data;
mod refusals;
mod runs;
mod signals;
