//! From the command line and the config file to something that can run.
//!
//! [`low`] is what a user wrote: every value optional, no checks across values, no side effects.
//! [`high`] is what it means: complete, checked, ready to run. In between, [`config_file`] reads
//! the same values from TOML; defaults < file < flags.

mod batches;
pub mod bench;
pub mod compare;
pub mod config_file;
mod corrections;
pub mod defaults;
pub mod engine;
pub mod high;
pub mod low;
mod optimization;
pub mod snapshots;
