//! Writes what training makes of pictures, step by step, for other programs to compare with:
//!
//! ```text
//! cargo run --release -p stagger-data --example transformed -- FOLDER SIDE SEED EPOCHS PICTURE…
//! ```
//!
//! `FOLDER/drawn.jsonl` has a line for each picture and epoch: the part of the picture, whether it is mirrored, the changes of colours and
//! the operations in their order, and the part that is erased. `FOLDER/pixels` has in the same order, for each: the crop, and what it is
//! after each step (bytes, channel by channel); and what the loader makes of all of them, normalised and erased (f32, little-endian).
//! `FOLDER/evaluated` has each picture as an evaluation sees it.
#![allow(clippy::disallowed_methods, reason = "its files are its own")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stagger_data::image_folder::{decode_image, image_size, open_pictures};
use stagger_data::{
    Augmentation, ColorChange, ColorJitter, DataError, Dataset, FileError, Framing, Images, Loader,
    LoaderOptions, Normalization, Operation, Picture, RandAugment, Region, Sampler, TrainedOn,
};

const ALL: Augmentation = Augmentation {
    color_jitter: Some(ColorJitter {
        brightness: 0.4,
        contrast: 0.4,
        saturation: 0.4,
        hue: 0.1,
    }),
    rand_augment: Some(RandAugment {
        operations: 2,
        magnitude: 9,
    }),
    erasing: 0.5,
    ..Augmentation::IMAGENET
};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = || {
        arguments
            .next()
            .ok_or("usage: transformed FOLDER SIDE SEED EPOCHS PICTURE…")
    };
    let folder = PathBuf::from(next()?);
    let (side, seed, epochs) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
    let paths: Vec<PathBuf> = arguments.map(PathBuf::from).collect();
    fs::create_dir_all(&folder)?;
    evaluated(&folder.join("evaluated"), &paths, side)?;
    trained(&folder, Pictures { paths, side }, seed, epochs)
}

/// Files as a data set of one class.
struct Pictures {
    paths: Vec<PathBuf>,
    side: usize,
}

impl Dataset for Pictures {
    fn name(&self) -> &str {
        "pictures"
    }
    fn len(&self) -> usize {
        self.paths.len()
    }
    fn classes(&self) -> usize {
        1
    }
    fn class_names(&self) -> &[String] {
        &[]
    }
    fn shape(&self) -> [usize; 3] {
        [3, self.side, self.side]
    }
    fn label(&self, _index: usize) -> usize {
        0
    }
    fn fingerprint(&self) -> u64 {
        0
    }
    fn image(&self, index: usize, _pixels: &mut [u8]) -> Result<(), DataError> {
        let len = self.paths.len();
        Err(DataError::IndexOutOfRange { index, len })
    }
    fn picture(&self, index: usize) -> Result<Option<Picture>, DataError> {
        read(&self.paths[index]).map(Some)
    }
}

fn read(path: &Path) -> Result<Picture, DataError> {
    let damaged = |reason: String| FileError::Decode {
        path: path.to_owned(),
        reason,
    };
    let bytes = fs::read(path).map_err(|source| FileError::Io {
        path: path.to_owned(),
        source,
    })?;
    let size = image_size(&bytes).map_err(damaged)?;
    let plane = size[0] * size[1];
    let mut planes = vec![0; 3 * plane];
    decode_image(&bytes, size, &mut planes).map_err(damaged)?;
    let pixel = |at: usize| [0, 1, 2].map(|channel| planes[channel * plane + at]);
    Picture::new(size, (0..plane).flat_map(pixel).collect())
}

fn normalization() -> Normalization {
    Normalization {
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
    }
}

fn evaluated(file: &Path, paths: &[PathBuf], side: usize) -> Result<(), Box<dyn Error>> {
    let trained_on = TrainedOn {
        dataset: "image-folder".to_owned(),
        class_names: vec!["a".to_owned(), "b".to_owned()],
        shape: [3, side, side],
        framing: Framing::CentreCrop,
        normalization: normalization(),
        images: 1,
    };
    let pictures = open_pictures(paths, None, &trained_on)?;
    let mut file = File::create(file)?;
    let mut pixels = vec![0; 3 * side * side];
    for index in 0..pictures.len() {
        pictures.image(index, &mut pixels)?;
        file.write_all(&pixels)?;
    }
    Ok(())
}

fn trained(
    folder: &Path,
    pictures: Pictures,
    seed: u64,
    epochs: usize,
) -> Result<(), Box<dyn Error>> {
    let (side, count) = (pictures.side, pictures.len());
    let dataset: Arc<dyn Dataset> = Arc::new(pictures);
    let mut sampler = Sampler::new(count, 1, seed)?;
    let batches = |augmentation, normalization| {
        let images = Images {
            dataset: Arc::clone(&dataset),
            normalization,
            augmentation,
        };
        Loader::start(
            images,
            sampler.clone(),
            0..count * epochs,
            LoaderOptions::default(),
        )
    };
    let bytes = Normalization {
        mean: vec![0.0; 3],
        std: vec![1.0 / 255.0; 3],
    };
    let crops = batches(Augmentation::IMAGENET, bytes)?;
    let whole = batches(ALL, normalization())?;
    let mut drawn = BufWriter::new(File::create(folder.join("drawn.jsonl"))?);
    let mut pixels = BufWriter::new(File::create(folder.join("pixels"))?);
    for (crop, whole) in crops.zip(whole) {
        let (crop, whole) = (crop?, whole?);
        let epoch = sampler.epoch_of(crop.batch);
        let index = sampler.indices(crop.batch)[0];
        let size = dataset
            .picture(index)?
            .map_or([0, 0], |picture| picture.size());
        let mut image: Vec<u8> = crop.pixels.iter().map(|x| x.round() as u8).collect();
        pixels.write_all(&image)?;
        let mut next = image.clone();
        let mut steps = Vec::new();
        for change in ALL.draw_colors(seed, epoch, index) {
            change.apply(&mut image);
            pixels.write_all(&image)?;
            steps.push(change_json(change));
        }
        for operation in ALL.draw_operations(seed, epoch, index, [side, side]) {
            operation.apply([side, side], &mut image, &mut next);
            pixels.write_all(&image)?;
            steps.push(operation_json(operation));
        }
        for value in &whole.pixels {
            pixels.write_all(&value.to_le_bytes())?;
        }
        let part = region_json(ALL.draw_part(seed, epoch, index, size));
        let mirrored = ALL.draw(seed, epoch, index).mirrored;
        let erased = ALL.draw_erased(seed, epoch, index, [side, side]);
        let erased = erased.map_or("null".to_owned(), region_json);
        let steps = steps.join(",");
        writeln!(
            drawn,
            r#"{{"picture":{index},"epoch":{epoch},"part":{part},"mirrored":{mirrored},"steps":[{steps}],"erased":{erased}}}"#
        )?;
    }
    Ok(())
}

/// Top, left, height, width.
fn region_json(region: Region) -> String {
    let Region {
        top,
        left,
        height,
        width,
    } = region;
    format!("[{top},{left},{height},{width}]")
}

fn change_json(change: ColorChange) -> String {
    let (name, value) = match change {
        ColorChange::Brightness(factor) => ("brightness", factor),
        ColorChange::Contrast(factor) => ("contrast", factor),
        ColorChange::Saturation(factor) => ("saturation", factor),
        ColorChange::Hue(turn) => ("hue", turn),
    };
    format!(r#"["{name}",{}]"#, f64::from(value))
}

fn operation_json(operation: Operation) -> String {
    let (name, value) = match operation {
        Operation::Identity => ("Identity", 0.0),
        Operation::ShearX(share) => ("ShearX", share),
        Operation::ShearY(share) => ("ShearY", share),
        Operation::TranslateX(pixels) => ("TranslateX", pixels as f64),
        Operation::TranslateY(pixels) => ("TranslateY", pixels as f64),
        Operation::Rotate(degrees) => ("Rotate", degrees),
        Operation::Brightness(factor) => ("Brightness", f64::from(factor)),
        Operation::Color(factor) => ("Color", f64::from(factor)),
        Operation::Contrast(factor) => ("Contrast", f64::from(factor)),
        Operation::Sharpness(factor) => ("Sharpness", f64::from(factor)),
        Operation::Posterize(bits) => ("Posterize", f64::from(bits)),
        Operation::Solarize(threshold) => ("Solarize", f64::from(threshold)),
        Operation::AutoContrast => ("AutoContrast", 0.0),
        Operation::Equalize => ("Equalize", 0.0),
    };
    format!(r#"["{name}",{value}]"#)
}
