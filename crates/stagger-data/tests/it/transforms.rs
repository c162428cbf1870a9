//! The transforms of ImageNet training over a folder of pictures of many sizes.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use stagger_data::{
    Augmentation, ColorJitter, ContactSheet, Dataset, Framing, ImageBatch, Images, Loader,
    LoaderOptions, Normalization, OpenOptions, Picture, RandAugment, Region, Sampler, Split, open,
    open_for_evaluation,
};
use tempfile::TempDir;

const SIDE: usize = 7;

/// Red is the column, green the row.
fn picture(path: &Path, [height, width]: [u32; 2], blue: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(width, height, |x, y| Rgb([x as u8, y as u8, blue]));
    image.save(path).unwrap();
}

/// Pictures of many sizes to train on; two to evaluate on that need not be resized.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (number, size) in [[20, 30], [8, 8], [50, 9], [1, 40], [33, 12], [200, 150]]
        .into_iter()
        .enumerate()
    {
        for (blue, class) in [(50, "a"), (90, "b")] {
            let name = format!("train/{class}/{number}.png");
            picture(&folder.path().join(name), size, blue);
        }
    }
    picture(&folder.path().join("val/a/0.png"), [8, 8], 50);
    picture(&folder.path().join("val/b/0.png"), [8, 11], 90);
    folder
}

fn options(folder: &TempDir) -> OpenOptions {
    OpenOptions {
        data_dir: Some(folder.path().to_path_buf()),
        image_size: Some(SIDE),
        framing: Framing::CentreCrop,
        ..OpenOptions::default()
    }
}

fn split(folder: &TempDir) -> Split {
    open("image-folder", &options(folder)).unwrap()
}

/// With every transform.
fn varied(folder: &TempDir) -> Split {
    let mut split = split(folder);
    split.augmentation = Augmentation {
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
    split
}

fn image(set: &dyn Dataset, index: usize) -> Vec<u8> {
    let mut pixels = vec![0; set.shape().iter().product()];
    set.image(index, &mut pixels).unwrap();
    pixels
}

/// The part of a picture of the folder whose rows and columns begin there.
fn part(top: usize, left: usize, blue: u8) -> Vec<u8> {
    let mut planes = Vec::new();
    for at in 0..SIDE * SIDE {
        planes.push((left + at % SIDE) as u8);
    }
    for at in 0..SIDE * SIDE {
        planes.push((top + at / SIDE) as u8);
    }
    planes.extend([blue; SIDE * SIDE]);
    planes
}

#[test]
fn evaluation_sees_the_centre() {
    let folder = folder();
    let split = split(&folder);
    assert_eq!(split.augmentation, Augmentation::IMAGENET);
    assert_eq!(split.train.framing(), Framing::CentreCrop);
    assert_eq!(split.test.framing(), Framing::CentreCrop);
    // The shorter side becomes 7 · 256/224 = 8, which it is already. Offsets are ½ and 2.
    assert_eq!(image(split.test.as_ref(), 0), part(0, 0, 50));
    assert_eq!(image(split.test.as_ref(), 1), part(0, 2, 90));
    // So does a run's evaluation of other pictures, and whatever else sees them by what the run was trained on.
    let trained_on = split.trained_on();
    let other = OpenOptions {
        framing: Framing::LargestPart,
        ..options(&folder)
    };
    let again = open_for_evaluation("image-folder", &other, &trained_on).unwrap();
    assert_eq!(again.test.framing(), Framing::CentreCrop);
    assert_eq!(again.train.framing(), Framing::CentreCrop);
    assert_eq!(image(again.test.as_ref(), 1), part(0, 2, 90));
    let paths = [folder.path().join("val/b/0.png")];
    let pictures = stagger_data::image_folder::open_pictures(&paths, None, &trained_on).unwrap();
    assert_eq!(image(pictures.as_ref(), 0), part(0, 2, 90));
    // A run that is trained on other framings of the same files is another run.
    let plain = open("image-folder", &other).unwrap();
    assert_ne!(plain.train.fingerprint(), split.train.fingerprint());
    assert_ne!(image(plain.test.as_ref(), 1), part(0, 2, 90));
}

#[test]
fn pictures_to_train_on_are_decoded_whole_and_the_others_kept() {
    let folder = folder();
    let split = split(&folder);
    assert_eq!(split.train.resident_bytes(), 0);
    assert_eq!(split.test.resident_bytes(), 2 * 3 * 49);
    assert_eq!(split.test.picture(0).unwrap(), None);
    let whole: Picture = split.train.picture(0).unwrap().unwrap();
    assert_eq!(whole.size(), [20, 30]);
    assert_eq!(whole.rgb()[3 * 31..3 * 32], [1, 1, 50]);
    assert!(split.train.picture(12).is_err());
}

/// Batches from `first` on, two epochs in all.
fn batches(split: &Split, workers: usize, first: usize) -> Vec<ImageBatch> {
    let sampler = Sampler::new(split.train.len(), 5, 3).unwrap();
    let options = LoaderOptions {
        workers,
        queue_batches: 1,
    };
    let loader = Loader::start(Images::train(split), sampler, first..6, options).unwrap();
    loader.map(Result::unwrap).collect()
}

#[test]
fn bits_are_the_same_for_any_number_of_workers_and_after_a_resume() {
    let folder = folder();
    let split = varied(&folder);
    let reference = batches(&split, 1, 0);
    assert_eq!(reference.len(), 6);
    for workers in [2, 3] {
        assert_eq!(batches(&split, workers, 0), reference, "{workers} workers");
        assert_eq!(
            batches(&split, workers, 4),
            reference[4..],
            "{workers} workers"
        );
    }
    // Another epoch sees other parts.
    let of_epoch = |epoch: usize| -> Vec<f32> {
        let batches = &reference[3 * epoch..3 * epoch + 3];
        let mut pixels: Vec<f32> = batches
            .iter()
            .flat_map(|batch| batch.pixels.clone())
            .collect();
        pixels.sort_by(f32::total_cmp);
        pixels
    };
    assert_ne!(of_epoch(0), of_epoch(1));
}

/// Every sample is one part of its picture, of the size that was drawn.
#[test]
fn samples_are_the_parts_that_are_drawn() {
    let folder = folder();
    let mut split = split(&folder);
    split.normalization = Normalization {
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
    };
    let mut sampler = Sampler::new(split.train.len(), 5, 3).unwrap();
    let mut mirrored = 0;
    for batch in batches(&split, 2, 0) {
        let epoch = sampler.epoch_of(batch.batch);
        let indices = sampler.indices(batch.batch).to_vec();
        for (index, pixels) in indices.into_iter().zip(batch.pixels.chunks_exact(3 * 49)) {
            let size = split.train.picture(index).unwrap().unwrap().size();
            let Region {
                top,
                left,
                height,
                width,
            } = split.augmentation.draw_part(3, epoch, index, size);
            let is_mirrored = split.augmentation.draw(3, epoch, index).mirrored;
            mirrored += usize::from(is_mirrored);
            let value = |channel: usize, row: usize, column: usize| {
                let column = if is_mirrored {
                    SIDE - 1 - column
                } else {
                    column
                };
                f64::from(pixels[channel * 49 + row * SIDE + column] * 255.0)
            };
            // In the middle, the ramps are those of the part: its mean is that of its first and last pixel.
            let expected_x = left as f64 + (width as f64 - 1.0) / 2.0;
            let expected_y = top as f64 + (height as f64 - 1.0) / 2.0;
            let (x, y) = (value(0, 3, 3), value(1, 3, 3));
            assert!(
                (x - expected_x).abs() < 1.01,
                "{index} in {epoch}: {x} for {expected_x}"
            );
            assert!(
                (y - expected_y).abs() < 1.01,
                "{index} in {epoch}: {y} for {expected_y}"
            );
            assert!(value(0, 3, 0) <= value(0, 3, 6) && value(1, 0, 3) <= value(1, 6, 3));
        }
    }
    assert!((4..=20).contains(&mirrored), "{mirrored} of 24");
}

/// What the loader gives is what the steps that are drawn make of the crop, and 0 where it is erased.
#[test]
fn every_step_is_made() {
    let folder = folder();
    let all = varied(&folder);
    let mut crops = split(&folder);
    crops.normalization = Normalization {
        mean: vec![0.0; 3],
        std: vec![1.0 / 255.0; 3],
    };
    let mut sampler = Sampler::new(all.train.len(), 5, 3).unwrap();
    let (mut erased, size) = (0, [SIDE; 2]);
    for (crops, whole) in batches(&crops, 1, 0).iter().zip(batches(&all, 1, 0)) {
        let epoch = sampler.epoch_of(whole.batch);
        let indices = sampler.indices(whole.batch).to_vec();
        let images = crops
            .pixels
            .chunks_exact(3 * 49)
            .zip(whole.pixels.chunks_exact(3 * 49));
        for (index, (crop, whole)) in indices.into_iter().zip(images) {
            let mut image: Vec<u8> = crop.iter().map(|x| x.round() as u8).collect();
            let mut next = image.clone();
            for change in all.augmentation.draw_colors(3, epoch, index) {
                change.apply(&mut image);
            }
            for operation in all.augmentation.draw_operations(3, epoch, index, size) {
                operation.apply(size, &mut image, &mut next);
            }
            let mut expected = vec![0.0; 3 * 49];
            all.normalization.apply(&image, &mut expected);
            if let Some(part) = all.augmentation.draw_erased(3, epoch, index, size) {
                erased += 1;
                for (at, value) in expected.iter_mut().enumerate() {
                    let [row, column] = [at % 49 / SIDE, at % SIDE];
                    let is_inside = (part.top..part.top + part.height).contains(&row)
                        && (part.left..part.left + part.width).contains(&column);
                    *value = if is_inside { 0.0 } else { *value };
                }
            }
            assert_eq!(whole, expected, "{index} in {epoch}");
        }
    }
    assert!((4..=20).contains(&erased), "{erased} of 24");
}

#[test]
fn a_contact_sheet_shows_what_trains() {
    let folder = folder();
    let mut split = varied(&folder);
    split.normalization = Normalization {
        mean: vec![0.0; 3],
        std: vec![1.0; 3],
    };
    let sheet = ContactSheet::draw(&split, 3, 0, 6).unwrap();
    let mut sampler = Sampler::new(split.train.len(), 5, 3).unwrap();
    for batch in &batches(&split, 1, 0)[..3] {
        let indices = sampler.indices(batch.batch).to_vec();
        for (index, pixels) in indices.into_iter().zip(batch.pixels.chunks_exact(3 * 49)) {
            let row = &sheet.rows[split.train.label(index)];
            let at = row
                .indices
                .iter()
                .position(|&shown| shown == index)
                .unwrap();
            let bytes: Vec<u8> = pixels.iter().map(|x| (x * 255.0).round() as u8).collect();
            assert_eq!(row.samples[at], bytes, "{index}");
        }
    }
}

#[test]
fn crops_of_nothing_are_refused() {
    let folder = folder();
    let message = |name: &str, options: &OpenOptions| open(name, options).unwrap_err().to_string();
    let no_size = OpenOptions {
        image_size: None,
        ..options(&folder)
    };
    insta::assert_snapshot!(message("image-folder", &no_size), @"crops of pictures were asked for and no image size; give one, such as 224");
    insta::assert_snapshot!(message("shapes", &options(&folder)), @"shapes has images of one size, and crops of pictures were asked for; take an image folder, or leave them out");
    let grey = stagger_data::InMemory::new("grey", ["a", "b"], [1, 2, 2], vec![0, 1], vec![7; 8]);
    let grey = grey.unwrap();
    let mut grey = Split::new(grey.clone(), grey).unwrap();
    grey.augmentation = Augmentation::IMAGENET;
    insta::assert_snapshot!(grey.validate().unwrap_err(), @"a random resized crop needs images of three channels, and those of grey have 1; leave it out, or take another data set");
    let sampler = Sampler::new(2, 1, 0).unwrap();
    let loader = Loader::start(
        Images::train(&grey),
        sampler,
        0..2,
        LoaderOptions::default(),
    );
    assert!(loader.is_err());
}
