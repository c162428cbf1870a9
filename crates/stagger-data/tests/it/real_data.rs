//! The real data of `STAGGER_DATA` (see the README there); skipped where that is not set.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use stagger_data::{
    Dataset, Framing, ImageBatch, Images, Loader, LoaderOptions, Normalization, OpenOptions,
    Sampler, Split, open,
};

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("STAGGER_DATA").map(PathBuf::from);
    if folder.is_none() {
        // Straight to the stream: the test harness swallows what is printed.
        let _ = writeln!(io::stderr(), "skipped: STAGGER_DATA not set");
    }
    folder
}

fn read(name: &str, folder: &Path, cache_bytes: u64) -> Split {
    let data_dir = Some(folder.to_path_buf());
    open(
        name,
        &OpenOptions {
            data_dir,
            cache_bytes,
            ..OpenOptions::default()
        },
    )
    .unwrap()
}

fn image(dataset: &dyn Dataset, index: usize) -> Vec<u8> {
    let mut pixels = vec![0; dataset.shape().iter().product()];
    dataset.image(index, &mut pixels).unwrap();
    pixels
}

fn assert_close(found: &Normalization, expected: &Normalization, tolerance: f32) {
    let found = found.mean.iter().chain(&found.std);
    for (found, expected) in found.zip(expected.mean.iter().chain(&expected.std)) {
        assert!((found - expected).abs() < tolerance, "{found}, {expected}");
    }
}

#[test]
fn cifar10_small() {
    let Some(folder) = data() else { return };
    let folder = folder.join("cifar-10-small");
    let split = read("cifar10", &folder, 0);
    assert_eq!([split.train.len(), split.test.len()], [2000, 500]);
    assert_eq!(
        split.train.class_names()[..3],
        ["airplane", "automobile", "bird"]
    );
    // Byte for byte what the file holds.
    let bytes = fs::read(folder.join("data_batch_1.bin")).unwrap();
    for index in [0, 1, 999, 1999] {
        let record = &bytes[index * 3073..(index + 1) * 3073];
        assert_eq!(split.train.label(index), usize::from(record[0]));
        assert_eq!(image(split.train.as_ref(), index), record[1..]);
    }
    // The first image of data_batch_1 is a frog, its first pixel (59, 62, 63).
    assert_eq!(split.train.class_names()[split.train.label(0)], "frog");
    let frog = image(split.train.as_ref(), 0);
    assert_eq!([frog[0], frog[1024], frog[2048]], [59, 62, 63]);
    let measured = Normalization::measure(split.train.as_ref()).unwrap();
    assert_close(&measured, &split.normalization, 0.02);
}

#[test]
fn fashion_mnist() {
    let Some(folder) = data() else { return };
    let split = read("fashion-mnist", &folder, 0);
    assert_eq!([split.train.len(), split.test.len()], [60_000, 10_000]);
    for set in [&split.train, &split.test] {
        let mut counts = [0; 10];
        (0..set.len()).for_each(|index| counts[set.label(index)] += 1);
        assert_eq!(counts, [set.len() / 10; 10]);
    }
    assert_eq!(split.train.label(0), 9);
    let measured = Normalization::measure(split.train.as_ref()).unwrap();
    assert_close(&measured, &split.normalization, 0.01);
}

/// As training on ImageNet reads it.
#[test]
fn imagenet_sample_in_crops() {
    let Some(folder) = data() else { return };
    let options = OpenOptions {
        data_dir: Some(folder.join("imagenet-sample")),
        image_size: Some(64),
        framing: Framing::CentreCrop,
        ..OpenOptions::default()
    };
    let split = open("image-folder", &options).unwrap();
    let batches = |workers| -> Vec<ImageBatch> {
        let options = LoaderOptions {
            workers,
            queue_batches: 1,
        };
        let sampler = Sampler::new(split.train.len(), 25, 1).unwrap();
        let loader = Loader::start(Images::train(&split), sampler, 38..42, options).unwrap();
        loader.map(Result::unwrap).collect()
    };
    let reference = batches(1);
    assert_eq!(reference.len(), 4);
    assert_eq!(batches(2), reference);
    assert_eq!(batches(3), reference);
    // Normalised by what evaluations see: crops are near to it.
    let pixels = reference.iter().flat_map(|batch| &batch.pixels);
    let (sum, count) = pixels.fold((0.0, 0), |(sum, count), &x| (sum + f64::from(x), count + 1));
    assert!((sum / f64::from(count)).abs() < 0.2, "{sum} of {count}");
}

#[test]
fn imagenet_sample() {
    let Some(folder) = data() else { return };
    let split = read("image-folder", &folder.join("imagenet-sample"), 1 << 30);
    assert_eq!([split.train.len(), split.test.len()], [1000, 400]);
    assert_eq!(
        (split.train.shape(), split.train.classes()),
        ([3, 224, 224], 10)
    );
    let grey = |set: &dyn Dataset| {
        let is_grey = |index: &usize| {
            let pixels = image(set, *index);
            let (red, rest) = pixels.split_at(224 * 224);
            rest.chunks_exact(224 * 224).all(|plane| plane == red)
        };
        (0..set.len()).filter(is_grey).count()
    };
    let found = grey(split.train.as_ref()) + grey(split.test.as_ref());
    assert!(found >= 21, "{found} images without colour");
    // The published constants of the whole of ImageNet are near.
    let imagenet = Normalization {
        mean: vec![0.485, 0.456, 0.406],
        std: vec![0.229, 0.224, 0.225],
    };
    assert_close(&split.normalization, &imagenet, 0.08);
    let lazy = read("image-folder", &folder.join("imagenet-sample"), 0);
    assert_eq!(lazy.train.fingerprint(), split.train.fingerprint());
    assert_eq!(
        image(lazy.train.as_ref(), 321),
        image(split.train.as_ref(), 321)
    );
}
