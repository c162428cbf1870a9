//! What a folder of images is.

use std::fs;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::support::{Bench, Output};

fn picture(bench: &Bench, name: &str, size: (u32, u32), grey: u8) {
    let path = bench.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = RgbImage::from_fn(size.0, size.1, |x, _| Rgb([grey + x as u8, grey, 9]));
    image.save(path).unwrap();
}

/// Two classes, four and two pictures to train on, one each to evaluate on.
fn folder() -> Bench {
    let bench = Bench::new();
    for number in 0..4 {
        picture(
            &bench,
            &format!("d/train/cat <b>/{number}.png"),
            (20 + number, 30),
            40,
        );
    }
    for number in 0..2 {
        picture(&bench, &format!("d/train/猫/{number}.png"), (10, 10), 90);
    }
    picture(&bench, "d/val/cat <b>/9.png", (64, 48), 40);
    picture(&bench, "d/val/猫/9.png", (12, 12), 90);
    fs::write(bench.path("d/train/猫/x.webm"), "film").unwrap();
    bench
}

fn refusal(output: &Output) -> &str {
    assert_eq!(output.status, 2, "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    assert_eq!(output.stdout, "");
    output.stderr.trim_end()
}

fn done(output: Output) -> String {
    assert_eq!(output.status, 0, "{}", output.stderr);
    output.stdout
}

/// Of pictures that have no size in common, training says which they get.
#[test]
fn the_size_of_mixed_pictures_is_told() {
    let bench = folder();
    let flags =
        "--model resnet8 --stages 1 --schedule bp --batch-size 2 --max-batches 1 --evaluate false";
    let text = done(bench.stagger(&format!("train --data-dir d {flags} --output r")));
    let line = "data: the pictures differ in size, or are larger than 512x512, so each is brought to 224x224; another image size can be asked for\n";
    assert!(text.contains(line), "{text}");
    let text = done(bench.stagger(&format!(
        "train --data-dir d --image-size 16 {flags} --output s"
    )));
    assert!(!text.contains("is brought to"), "{text}");
}

#[test]
fn a_folder_is_told_as_training_sees_it() {
    let bench = folder();
    let text = done(bench.stagger("data inspect d --image-size 32"));
    insta::assert_snapshot!("inspected", text);
    let json = done(bench.stagger("data inspect d --image-size 32 --json"));
    let found: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(found["dataset"], "image-folder");
    assert_eq!(found["classes"][0]["name"], "cat <b>");
    assert_eq!(
        (&found["classes"][0]["train"], &found["classes"][1]["test"]),
        (&4.into(), &1.into())
    );
    assert_eq!(found["left_out"][0]["reason"], "other-format");
    assert_eq!(
        found["source_sizes"]["smallest"],
        serde_json::json!([10, 10])
    );
    assert_eq!(
        found["source_sizes"]["largest"],
        serde_json::json!([48, 64])
    );

    // Means and deviations are those of a run.
    let train = bench.stagger(
        "train --dataset image-folder --data-dir d --image-size 32 --batch-size 2 --max-batches 1 --calibration-batches 0 --output run",
    );
    done(train);
    let known = fs::read_to_string(bench.path("run/data.json")).unwrap();
    let known: Value = serde_json::from_str(&known).unwrap();
    assert_eq!(
        (&found["mean"], &found["std"]),
        (&known["mean"], &known["std"])
    );
}

#[test]
fn contact_sheets_show_what_trains() {
    let bench = folder();
    let said =
        done(bench.stagger("data inspect d --image-size 32 --contact-sheet s.html --samples 3"));
    assert!(said.ends_with("contact sheet: s.html\n"), "{said}");
    let page = fs::read_to_string(bench.path("s.html")).unwrap();
    assert_eq!(
        page.matches("src=\"data:image/png;base64,").count(),
        2,
        "{page}"
    );
    assert!(page.contains("猫") && !page.contains("<b>"));

    done(bench.stagger("data inspect d --image-size 32 --contact-sheet s.png --samples 3"));
    let sheet = image::open(bench.path("s.png")).unwrap().into_rgb8();
    // Twice as large, with a gap; of the second class there are only two.
    assert_eq!(sheet.dimensions(), (3 * 66, 2 * 66));
    assert_eq!(sheet.get_pixel(2 * 66 + 30, 66 + 30).0, [255; 3]);
    // The seed and the augmentation are those of a run.
    let sheets = ["--seed 1", "--seed 2", "--augment false"].map(|flags| {
        let name = format!("{}.png", flags.trim_start_matches('-').replace(' ', ""));
        done(bench.stagger(&format!(
            "data inspect d --image-size 32 --contact-sheet {name} --samples 3 {flags}"
        )));
        fs::read(bench.path(&name)).unwrap()
    });
    assert_eq!(sheets[0], fs::read(bench.path("s.png")).unwrap());
    assert!(sheets[0] != sheets[1] && sheets[0] != sheets[2]);

    for (flags, expected) in [
        ("--contact-sheet s.png", "s.png is there already"),
        ("--contact-sheet s.jpg", "ends with .html or .png"),
        ("--contact-sheet no/s.png", "its folder is not there"),
        (
            "--contact-sheet t.png --samples 0",
            "give a number from 1 to",
        ),
        (
            "--contact-sheet t.png --samples 99999999",
            "give a number from 1 to",
        ),
    ] {
        let output = bench.stagger(&format!("data inspect d --image-size 32 {flags}"));
        assert!(
            refusal(&output).contains(expected),
            "{flags}: {}",
            output.stderr
        );
    }
    assert!(!bench.path("t.png").exists());
}

#[test]
fn folders_that_hold_no_data_set_and_other_sets() {
    let bench = folder();
    for (arguments, expected) in [
        ("nowhere", "there is no such folder"),
        ("d/train", "--val-split 0.1"),
        ("d --dataset cifar10", "cifar10: d does not hold"),
        ("d --dataset cifar", "there is no data set 'cifar'"),
        ("d --val-split 0.1", "--val-split does nothing"),
    ] {
        let output = bench.stagger(&format!("data inspect {arguments}"));
        assert!(
            refusal(&output).contains(expected),
            "{arguments}: {}",
            output.stderr
        );
    }
    fs::create_dir(bench.path("empty")).unwrap();
    let empty = bench.stagger("data inspect empty");
    assert!(
        refusal(&empty).contains("no data set is named, and empty holds none"),
        "{}",
        empty.stderr
    );
    let aside = done(bench.stagger("data inspect d/train --val-split 0.5"));
    assert!(
        aside.contains("3 images to train on and 3 to evaluate on"),
        "{aside}"
    );

    let cifar = Bench::new();
    cifar.tiny_data();
    let found = done(cifar.stagger("data inspect ."));
    insta::assert_snapshot!("inspected_cifar", found);
}

/// What the sentence on damaged pictures proposes works here, too.
#[test]
fn damaged_pictures_can_be_left_out() {
    let bench = folder();
    fs::write(bench.path("d/train/cat <b>/x.jpg"), b"\xff\xd8\xff\xe0 cut").unwrap();
    let damaged = bench.stagger("data inspect d --image-size 32");
    assert!(
        refusal(&damaged).contains("or add --skip-bad-images"),
        "{}",
        damaged.stderr
    );
    let found = done(bench.stagger("data inspect d --image-size 32 --skip-bad-images"));
    assert!(found.contains("1 damaged image"), "{found}");
    let unknown = bench.stagger("data inspect d --fly");
    assert_eq!(
        refusal(&unknown),
        "error: stagger data inspect has no flag --fly; see stagger data inspect --help"
    );
}
