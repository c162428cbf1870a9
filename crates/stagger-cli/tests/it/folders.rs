//! Image folders: what of them is used is told before training, and what is wrong with them instead of it.

use std::fs;

use image::{GrayImage, ImageFormat, Luma};

use crate::support::{Bench, Output, is_empty};

const RUN: &str = "--dataset image-folder --stages 2 --batch-size 4 --max-batches 2 --lr 0.01 --calibration-batches 0";

fn picture(bench: &Bench, name: &str) {
    let path = bench.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let shade = name.bytes().fold(0_u8, u8::wrapping_add);
    let image = GrayImage::from_fn(32, 32, |x, y| Luma([shade.wrapping_add((x * y) as u8)]));
    image.save_with_format(path, ImageFormat::Png).unwrap();
}

/// Four pictures to train on and two to evaluate on, in two classes.
fn pictures(bench: &Bench, train: &str, val: &str) {
    for class in ["a", "b"] {
        picture(bench, &format!("{train}/{class}/1.png"));
        picture(bench, &format!("{train}/{class}/2.png"));
        picture(bench, &format!("{val}/{class}/3.png"));
    }
}

fn refusal(output: &Output) -> &str {
    assert_eq!(output.status, 2, "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert_eq!(output.stdout, "");
    output.stderr.trim_end()
}

/// Training, evaluation and comparison say what is used and what is left out, and so does the log.
#[test]
fn what_is_left_out_is_told() {
    let bench = Bench::new();
    pictures(&bench, "d/train", "d/valid");
    picture(&bench, "d/test/a/4.png");
    fs::write(bench.path("d/train/a/x.webm"), "film").unwrap();
    let line = "data: 4 images to train on (train), 2 to evaluate on (valid), 2 classes; left out: 1 file of another format \
                (train/a/x.webm); test is not used";
    let train = bench.stagger(&format!("train {RUN} --data-dir d --output run"));
    assert_eq!(train.status, 0, "{}", train.stderr);
    assert_eq!(train.stdout.lines().nth(1), Some(line), "{}", train.stdout);
    let log = fs::read_to_string(bench.path("run/run.log")).unwrap();
    assert!(log.contains(line), "{log}");

    let eval = bench.stagger("eval --run run");
    assert_eq!(eval.status, 0, "{}", eval.stderr);
    assert_eq!(eval.stdout.lines().next(), Some(line), "{}", eval.stdout);

    let compare = bench.stagger(&format!(
        "compare bp dsp {RUN} --data-dir d --output compared"
    ));
    assert_eq!(compare.status, 0, "{}", compare.stderr);
    assert_eq!(
        compare.stdout.lines().nth(1),
        Some(line),
        "{}",
        compare.stdout
    );

    // Data sets whose files are always the same have nothing to tell.
    let shapes = bench.train("shapes", "--stages 2");
    assert!(!shapes.stdout.contains("data: "), "{}", shapes.stdout);
}

#[test]
fn most_files_left_out() {
    let bench = Bench::new();
    pictures(&bench, "train", "val");
    for number in 0..7 {
        fs::write(bench.path(&format!("train/a/{number}.heic")), "heic").unwrap();
    }
    let run = format!("train {RUN} --data-dir . --output run");
    let found = bench.stagger(&run);
    let refused = refusal(&found);
    assert!(
        refused.contains("only 6 can be used, and 7 are left out"),
        "{refused}"
    );
    assert!(refused.contains("train/a/0.heic"), "{refused}");
    assert!(!bench.path("run").exists());

    let allowed = bench.stagger(&format!("{run} --allow-left-out"));
    assert_eq!(allowed.status, 0, "{}", allowed.stderr);
    assert!(
        allowed.stdout.contains("left out: 7 files"),
        "{}",
        allowed.stdout
    );
    // The run knows that it was allowed, and so does its evaluation.
    assert_eq!(bench.stagger("eval --run run").status, 0);

    pictures(&bench, "other/train", "other/val");
    let ordinary = bench.stagger(&format!("train {RUN} --data-dir other --output ordinary"));
    assert_eq!(ordinary.status, 0, "{}", ordinary.stderr);
    refusal(&bench.stagger("eval --run ordinary --data-dir ."));
    let allowed = bench.stagger("eval --run ordinary --data-dir . --allow-left-out");
    assert_eq!(allowed.status, 0, "{}", allowed.stderr);
}

/// Pictures in one folder: what is set aside is the same after a resume, and part of what the run is.
#[test]
fn pictures_are_set_aside() {
    let bench = Bench::new();
    for number in 0..10 {
        picture(&bench, &format!("d/a/{number}.png"));
        picture(&bench, &format!("d/b/{number}.png"));
    }
    let run = format!("train {RUN} --max-batches 8 --data-dir d");
    let plain = bench.stagger(&run);
    insta::assert_snapshot!(
        "classes_only",
        refusal(&plain).replace(&bench.folder.path().display().to_string(), "DIR")
    );

    let unbroken = bench.stagger(&format!("{run} --val-split 0.2 --output unbroken"));
    assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
    let set_aside = "data: 16 images to train on and 4 to evaluate on";
    assert!(unbroken.stdout.contains(set_aside), "{}", unbroken.stdout);

    let snapshot = bench.path("unbroken/snapshots/v00000004");
    assert!(
        snapshot.exists(),
        "{:?}",
        fs::read_dir(bench.path("unbroken/snapshots"))
            .unwrap()
            .flatten()
            .collect::<Vec<_>>()
    );
    let other = bench.stagger("train --resume unbroken --val-split 0.3");
    assert!(refusal(&other).contains("--val-split"), "{}", other.stderr);
    let again = bench.stagger("train --resume unbroken/snapshots/v00000004");
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(again.stdout.contains(set_aside), "{}", again.stdout);

    // A folder with pictures to evaluate on is evaluated on as it is.
    pictures(&bench, "other/train", "other/val");
    let eval = bench.stagger("eval --run unbroken --data-dir other");
    assert_eq!(eval.status, 0, "{}", eval.stderr);
    assert!(eval.stdout.contains("2 samples"), "{}", eval.stdout);
}

/// Nothing that was asked for is ignored.
#[test]
fn flags_without_effect_and_sets_without_classes() {
    let mut sentences = Vec::new();
    let mut say = |bench: &Bench, arguments: &str| {
        let output = bench.stagger(&format!("train --output run {arguments}"));
        let place = bench.folder.path().display().to_string();
        sentences.push(format!(
            "{arguments}\n  {}",
            refusal(&output).replace(&place, "DIR")
        ));
    };
    let bench = Bench::new();
    say(&bench, "--val-split 0.1");
    say(&bench, "--dataset mnist --allow-left-out");
    assert!(is_empty(bench.folder.path()));
    pictures(&bench, "train", "val");
    for share in ["0.1", "10", "0"] {
        say(
            &bench,
            &format!("--dataset image-folder --data-dir . --val-split {share}"),
        );
    }
    picture(&bench, "one/train/a/1.png");
    picture(&bench, "one/val/a/1.png");
    say(&bench, "--dataset image-folder --data-dir one");
    picture(&bench, "flat/pictures/1.png");
    picture(&bench, "flat/pictures/2.png");
    say(
        &bench,
        "--dataset image-folder --data-dir flat --val-split 0.5",
    );
    picture(&bench, "val/B/1.png");
    say(&bench, "--dataset image-folder --data-dir .");
    insta::assert_snapshot!("refused", sentences.join("\n"));
    assert!(!bench.path("run").exists());
}
