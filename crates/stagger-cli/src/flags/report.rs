//! Flags of `stagger report`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Examples at the end of the help.
pub const EXAMPLES: &str = "\
Examples:
  stagger report runs/a
  stagger report runs/a runs/b --output both.html
  stagger report runs/a --trace trace.json --trace-batches 100-140";

/// Flags of `stagger report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Run folders
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// The page to write, which must not exist; it contains its charts and loads nothing
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    pub output: PathBuf,
    /// Evaluate each run on its data, by its best weights or else the last, and show so many test images, 100 at most, of which it is most
    /// certain and wrong
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub mistakes: usize,
    /// Draw a timeline of what each stage did when, from the file that `train --trace` has written; with several runs once for each, in their
    /// order [default: trace.json in the folder of a run, where it is there]
    #[arg(long, value_name = "FILE", action = ArgAction::Append)]
    pub trace: Vec<PathBuf>,
    /// Draw of traces only the time from the first to the last action of these batches, such as 100-140 [default: all, or the last ones that a page can hold]
    #[arg(long, value_name = "FIRST-LAST", value_parser = batches)]
    pub trace_batches: Option<RangeInclusive<u32>>,
}

/// Reads a range of batches.
fn batches(text: &str) -> Result<RangeInclusive<u32>, String> {
    let ends = text.split_once('-');
    let read = ends.and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    match read {
        Some((first, last)) if first <= last => Ok(first..=last),
        _ => Err("the first and the last batch are expected, such as 100-140".to_owned()),
    }
}
