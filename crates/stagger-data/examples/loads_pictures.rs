//! Loads the training pictures of an image folder as for ImageNet (decoded, a random part brought to one size, mirrored, normalised)
//! with one worker, an epoch for each line of standard input; prints how many, the seconds, and those of processor time:
//!
//! ```text
//! cargo run --release -p stagger-data --example loads_pictures -- FOLDER SIDE
//! ```
#![allow(clippy::disallowed_methods, reason = "it reads what the kernel says")]

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::time::Instant;

use stagger_data::{Framing, Images, Loader, LoaderOptions, OpenOptions, Sampler, open};

const BATCH: usize = 32;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().ok_or("usage: loads_pictures FOLDER SIDE");
    let options = OpenOptions {
        data_dir: Some(next()?.into()),
        image_size: Some(next()?.parse()?),
        framing: Framing::CentreCrop,
        cache_bytes: 0,
        ..OpenOptions::default()
    };
    let split = open("image-folder", &options)?;
    let sampler = Sampler::new(split.train.len(), BATCH, 1)?;
    let per_epoch = sampler.batches_per_epoch();
    for (epoch, line) in stdin().lock().lines().enumerate() {
        line?;
        let (start, processor) = (Instant::now(), processor_seconds()?);
        let batches = epoch * per_epoch..(epoch + 1) * per_epoch;
        let loader = Loader::start(
            Images::train(&split),
            sampler.clone(),
            batches,
            LoaderOptions::default(),
        )?;
        let mut images = 0;
        for batch in loader {
            images += batch?.shape[0];
        }
        let (seconds, processor) = (
            start.elapsed().as_secs_f64(),
            processor_seconds()? - processor,
        );
        println!("{images} {seconds} {processor}");
        stdout().flush()?;
    }
    Ok(())
}

/// Processor time of this process, in seconds, by the hundredth.
fn processor_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no stat")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>()? + fields[12].parse::<u64>()?;
    Ok(ticks as f64 / 100.0)
}
