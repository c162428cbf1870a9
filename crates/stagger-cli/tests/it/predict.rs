//! What a trained network says of pictures.

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use image::{GrayImage, Luma, Rgb, RgbImage};
use serde_json::Value;
use stagger::report::read_weights;

use crate::support::{Bench, Output};

/// A run on two classes of tones, told apart with certainty; `d/val` has three pictures of each.
fn trained() -> Bench {
    let bench = Bench::new();
    for (class, grey) in [("ash, \"dark\"", 40), ("骨", 220)] {
        for number in 0..8 {
            tone(
                &bench,
                &format!("d/train/{class}/{number}.png"),
                grey + number,
            );
        }
        for number in 0..3 {
            tone(
                &bench,
                &format!("d/val/{class}/{number}.png"),
                grey + 2 * number,
            );
        }
    }
    let train = bench.stagger(
        "train --dataset image-folder --stages 2 --batch-size 4 --epochs 4 --lr 0.05 --calibration-batches 0 --augment false \
         --data-dir d --output run",
    );
    assert_eq!(train.status, 0, "{}", train.stderr);
    bench
}

fn tone(bench: &Bench, name: &str, grey: u8) {
    let path = bench.path(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = GrayImage::from_pixel(32, 32, Luma([grey]));
    image.save(path).unwrap();
}

fn refusal(output: &Output) -> &str {
    assert_eq!(output.status, 2, "{}", output.stderr);
    assert_eq!(output.stdout, "");
    output.stderr.trim_end()
}

fn done(output: Output) -> String {
    assert_eq!(output.status, 0, "{}", output.stderr);
    output.stdout
}

/// Rows of JSON lines: the file, and the likeliest class.
fn likeliest(json: &str) -> Vec<(String, String)> {
    let row = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&value["file"]), text(&value["classes"][0]["class"]))
    };
    json.lines().map(row).collect()
}

#[test]
fn every_form_says_the_same() {
    let bench = trained();
    let text = done(bench.stagger("predict --run run d/val"));
    assert_eq!(text.lines().count(), 6, "{text}");
    let first = text.lines().next().unwrap();
    assert!(
        first.starts_with("d/val/ash, \"dark\"/0.png: ash, \"dark\" "),
        "{first}"
    );

    // The top-1 of a folder is the accuracy of its evaluation.
    let eval = done(bench.stagger("eval --run run"));
    let found = likeliest(&done(bench.stagger("predict --run run d/val --json")));
    let right = found
        .iter()
        .filter(|(file, class)| file.contains(&format!("/{class}/")))
        .count();
    let percent = 100.0 * right as f64 / found.len() as f64;
    assert!(
        eval.contains(&format!("test {percent:.1} %")),
        "{eval} {found:?}"
    );
    assert_eq!(right, 6, "{found:?}");

    let csv =
        done(bench.stagger("predict --run run d/val/骨/0.png --csv --top 1 --eval-batch-size 1"));
    let (head, row) = csv.split_once('\n').unwrap();
    assert_eq!(head, "file,rank,label,class,probability");
    assert!(row.starts_with("d/val/骨/0.png,1,1,骨,"), "{row}");
    let csv = done(bench.stagger("predict --run run d/val --csv --top 9"));
    assert_eq!(
        csv.lines().count(),
        1 + 6 * 2,
        "no more than there are classes: {csv}"
    );
    assert!(
        csv.contains("\n\"d/val/ash, \"\"dark\"\"/0.png\",1,0,\"ash, \"\"dark\"\"\","),
        "{csv}"
    );
}

#[test]
fn logits_have_a_row_for_each_picture_and_replace_nothing() {
    let bench = trained();
    fs::write(bench.path("d/val/骨/1.png"), "damaged").unwrap();
    let found =
        bench.stagger("predict --run run d/val d/val/骨/2.png --logits l.safetensors --json");
    assert_eq!(found.status, 1, "{}", found.stderr);
    let rows = likeliest(&found.stdout);
    assert_eq!(rows.len(), 6);
    let logits = read_weights(&bench.path("l.safetensors")).unwrap();
    let files: Vec<String> = serde_json::from_str(&logits.metadata["files"]).unwrap();
    let named: Vec<String> = rows.into_iter().map(|(file, _)| file).collect();
    assert_eq!(files, named, "rows and lines are of the same pictures");
    let names: Vec<String> = serde_json::from_str(&logits.metadata["class_names"]).unwrap();
    assert_eq!(names, ["ash, \"dark\"", "骨"]);
    let tensor = &logits.state.tensors["logits"];
    assert_eq!(tensor.shape, [6, 2]);
    // The picture that is named twice.
    assert_eq!(tensor.data[8..10], tensor.data[10..12]);

    let again = bench.stagger("predict --run run d/val --logits l.safetensors");
    assert!(
        refusal(&again)
            .ends_with("l.safetensors is there already; name another file, or remove it")
    );
    let nowhere = bench.stagger("predict --run run d/val --logits no/l.safetensors");
    assert!(refusal(&nowhere).contains("its folder is not there"));
}

#[test]
fn pictures_that_cannot_be_read_are_named_and_the_others_predicted() {
    let bench = trained();
    fs::write(bench.path("notes.png"), "no picture").unwrap();
    let mixed = bench.stagger("predict --run run notes.png d/val/骨/0.png --top 1");
    assert_eq!(mixed.status, 1, "{}", mixed.stderr);
    assert_eq!(mixed.stdout.lines().count(), 1, "{}", mixed.stdout);
    let lines: Vec<&str> = mixed.stderr.lines().collect();
    assert!(
        lines[0].starts_with("notes.png does not decode: "),
        "{}",
        lines[0]
    );
    assert_eq!(
        lines[1],
        "error: 1 of 2 pictures could not be predicted; the others were"
    );

    let none = bench.stagger("predict --run run notes.png --csv --logits l");
    assert!(refusal(&none).ends_with("error: the picture could not be predicted"));
    assert!(!bench.path("l").exists());
    let missing = bench.stagger("predict --run run d/val nowhere.png");
    assert!(refusal(&missing).starts_with("error: cannot read nowhere.png: "));
    fs::create_dir(bench.path("empty")).unwrap();
    assert_eq!(
        refusal(&bench.stagger("predict --run run empty")),
        "error: empty holds no images"
    );

    #[cfg(unix)]
    {
        fs::create_dir(bench.path("mixed")).unwrap();
        fs::copy(bench.path("d/val/骨/0.png"), bench.path("mixed/0.png")).unwrap();
        fs::write(bench.path("mixed/1.png"), "damaged").unwrap();
        std::os::unix::fs::symlink("nowhere", bench.path("mixed/2.png")).unwrap();
        let mixed = bench.stagger("predict --run run mixed --top 1");
        assert_eq!(mixed.status, 1, "{}", mixed.stderr);
        assert_eq!(mixed.stdout.lines().count(), 1, "{}", mixed.stdout);
        let lines: Vec<&str> = mixed.stderr.lines().collect();
        assert_eq!(lines.len(), 3, "{}", mixed.stderr);
        assert!(
            lines[1].starts_with("cannot read mixed/2.png: "),
            "{}",
            lines[1]
        );
        assert_eq!(
            lines[2],
            "error: 2 of 3 pictures could not be predicted; the others were"
        );
        // What it is is not known.
        let _socket = std::os::unix::net::UnixListener::bind(bench.path("mixed/socket")).unwrap();
        fs::remove_file(bench.path("mixed/1.png")).unwrap();
        fs::remove_file(bench.path("mixed/2.png")).unwrap();
        let other = bench.stagger("predict --run run mixed --top 1");
        assert_eq!(other.status, 1, "{}", other.stderr);
        assert_eq!(
            other.stderr,
            "left out: 1 unreadable file or folder (mixed/socket)\n\
             error: 1 file or folder could not be read; the pictures elsewhere were predicted\n"
        );
    }

    // What lies beside pictures is told, and not on the output.
    fs::write(bench.path("d/val/骨/x.webm"), "film").unwrap();
    let beside = bench.stagger("predict --run run d/val --csv");
    assert_eq!(beside.status, 0);
    assert_eq!(
        beside.stderr,
        "left out: 1 file of another format (d/val/骨/x.webm)\n"
    );
    assert!(!beside.stdout.contains("webm"));
}

#[test]
fn requests_that_cannot_be() {
    let bench = trained();
    for (arguments, expected) in [
        ("predict --run nowhere d/val", "nowhere"),
        (
            "predict --run d d/val",
            "d is not the folder of a finished run",
        ),
        ("predict --run run", "needs <IMAGES>"),
        ("predict --run run d/val --top 0", "--top is 0"),
        ("predict --run run d/val --json --csv", "exclude each other"),
        (
            "predict --run run d/val --weights none.safetensors",
            "none.safetensors",
        ),
        (
            "predict --run run d/val --background red",
            "--background red is not a colour",
        ),
        (
            "predict --run run d/val --eval-batch-size 0",
            "--eval-batch-size is 0",
        ),
    ] {
        let output = bench.stagger(arguments);
        assert!(
            refusal(&output).contains(expected),
            "{arguments}: {}",
            output.stderr
        );
    }
    let config = fs::read_to_string(bench.path("run/config.toml")).unwrap();
    let (meant, _) = config.split_once("# crc32").unwrap();
    let other = meant.replace("engine = \"cpu\"", "engine = \"tpu\"");
    assert_ne!(other, meant);
    fs::write(bench.path("run/config.toml"), other).unwrap();
    assert!(
        refusal(&bench.stagger("predict --run run d/val")).contains("there is no engine `tpu`")
    );
    fs::write(bench.path("run/config.toml"), config).unwrap();

    // A run of an older version.
    fs::remove_file(bench.path("run/data.json")).unwrap();
    let old = bench.stagger("predict --run run d/val");
    assert!(refusal(&old).contains("has no data.json"), "{}", old.stderr);
}

/// A network of another data set takes pictures in its own size and channels: the pictures of its test set, written to files,
/// give the accuracy of its evaluation.
#[test]
fn networks_of_other_data_sets() {
    let bench = Bench::new();
    let idx = |magic: [u8; 4], sides: &[u32], bytes: &[u8]| {
        let sides = sides.iter().flat_map(|side| side.to_be_bytes());
        magic
            .into_iter()
            .chain(sides)
            .chain(bytes.iter().copied())
            .collect::<Vec<u8>>()
    };
    let image = |at: usize| vec![if at.is_multiple_of(2) { 30 } else { 200 } + (at / 2) as u8; 784];
    for (part, count) in [("train", 40), ("t10k", 10)] {
        let pixels: Vec<u8> = (0..count).flat_map(image).collect();
        let labels: Vec<u8> = (0..count).map(|at| (at % 2) as u8).collect();
        let count = count as u32;
        let images = idx([0, 0, 8, 3], &[count, 28, 28], &pixels);
        fs::write(bench.path(&format!("{part}-images-idx3-ubyte")), images).unwrap();
        let labels = idx([0, 0, 8, 1], &[count], &labels);
        fs::write(bench.path(&format!("{part}-labels-idx1-ubyte")), labels).unwrap();
    }
    let train = bench.stagger(
        "train --dataset mnist --data-dir . --stages 2 --batch-size 8 --epochs 3 --lr 0.05 --calibration-batches 0 --output run",
    );
    assert_eq!(train.status, 0, "{}", train.stderr);
    fs::create_dir(bench.path("p")).unwrap();
    for at in 0..10 {
        let value = image(at)[0];
        let path = bench.path(&format!("p/{at}.png"));
        // Half of them in colours that are none.
        match at < 5 {
            true => GrayImage::from_pixel(28, 28, Luma([value]))
                .save(path)
                .unwrap(),
            false => RgbImage::from_pixel(28, 28, Rgb([value; 3]))
                .save(path)
                .unwrap(),
        }
    }
    let found = likeliest(&done(bench.stagger("predict --run run p --json")));
    let right = found
        .iter()
        .enumerate()
        .filter(|(at, (_, class))| *class == (at % 2).to_string())
        .count();
    let eval = done(bench.stagger("eval --run run"));
    assert!(
        eval.contains(&format!("test {:.1} %", 10.0 * right as f64)),
        "{eval} {found:?}"
    );
    // Larger ones are brought to that size.
    GrayImage::from_pixel(60, 40, Luma([200]))
        .save(bench.path("large.png"))
        .unwrap();
    done(bench.stagger("predict --run run large.png"));
}

/// A reader that goes away ends the work, without a word.
#[test]
fn a_closed_output_is_no_failure() {
    let bench = trained();
    let binary = assert_cmd::cargo::cargo_bin("stagger");
    let mut child = Command::new(binary)
        .current_dir(&bench.folder)
        .args(["predict", "--run", "run"])
        .args(vec![PathBuf::from("d"); 50])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert_eq!(stderr, "");
}

/// What an evaluation says beyond its line is only said when asked for, and adds up to it.
#[test]
fn an_evaluation_by_class() {
    let bench = trained();
    // One that looks like the other class.
    tone(&bench, "d/val/骨/9.png", 40);
    let plain = done(bench.stagger("eval --run run"));
    let found = done(bench.stagger("eval --run run --per-class --confusion c.csv"));
    let (line, by_class) = found.split_at(plain.len());
    assert_eq!(line, plain);
    insta::assert_snapshot!("per_class", by_class);
    let csv = fs::read_to_string(bench.path("c.csv")).unwrap();
    let expected = "class,\"ash, \"\"dark\"\"\",骨\n\"ash, \"\"dark\"\"\",3,0\n骨,1,3\n";
    assert_eq!(csv, expected);
    done(bench.stagger("eval --run run --confusion c.svg"));
    assert!(
        fs::read_to_string(bench.path("c.svg"))
            .unwrap()
            .starts_with("<svg ")
    );
    done(bench.stagger("eval --run run --confusion c.txt"));
    assert_eq!(
        fs::read_to_string(bench.path("c.txt"))
            .unwrap()
            .lines()
            .count(),
        3
    );

    let again = bench.stagger("eval --run run --confusion c.svg");
    assert!(refusal(&again).contains("c.svg is there already"));
    let other = bench.stagger("eval --run run --confusion c.png");
    assert!(refusal(&other).contains("ends with .csv, .svg or .txt"));
    let nowhere = bench.stagger("eval --run run --confusion no/c.svg");
    assert!(refusal(&nowhere).contains("its folder is not there"));
}
