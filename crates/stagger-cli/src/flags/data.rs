//! Flags of `stagger data`.

use std::path::PathBuf;

use clap::{ArgAction, Args, Subcommand};
use stagger::{Augment, TrainingOptions};

use super::amounts::trimmed;
use super::train::augment;

pub const EXAMPLES: &str = "\
Examples:
  stagger data inspect pictures
  stagger data inspect pictures --val-split 0.1 --contact-sheet sheet.html
  stagger data inspect pictures --json";

/// Flags of `stagger data`.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// What to do with them.
    #[command(subcommand)]
    pub command: DataCommand,
}

/// The verbs below `stagger data`.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Tell what a folder of images is, and what training would make of it
    #[command(after_help = EXAMPLES)]
    Inspect(InspectDataArgs),
}

/// Flags of `stagger data inspect`. Those that training has too mean the same.
#[derive(Debug, Args)]
pub struct InspectDataArgs {
    /// The folder
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Data set, if not what the folder looks like: cifar10, cifar100, mnist, fashion-mnist, image-folder
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Side in pixels to which an image folder's pictures are brought [default: theirs, if all agree, else 224]
    #[arg(long, value_name = "PIXELS")]
    pub image_size: Option<usize>,
    /// Colour behind transparent parts of an image folder's pictures, such as 000000 [default: ffffff]
    #[arg(long, value_name = "RRGGBB")]
    pub background: Option<String>,
    /// Share of an image folder's images that is set aside for evaluation, such as 0.1
    #[arg(long, value_name = "SHARE")]
    pub val_split: Option<f64>,
    /// Go on even if more of an image folder's files are left out than used
    #[arg(long)]
    pub allow_left_out: bool,
    /// Leave out pictures that do not decode; every picture is decoded to find them
    #[arg(long)]
    pub skip_bad_images: bool,
    /// How training images are varied: true, false, imagenet; see stagger train --help [default: true]
    #[arg(long, value_name = "WORD", num_args = 0..=1, default_missing_value = "true", value_parser = augment())]
    pub augment: Option<Augment>,
    /// Changes of brightness, contrast, saturation and hue, such as 0.4,0.4,0.4,0.1
    #[arg(long, value_name = "B,C,S,H", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<f64>)]
    pub color_jitter: Option<Vec<f64>>,
    /// RandAugment: N operations of magnitude M (0 to 30), such as 2,9
    #[arg(long, value_name = "N,M", value_delimiter = ',', action = ArgAction::Set, value_parser = trimmed::<usize>)]
    pub rand_augment: Option<Vec<usize>>,
    /// The probability with which a part is erased [default: 0]
    #[arg(long, value_name = "P")]
    pub random_erasing: Option<f64>,
    /// Seed of order, augmentation and what is set aside [default: 1]
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write augmented samples of each class, as they train, to a new file: .html or .png
    #[arg(long, value_name = "FILE")]
    pub contact_sheet: Option<PathBuf>,
    /// Samples of each class on the contact sheet
    #[arg(
        long,
        value_name = "N",
        default_value_t = 8,
        requires = "contact_sheet"
    )]
    pub samples: usize,
}

impl InspectDataArgs {
    /// What they say of a run.
    pub fn options(&self) -> TrainingOptions {
        TrainingOptions {
            dataset: self.dataset.clone(),
            image_size: self.image_size,
            background: self.background.clone(),
            val_split: self.val_split,
            allow_left_out: self.allow_left_out.then_some(true),
            skip_bad_images: self.skip_bad_images.then_some(true),
            augment: self.augment,
            color_jitter: self.color_jitter.clone(),
            rand_augment: self.rand_augment.clone(),
            random_erasing: self.random_erasing,
            seed: self.seed,
            ..TrainingOptions::default()
        }
    }
}
