//! Pictures that do not decode: all of them are told of by name, or left out where that was asked for.

use std::fs;
use std::path::PathBuf;

use image::{GrayImage, ImageFormat, Luma};
use stagger_data::{OpenOptions, Split, open};
use tempfile::TempDir;

struct Pictures(TempDir);

impl Pictures {
    /// Sixteen pictures of each of two classes to train on, and two of each to evaluate on.
    fn new() -> Self {
        let pictures = Self(tempfile::tempdir().unwrap());
        for class in ["a", "b"] {
            for number in 10..26 {
                pictures.whole(&format!("train/{class}/{number}.png"));
            }
            pictures.whole(&format!("val/{class}/1.png"));
            pictures.whole(&format!("val/{class}/2.png"));
        }
        pictures
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn whole(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = GrayImage::from_fn(40, 40, |x, y| Luma([(x * x + 3 * y) as u8]));
        image.save_with_format(path, ImageFormat::Png).unwrap();
    }

    /// Cuts a picture off behind its header, as a download that broke off.
    fn cut(&self, name: &str) {
        let bytes = fs::read(self.path(name)).unwrap();
        fs::write(self.path(name), &bytes[..bytes.len() / 2]).unwrap();
    }

    fn options(&self, cache_bytes: u64, skip_bad_images: bool) -> OpenOptions {
        OpenOptions {
            data_dir: Some(self.0.path().to_path_buf()),
            cache_bytes,
            skip_bad_images,
            ..OpenOptions::default()
        }
    }

    fn message(&self, cache_bytes: u64, skip: bool) -> String {
        let opened = open("image-folder", &self.options(cache_bytes, skip));
        let message = opened.unwrap_err().to_string();
        message.replace(&self.0.path().display().to_string(), "DIR")
    }

    fn skipping(&self, cache_bytes: u64) -> Split {
        open("image-folder", &self.options(cache_bytes, true)).unwrap()
    }
}

const KEPT: u64 = 1 << 30;

#[test]
fn every_damaged_picture_is_told_of() {
    let pictures = Pictures::new();
    pictures.cut("train/b/12.png");
    insta::assert_snapshot!(pictures.message(KEPT, false), @"DIR/train/b/12.png does not decode: unexpected end of file; replace or remove the file, or add --skip-bad-images to leave out all that do not decode");
    assert_eq!(pictures.message(0, false), pictures.message(KEPT, false));

    fs::write(pictures.path("train/a/10.png"), "<html>\nno such picture").unwrap();
    fs::write(pictures.path("val/a/2.png"), [0xff, 0xd8, 0xff, 53, 53, 53]).unwrap();
    insta::assert_snapshot!(pictures.message(KEPT, false), @r"
    3 images do not decode; replace or remove them, or add --skip-bad-images to leave out all that do not decode:
      DIR/train/a/10.png: it does not start like a picture (JPEG, PNG, WebP, BMP, GIF or TIFF)
      DIR/train/b/12.png: unexpected end of file
      DIR/val/a/2.png: I/O errors Not enough bytes, expected 1 but found 0
    ");
    // Of a set that is not kept in memory, what the headers say is known.
    insta::assert_snapshot!(pictures.message(0, false), @r"
    at least 2 images do not decode; replace or remove them, or add --skip-bad-images to leave out all that do not decode:
      DIR/train/a/10.png: it does not start like a picture (JPEG, PNG, WebP, BMP, GIF or TIFF)
      DIR/val/a/2.png: I/O errors Not enough bytes, expected 1 but found 0
    ");

    for number in 14..24 {
        pictures.cut(&format!("train/b/{number}.png"));
    }
    let message = pictures.message(KEPT, false);
    assert!(message.starts_with("13 images do not decode"), "{message}");
    assert!(message.ends_with("\n  … and 3 more"), "{message}");
    assert_eq!(message.lines().count(), 12, "{message}");
}

#[test]
fn damaged_pictures_are_left_out() {
    let pictures = Pictures::new();
    let reference = pictures.skipping(KEPT);
    let without = open("image-folder", &pictures.options(KEPT, false)).unwrap();
    assert_eq!(
        reference.train.fingerprint(),
        without.train.fingerprint(),
        "nothing is left out"
    );

    pictures.cut("train/b/12.png");
    pictures.cut("train/b/13.png");
    // It has another size than the others, and counts for nothing.
    let large = GrayImage::new(64, 64);
    large.save(pictures.path("train/a/11.png")).unwrap();
    pictures.cut("train/a/11.png");
    let one = pictures.skipping(KEPT);
    insta::assert_snapshot!(one.inventory.as_ref().unwrap().to_string().replace(&pictures.0.path().display().to_string(), "DIR"), @"29 images to train on (train), 4 to evaluate on (val), 2 classes; left out: 3 damaged images (such as train/a/11.png)");
    assert_eq!(one.train.shape(), [3, 40, 40]);
    assert_eq!((one.train.len(), one.test.len()), (29, 4));
    for cache_bytes in [0, KEPT] {
        let again = pictures.skipping(cache_bytes);
        assert_eq!(again.train.fingerprint(), one.train.fingerprint());
        let mut pixels = vec![0; 3 * 40 * 40];
        for index in 0..again.train.len() {
            again.train.image(index, &mut pixels).unwrap();
        }
    }

    // What is left out is part of what a set is, also where it is no training picture.
    pictures.cut("val/a/2.png");
    let other = pictures.skipping(KEPT);
    assert_eq!(other.train.len(), one.train.len());
    assert_ne!(other.train.fingerprint(), one.train.fingerprint());
}

#[test]
fn most_pictures_must_be_whole() {
    let pictures = Pictures::new();
    for number in 10..26 {
        pictures.cut(&format!("train/b/{number}.png"));
    }
    insta::assert_snapshot!(pictures.message(KEPT, true), @"class folder DIR/train/b holds no image that can be read, but 16 other files (such as DIR/train/b/10.png); convert or replace what is there, take the folder away, or add --allow-left-out to go on without the class");
    for number in 10..13 {
        pictures.cut(&format!("train/a/{number}.png"));
    }
    insta::assert_snapshot!(pictures.message(KEPT, true), @"image-folder: of the files in DIR only 17 can be used, and 19 are left out: 19 damaged images (such as DIR/train/a/10.png); convert them or take them away, or add --allow-left-out to go on without them");
}
