//! Folders as phones, scanners, the web and other systems leave them: each is used as its owner means it, or refused by a sentence
//! that says what to change. `benchmarks/picture-folders` tries more of them, made by other programs, on the command.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, GrayAlphaImage, ImageFormat, RgbImage, RgbaImage};
use stagger_data::{OpenOptions, ValSplit, open};

const JPEG: &[u8] = include_bytes!("jpeg/colour.jpg");
const CMYK: &[u8] = include_bytes!("jpeg/cmyk.jpg");
const PROGRESSIVE: &[u8] = include_bytes!("jpeg/progressive.jpg");
const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic";
const RAW: &[u8] = b"\0\0\0\x18ftypcrx \0\0\0\0";
const FORK: &[u8] = b"\0\x05\x16\x07\0\x02\0\0Mac OS X        ";
const HTML: &[u8] = b"<!DOCTYPE html>\n<title>403</title>\n";

fn file(root: &Path, name: &str, content: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// The line on a folder that is filled like this, or the sentence on what is wrong with it.
fn said(options: OpenOptions, fill: impl Fn(&dyn Fn(&str, &[u8]))) -> String {
    let folder = tempfile::tempdir().unwrap();
    fill(&|name, content| file(folder.path(), name, content));
    let options = OpenOptions {
        data_dir: Some(folder.path().to_path_buf()),
        ..options
    };
    let said = match open("image-folder", &options) {
        Ok(split) => split.inventory.unwrap().to_string(),
        Err(error) => error.to_string(),
    };
    said.replace(&folder.path().display().to_string(), "DIR")
}

fn plain(fill: impl Fn(&dyn Fn(&str, &[u8]))) -> String {
    said(OpenOptions::default(), fill)
}

/// The same pictures in `train` and `val`, for two classes.
fn everywhere(fill: impl Fn(&str)) {
    for place in ["train/cat", "train/dog", "val/cat", "val/dog"] {
        fill(place);
    }
}

#[test]
fn phones() {
    let album = plain(|file| {
        everywhere(|place| {
            file(&format!("{place}/2024/05/IMG_0001.JPG"), JPEG);
            file(&format!("{place}/2024/05/IMG_0002.JPG"), JPEG);
            file(&format!("{place}/2024/05/IMG_0003.HEIC"), HEIC);
            file(&format!("{place}/2024/05/IMG_0001.AAE"), b"<?xml");
        });
    });
    insta::assert_snapshot!(album, @"4 images to train on (train), 4 to evaluate on (val), 2 classes; left out: 8 files of other formats (such as train/cat/2024/05/IMG_0001.AAE)");
    let renamed = plain(|file| {
        everywhere(|place| file(&format!("{place}/1.jpg"), JPEG));
        file("train/cat/2.jpg", HEIC);
    });
    insta::assert_snapshot!(renamed, @"DIR/train/cat/2.jpg does not decode: it is HEIC (as phones write it), which is not read; convert it to JPEG, PNG, WebP, BMP, GIF or TIFF; replace or remove the file, or add --skip-bad-images to leave out all that do not decode");
    let heic = plain(|file| everywhere(|place| file(&format!("{place}/1.heic"), HEIC)));
    insta::assert_snapshot!(heic, @"image-folder: of the files in DIR only 0 can be used, and 4 are left out: 4 files of other formats (such as DIR/train/cat/1.heic); convert them or take them away, or add --allow-left-out to go on without them");
}

#[test]
fn scanners_and_cameras() {
    let deep = encoded(DynamicImage::new_luma16(20, 30), ImageFormat::Tiff);
    let scans = plain(|file| {
        everywhere(|place| {
            file(&format!("{place}/1.tif"), &deep);
            file(
                &format!("{place}/2.tiff"),
                &encoded(RgbImage::new(20, 30), ImageFormat::Tiff),
            );
            file(&format!("{place}/3.jpg"), CMYK);
        });
    });
    insta::assert_snapshot!(scans, @"6 images to train on (train), 6 to evaluate on (val), 2 classes");
    let export = plain(|file| {
        everywhere(|place| {
            file(&format!("{place}/1.jpg"), PROGRESSIVE);
            file(&format!("{place}/1.CR3"), RAW);
            file(&format!("{place}/1.xmp"), b"<x:xmpmeta/>");
        });
    });
    insta::assert_snapshot!(export, @"image-folder: of the files in DIR only 4 can be used, and 8 are left out: 8 files of other formats (such as DIR/train/cat/1.CR3); convert them or take them away, or add --allow-left-out to go on without them");
}

#[test]
fn the_web_and_screens() {
    let fetched = |skip_bad_images| {
        let options = OpenOptions {
            skip_bad_images,
            ..OpenOptions::default()
        };
        said(options, |file| {
            everywhere(|place| {
                file(
                    &format!("{place}/1.webp"),
                    &encoded(RgbImage::new(9, 9), ImageFormat::WebP),
                );
                file(
                    &format!("{place}/2.gif"),
                    &encoded(RgbaImage::new(9, 9), ImageFormat::Gif),
                );
                file(
                    &format!("{place}/3.png"),
                    &encoded(GrayAlphaImage::new(9, 9), ImageFormat::Png),
                );
                file(&format!("{place}/4?w=640"), JPEG);
                file(
                    &format!("{place}/dot.png"),
                    &encoded(RgbaImage::new(1, 1), ImageFormat::Png),
                );
                file(
                    &format!("{place}/wide.png"),
                    &encoded(RgbImage::new(3000, 20), ImageFormat::Png),
                );
            });
            file("train/dog/403.jpg", HTML);
            file("train/dog/5.jpg", b"");
            file("train/dog/new.avif", b"\0\0\0\x18ftypavif\0\0\0\0");
        })
    };
    insta::assert_snapshot!(fetched(false), @r"
    2 images do not decode; replace or remove them, or add --skip-bad-images to leave out all that do not decode:
      DIR/train/dog/403.jpg: it does not start like a picture (JPEG, PNG, WebP, BMP, GIF or TIFF)
      DIR/train/dog/5.jpg: the file is empty
    ");
    insta::assert_snapshot!(fetched(true), @"12 images to train on (train), 12 to evaluate on (val), 2 classes; left out: 1 file of another format (train/dog/new.avif), 2 damaged images (such as train/dog/403.jpg)");
}

#[test]
fn other_systems() {
    let mac = plain(|file| {
        for (split, class) in [
            ("train", "a\u{308}"),
            ("val", "\u{e4}"),
            ("train", "b"),
            ("val", "b"),
        ] {
            file(&format!("set/{split}/{class}/1.jpg"), JPEG);
            file(&format!("set/{split}/{class}/._1.jpg"), FORK);
            file(&format!("__MACOSX/set/{split}/{class}/._1.jpg"), FORK);
        }
        file("set/.DS_Store", b"");
    });
    insta::assert_snapshot!(mac, @"2 images to train on (set/train), 2 to evaluate on (set/val), 2 classes; left out: 4 hidden files or folders (such as set/train/ä/._1.jpg)");
    let aside = OpenOptions {
        val_split: Some(ValSplit {
            share: 0.5,
            seed: 1,
        }),
        ..OpenOptions::default()
    };
    let flat = said(aside, |file| {
        for class in ["cat", "dog"] {
            file(&format!("{class}/1.jpg"), JPEG);
            file(&format!("{class}/2.jpg"), JPEG);
            file(&format!("__MACOSX/{class}/._1.jpg"), FORK);
        }
    });
    insta::assert_snapshot!(flat, @"2 images to train on and 2 to evaluate on (both from DIR), 2 classes; left out: 2 hidden files or folders (such as __MACOSX/cat/._1.jpg), 1 class folder without images (__MACOSX)");
    let windows = plain(|file| {
        for place in ["Train/nut", "Train/bolt", "Test/nut", "Test/bolt"] {
            file(&format!("{place}/Bild (1).JPG"), JPEG);
            file(&format!("{place}/Bild (1) - Kopie.JPG"), JPEG);
            file(&format!("{place}/Thumbs.db"), b"\xd0\xcf\x11\xe0");
        }
        file("Train/desktop.ini", b"[.ShellClassInfo]");
        file("Train (1)/nut/1.jpg", JPEG);
    });
    insta::assert_snapshot!(windows, @"4 images to train on (Train), 4 to evaluate on (Test), 2 classes; left out: 4 files of other formats (such as Test/bolt/Thumbs.db), 1 file beside the class folders (Train/desktop.ini)");
}
