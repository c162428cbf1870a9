//! The binary as its users meet it.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their files themselves"
)]

mod support;
mod sweep;
mod theory;

mod averages;
mod bench;
mod changed_data;
mod compare;
mod control_characters;
mod cuts;
mod data;
mod disks;
mod emulation;
mod engines;
mod faults;
mod folders;
mod for_others;
mod foreign;
mod goals;
mod going_back;
mod help;
mod kill;
mod layouts;
mod library;
mod limits;
mod longer;
mod methods;
mod mixing;
mod model_files;
#[cfg(feature = "mpi")]
mod mpi;
mod output;
mod places;
mod plan;
mod predict;
mod profile;
mod python;
mod read_only;
mod readers;
mod real_data;
mod recipes;
mod refusals;
mod report;
mod restarts;
mod resume;
mod rollbacks;
mod runs;
mod series;
mod signals;
mod simulate;
mod transforms;
mod watch;
mod weights;
mod words;
