//! The binary as its users meet it.

mod support;

mod bench;
mod compare;
mod control_characters;
mod data;
mod engines;
mod faults;
mod folders;
mod help;
mod kill;
mod layouts;
mod library;
mod limits;
mod longer;
mod methods;
#[cfg(feature = "mpi")]
mod mpi;
mod output;
mod predict;
mod python;
mod real_data;
mod refusals;
mod resume;
mod runs;
mod signals;
mod weights;
mod words;
