//! Flags of `stagger sweep` as written.

use std::path::PathBuf;

use clap::{ArgAction, Args};

use super::train::TrainFlags;

pub const EXAMPLES: &str = "\
Examples:
  stagger sweep --over lr=0.03,0.1,0.3
  stagger sweep --over 'schedule=bp,dsp,dsp(1,0;4,0)' --over seed=1,2,3 --output runs/swept
  stagger sweep --over 'lr=log(1e-3,1)' --over 'wd=log(1e-5,1e-2)' --draw 20 --config my.toml

Every run is a process of its own, one after the other. Given an --output that holds the same
sweep, the command continues where it stopped. `stagger report RUN…` draws the curves of runs.";

pub const OUTPUT: &str =
    "Folder of the sweep; must not exist, or hold the same one [default: runs/TIME-sweep]";

/// Flags of `stagger sweep`.
#[derive(Debug, Args)]
pub struct SweepArgs {
    /// An option of stagger train with its values, separated by commas: lr=0.03,0.1; a value with commas in quotes: balance="2,3". Of
    /// several options every combination is run.
    /// With --draw also a range: uniform(0.1,0.9), or log(1e-4,1), whose logarithms are drawn uniformly
    #[arg(long, value_name = "OPTION=VALUES", required = true, action = ArgAction::Append, help_heading = "Sweep")]
    pub over: Vec<String>,
    /// Run so many combinations, drawn at random, instead of all
    #[arg(long, value_name = "N", help_heading = "Sweep")]
    pub draw: Option<usize>,
    /// Seed of the draws [default: 1]
    #[arg(long, value_name = "SEED", help_heading = "Sweep")]
    pub draw_seed: Option<u64>,
    /// Read values from a TOML file for `stagger train`, which these flags override; its output is left aside
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub config: Option<PathBuf>,
    /// What all runs have in common.
    #[command(flatten)]
    pub flags: TrainFlags,
}
