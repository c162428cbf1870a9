//! The transforms of ImageNet training, from the command line.

use std::fs;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::support::{Bench, is_empty};

/// What all runs share: a run of 12 batches over pictures of many sizes.
const RUN: &str = "--image-size 16 --stages 2 --schedule bp --batch-size 4 --epochs 4 --lr 0.01 --lr-schedule constant --warmup-batches 0 \
                   --calibration-batches 0 --snapshot-every 4";
/// All transforms.
const ALL: &str =
    "--augment imagenet --color-jitter 0.4,0.4,0.4,0.1 --rand-augment 2,9 --random-erasing 0.5";

/// Two classes, six pictures each to train on and two to evaluate on.
fn folder() -> Bench {
    let bench = Bench::new();
    for (part, count) in [("train", 6), ("val", 2)] {
        for (class, seed) in [("cat", 3), ("dog", 11)] {
            fs::create_dir_all(bench.path(&format!("d/{part}/{class}"))).unwrap();
            for number in 0..count {
                let image = RgbImage::from_fn(20 + 5 * number, 40 - 3 * number, |x, y| {
                    Rgb([x * seed, y * 5, x * y + number].map(|value| value as u8))
                });
                let name = format!("d/{part}/{class}/{number}.png");
                image.save(bench.path(&name)).unwrap();
            }
        }
    }
    bench
}

fn done(bench: &Bench, arguments: &str) -> String {
    let output = bench.stagger(arguments);
    assert_eq!(output.status, 0, "{arguments}: {}", output.stderr);
    output.stdout
}

#[test]
fn bits_do_not_depend_on_workers_or_on_an_interruption() {
    let bench = folder();
    done(
        &bench,
        &format!("train --data-dir d {RUN} {ALL} --output one"),
    );
    done(
        &bench,
        &format!("train --data-dir d {RUN} {ALL} --workers 3 --output three"),
    );
    assert_eq!(bench.weights("one"), bench.weights("three"));
    assert_eq!(bench.losses("one"), bench.losses("three"));
    done(
        &bench,
        &format!("train --data-dir d {RUN} {ALL} --max-batches 7 --output part"),
    );
    done(&bench, "train --resume part --max-batches 12 --workers 2");
    assert_eq!(bench.weights("one"), bench.weights("part"));
    assert_eq!(bench.losses("one"), bench.losses("part"));

    let other = bench.stagger("train --resume part --augment true");
    assert_eq!(other.status, 2);
    assert!(
        other
            .stderr
            .contains("--augment was \"imagenet\" and is true now"),
        "{}",
        other.stderr
    );
    // Each of them changes what is trained on.
    for (number, flags) in [
        "--augment imagenet",
        "--augment imagenet --color-jitter 0.4,0.4,0.4,0.1",
        "--augment imagenet --rand-augment 2,9",
        "--augment imagenet --random-erasing 0.5",
        "--color-jitter 0.4,0.4,0.4,0.1 --rand-augment 2,9 --random-erasing 0.5",
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("other-{number}");
        done(
            &bench,
            &format!("train --data-dir d {RUN} {flags} --max-batches 4 --output {name}"),
        );
        assert_ne!(
            bench.losses("one")[..4],
            bench.losses(&name)[..4],
            "{flags}"
        );
    }
}

#[test]
fn a_run_is_evaluated_as_it_was() {
    let bench = folder();
    let said = done(
        &bench,
        &format!("train --data-dir d {RUN} {ALL} --output run"),
    );
    let data: Value =
        serde_json::from_str(&fs::read_to_string(bench.path("run/data.json")).unwrap()).unwrap();
    assert_eq!(data["framing"], "centre-crop");
    let evaluated = done(&bench, "eval --run run --weights last");
    let (_, figures) = evaluated.trim_end().rsplit_once(": test ").unwrap();
    assert!(
        said.contains(figures.split(' ').next().unwrap()),
        "{said} {evaluated}"
    );
    // Elsewhere as well, by what the run says of itself.
    fs::rename(bench.path("d/val"), bench.path("elsewhere")).unwrap();
    let elsewhere = done(&bench, "eval --run run --weights last --data-dir elsewhere");
    assert!(elsewhere.contains(figures), "{elsewhere} {evaluated}");
    let predicted = done(&bench, "predict --run run elsewhere/cat");
    assert_eq!(predicted.lines().count(), 2, "{predicted}");
}

#[test]
fn contact_sheets_show_them() {
    let bench = folder();
    let sheet = |name: &str, flags: &str| {
        let said = done(
            &bench,
            &format!("data inspect d --image-size 16 --contact-sheet {name}.png {flags}"),
        );
        (said, fs::read(bench.path(&format!("{name}.png"))).unwrap())
    };
    let (said, all) = sheet("all", ALL);
    let line = "augmentation: parts of 8 % to 100 % of each picture, resized, mirrored at random, with colours changed, with 2 of 14 \
                operations of magnitude 9 and with a part erased in 50 % of them\n";
    assert!(said.contains(line), "{said}");
    let others = [
        "--augment imagenet",
        "--augment imagenet --color-jitter 0.4,0.4,0.4,0.1",
        "--augment imagenet --rand-augment 2,9",
        "--augment imagenet --random-erasing 1",
        "--random-erasing 1",
    ];
    for (number, flags) in others.into_iter().enumerate() {
        let (_, other) = sheet(&format!("other-{number}"), flags);
        assert_ne!(all, other, "{flags}");
    }
    let json = done(
        &bench,
        &format!("data inspect d --image-size 16 --json {ALL}"),
    );
    let json: Value = serde_json::from_str(&json).unwrap();
    insta::assert_snapshot!(json["augmentation"], @r#"{"color_jitter":[0.4,0.4,0.4,0.1],"flip":true,"pad":0,"rand_augment":[2,9],"random_erasing":0.5,"resized_crop":true}"#);
    assert_eq!(json["framing"], "centre-crop");
}

#[test]
fn what_cannot_be_done_is_refused() {
    let bench = folder();
    bench.tiny_data();
    for (flags, expected) in [
        (
            "--augment imagenet",
            "--augment imagenet crops pictures of any size, and the images of shapes have one size; use --augment true, or --dataset image-folder",
        ),
        (
            "--augment imagenet --data-dir d",
            "--augment imagenet needs a size to bring its crops to; give one, such as --image-size 224",
        ),
        (
            "--augment imagenet --dataset cifar10 --data-dir . --image-size 32",
            "--augment imagenet crops pictures of any size, and the images of cifar10 have one size; use --augment true, or --dataset image-folder",
        ),
        (
            "--augment nein",
            "--augment `nein` is no choice; use true, false or imagenet",
        ),
        (
            "--color-jitter 0.4,0.4,0.4",
            "--color-jitter 0.4,0.4,0.4 is not how far brightness, contrast, saturation and hue may change; give three numbers of 0 or more and one from 0 to 0.5, such as 0.4,0.4,0.4,0.1",
        ),
        (
            "--color-jitter 0.4,0.4,0.4,0.6",
            "--color-jitter 0.4,0.4,0.4,0.6 is not how far",
        ),
        (
            "--color-jitter=-1,0,0,0",
            "--color-jitter -1,0,0,0 is not how far",
        ),
        (
            "--color-jitter nan,0,0,0",
            "--color-jitter NaN,0,0,0 is not how far",
        ),
        ("--color-jitter a", "--color-jitter `a` is no number"),
        (
            "--rand-augment 2,31",
            "--rand-augment 2,31 is not a number of operations and their magnitude; give 1 to 100 and 0 to 30, such as 2,9",
        ),
        (
            "--rand-augment 0,9",
            "--rand-augment 0,9 is not a number of operations",
        ),
        (
            "--rand-augment 2",
            "--rand-augment 2 is not a number of operations",
        ),
        (
            "--rand-augment 2,9,9",
            "--rand-augment 2,9,9 is not a number of operations",
        ),
        (
            "--random-erasing 1.5",
            "--random-erasing 1.5 is not a probability; give a number from 0 to 1, such as 0.1",
        ),
        (
            "--random-erasing nan",
            "--random-erasing NaN is not a probability",
        ),
        (
            "--augment false --random-erasing 0.5",
            "--random-erasing does nothing with --augment false; leave it out, or use --augment true or imagenet",
        ),
        (
            "--augment false --color-jitter 0.4,0.4,0.4,0.1",
            "--color-jitter does nothing with --augment false",
        ),
        (
            "--augment false --rand-augment 2,9",
            "--rand-augment does nothing with --augment false",
        ),
    ] {
        for command in ["train --output run", "theory", "compare bp --output run"] {
            let output = bench.stagger(&format!("{command} {flags}"));
            assert_eq!(output.status, 2, "{command} {flags}: {}", output.stderr);
            assert_eq!(
                (output.stdout.as_str(), output.stderr.lines().count()),
                ("", 1),
                "{command} {flags}: {}",
                output.stderr
            );
            assert!(
                output.stderr.contains(expected),
                "{command} {flags}: {}",
                output.stderr
            );
        }
        assert!(!bench.path("run").exists(), "{flags}");
    }
    for (flags, expected) in [
        ("d --augment imagenet", "give one, such as --image-size 224"),
        (
            ". --dataset cifar10 --augment imagenet",
            "the images of cifar10 have one size",
        ),
        ("d --rand-augment 2,31", "give 1 to 100 and 0 to 30"),
        (
            "d --augment false --random-erasing 1",
            "does nothing with --augment false",
        ),
    ] {
        let output = bench.stagger(&format!("data inspect {flags}"));
        assert_eq!(output.status, 2, "{flags}: {}", output.stderr);
        assert!(
            output.stderr.contains(expected),
            "{flags}: {}",
            output.stderr
        );
    }
}

/// Images of one channel have no colours.
#[test]
fn grey_images_are_refused() {
    let bench = Bench::new();
    for (name, images) in [("train", 3_u8), ("t10k", 2)] {
        let mut bytes = vec![0, 0, 8, 3, 0, 0, 0, images, 0, 0, 0, 28, 0, 0, 0, 28];
        bytes.extend(vec![9; 784 * usize::from(images)]);
        fs::write(bench.path(&format!("{name}-images-idx3-ubyte")), bytes).unwrap();
        let mut bytes = vec![0, 0, 8, 1, 0, 0, 0, images];
        bytes.extend(0..images);
        fs::write(bench.path(&format!("{name}-labels-idx1-ubyte")), bytes).unwrap();
    }
    let before = fs::read_dir(&bench.folder).unwrap().count();
    for (flags, what) in [
        ("--color-jitter 0.4,0.4,0.4,0.1", "color jitter"),
        ("--rand-augment 2,9", "RandAugment"),
    ] {
        let output = bench.stagger(&format!(
            "train --dataset mnist --data-dir . {flags} --output run"
        ));
        assert_eq!(output.status, 2, "{}", output.stderr);
        let expected = format!(
            "error: {what} needs images of three channels, and those of mnist have 1; leave it out, or take another data set\n"
        );
        assert_eq!(output.stderr, expected);
    }
    // A part of a grey image can be erased.
    done(
        &bench,
        "train --dataset mnist --data-dir . --random-erasing 0.5 --batch-size 3 --max-batches 1 --calibration-batches 0 --output run",
    );
    assert_eq!(fs::read_dir(&bench.folder).unwrap().count(), before + 1);
    assert!(!is_empty(bench.folder.path()));
}
