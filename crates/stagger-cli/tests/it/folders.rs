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
    let line = "data: 4 images to train on (train), 2 to evaluate on (valid), 1 to test on at the end (test), 2 classes; \
                left out: 1 file of another format (train/a/x.webm)";
    let train = bench.stagger(&format!("train {RUN} --data-dir d --output run"));
    assert_eq!(train.status, 0, "{}", train.stderr);
    assert_eq!(train.stdout.lines().nth(1), Some(line), "{}", train.stdout);
    let log = fs::read_to_string(bench.path("run/run.log")).unwrap();
    assert!(log.contains(line), "{log}");

    let eval = bench.stagger("eval --run run");
    assert_eq!(eval.status, 0, "{}", eval.stderr);
    let of_test = "data: 2 images to evaluate on (valid), 2 classes; test is not used unless --split test asks for \
                   it";
    assert_eq!(eval.stdout.lines().next(), Some(of_test), "{}", eval.stdout);

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

/// Where there are images to choose the best weights by and others to test on, the others are tested on when training has ended.
#[test]
fn what_chooses_nothing_is_tested_on_at_the_end() {
    let bench = Bench::new();
    for number in 0..4 {
        for class in ["a", "b"] {
            picture(&bench, &format!("d/train/{class}/{number}.png"));
        }
    }
    picture(&bench, "d/val/a/7.png");
    picture(&bench, "d/val/b/7.png");
    for name in ["a/8", "a/9", "b/8"] {
        picture(&bench, &format!("d/test/{name}.png"));
    }
    let run = format!("train {RUN} --max-batches 4 --data-dir d");
    let train = bench.stagger(&format!("{run} --output run"));
    assert_eq!(train.status, 0, "{}", train.stderr);
    let mut lines = train.stdout.lines();
    let line = lines.find(|line| line.starts_with("test at the end, 3 images: "));
    let line = line.unwrap_or_else(|| panic!("{}", train.stdout));
    let text = fs::read_to_string(bench.path("run/test.json")).unwrap();
    let found: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(found["samples"], 3);
    assert_eq!(found["last"]["version"], 4);
    // The weights that `eval` evaluates by itself.
    for which in ["last", "best"] {
        let eval = bench.stagger(&format!("eval --run run --split test --weights {which}"));
        let scores = &found[which];
        let [top1, loss] = ["top1", "loss"].map(|name| scores[name].as_f64().unwrap());
        let expected = format!("test {top1:.1} % (top-5 100.0 %) · loss {loss:.3} · 3 samples");
        assert!(eval.stdout.contains(&expected), "{}\n{text}", eval.stdout);
        assert!(
            line.contains(&format!("{top1:.1} % (top-5 100.0 %, loss {loss:.3})")),
            "{line}\n{text}"
        );
    }
    let val = bench.stagger("eval --run run --split val");
    assert!(val.stdout.contains("2 samples"), "{}", val.stdout);
    let plain = bench.stagger("eval --run run");
    assert_eq!(val.stdout.lines().last(), plain.stdout.lines().last());

    // A process that is killed in the test leaves none: the next one makes it.
    fs::remove_file(bench.path("run/test.json")).unwrap();
    let again = bench.stagger("train --resume run");
    assert_eq!(again.status, 0, "{}", again.stderr);
    let there = || fs::read_to_string(bench.path("run/test.json")).unwrap();
    assert_eq!(there(), text);
    // Nor is one left that is damaged, in which no figure is what it was.
    for damaged in ["", &text.replace("\"samples\": 3", "\"samples\": 4")] {
        assert!(*damaged != text);
        fs::write(bench.path("run/test.json"), damaged).unwrap();
        assert_eq!(bench.stagger("train --resume run").status, 0);
        assert_eq!(there(), text);
    }
    // Earlier builds wrote no checksum: such a run is finished, and the next one begins anew.
    let mut unsealed = found.clone();
    unsealed.as_object_mut().unwrap().remove("crc32").unwrap();
    fs::write(bench.path("run/test.json"), unsealed.to_string()).unwrap();
    fs::create_dir(bench.path("runs")).unwrap();
    fs::rename(bench.path("run"), bench.path("runs/earlier")).unwrap();
    let auto = bench.stagger(&format!("{run} --resume auto"));
    assert!(
        auto.stdout.contains("done at version 4"),
        "{} {}",
        auto.stdout,
        auto.stderr
    );
    fs::rename(bench.path("runs/earlier"), bench.path("run")).unwrap();
    let done = bench.stagger("train --resume run");
    assert!(
        done.stdout.contains("nothing is left to do"),
        "{}",
        done.stdout
    );

    // One that has reached a goal trains no further for that.
    let goal = format!(
        "train {RUN} --epochs 30 --max-batches 60 --patience 1 --data-dir d --schedule dsp --stages 2 --output goal"
    );
    let ended = bench.stagger(&goal);
    assert!(ended.stdout.contains("--patience"), "{}", ended.stdout);
    let read = |name: &str| fs::read(bench.path("goal").join(name)).unwrap();
    let (weights, test) = (read("last.safetensors"), read("test.json"));
    fs::remove_file(bench.path("goal/test.json")).unwrap();
    let again = bench.stagger("train --resume goal");
    assert!(
        again.stdout.contains("test at the end, 3 images: "),
        "{} {}",
        again.stdout,
        again.stderr
    );
    assert!(read("last.safetensors") == weights && read("test.json") == test);

    // A run that is cut short, or evaluates nothing, tests nothing; a damaged picture is told of when the weights are safe.
    let none = bench.stagger(&format!("{run} --evaluate false --output none"));
    assert_eq!(none.status, 0, "{}", none.stderr);
    assert!(!bench.path("none/test.json").exists());
    cut(&bench, "d/test/b/8.png");
    let failed = bench.stagger(&format!("{run} --cache-bytes 0 --output failed"));
    assert_eq!(failed.status, 1, "{}", failed.stderr);
    assert!(
        failed.stdout.contains("done at version 4"),
        "{}",
        failed.stdout
    );
    let words = failed.stderr.trim_end();
    assert!(
        words.starts_with("error: training is complete, but its test at the end failed: "),
        "{words}"
    );
    assert!(
        words.contains("d/test/b/8.png does not decode: unexpected end of file"),
        "{words}"
    );
    assert!(
        words.ends_with("; once that is mended: stagger eval --run failed --split test"),
        "{words}"
    );
    assert_eq!(
        fs::read(bench.path("failed/last.safetensors")).unwrap(),
        fs::read(bench.path("run/last.safetensors")).unwrap()
    );

    // What is not there is told.
    fs::rename(bench.path("d/test"), bench.path("d/other")).unwrap();
    let gone = bench.stagger("eval --run run --split test");
    assert!(
        refusal(&gone).contains("has no folder test (testing); leave --split out"),
        "{}",
        gone.stderr
    );
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
    for number in 0..3 {
        picture(&bench, "more/val/a/1.png");
        fs::write(bench.path(&format!("more/val/a/{number}.heic")), "heic").unwrap();
    }
    let refused = bench.stagger("eval --run ordinary --data-dir more");
    assert!(refusal(&refused).contains("only 1 can be used, and 3 are left out"));
    let allowed = bench.stagger("eval --run ordinary --data-dir more --allow-left-out");
    assert_eq!(allowed.status, 0, "{}", allowed.stderr);
}

/// Cuts a picture off behind its header.
fn cut(bench: &Bench, name: &str) {
    let bytes = fs::read(bench.path(name)).unwrap();
    fs::write(bench.path(name), &bytes[..bytes.len() / 2]).unwrap();
}

/// Damaged pictures are all named; with --skip-bad-images they are left out, and what is left out is part of what the run is.
#[test]
fn damaged_pictures() {
    let bench = Bench::new();
    for number in 0..10 {
        picture(&bench, &format!("d/train/a/{number}.png"));
        picture(&bench, &format!("d/train/b/{number}.png"));
    }
    picture(&bench, "d/val/a/0.png");
    picture(&bench, "d/val/b/0.png");
    picture(&bench, "d/val/b/1.png");
    let whole = fs::read(bench.path("d/val/b/1.png")).unwrap();
    cut(&bench, "d/train/a/3.png");
    cut(&bench, "d/val/b/1.png");
    let run = format!("train {RUN} --max-batches 8 --data-dir d");
    let refused = bench.stagger(&format!("{run} --output run"));
    assert_eq!((refused.status, refused.stdout.as_str()), (2, ""));
    let expected = "error: 2 images do not decode; replace or remove them, or add --skip-bad-images to leave out all that do not \
                    decode:\n  d/train/a/3.png: unexpected end of file\n  d/val/b/1.png: unexpected end of file\n";
    let below = format!("{}/", bench.folder.path().display());
    assert_eq!(refused.stderr.replace(&below, ""), expected);
    assert!(!bench.path("run").exists());

    // Whether they are kept in memory or not.
    let skip = format!("{run} --skip-bad-images --snapshot-every 2");
    let unbroken = bench.stagger(&format!("{skip} --output unbroken"));
    assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
    let line = "data: 19 images to train on (train), 2 to evaluate on (val), 2 classes; left out: 2 damaged images (such as \
                train/a/3.png)";
    assert!(unbroken.stdout.contains(line), "{}", unbroken.stdout);
    let weights = |run: &str| fs::read(bench.path(&format!("{run}/last.safetensors"))).unwrap();
    let again = bench.stagger(&format!("{skip} --cache-bytes 0 --output again"));
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(weights("unbroken"), weights("again"));

    // A picture is whole again: the run would go on with others than it has left out.
    fs::write(bench.path("d/val/b/1.png"), &whole).unwrap();
    let other = bench.stagger("train --resume again");
    assert!(
        refusal(&other).contains("the images to train on have changed"),
        "{}",
        other.stderr
    );
    let eval = bench.stagger("eval --run unbroken");
    assert_eq!(eval.status, 0, "{}", eval.stderr);
    cut(&bench, "d/val/a/0.png");
    let eval = bench.stagger("eval --run unbroken");
    let line = "data: 2 images to evaluate on (val), 2 classes, 1 of them to evaluate on; left out: 1 damaged image (val/a/0.png), 1 \
                class folder without images (val/a)";
    assert_eq!(eval.stdout.lines().next(), Some(line), "{}", eval.stderr);
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
    say(&bench, "--dataset mnist --skip-bad-images");
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

/// A grey picture.
fn tone(bench: &Bench, name: &str, grey: u8) {
    let path = bench.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = GrayImage::from_pixel(32, 32, Luma([grey]));
    image.save_with_format(path, ImageFormat::Png).unwrap();
}

/// What an evaluation found, without the path of its weights.
fn found(output: &Output) -> String {
    assert_eq!(output.status, 0, "{}", output.stderr);
    let last = output.stdout.lines().last().unwrap();
    last.split_once(": ").unwrap().1.to_owned()
}

/// Classes go by their names, and pixels by what the network was trained on, whatever lies beside the images at hand.
#[test]
fn a_network_is_evaluated_by_what_it_was_trained_on() {
    let bench = Bench::new();
    for (class, grey) in [("ash", 40), ("bone", 220)] {
        for number in 0..8 {
            tone(
                &bench,
                &format!("d/train/{class}/{number}.png"),
                grey + number,
            );
        }
        tone(&bench, &format!("d/val/{class}/0.png"), grey);
    }
    let flags = "--dataset image-folder --stages 2 --batch-size 4 --epochs 4 --lr 0.05 --calibration-batches 0 --augment false";
    let train = bench.stagger(&format!("train {flags} --data-dir d --output run"));
    assert_eq!(train.status, 0, "{}", train.stderr);
    let own = found(&bench.stagger("eval --run run"));
    assert!(own.starts_with("test 100.0 %"), "{own}");

    // Only images to evaluate on, of one class of the two: its label is still that of its name.
    tone(&bench, "bones/val/bone/0.png", 220);
    let bones = found(&bench.stagger("eval --run run --data-dir bones"));
    assert!(bones.starts_with("test 100.0 %"), "{bones}");
    assert!(bones.ends_with("1 samples"), "{bones}");
    // The folder of the classes itself.
    assert_eq!(
        found(&bench.stagger("eval --run run --data-dir d/val")),
        own
    );

    // Beside darker images to train on, and in another size.
    for (class, grey) in [("ash", 40), ("bone", 220)] {
        tone(&bench, &format!("dark/train/{class}/0.png"), 2);
        tone(&bench, &format!("dark/val/{class}/0.png"), grey);
        let large = GrayImage::from_pixel(48, 48, Luma([grey]));
        let path = bench.path(&format!("large/val/{class}/0.png"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        large.save(path).unwrap();
    }
    assert_eq!(found(&bench.stagger("eval --run run --data-dir dark")), own);
    assert_eq!(
        found(&bench.stagger("eval --run run --data-dir large")),
        own
    );

    // A class of another name, where there are as many.
    tone(&bench, "other/val/bone/0.png", 220);
    tone(&bench, "other/val/chalk/0.png", 240);
    let message = refusal(&bench.stagger("eval --run run --data-dir other")).to_owned();
    assert!(
        message.contains("other/val/chalk is no class that the network was trained on; its classes are ash, bone: rename"),
        "{message}"
    );

    let weights = fs::read(bench.path("run/last.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&weights[8..4096]).into_owned();
    assert!(
        header.contains(r#""class_names":"[\"ash\",\"bone\"]""#),
        "{header}"
    );
    let known = fs::read_to_string(bench.path("run/data.json")).unwrap();
    assert!(known.contains("\"ash\",\n    \"bone\""), "{known}");
}

/// Means and deviations that are asked for are those of training and evaluation; such as cannot be are refused.
#[test]
fn normalisation_can_be_asked_for() {
    let bench = Bench::new();
    pictures(&bench, "d/train", "d/val");
    let train = format!("train {RUN} --data-dir d --output run");
    for (flags, found) in [
        ("--mean 0.5,0.5", "0.5,0.5"),
        ("--mean 123.7,116.3,103.5", "123.7,116.3,103.5"),
        ("--std 0.2,0,0.2", "0.2,0,0.2"),
        ("--mean 0.5,0.5,-0.5", "0.5,0.5,-0.5"),
    ] {
        let output = bench.stagger(&format!("{train} {flags}"));
        let message = refusal(&output);
        assert!(
            message.contains(found) && message.contains("such as"),
            "{message}"
        );
        assert!(!bench.path("run").exists());
    }
    let flags = "--mean 0.485,0.456,0.406 --std 0.229,0.224,0.225";
    let trained = bench.stagger(&format!("{train} {flags}"));
    assert_eq!(trained.status, 0, "{}", trained.stderr);
    let known = fs::read_to_string(bench.path("run/data.json")).unwrap();
    for number in ["0.485", "0.456", "0.406", "0.229", "0.224", "0.225"] {
        assert!(known.contains(number), "{known}");
    }
    assert_eq!(bench.stagger("eval --run run").status, 0);
    let resumed = bench.stagger("train --resume run");
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
}
