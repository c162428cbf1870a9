//! What training sees: augmented samples of each class, as pictures.

use std::io::Cursor;

use image::{ImageFormat, Rgb, RgbImage};

use crate::augmentation::Augmenter;
use crate::error::DataError;
use crate::sampler::Sampler;
use crate::split::Split;

/// Smaller images are enlarged, by whole factors, to a side of about so many pixels.
const LEAST_SIDE: usize = 64;
/// Pixels between samples.
const GAP: usize = 2;
/// Most pixels of a sheet.
const MOST_PIXELS: usize = 1 << 26;

/// The first samples of each class in the order of an epoch, augmented as training does it, before they are normalised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactSheet {
    /// Channels, height and width of each sample.
    pub shape: [usize; 3],
    /// By label; a class with fewer images has fewer samples.
    pub rows: Vec<ContactRow>,
}

/// Samples of one class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContactRow {
    /// The name of the class.
    pub class: String,
    /// The number of each image in the training set, in the order in which they train.
    pub indices: Vec<usize>,
    /// Pixels of each sample: channel by channel, row by row.
    pub samples: Vec<Vec<u8>>,
}

impl ContactSheet {
    /// Draws the first `samples` of each class in epoch `epoch` of a training with this seed.
    ///
    /// # Errors
    /// [`DataError::SheetSize`] for none or too many; when an image cannot be read.
    pub fn draw(split: &Split, seed: u64, epoch: usize, samples: usize) -> Result<Self, DataError> {
        let train = split.train.as_ref();
        let shape = train.shape();
        let [_, height, width] = shape;
        let classes = train.classes();
        let tile = tile_side(height, shape) * tile_side(width, shape);
        let fit = MOST_PIXELS / tile / classes.max(1);
        if samples == 0 || samples > fit {
            return Err(DataError::SheetSize {
                requested: samples,
                classes,
                fit,
            });
        }
        let mut rows: Vec<ContactRow> = train
            .class_names()
            .iter()
            .map(|class| ContactRow {
                class: class.clone(),
                indices: Vec::new(),
                samples: Vec::new(),
            })
            .collect();
        // Which images make up a batch does not depend on its size.
        let mut sampler = Sampler::new(train.len(), train.len(), seed)?;
        let order = sampler.indices(epoch).to_vec();
        split.augmentation.check_channels(train.name(), shape[0])?;
        let mean = split.normalization.mean_bytes();
        let mut augmenter = Augmenter::new(split.augmentation, shape, seed);
        for index in order {
            let row = &mut rows[train.label(index)];
            if row.indices.len() == samples {
                continue;
            }
            let mut sample = augmenter.image(train, epoch, index)?.to_vec();
            augmenter.erase(epoch, index, &mut sample, &mean);
            row.indices.push(index);
            row.samples.push(sample);
        }
        Ok(Self { shape, rows })
    }

    /// A PNG file of the whole sheet: a row for each class, in their order.
    ///
    /// # Errors
    /// A sentence when it cannot be encoded.
    pub fn to_png(&self) -> Result<Vec<u8>, String> {
        self.encode(&self.rows)
    }

    /// A PNG file of one row, by label.
    ///
    /// # Errors
    /// A sentence when it cannot be encoded.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row_to_png(&self, label: usize) -> Result<Vec<u8>, String> {
        self.encode(std::slice::from_ref(&self.rows[label]))
    }

    fn encode(&self, rows: &[ContactRow]) -> Result<Vec<u8>, String> {
        let [channels, height, width] = self.shape;
        let factor = factor(self.shape);
        let (tile_height, tile_width) =
            (tile_side(height, self.shape), tile_side(width, self.shape));
        let columns = rows.iter().map(|row| row.samples.len()).max().unwrap_or(1);
        let mut sheet = RgbImage::from_pixel(
            (columns.max(1) * tile_width) as u32,
            (rows.len().max(1) * tile_height) as u32,
            Rgb([255; 3]),
        );
        let plane = height * width;
        for (down, row) in rows.iter().enumerate() {
            for (right, sample) in row.samples.iter().enumerate() {
                for at in 0..height * factor * width * factor {
                    let (y, x) = (at / (width * factor), at % (width * factor));
                    let from = y / factor * width + x / factor;
                    let color = |channel: usize| sample[channel.min(channels - 1) * plane + from];
                    let x = (right * tile_width + x) as u32;
                    let y = (down * tile_height + y) as u32;
                    sheet.put_pixel(x, y, Rgb([color(0), color(1), color(2)]));
                }
            }
        }
        let mut bytes = Cursor::new(Vec::new());
        let written = sheet.write_to(&mut bytes, ImageFormat::Png);
        written.map_err(|error| error.to_string())?;
        Ok(bytes.into_inner())
    }
}

/// By how much samples are enlarged.
fn factor([_, height, width]: [usize; 3]) -> usize {
    (LEAST_SIDE / height.max(width).max(1)).max(1)
}

/// A side of a sample with the gap beside it.
fn tile_side(side: usize, shape: [usize; 3]) -> usize {
    side * factor(shape) + GAP
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::augmentation::Augmentation;
    use crate::loader::{Images, Loader, LoaderOptions};
    use crate::memory::InMemory;
    use crate::normalization::Normalization;

    /// 12 images of 4×4 that differ in every pixel, in two classes.
    fn split() -> Split {
        let set = || {
            let labels = (0..12).map(|image| image % 2).collect();
            let pixels = (0..12 * 16).map(|at| at as u8).collect();
            InMemory::new("x", ["even", "odd"], [1, 4, 4], labels, pixels).unwrap()
        };
        let mut split = Split::new(set(), set()).unwrap();
        split.augmentation = Augmentation {
            pad: 2,
            flip: true,
            ..Augmentation::NONE
        };
        split
    }

    /// To the pixel: what the loader gives to training, before normalisation.
    #[test]
    fn samples_are_those_that_train() {
        let mut split = split();
        split.normalization = Normalization {
            mean: vec![0.0],
            std: vec![1.0],
        };
        let (seed, epoch) = (5, 1);
        let sheet = ContactSheet::draw(&split, seed, epoch, 4).unwrap();
        let mut sampler = Sampler::new(12, 5, seed).unwrap();
        let per_epoch = sampler.batches_per_epoch();
        let batches = epoch * per_epoch..(epoch + 1) * per_epoch;
        let options = LoaderOptions::default();
        let loader = Loader::start(Images::train(&split), sampler.clone(), batches, options);
        let mut seen = vec![Vec::new(); 2];
        for batch in loader.unwrap() {
            let batch = batch.unwrap();
            let images = batch.pixels.chunks_exact(16);
            for (&index, image) in sampler.indices(batch.batch).iter().zip(images) {
                let bytes: Vec<u8> = image.iter().map(|x| (x * 255.0).round() as u8).collect();
                seen[index % 2].push((index, bytes));
            }
        }
        for (row, seen) in sheet.rows.iter().zip(seen) {
            let found: Vec<_> = row
                .indices
                .iter()
                .copied()
                .zip(row.samples.clone())
                .collect();
            assert_eq!(found, seen[..4], "{}", row.class);
        }
    }

    #[test]
    fn sheets_are_pictures_of_rows() {
        let sheet = ContactSheet::draw(&split(), 1, 0, 3).unwrap();
        let whole = image::load_from_memory(&sheet.to_png().unwrap())
            .unwrap()
            .into_rgb8();
        // 4 pixels, 16 times as large, and a gap.
        assert_eq!(whole.dimensions(), (3 * 66, 2 * 66));
        let row = image::load_from_memory(&sheet.row_to_png(1).unwrap())
            .unwrap()
            .into_rgb8();
        assert_eq!(row.dimensions(), (3 * 66, 66));
        let first = sheet.rows[1].samples[0][5];
        assert_eq!(row.get_pixel(16 + 3, 16 + 9).0, [first; 3]);
        assert_eq!(whole.get_pixel(16 + 3, 66 + 16 + 9).0, [first; 3]);
        assert_eq!(whole.get_pixel(64, 0).0, [255; 3], "a gap");
    }

    #[test]
    fn sheets_that_are_too_large_or_empty_are_refused() {
        let message = |samples| {
            ContactSheet::draw(&split(), 1, 0, samples)
                .unwrap_err()
                .to_string()
        };
        insta::assert_snapshot!(message(0), @"a contact sheet with 0 samples of each of 2 classes was asked for; give a number from 1 to 7703");
        insta::assert_snapshot!(message(1 << 40), @"a contact sheet with 1099511627776 samples of each of 2 classes was asked for; give a number from 1 to 7703");
    }
}
