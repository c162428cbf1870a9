//! A network on random images, of any shape.

use anyhow::{Result, bail};
use clap::Args;
use stagger::TrainingOptions;

/// What is measured: a network on random images.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What runs")]
pub struct RandomImageFlags {
    /// The network, such as resnet20, or a TOML file of layers, such as ./my.toml
    #[arg(long, value_name = "NAME", default_value = "resnet20")]
    model: String,
    /// Shape of one image: channels x height x width
    #[arg(long, value_name = "CxHxW", default_value = "3x32x32")]
    input: String,
    /// Number of classes
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub classes: usize,
    /// Samples per batch
    #[arg(short, long, value_name = "N", default_value_t = 128)]
    batch_size: usize,
    /// Seed of weights and images
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
}

impl RandomImageFlags {
    /// What they say of the run.
    pub fn options(&self) -> TrainingOptions {
        TrainingOptions {
            model: Some(self.model.clone()),
            batch_size: Some(self.batch_size),
            seed: Some(self.seed),
            ..TrainingOptions::default()
        }
    }

    /// The shape of one image.
    ///
    /// # Errors
    /// When it is no shape.
    pub fn shape(&self) -> Result<[usize; 3]> {
        input_shape(&self.input)
    }
}

/// Reads `3x32x32`.
///
/// # Errors
/// When it is no shape.
pub fn input_shape(text: &str) -> Result<[usize; 3]> {
    let sides: Vec<usize> = text
        .split('x')
        .map_while(|side| side.trim().parse().ok())
        .collect();
    match sides[..] {
        [channels, height, width] if text.split('x').count() == 3 && !sides.contains(&0) => {
            Ok([channels, height, width])
        }
        _ => {
            bail!("--input `{text}` is not a shape; give channels, height and width as in 3x32x32")
        }
    }
}
