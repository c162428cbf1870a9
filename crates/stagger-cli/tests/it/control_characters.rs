//! Names, values and messages from elsewhere drive no terminal and forge no line, whatever they hold.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use image::GrayImage;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::support::{Bench, Output};

/// Clears the screen, begins a line, turns the direction of writing, and hides: what a name of a file may hold.
const FOREIGN: &str = "a\nerror: forged\r\u{1b}[2J\u{9b}1m\u{202e}\u{2028}\u{200b}\u{7f}\u{feff}z";

/// The same within a string of JSON or TOML.
const QUOTED: &str =
    "\"a\\nerror: forged\\r\\u001b[2J\\u009b1m\\u202e\\u2028\\u200b\\u007f\\ufeffz\"";

fn run<I: AsRef<OsStr>>(bench: &Bench, arguments: impl IntoIterator<Item = I>) -> Output {
    let output = Command::new(assert_cmd::cargo::cargo_bin("stagger"))
        .args(arguments)
        .current_dir(&bench.folder)
        .output()
        .expect("the binary starts");
    let output = Output {
        status: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).expect("text"),
        stderr: String::from_utf8(output.stderr).expect("text"),
    };
    clean(&output.stdout);
    clean(&output.stderr);
    assert!((0..3).contains(&output.status), "{}", output.stderr);
    output
}

/// Nothing that a terminal obeys, and no line that begins as the foreign text would have it.
fn clean(text: &str) {
    for c in text.chars().filter(|&c| c != '\n') {
        let is_mark = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        assert!(!c.is_control() && !is_mark, "{c:?} in {text:?}");
    }
    // What `inspect` quotes of a config is indented.
    let forged = |line: &str| line.starts_with("error: forged");
    assert!(!text.lines().any(forged), "{text}");
}

/// Words separated by blanks, in which `%` stands for the foreign text.
fn words(line: &str) -> Vec<String> {
    line.split(' ')
        .map(|word| word.replace('%', FOREIGN))
        .collect()
}

/// Refused in one line, which shows the foreign text escaped.
fn refused(bench: &Bench, line: &str) {
    let output = run(bench, words(line));
    assert_ne!(output.status, 0, "{line}: {}", output.stdout);
    assert!(
        output.stderr.starts_with("error: "),
        "{line}: {}",
        output.stderr
    );
    assert_eq!(
        output.stderr.lines().count(),
        1,
        "{line}: {}",
        output.stderr
    );
    // Notations show what they do not know in a way of their own.
    let shown = [r"a\nerror: forged", "a\u{fffd}error: forged"];
    let is_shown = shown.iter().any(|shown| output.stderr.contains(shown));
    assert!(is_shown, "{line}: {}", output.stderr);
    // The sentence quotes its cause already, escaped: it is not printed a second time.
    let most = if line.matches('%').count() > 1 { 4 } else { 2 };
    let times = output.stderr.matches("error: forged").count();
    assert!(times <= most, "{line}: {}", output.stderr);
}

#[test]
fn values_of_flags() {
    let bench = Bench::new();
    fs::write(bench.path(FOREIGN), "x").unwrap();
    for line in [
        "train --model %",
        "train --dataset %",
        "train --schedule %",
        "train --schedule dsp(%)",
        "train --schedule bp+%",
        "train --engine %",
        "train --engines cpu,%",
        "train --dtype %",
        "train --transport %",
        "train --optimizer %",
        "train --lr-schedule %",
        "train --lr %",
        "train --epochs %",
        "train --on-nan %",
        "train --straggler %",
        "train --straggler stage=%",
        "train --snapshot-every %",
        "train --balance %",
        "train --background %",
        "train --val-split %",
        "train --output %",
        "train --data-dir % --dataset image-folder",
        "train --data-dir no% --dataset cifar10",
        "train --resume no%",
        "train --resume %",
        "train --resume-weights no%",
        "train --resume-weights %",
        "train --pretrained %",
        "train --config no%",
        "train --config %",
        "train --evaluate %",
        "train --metrics-listen %",
        "train --no-%",
        "train %",
        "%",
        "eval --run no%",
        "eval --run %",
        "predict --run no% x.png",
        "inspect no%",
        "inspect %",
        "report no%",
        "report . --trace-batches %",
        "weights no% out",
        "weights % out",
        "weights % out --names %",
        "data inspect no%",
        "data inspect %",
        "data inspect . --contact-sheet %",
        "compare % bp",
        "compare bp dsp --output %",
        "compare bp dsp --model %",
        "explain %",
        "summary %",
        "summary resnet8 --input %",
        "bench --model %",
        "bench --input %",
    ] {
        refused(&bench, line);
    }
    // Bytes that are no text.
    let bytes = OsStr::from_bytes(b"no\xff\x1b[2J\n");
    for command in [&["inspect"][..], &["eval", "--run"], &["train", "--resume"]] {
        let words = command.iter().map(OsString::from).chain([bytes.to_owned()]);
        assert_eq!(run(&bench, words).status, 2);
    }
}

#[test]
fn config_files() {
    let bench = Bench::new();
    for text in [
        "model = %\n",
        "schedule = %\n",
        "dataset = %\n",
        "output = %\nmodel = %\n",
        "data-dir = %\ndataset = \"cifar10\"\n",
        "snapshot-every = [%]\n",
        "% = 1\n",
        "epochs = %\n",
        "lr = 1 \u{1b}[2J\u{9b}\u{202e}\n",
        "\u{1b}[2Jerror: forged = 1\n",
        "epochs = \"\u{1b}\r\u{9b}",
    ] {
        fs::write(bench.path("c.toml"), text.replace('%', QUOTED)).unwrap();
        let output = run(&bench, words("train --config c.toml"));
        assert_eq!(output.status, 2, "{text}: {}", output.stdout);
        assert_eq!(
            output.stderr.lines().count(),
            1,
            "{text}: {}",
            output.stderr
        );
        // Methods take the place of a schedule.
        if !text.starts_with("schedule") {
            let output = run(&bench, words("compare bp dsp --config c.toml"));
            assert_eq!(output.status, 2, "{text}: {}", output.stdout);
        }
    }
}

fn picture(path: &Path, grey: u8) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let image = GrayImage::from_pixel(32, 32, image::Luma([grey]));
    image
        .save_with_format(path, image::ImageFormat::Png)
        .unwrap();
}

/// A run on classes, files and folders with such names, and all that is said of it.
#[test]
fn names_of_classes_and_files() {
    let bench = Bench::new();
    let class = format!("{FOREIGN}<script>alert(1)</script>\"'&");
    // A name cannot hold a slash.
    let class = class.replace('/', "");
    let data = bench.path(FOREIGN);
    for number in 0..4_u8 {
        for (class, grey) in [(class.as_str(), 10), ("other", 200)] {
            let file = format!("{number}{FOREIGN}.png");
            picture(&data.join("train").join(class).join(&file), grey + number);
            picture(&data.join("val").join(class).join(&file), grey + number);
        }
    }
    fs::write(
        data.join("train")
            .join(&class)
            .join(format!("{FOREIGN}.txt")),
        "x",
    )
    .unwrap();
    let flags = "--dataset image-folder --stages 2 --batch-size 4 --max-batches 2 --lr 0.01 --calibration-batches 0 --data-dir %";
    let done = |line: &str| {
        let output = run(&bench, words(line));
        assert_eq!(output.status, 0, "{line}: {}", output.stderr);
        output.stdout
    };
    let said = done(&format!("train {flags} --trace t%.json --output r%"));
    assert!(
        said.contains(r"run folder: ra\nerror: forged\r\u{1b}[2J"),
        "{said}"
    );
    let log = fs::read_to_string(bench.path(&format!("r{FOREIGN}")).join("run.log")).unwrap();
    clean(&log);
    for line in [
        "train --resume r%",
        "eval --run r% --per-class",
        "eval --run r% --confusion m%.txt",
        "predict --run r% %/val",
        "predict --run r% --json %/val",
        "inspect r%",
        "inspect r%/last.safetensors",
        "inspect r%/snapshots/v00000002",
        "inspect r%/snapshots/v00000002/stage-0.safetensors",
        "weights r% w%.safetensors --names torchvision",
        "weights r% p%.safetensors",
        "report r% --trace t%.json --output p%.html",
        "data inspect %",
        "data inspect % --json",
        "data inspect % --contact-sheet s%.html",
    ] {
        let output = run(&bench, words(line));
        assert!(
            output.status == 0 || line.contains("torchvision"),
            "{line}: {}",
            output.stderr
        );
    }
    done(&format!("compare bp dsp {flags} --output c%").replace("--calibration-batches 0 ", ""));
    // JSON says what the names are.
    let json = done("predict --run r% --json %/val");
    let classes: Vec<String> = (json.lines())
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .flat_map(|value| value["classes"].as_array().unwrap().clone())
        .map(|guess| guess["class"].as_str().unwrap().to_owned())
        .collect();
    assert!(classes.contains(&class), "{json}");
    let inspected: Value = serde_json::from_str(&done("data inspect % --json")).unwrap();
    assert!(inspected.to_string().contains(&json!(class).to_string()));
    // Pages of HTML have no tags but their own.
    for page in [
        format!("s{FOREIGN}.html"),
        format!("c{FOREIGN}/report.html"),
    ] {
        let page = fs::read_to_string(bench.path(&page)).unwrap();
        assert!(
            !page.contains("<script") && !page.contains("\"'&"),
            "{page}"
        );
    }

    // That of the timeline is data and one script.
    let page = fs::read_to_string(bench.path(&format!("p{FOREIGN}.html"))).unwrap();
    clean(&page);
    assert_eq!(page.matches("<script").count(), 2);

    // Damaged pictures.
    let broken = data
        .join("val")
        .join(&class)
        .join(format!("5{FOREIGN}.png"));
    let whole = fs::read(
        data.join("val")
            .join(&class)
            .join(format!("1{FOREIGN}.png")),
    )
    .unwrap();
    fs::write(&broken, &whole[..whole.len() / 2]).unwrap();
    for line in [
        format!("train {flags} --output x"),
        format!("train {flags} --skip-bad-images --output y"),
        "train --resume r% --max-batches 4".to_owned(),
        "eval --run r%".to_owned(),
        "predict --run r% %/val".to_owned(),
        "data inspect %".to_owned(),
        format!("compare bp dsp {flags} --output z").replace("--calibration-batches 0 ", ""),
    ] {
        run(&bench, words(&line));
    }
}

/// A file of a run, and what becomes of its text.
type Change<'a> = (&'a str, &'a dyn Fn(&str) -> String);

/// Files of a run that someone else has written.
#[test]
fn values_in_the_files_of_a_run() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let copy = |files: &[Change<'_>]| -> PathBuf {
        let _ = fs::remove_dir_all(bench.path("run"));
        bench.train("run", &data);
        for (file, change) in files {
            let path = bench.path("run").join(file);
            let text = fs::read_to_string(&path).unwrap();
            let changed = change(&text);
            assert_ne!(changed, text, "{file}");
            fs::write(&path, changed).unwrap();
        }
        bench.path("run")
    };
    let read = || {
        for line in [
            "inspect run",
            "inspect run/snapshots/v00000004",
            "train --resume run --max-batches 6",
            "train --resume-weights run --max-batches 1 --dataset cifar10 --data-dir . --output again",
            "eval --run run",
            "predict --run run x%.png",
            "weights run out.safetensors",
        ] {
            run(&bench, words(line));
            let _ = fs::remove_dir_all(bench.path("again"));
            let _ = fs::remove_file(bench.path("out.safetensors"));
        }
    };
    fn with(text: &str, name: &str) -> String {
        let mut value: Value = serde_json::from_str(text).unwrap();
        value[name] = FOREIGN.into();
        value.to_string()
    }
    for field in [
        "model",
        "dataset",
        "schedule",
        "engine",
        "dtype",
        "stagger",
        "commit",
        "data_fingerprint",
        "config",
    ] {
        copy(&[("snapshots/v00000004/manifest.json", &|text| {
            with(text, field)
        })]);
        read();
    }
    copy(&[("snapshots/v00000004/manifest.json", &|text| {
        text.replace("stage-0.safetensors", "a\\nerror: forged\\u001b")
    })]);
    read();
    copy(&[("snapshots/v00000004/manifest.json", &|_| {
        format!("{{\"{FOREIGN}\": {FOREIGN}")
    })]);
    read();
    copy(&[("config.toml", &|text| {
        text.replace("model = \"resnet8\"", &format!("model = {QUOTED}"))
    })]);
    read();
    copy(&[("config.toml", &|text| {
        format!("{text}\n{QUOTED} = \"\u{1b}[2J\"\n")
    })]);
    read();
    copy(&[("data.json", &|text| {
        let mut value: Value = serde_json::from_str(text).unwrap();
        value["class_names"] = json!([FOREIGN]);
        value["dataset"] = FOREIGN.into();
        value.to_string()
    })]);
    read();
    copy(&[("data.json", &|_| format!("{{{QUOTED}: \u{1b}"))]);
    read();
    copy(&[
        ("environment.json", &|text| with(text, "host")),
        ("metrics.jsonl", &|text| {
            text.replace("\"error\":null", &format!("\"error\":{QUOTED}"))
        }),
    ]);
    read();
    copy(&[("metrics.jsonl", &|text| {
        format!("{text}{{\"kind\":{QUOTED}}}\n")
    })]);
    read();
}

/// Weights of strangers: names of tensors, and what they say of themselves.
#[test]
fn names_in_weights() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", &data);
    let values = [0_u8; 16];
    let view = || TensorView::new(Dtype::F32, vec![4], &values).unwrap();
    let write = |names: &[&str], metadata: &[(&str, &str)]| {
        let metadata = metadata
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let tensors: BTreeMap<String, _> = names
            .iter()
            .map(|name| ((*name).to_owned(), view()))
            .collect();
        let bytes = safetensors::serialize(tensors, Some(metadata.collect())).unwrap();
        fs::write(bench.path("w.safetensors"), bytes).unwrap();
    };
    let read = || {
        for line in [
            "inspect w.safetensors",
            "weights w.safetensors out.safetensors --model resnet8",
            "weights w.safetensors out.safetensors",
            "eval --run run --weights w.safetensors",
            "train --resume-weights w.safetensors --dataset cifar10 --data-dir . --output again",
            "train --pretrained w.safetensors --dataset cifar10 --data-dir . --output again",
        ] {
            let output = run(&bench, words(line));
            let may_be_done = line.starts_with("inspect") || line.starts_with("weights");
            assert!(
                output.status == 2 || may_be_done,
                "{line}: {}",
                output.stdout
            );
            let _ = fs::remove_file(bench.path("out.safetensors"));
        }
    };
    write(&[FOREIGN, "module.conv1.weight"], &[]);
    let output = run(&bench, ["inspect", "w.safetensors"]);
    assert!(
        output.stdout.contains(r"a\nerror: forged\r\u{1b}"),
        "{}",
        output.stdout
    );
    read();
    let prefixed = format!("{FOREIGN}.conv1.weight");
    write(
        &[&prefixed, "conv1.weight"],
        &[("model", FOREIGN), (FOREIGN, FOREIGN)],
    );
    read();
    let names = json!([FOREIGN, "b"]).to_string();
    write(
        &["conv1.weight"],
        &[
            ("class_names", &names),
            ("input", FOREIGN),
            ("mean", FOREIGN),
        ],
    );
    read();
}

/// Sentences show paths by `shown_path`, and this process prints in `terminal.rs` only: `Path::display` shows what is there, and
/// `println!` panics where it cannot.
#[test]
fn sources_show_and_print_by_one_way() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut folders: Vec<PathBuf> = [
        "stagger",
        "stagger-cli",
        "stagger-dashboard",
        "stagger-data",
        "stagger-mpi",
        "stagger-report",
        "stagger-runtime",
        "stagger-transport",
    ]
    .map(|name| crates.join(name).join("src"))
    .to_vec();
    let mut seen = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension() != Some("rs".as_ref()) || path.ends_with("tests.rs") {
                continue;
            }
            seen += 1;
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod ").next().unwrap();
            let code = code
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"));
            for line in code {
                for raw in [".display()", "println!", "print!(", "dbg!"] {
                    assert!(!line.contains(raw), "{}: {line}", path.display());
                }
                let opens = line.contains("io::stdout()") || line.contains("io::stderr()");
                let may = [
                    "terminal.rs",
                    "training_bar.rs",
                    "journal.rs",
                    "training.rs",
                    "main.rs",
                    "predict.rs",
                    "screen.rs",
                ];
                assert!(
                    !opens || may.iter().any(|name| path.ends_with(name)),
                    "{}: {line}",
                    path.display()
                );
            }
        }
    }
    assert!(seen > 200, "{seen} files");
}
