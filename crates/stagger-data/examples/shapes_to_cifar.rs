//! Writes `shapes` in the binary layout of CIFAR-10, for other programs to read:
//!
//! ```text
//! cargo run --release -p stagger-data --example shapes_to_cifar -- FOLDER [SEED]
//! ```
//!
//! `stagger train --dataset cifar10 --data-dir FOLDER` reads it back.
#![allow(clippy::disallowed_methods, reason = "its files are its own")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Instant;

use stagger_data::{Dataset, shapes};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments
        .next()
        .ok_or("usage: shapes_to_cifar FOLDER [SEED]")?;
    let seed = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let folder = Path::new(&folder);
    fs::create_dir_all(folder)?;
    let start = Instant::now();
    let split = shapes::draw(seed, shapes::TRAIN_LEN, shapes::TEST_LEN)?;
    println!("drawn in {:.2} s", start.elapsed().as_secs_f64());
    write(&folder.join("data_batch_1.bin"), split.train.as_ref())?;
    write(&folder.join("test_batch.bin"), split.test.as_ref())?;
    fs::write(
        folder.join("batches.meta.txt"),
        split.train.class_names().join("\n") + "\n",
    )?;
    Ok(())
}

fn write(path: &Path, dataset: &dyn Dataset) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(path)?);
    let mut pixels = vec![0; dataset.shape().iter().product()];
    for index in 0..dataset.len() {
        dataset.image(index, &mut pixels)?;
        file.write_all(&[u8::try_from(dataset.label(index))?])?;
        file.write_all(&pixels)?;
    }
    Ok(file.flush()?)
}
