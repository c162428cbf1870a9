//! Good and bad files of every format, made here, through the registry.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use image::{GrayImage, Luma, Rgb, RgbImage};
use stagger_data::{Dataset, OpenOptions, Split, open};
use tempfile::TempDir;

fn options(folder: &Path) -> OpenOptions {
    OpenOptions {
        data_dir: Some(folder.to_path_buf()),
        ..OpenOptions::default()
    }
}

/// The message of opening `name` in `folder`, with the folder's name replaced by DIR.
fn message(name: &str, folder: &TempDir) -> String {
    let error = open(name, &options(folder.path())).unwrap_err().to_string();
    error.replace(&folder.path().display().to_string(), "DIR")
}

fn image(dataset: &dyn Dataset, index: usize) -> Vec<u8> {
    let mut pixels = vec![0; dataset.shape().iter().product()];
    dataset.image(index, &mut pixels).unwrap();
    pixels
}

fn lengths(split: &Split) -> [usize; 2] {
    [split.train.len(), split.test.len()]
}

fn cifar_record(labels: &[u8], value: u8) -> Vec<u8> {
    [labels, &[value; 3072]].concat()
}

#[test]
fn cifar10_reads_batches_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("cifar-10-batches-bin");
    fs::create_dir(&inner).unwrap();
    fs::write(inner.join("data_batch_10.bin"), cifar_record(&[4], 40)).unwrap();
    let two = [cifar_record(&[2], 20), cifar_record(&[3], 30)].concat();
    fs::write(inner.join("data_batch_2.bin"), two).unwrap();
    fs::write(inner.join("data_batch_1.bin"), cifar_record(&[1], 10)).unwrap();
    fs::write(inner.join("test_batch.bin"), cifar_record(&[9], 90)).unwrap();
    let names: Vec<String> = (0..10).map(|i| format!("class {i}")).collect();
    fs::write(inner.join("batches.meta.txt"), names.join("\n") + "\n\n").unwrap();
    for folder in [folder.path(), &inner] {
        let split = open("cifar10", &options(folder)).unwrap();
        assert_eq!(lengths(&split), [4, 1]);
        let labels: Vec<usize> = (0..4).map(|i| split.train.label(i)).collect();
        assert_eq!(labels, [1, 2, 3, 4]);
        assert_eq!(image(split.train.as_ref(), 3), [40; 3072]);
        assert_eq!(split.test.class_names(), names);
        assert_eq!((split.augmentation.pad, split.augmentation.flip), (4, true));
        assert_eq!(
            split.account(),
            [
                "3 of 10 training batches; data_batch_3.bin, data_batch_4.bin, data_batch_5.bin, data_batch_6.bin, \
                 data_batch_7.bin and 2 more are not there"
            ]
        );
    }
    fs::write(inner.join("batches.meta.txt"), "cat\ndog\n").unwrap();
    insta::assert_snapshot!(message("cifar10", &folder), @"DIR/cifar-10-batches-bin/batches.meta.txt names 2 classes, expected 10");
    fs::write(inner.join("batches.meta.txt"), names.join("\n")).unwrap();
    fs::write(inner.join("data_batch_2.bin"), cifar_record(&[10], 0)).unwrap();
    insta::assert_snapshot!(message("cifar10", &folder), @"DIR/cifar-10-batches-bin/data_batch_2.bin: record 0 has label 10, but there are only 10 classes (0 to 9)");
    fs::write(
        inner.join("data_batch_2.bin"),
        &cifar_record(&[1], 0)[..100],
    )
    .unwrap();
    insta::assert_snapshot!(message("cifar10", &folder), @"DIR/cifar-10-batches-bin/data_batch_2.bin is truncated: record 0 has 3073 bytes, but only 100 are there; fetch the file again");
    fs::write(inner.join("data_batch_2.bin"), []).unwrap();
    insta::assert_snapshot!(message("cifar10", &folder), @"DIR/cifar-10-batches-bin/data_batch_2.bin holds no images");
    fs::remove_file(inner.join("test_batch.bin")).unwrap();
    insta::assert_snapshot!(message("cifar10", &folder), @r#"cifar10: DIR does not hold data_batch_1.bin (2, 3, …) and test_batch.bin: DIR/cifar-10-batches-bin/data_batch_1.bin is there, and test_batch.bin is not; get the "CIFAR-10 binary version" or the "CIFAR-10 python version" from https://www.cs.toronto.edu/~kriz/cifar.html, unpack it and name its folder with --data-dir"#);
}

#[test]
fn cifar100_takes_the_fine_label() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("train.bin"), cifar_record(&[3, 77], 1)).unwrap();
    fs::write(folder.path().join("test.bin"), cifar_record(&[19, 99], 2)).unwrap();
    let split = open("cifar100", &options(folder.path())).unwrap();
    assert_eq!((split.train.label(0), split.test.label(0)), (77, 99));
    assert_eq!(
        (
            split.train.classes(),
            split.train.class_names()[99].as_str()
        ),
        (100, "99")
    );
}

#[test]
fn the_wrong_kind_of_folder_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("data_batch_1"), "pickle").unwrap();
    assert!(message("cifar10", &folder).contains("data_batch_1 is there, and test_batch is not"));
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("train/cat")).unwrap();
    fs::create_dir_all(folder.path().join("test/cat")).unwrap();
    assert!(message("cifar10", &folder).contains("--dataset image-folder"));
}

fn idx(magic: u32, dimensions: &[u32], data: &[u8]) -> Vec<u8> {
    let words = [&[magic], dimensions].concat();
    let header = words.iter().flat_map(|word| word.to_be_bytes());
    header.chain(data.iter().copied()).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn write_idx(folder: &Path, train: usize, test: usize) {
    let pixels = |count: usize| vec![5; count * 784];
    let labels = |count: usize| (0..count).map(|i| (i % 10) as u8).collect::<Vec<_>>();
    for (part, count) in [("train", train), ("t10k", test)] {
        let images = idx(0x803, &[count as u32, 28, 28], &pixels(count));
        fs::write(folder.join(format!("{part}-images-idx3-ubyte")), images).unwrap();
        let labels = gzip(&idx(0x801, &[count as u32], &labels(count)));
        fs::write(folder.join(format!("{part}-labels-idx1-ubyte.gz")), labels).unwrap();
    }
}

#[test]
fn mnist_files_may_be_plain_or_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("FashionMNIST/raw");
    fs::create_dir_all(&inner).unwrap();
    write_idx(&inner, 12, 3);
    let split = open("fashion-mnist", &options(folder.path())).unwrap();
    assert_eq!(lengths(&split), [12, 3]);
    assert_eq!(
        (split.train.shape(), split.train.label(11)),
        ([1, 28, 28], 1)
    );
    assert_eq!(split.train.class_names()[9], "Ankle boot");
    assert!(split.augmentation.flip);
    let digits = open("mnist", &options(&inner)).unwrap();
    assert!(!digits.augmentation.flip);
    assert_ne!(digits.train.fingerprint(), split.train.fingerprint());

    let images = inner.join("train-images-idx3-ubyte");
    fs::write(&images, idx(0x803, &[11, 28, 28], &[0; 11 * 784])).unwrap();
    insta::assert_snapshot!(message("fashion-mnist", &folder), @"DIR/FashionMNIST/raw/train-images-idx3-ubyte holds 11 images, but DIR/FashionMNIST/raw/train-labels-idx1-ubyte.gz holds 12 labels; both must come from one set");
    fs::write(&images, idx(0x803, &[12, 14, 56], &[0; 12 * 784])).unwrap();
    insta::assert_snapshot!(message("fashion-mnist", &folder), @"DIR/FashionMNIST/raw/train-images-idx3-ubyte holds images of 14×56 pixels (height × width); square ones of at most 4096×4096 were expected");
    fs::write(&images, idx(0x803, &[12, 28, 28], &[0; 11 * 784 + 9])).unwrap();
    insta::assert_snapshot!(message("fashion-mnist", &folder), @"DIR/FashionMNIST/raw/train-images-idx3-ubyte is truncated: record 11 has 784 bytes, but only 9 are there; fetch the file again");
    fs::write(&images, "<html>404</html>").unwrap();
    insta::assert_snapshot!(message("fashion-mnist", &folder), @"DIR/FashionMNIST/raw/train-images-idx3-ubyte is not an IDX file of the expected kind: it starts with 0x3c68746d, expected 0x00000803; fetch the file again");
    fs::write(&images, &gzip(&[0; 5000])[..30]).unwrap();
    assert!(message("fashion-mnist", &folder).starts_with("DIR/FashionMNIST/raw/train-images"));
    fs::remove_file(&images).unwrap();
    insta::assert_snapshot!(message("fashion-mnist", &folder), @"fashion-mnist: DIR does not hold train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (each plain or .gz): in DIR/FashionMNIST/raw the training images are missing; get the four files from https://github.com/zalandoresearch/fashion-mnist and name their folder with --data-dir");
}

/// Two classes of coloured and grey PNG files of the given sizes (width, height).
fn write_images(folder: &Path, sizes: &[(u32, u32)]) {
    for (part, class, value) in [
        ("train", "b", 200),
        ("train", "a", 100),
        ("val", "a", 101),
        ("val", "b", 201),
    ] {
        let folder = folder.join(part).join(class);
        fs::create_dir_all(&folder).unwrap();
        for (i, &(width, height)) in sizes.iter().enumerate() {
            let path = folder.join(format!("{i}.PNG"));
            if i % 2 == 0 {
                let image = RgbImage::from_pixel(width, height, Rgb([value, 0, 7]));
                image
                    .save_with_format(path, image::ImageFormat::Png)
                    .unwrap();
            } else {
                let image = GrayImage::from_pixel(width, height, Luma([value]));
                image
                    .save_with_format(path, image::ImageFormat::Png)
                    .unwrap();
            }
        }
        File::create(folder.join("notes.txt")).unwrap();
        File::create(folder.join(".hidden.png")).unwrap();
    }
}

#[test]
fn image_folders_take_the_common_size() {
    let folder = tempfile::tempdir().unwrap();
    write_images(&folder.path().join("top"), &[(5, 4), (5, 4)]);
    for cache_bytes in [0, 1 << 30] {
        let options = OpenOptions {
            cache_bytes,
            ..options(folder.path())
        };
        let split = open("image-folder", &options).unwrap();
        assert_eq!((lengths(&split), split.train.shape()), ([4, 4], [3, 4, 5]));
        assert_eq!(split.train.class_names(), ["a", "b"]);
        assert_eq!([split.train.label(1), split.train.label(2)], [0, 1]);
        let pixels = image(split.train.as_ref(), 2);
        assert_eq!((pixels[0], pixels[20], pixels[40]), (200, 0, 7));
        assert_eq!(image(split.test.as_ref(), 1), [101; 60]);
        // (100 + 100 + 200 + 200) / 4 for red; (0 + 100 + 0 + 200) / 4 for green.
        assert_eq!(split.normalization.mean[..2], [150.0 / 255.0, 75.0 / 255.0]);
    }
}

#[test]
fn decoded_at_once_or_when_used_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path(), &[(9, 14), (30, 8), (16, 16)]);
    let open = |cache_bytes| {
        let options = OpenOptions {
            cache_bytes,
            image_size: Some(8),
            ..options(folder.path())
        };
        open("image-folder", &options).unwrap()
    };
    let (cached, lazy) = (open(1 << 30), open(0));
    assert_eq!(cached.train.shape(), [3, 8, 8]);
    assert_eq!(cached.train.fingerprint(), lazy.train.fingerprint());
    assert_eq!(cached.normalization, lazy.normalization);
    for index in 0..cached.train.len() {
        assert_eq!(
            image(cached.train.as_ref(), index),
            image(lazy.train.as_ref(), index)
        );
    }
}

#[test]
fn images_of_several_sizes_become_224() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path(), &[(9, 14), (30, 8)]);
    let split = open("image-folder", &options(folder.path())).unwrap();
    assert_eq!(
        (split.train.shape(), split.augmentation.pad),
        ([3, 224, 224], 28)
    );
}

#[test]
fn broken_images_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    write_images(folder.path(), &[(4, 4), (4, 4)]);
    let zero = OpenOptions {
        image_size: Some(0),
        ..options(folder.path())
    };
    insta::assert_snapshot!(open("image-folder", &zero).unwrap_err(), @"an image size of 0 was asked for; it must be from 1 to 4096 pixels");
    let path = folder.path().join("train/b/1.PNG");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 20]).unwrap();
    assert!(message("image-folder", &folder).starts_with("DIR/train/b/1.PNG does not decode: "));
    // Not kept in memory, the image is found broken when it is used.
    let lazy = OpenOptions {
        cache_bytes: 0,
        image_size: Some(4),
        ..options(folder.path())
    };
    assert!(
        open("image-folder", &lazy).is_err(),
        "measuring looks at all of a small set"
    );
}
