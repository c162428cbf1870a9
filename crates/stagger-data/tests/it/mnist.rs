//! IDX files of MNIST and its relatives, in the layouts that people have.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::{Compression, write::GzEncoder};
use stagger_data::{Dataset, Normalization, OpenOptions, Split, open};
use tempfile::TempDir;

/// A folder that files of sets are put into.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.0.path().join(inner)
    }

    fn write(&self, path: &str, bytes: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// A set of these labels, in files that begin with `prefix`; the images are as bright as their labels.
    fn put(&self, prefix: &str, side: usize, train: &[u8], test: &[u8]) {
        let last = if prefix.ends_with('/') || prefix.is_empty() {
            "t10k"
        } else {
            "test"
        };
        for (split, labels) in [("train", train), (last, test)] {
            let [images, labels] = files(side, labels);
            self.write(&format!("{prefix}{split}-images-idx3-ubyte"), &images);
            self.write(&format!("{prefix}{split}-labels-idx1-ubyte"), &labels);
        }
    }

    fn open(&self, name: &str, folder: &str) -> Split {
        open(name, &self.options(folder))
            .unwrap_or_else(|error| panic!("{name} in {folder}: {error}"))
    }

    fn options(&self, folder: &str) -> OpenOptions {
        OpenOptions {
            data_dir: Some(self.path(folder)),
            ..OpenOptions::default()
        }
    }

    /// The sentence that says why not.
    fn refused(&self, name: &str, folder: &str) -> String {
        let error = open(name, &self.options(folder)).unwrap_err().to_string();
        error.replace(&self.0.path().display().to_string(), "TOP")
    }
}

fn idx(magic: u32, dimensions: &[usize], data: &[u8]) -> Vec<u8> {
    let words = dimensions.iter().map(|&word| word as u32);
    let header = std::iter::once(magic)
        .chain(words)
        .flat_map(u32::to_be_bytes);
    header.chain(data.iter().copied()).collect()
}

fn files(side: usize, labels: &[u8]) -> [Vec<u8>; 2] {
    let pixels: Vec<u8> = labels
        .iter()
        .flat_map(|&label| vec![label; side * side])
        .collect();
    [
        idx(0x803, &[labels.len(), side, side], &pixels),
        idx(0x801, &[labels.len()], labels),
    ]
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn labels(set: &dyn Dataset) -> Vec<usize> {
    (0..set.len()).map(|index| set.label(index)).collect()
}

fn all(labels: std::ops::Range<u8>) -> Vec<u8> {
    labels.collect()
}

#[test]
fn classes_are_the_labels_of_the_training_images() {
    let bench = Bench::new();
    bench.put("emnist/emnist-balanced-", 28, &all(0..47), &[46, 0]);
    bench.put("renamed/", 28, &all(1..27), &[26, 1]);
    bench.put("gaps/", 28, &[7, 3, 7], &[3]);
    let balanced = bench.open("mnist", "emnist");
    assert_eq!(
        (balanced.train.classes(), labels(balanced.test.as_ref())),
        (47, vec![46, 0])
    );
    assert_eq!(balanced.train.class_names()[46], "t");
    insta::assert_snapshot!(balanced.notes.join("\n"), @"emnist-balanced: 47 images of 28×28 to train on, 2 to evaluate on, 47 classes; images lie on their side, as EMNIST has them");
    let renamed = bench.open("mnist", "renamed");
    assert_eq!(
        (renamed.train.classes(), labels(renamed.test.as_ref())),
        (26, vec![25, 0])
    );
    assert_eq!(renamed.train.class_names()[25], "26");
    insta::assert_snapshot!(renamed.notes.join("\n"), @"mnist: 26 images of 28×28 to train on, 2 to evaluate on, 26 classes; labels 1 to 26 became 0 to 25");
    assert_eq!(bench.open("emnist", "renamed").train.class_names()[25], "z");
    let gaps = bench.open("mnist", "gaps");
    assert_eq!(
        (gaps.train.class_names(), labels(gaps.train.as_ref())),
        (&["3".to_owned(), "7".to_owned()][..], vec![1, 0, 1])
    );
    insta::assert_snapshot!(gaps.notes.join("\n"), @"mnist: 3 images of 28×28 to train on, 1 to evaluate on, 2 classes; labels 3, 7 became 0 to 1");
    bench.put("new/", 28, &all(1..27), &[1, 27]);
    insta::assert_snapshot!(bench.refused("mnist", "new"), @"TOP/new/t10k-labels-idx1-ubyte: record 1 has label 27, which no training image has; the labels in TOP/new/train-labels-idx1-ubyte are 1 to 26");
}

#[test]
fn any_square_size_is_read_and_shifted_in_proportion() {
    let bench = Bench::new();
    for (side, pad) in [(1, 1), (8, 2), (20, 3), (28, 4), (64, 8)] {
        bench.put("sized/", side, &all(0..10), &[9]);
        let split = bench.open("mnist", "sized");
        assert_eq!(
            (split.train.shape(), split.augmentation.pad),
            ([1, side, side], pad)
        );
        // The published constants are for the published images.
        assert_eq!(split.normalization == Normalization::mnist(), side == 28);
        assert_eq!(split.notes.is_empty(), side == 28, "{:?}", split.notes);
    }
    let asked = OpenOptions {
        image_size: Some(28),
        ..bench.options("sized")
    };
    insta::assert_snapshot!(open("mnist", &asked).unwrap_err(), @"mnist has images of 64×64 pixels that are not resized, but an image size of 28 was asked for; leave the image size out");
    bench.write("sized/t10k-images-idx3-ubyte", &files(20, &[9])[0]);
    insta::assert_snapshot!(bench.refused("mnist", "sized"), @"TOP/sized/t10k-images-idx3-ubyte holds images of 20×20 pixels (height × width), expected 64×64");
}

#[test]
fn one_of_several_sets_is_named_by_the_end_of_the_path() {
    let bench = Bench::new();
    bench.put("e/emnist-balanced-", 28, &all(0..47), &[1]);
    bench.put("e/emnist-letters-", 28, &all(1..27), &[1]);
    for name in ["mnist", "emnist"] {
        let message = bench.refused(name, "e");
        assert!(message.ends_with("holds several sets of such files, emnist-balanced, emnist-letters; name one of them, such as --data-dir TOP/e/emnist-balanced"), "{message}");
        for path in ["e/emnist-letters", "e/letters", "e/EMNIST_Letters"] {
            assert_eq!(
                bench.open(name, path).train.class_names()[25],
                "z",
                "{path}"
            );
        }
        assert_eq!(bench.open(name, "e/emnist-balanced").train.classes(), 47);
    }
    insta::assert_snapshot!(bench.refused("emnist", "e/digits"), @"emnist: TOP/e/digits does not hold emnist-balanced-train-images-idx3-ubyte, -train-labels-idx1-ubyte, -test-images-idx3-ubyte and -test-labels-idx1-ubyte (each plain or .gz; or byclass, bymerge, letters, digits, mnist): there is no such folder, and of digits no files in TOP/e, which holds emnist-balanced, emnist-letters; get gzip.zip from https://www.nist.gov/itl/products-and-services/emnist-dataset, unpack it and name its folder with --data-dir");
    // Plain MNIST beside them is what its name says.
    bench.put("e/", 28, &all(0..10), &[1]);
    assert_eq!(bench.open("mnist", "e").train.classes(), 10);
    assert!(bench.open("mnist", "e").notes.is_empty());
}

#[test]
fn layouts_of_torchvision_kaggle_and_the_original_site_are_read() {
    let bench = Bench::new();
    bench.put("root/MNIST/raw/", 28, &all(0..10), &[1]);
    bench.put("root/KMNIST/raw/", 28, &all(0..10), &[2, 2]);
    bench.put("root/FashionMNIST/raw/", 28, &all(0..10), &[3, 3, 3]);
    bench.put(
        "root/EMNIST/raw/emnist-digits-",
        28,
        &all(0..10),
        &[4, 4, 4, 4],
    );
    for (name, count, class) in [
        ("mnist", 1, "0"),
        ("kmnist", 2, "o"),
        ("fashion-mnist", 3, "T-shirt/top"),
        ("emnist", 4, "0"),
    ] {
        let split = bench.open(name, "root");
        assert_eq!(
            (split.test.len(), split.train.class_names()[0].as_str()),
            (count, class),
            "{name}"
        );
    }
    // Kaggle's archive has each file a second time, in a folder of the same name.
    let [images, labels] = files(28, &all(0..10));
    for (file, bytes) in [
        ("train-images", &images),
        ("train-labels", &labels),
        ("t10k-images", &images),
        ("t10k-labels", &labels),
    ] {
        let kind = if file.ends_with("images") {
            "idx3"
        } else {
            "idx1"
        };
        bench.write(&format!("both/archive/{file}.{kind}-ubyte"), bytes);
        bench.write(
            &format!("both/archive/{file}-{kind}-ubyte/{file}-{kind}-ubyte"),
            bytes,
        );
        bench.write(
            &format!("nested/{file}-{kind}-ubyte/{file}-{kind}-ubyte"),
            bytes,
        );
        bench.write(
            &format!("upper/{}.{kind}-UBYTE.GZ", file.to_uppercase()),
            &gzip(bytes),
        );
    }
    for folder in ["both", "nested", "upper"] {
        assert_eq!(bench.open("mnist", folder).train.classes(), 10, "{folder}");
    }
    insta::assert_snapshot!(bench.open("mnist", "both").notes.join("\n"), @"mnist (archive): 10 images of 28×28 to train on, 10 to evaluate on, 10 classes");
    // Labels of 32 bits, in eight columns.
    let rows: Vec<u8> = (0..10u32)
        .flat_map(|label| [label, 7, 1, 2, 3, 4, 0, 0])
        .flat_map(u32::to_be_bytes)
        .collect();
    for split in ["train", "test"] {
        bench.write(
            &format!("q/qmnist-{split}-images-idx3-ubyte.gz"),
            &gzip(&images),
        );
        bench.write(
            &format!("q/qmnist-{split}-labels-idx2-int.gz"),
            &gzip(&idx(0xc02, &[10, 8], &rows)),
        );
    }
    for name in ["mnist", "qmnist"] {
        let split = bench.open(name, "q");
        assert_eq!(
            self::labels(split.train.as_ref()),
            (0..10).collect::<Vec<_>>()
        );
    }
}

#[test]
fn another_relative_is_told_by_its_name() {
    let bench = Bench::new();
    bench.put("a/FashionMNIST/raw/", 28, &all(0..10), &[1]);
    bench.put("b/emnist-digits-", 28, &all(0..10), &[1]);
    let looks = |name, folder| {
        let message = bench.refused(name, folder);
        let (_, after) = message.split_once("looks like --dataset ").expect(&message);
        after.split(';').next().unwrap_or_default().to_owned()
    };
    assert_eq!(looks("mnist", "a"), "fashion-mnist");
    assert_eq!(looks("fashion-mnist", "b"), "emnist");
    assert_eq!(looks("kmnist", "b"), "emnist");
}

#[test]
fn what_is_missing_is_named() {
    let bench = Bench::new();
    bench.put("e/emnist-letters-", 28, &all(1..27), &[1]);
    fs::remove_file(bench.path("e/emnist-letters-test-labels-idx1-ubyte")).unwrap();
    let message = bench.refused("emnist", "e");
    assert!(
        message.contains(": in TOP/e the test labels of emnist-letters are missing; get gzip.zip"),
        "{message}"
    );
    assert!(
        bench
            .refused("mnist", "nowhere")
            .contains("there is no such folder")
    );
    assert!(bench.refused("mnist", ".").contains("are missing"));
    fs::remove_dir_all(Path::new(&bench.path("e"))).unwrap();
    assert!(
        bench
            .refused("mnist", ".")
            .contains("neither there nor in the folders below")
    );
}
