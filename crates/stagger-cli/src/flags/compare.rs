//! Flags of `stagger compare` as written.

use std::path::PathBuf;

use clap::Args;

use super::amounts::trimmed;
use super::train::TrainFlags;

pub const EXAMPLES: &str = "\
Examples:
  stagger compare bp dsp
  stagger compare bp dsp 'dsp(1,1,0;4,2,0)' --stages 3 --seeds 1,2,3 --output runs/compared
  stagger compare --preset paper --config configs/cifar10-resnet20.toml --target 80
  stagger compare --preset stragglers bp dsp

Every run is a process of its own, from the same initial weights and with the same data order as
the others of its seed. Seeds alternate the order of the methods, so that a machine that slows down
hits all alike. Given an --output that holds the same comparison, the command continues where it
stopped.

Locks in DDG and FR as published come from a barrier per iteration; in this runtime there is none,
so the baselines run at their best.";

pub const OUTPUT: &str = "Folder of the comparison; must not exist, or hold the same one [default: \
                                 runs/TIME-compare-MODEL-DATASET]";

pub const CALIBRATION: &str = "Batches of backpropagation on the same stages, timed before each run for comparison [default: 0]";

pub const TARGET: &str = "Show the time to this test accuracy";

/// Flags of `stagger compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// The methods, such as bp dsp 'dsp(1,1,0;4,2,0)'; `stagger explain` shows what each does
    #[arg(value_name = "METHOD")]
    pub methods: Vec<String>,
    /// paper: the methods that the paper of DSP compares (bp, ddg, fr, dsp), for equally many epochs. stragglers:
    /// throughput when stages are slowed down at random, in the manner of the paper's straggler experiment, whose exact
    /// protocol is not available to us (7 methods, slow-downs of 0 to 150 %, 60 batches, no evaluation). Methods and
    /// flags given beside a preset take the place of its own
    #[arg(long, value_name = "NAME", help_heading = "Comparison")]
    pub preset: Option<String>,
    /// Seeds; every method runs with each [default: 1]
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = trimmed::<u64>,
        help_heading = "Comparison"
    )]
    pub seeds: Option<Vec<u64>>,
    /// Slow-downs in percent, such as 0,20,50,100,150; every method runs at each, with every stage slowed down at random
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        value_parser = trimmed::<f64>,
        help_heading = "Comparison"
    )]
    pub slowdowns: Option<Vec<f64>>,
    /// How often a stage is slowed down: a probability [default: 0.3333]
    #[arg(long, value_name = "SHARE", help_heading = "Comparison")]
    pub straggler_probability: Option<f64>,
    /// Read values from a TOML file for `stagger train`, which these flags override; its schedule, seed and output are
    /// left aside
    #[arg(short, long, value_name = "FILE", help_heading = "Output")]
    pub config: Option<PathBuf>,
    /// What all runs have in common.
    #[command(flatten)]
    pub flags: TrainFlags,
}
