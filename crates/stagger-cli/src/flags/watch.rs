//! Flags of `stagger watch`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

/// Examples at the end of the help.
pub const EXAMPLES: &str = "\
Examples:
  stagger watch runs/a
  stagger watch runs/a --once
  ssh -t host stagger watch runs/a";

/// Flags of `stagger watch`.
#[derive(Debug, Args)]
pub struct WatchArgs {
    /// The run folder, which is only read
    #[arg(value_name = "RUN")]
    pub run: PathBuf,
    /// Print what is seen now as text, and end; so it is where there is no terminal
    #[arg(long)]
    pub once: bool,
    /// Time between two looks at the folder, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub interval: Duration,
}

/// Reads a time between two looks.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text
        .parse()
        .ok()
        .filter(|seconds| (0.1..=3600.0).contains(seconds));
    let read = seconds.and_then(|seconds: f64| Duration::try_from_secs_f64(seconds).ok());
    read.ok_or_else(|| "a number of seconds from 0.1 to 3600 is expected".to_owned())
}
