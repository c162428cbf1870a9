//! Flags of `stagger predict`.

use std::path::PathBuf;

use clap::Args;

pub const EXAMPLES: &str = "\
Examples:
  stagger predict --run runs/a photo.jpg
  stagger predict --run runs/a holiday/ cat.png --top 1 --csv > found.csv
  stagger predict --run runs/a pictures/ --weights last --logits logits.safetensors

Exit status: 0 when every picture was predicted, 1 when some could not be read (each is named on
the standard error, the others are predicted), 2 when none could, a path is not there, or the
request is wrong; then nothing is printed.";

/// Flags of `stagger predict`.
#[derive(Debug, Args)]
pub struct PredictArgs {
    /// The run folder
    #[arg(long, value_name = "DIR")]
    pub run: PathBuf,
    /// Pictures, and folders of pictures, which are searched to any depth
    #[arg(required = true, value_name = "IMAGES")]
    pub images: Vec<PathBuf>,
    /// How many classes to name for each picture
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub top: usize,
    /// Print a JSON object per line
    #[arg(long)]
    pub json: bool,
    /// Print comma-separated values, a line for each picture and class
    #[arg(long, conflicts_with = "json")]
    pub csv: bool,
    /// Write the scores before softmax to a new safetensors file: a tensor `logits` with a row per predicted picture
    #[arg(long, value_name = "FILE")]
    pub logits: Option<PathBuf>,
    /// Which weights: best, last, average (of a run with --ema), or a safetensors file
    #[arg(long, value_name = "WHICH", default_value = "best")]
    pub weights: String,
    /// What is seen through transparent parts of pictures, if not as in the run
    #[arg(long, value_name = "RRGGBB")]
    pub background: Option<String>,
    /// Pictures per batch, if not as in the run's evaluation
    #[arg(long, value_name = "N")]
    pub eval_batch_size: Option<usize>,
}
