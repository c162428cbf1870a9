//! A resumed run goes by the images that it went by, or says that they are others.

use std::fs;
use std::path::PathBuf;

use image::{Rgb, RgbImage};

use crate::support::{Bench, Output};

const RUN: &str = "--dataset image-folder --data-dir d --stages 2 --batch-size 4 --epochs 4 --lr 0.01 \
                   --calibration-batches 0 --augment false";

fn picture(bench: &Bench, name: &str, shade: u8) -> PathBuf {
    let path = bench.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    // BMP: files of one size, whatever is on them.
    let image = RgbImage::from_fn(8, 8, |x, y| Rgb([shade, 31 * x as u8, 31 * y as u8]));
    image
        .save_with_format(&path, image::ImageFormat::Bmp)
        .unwrap();
    path
}

/// A run that its limit has ended, and may go on.
fn cut_short(cache: &str) -> Bench {
    let bench = Bench::new();
    for (folder, count) in [("train", 6), ("val", 2), ("test", 2)] {
        for number in 0..count {
            for class in ["a", "b"] {
                picture(
                    &bench,
                    &format!("d/{folder}/{class}/{number}.bmp"),
                    20 * number,
                );
            }
        }
    }
    let run = bench.stagger(&format!("train {RUN} --max-batches 3 {cache} --output run"));
    assert_eq!(run.status, 0, "{}", run.stderr);
    bench
}

fn resume(bench: &Bench, more: &str) -> Output {
    bench.stagger(&format!("train --resume run --max-batches 6 {more}"))
}

fn refused(bench: &Bench, more: &str, said: &str) {
    let output = resume(bench, more);
    assert_eq!((output.status, output.stdout.as_str()), (2, ""), "{said}");
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert!(output.stderr.contains(said), "{said}: {}", output.stderr);
}

#[test]
fn a_replaced_picture_of_the_same_size_is_seen() {
    for cache in ["", "--cache-bytes 0"] {
        for (folder, part) in [
            ("train", "train on"),
            ("val", "evaluate on"),
            ("test", "test on at the end"),
        ] {
            let bench = cut_short(cache);
            let name = format!("d/{folder}/b/1.bmp");
            let before = fs::read(bench.path(&name)).unwrap();
            picture(&bench, &name, 99);
            assert_eq!(fs::read(bench.path(&name)).unwrap().len(), before.len());
            let said = format!(
                "error: the images to {part} have changed: the fingerprint of their files' content, under the same names and sizes, was "
            );
            refused(&bench, "", &said);
            // Restored, or meant.
            fs::write(bench.path(&name), &before).unwrap();
            let again = bench.stagger("train --resume run --max-batches 4");
            assert_eq!(again.status, 0, "{}", again.stderr);
            picture(&bench, &name, 99);
            let accepted = resume(&bench, "--accept-changed-data");
            assert_eq!(accepted.status, 0, "{}", accepted.stderr);
            let line = format!("the images to {part} have changed, which is accepted: ");
            assert!(accepted.stdout.contains(&line), "{}", accepted.stdout);
            // From there on they are the run's.
            let more = bench.stagger("train --resume run --epochs 5 --max-batches 9");
            assert_eq!(more.status, 0, "{}", more.stderr);
        }
    }
}

#[test]
fn other_sets_are_refused() {
    let bench = cut_short("");
    // A repaired file has another size.
    let path = bench.path("d/val/a/0.bmp");
    let before = fs::read(&path).unwrap();
    fs::write(&path, [&before[..], &[0]].concat()).unwrap();
    refused(
        &bench,
        "",
        "the images to evaluate on have changed: their fingerprint was ",
    );
    refused(
        &bench,
        "",
        "a repaired file, resume with --accept-changed-data",
    );
    let accepted = resume(&bench, "--accept-changed-data");
    assert_eq!(accepted.status, 0, "{}", accepted.stderr);
    // More images are another set.
    picture(&bench, "d/val/a/9.bmp", 1);
    let more = bench.stagger("train --resume run --max-batches 8 --epochs 5 --accept-changed-data");
    assert_eq!(more.status, 2);
    assert!(
        more.stderr
            .contains("their number was 4 and is 5 now; a resumed run has to be"),
        "{}",
        more.stderr
    );
    assert!(
        !more.stderr.contains("--accept-changed-data"),
        "{}",
        more.stderr
    );

    let without = bench.stagger("train --accept-changed-data");
    assert_eq!(without.status, 2, "{}", without.stdout);
    assert!(without.stderr.contains("--resume"), "{}", without.stderr);
}
