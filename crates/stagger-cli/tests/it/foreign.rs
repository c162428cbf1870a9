//! Run folders, weights, configs and pictures that a stranger made: pipes, devices, files with holes and links in the place of files.
//! Nothing hangs, nothing is read without a bound, and nothing outside of a run folder is written or removed.
#![cfg(target_os = "linux")]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use assert_cmd::Command;

use crate::support::{Bench, Output};

/// Two stages, a snapshot every two batches.
const RUN: &str = "--stages 2 --schedule dsp --batch-size 8 --snapshot-every 2 --keep-snapshots 9 --lr 0.01 --calibration-batches 0 \
                   --stall-timeout 60";

/// Far above what any of these commands takes.
const TIMEOUT: Duration = Duration::from_secs(120);
/// Far less than the hole in a file.
const MOST_KIBIBYTES: u32 = 3 << 20;
const HOLE_BYTES: u64 = 10 << 30;

/// A bench with a run `run` that ended at version 4 and has snapshots of versions 2 and 4, and the command that resumes a run.
fn bench() -> (Bench, impl Fn(&str) -> String) {
    let bench = Bench::new();
    let data = bench.tiny_data();
    for command in [
        format!("train {data} {RUN} --max-batches 2 --output run"),
        // The end of a run has a snapshot in any case, however slow the disk is.
        format!("train {data} --resume run --max-batches 4"),
    ] {
        let output = run(&bench, &command);
        assert_eq!(output.status, 0, "{}", output.stderr);
    }
    let resume = move |folder: &str| format!("train {data} --resume {folder} --max-batches 6");
    (bench, resume)
}

/// Runs the binary, with little memory and no longer than it may take.
fn run(bench: &Bench, arguments: &str) -> Output {
    let binary = assert_cmd::cargo::cargo_bin("stagger");
    let line = format!(
        "ulimit -v {MOST_KIBIBYTES}; exec {} {arguments}",
        binary.display()
    );
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(&bench.folder)
        .timeout(TIMEOUT)
        .output()
        .expect("a shell");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Output {
        // Of a process that had to be killed there is none.
        status: output.status.code().unwrap_or(-1),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

fn assert_refused(bench: &Bench, arguments: &str, expected: &[&str]) {
    let output = run(bench, arguments);
    let told = format!("{arguments}: {}{}", output.stdout, output.stderr);
    assert_eq!(output.status, 2, "{told}");
    assert_eq!(output.stderr.lines().count(), 1, "{told}");
    for part in expected {
        assert!(output.stderr.contains(part), "{part}: {told}");
    }
}

/// What a stranger may put in the place of a file, and a part of what is said of it.
#[derive(Clone, Copy, Debug)]
enum Trap {
    Pipe,
    Hole,
    Device,
    LinkOut,
    Folder,
}

impl Trap {
    const ALL: [Self; 5] = [
        Self::Pipe,
        Self::Hole,
        Self::Device,
        Self::LinkOut,
        Self::Folder,
    ];

    /// Puts it there.
    fn set(self, path: &Path) {
        let _ = fs::remove_file(path);
        match self {
            Self::Pipe => pipe(path),
            Self::Hole => File::create(path)
                .and_then(|file| file.set_len(HOLE_BYTES))
                .expect("a file system with holes"),
            Self::Device => symlink("/dev/zero", path).expect("a link"),
            Self::LinkOut => symlink("/etc/passwd", path).expect("a link"),
            Self::Folder => fs::create_dir(path).expect("a folder"),
        }
    }

    /// In the folder of a run.
    fn inside(self) -> &'static str {
        match self {
            Self::Device => "it is a link that leads out of its folder, to /dev/zero",
            Self::LinkOut => "it is a link that leads out of its folder, to /etc/passwd",
            other => other.named(),
        }
    }

    /// In a place that the user has named.
    fn named(self) -> &'static str {
        match self {
            Self::Pipe => "it is a pipe and not a regular file; put the file itself there",
            Self::Hole => "10737418240 bytes",
            Self::Device => "it is a device and not a regular file",
            Self::LinkOut => "",
            Self::Folder => "Is a directory",
        }
    }
}

fn pipe(path: &Path) {
    use rustix::fs::{CWD, FileType, Mode, mknodat};

    mknodat(CWD, path, FileType::Fifo, Mode::RWXU, 0).expect("a pipe");
}

/// A copy of the run with something else in the place of a file.
fn trapped(bench: &Bench, folder: &str, file: &str, trap: Trap) {
    let copied = std::process::Command::new("cp")
        .args(["-r", "run", folder])
        .current_dir(&bench.folder)
        .status();
    assert!(copied.expect("cp").success());
    trap.set(&bench.path(folder).join(file));
}

/// A command that reads a folder.
type CommandOn = fn(&str) -> String;

#[test]
fn no_file_of_a_run_is_read_without_bounds() {
    let (bench, resume) = bench();
    let copy = |folder: &str| format!("weights {folder} {folder}.safetensors");
    let readers: [(&str, Vec<CommandOn>); 5] = [
        (
            "config.toml",
            vec![
                |folder| format!("inspect {folder}"),
                |folder| format!("eval --run {folder}"),
                |folder| format!("train --output {folder} --resume auto"),
            ],
        ),
        ("metrics.jsonl", vec![|folder| format!("inspect {folder}")]),
        ("data.json", vec![|folder| format!("eval --run {folder}")]),
        (
            "last.safetensors",
            vec![|folder| format!("eval --run {folder} --weights last")],
        ),
        (
            "best.safetensors",
            vec![|folder| format!("eval --run {folder}")],
        ),
    ];
    for trap in Trap::ALL {
        for (file, commands) in &readers {
            let folder = format!("{trap:?}-{file}");
            trapped(&bench, &folder, file, trap);
            for command in commands {
                assert_refused(&bench, &command(&folder), &[file, trap.inside()]);
            }
            match *file {
                "best.safetensors" => {
                    assert_refused(&bench, &copy(&folder), &[file, trap.inside()]);
                }
                "config.toml" | "metrics.jsonl" => {
                    assert_refused(&bench, &resume(&folder), &[file, trap.inside()]);
                }
                // The others are written anew; nothing is trained that could not be written.
                _ if matches!(trap, Trap::Folder | Trap::LinkOut | Trap::Device) => {
                    assert_refused(&bench, &resume(&folder), &[file, trap.inside()]);
                }
                _ => {}
            }
            fs::remove_dir_all(bench.path(&folder)).unwrap();
        }
    }
}

#[test]
fn no_file_of_a_snapshot_is_read_without_bounds() {
    let (bench, resume) = bench();
    for trap in Trap::ALL {
        for file in ["manifest.json", "stage-1.safetensors"] {
            let folder = format!("{trap:?}-{file}");
            let snapshot = format!("{folder}/snapshots/v00000004");
            trapped(
                &bench,
                &folder,
                &format!("snapshots/v00000004/{file}"),
                trap,
            );
            assert_refused(
                &bench,
                &format!("inspect {snapshot}"),
                &[file, trap.inside()],
            );
            // The one before it serves.
            let resumed = run(&bench, &resume(&folder));
            assert_eq!(resumed.status, 0, "{}", resumed.stderr);
            let told = &resumed.stdout;
            assert!(told.contains("v00000004 is left out: "), "{told}");
            assert!(told.contains(trap.inside()), "{told}");
            assert!(told.contains("resumed at version "), "{told}");
            assert!(!told.contains("resumed at version 4"), "{told}");
            fs::remove_dir_all(bench.path(&folder)).unwrap();
        }
    }
}

#[test]
fn nothing_that_a_user_names_is_read_without_bounds() {
    let (bench, _) = bench();
    let data = bench.tiny_data();
    for trap in [Trap::Pipe, Trap::Hole, Trap::Device] {
        let file = format!("{trap:?}.toml");
        trap.set(&bench.path(&file));
        for command in [
            format!("train --config {file} --output x"),
            format!("compare bp --config {file} --output x"),
            format!("train {data} --resume-weights {file} --output x"),
            format!("train {data} --pretrained {file} --output x"),
            format!("eval --run run --weights {file}"),
            format!("weights {file} x.safetensors --model resnet8"),
            format!("inspect {file}"),
            format!("report run --trace {file} --output x"),
        ] {
            assert_refused(&bench, &command, &[&file, trap.named()]);
        }
        assert!(!bench.path("x").exists() && !bench.path("x.safetensors").exists());
    }
    // A link of the user's own leads anywhere.
    symlink("run", bench.path("alias")).unwrap();
    symlink("run/last.safetensors", bench.path("w")).unwrap();
    let eval = run(&bench, "eval --run alias --weights w");
    assert_eq!(eval.status, 0, "{}", eval.stderr);
}

/// Files that a safetensors or torch reader would take for its own, with a hole for the rest.
#[test]
fn the_length_of_a_weights_file_is_not_believed() {
    let (bench, _) = bench();
    for (name, beginning) in [
        ("zeros", &b""[..]),
        ("torch", b"PK\x03\x04"),
        ("header", b"\x02\0\0\0\0\0\0\0{}"),
    ] {
        fs::write(bench.path(name), beginning).unwrap();
        let file = File::options().write(true).open(bench.path(name)).unwrap();
        file.set_len(8 << 30).unwrap();
        assert_refused(
            &bench,
            &format!("inspect {name}"),
            &[name, "is not a weights file that stagger reads: "],
        );
    }
}

#[test]
fn pictures_and_data_files_do_not_hang() {
    let bench = Bench::new();
    for class in ["cats", "dogs"] {
        let folder = bench.path("d/train").join(class);
        fs::create_dir_all(&folder).unwrap();
        for index in 0..4 {
            let picture = image::GrayImage::from_pixel(8, 8, image::Luma([40 * index as u8]));
            picture.save(folder.join(format!("{index}.png"))).unwrap();
        }
        fs::create_dir_all(bench.path("d/val").join(class)).unwrap();
        fs::copy(
            folder.join("0.png"),
            bench.path("d/val").join(class).join("0.png"),
        )
        .unwrap();
    }
    pipe(&bench.path("d/train/cats/pipe.png"));
    symlink("/dev/zero", bench.path("d/train/dogs/zero.png")).unwrap();
    let output = run(&bench, "data inspect d --image-size 8");
    assert_ne!(output.status, -1, "{}{}", output.stdout, output.stderr);
    for name in [
        "train-images-idx3-ubyte",
        "data_batch_1.bin",
        "data_batch_1",
    ] {
        for trap in [Trap::Pipe, Trap::Device] {
            let folder = format!("{trap:?}-{name}");
            fs::create_dir(bench.path(&folder)).unwrap();
            trap.set(&bench.path(&folder).join(name));
            let output = run(&bench, &format!("data inspect {folder}"));
            assert_eq!(output.status, 2, "{}{}", output.stdout, output.stderr);
        }
    }
}

#[test]
fn a_comparison_does_not_hang() {
    let (bench, _) = bench();
    let data = bench.tiny_data();
    let compare = format!("compare bp {data} --max-batches 1 --stages 2 --output c");
    fs::create_dir(bench.path("c")).unwrap();
    Trap::Pipe.set(&bench.path("c/compare.toml"));
    assert_refused(&bench, &compare, &["c/compare.toml", Trap::Pipe.inside()]);
    fs::remove_dir_all(bench.path("c")).unwrap();
    let whole = run(&bench, &compare);
    assert_eq!(whole.status, 0, "{}", whole.stderr);
    for file in ["environment.json", "metrics.jsonl"] {
        let path = bench.path("c/runs/bp-seed1").join(file);
        let before = fs::read(&path).unwrap();
        Trap::Pipe.set(&path);
        // Such a run is not a whole one: it is made again.
        let again = run(&bench, &compare);
        assert_eq!(again.status, 0, "{file}: {}", again.stderr);
        assert!(path.is_file() && !before.is_empty());
    }
    // A damaged one is a whole run, and is named.
    fs::write(bench.path("c/runs/bp-seed1/environment.json"), "{").unwrap();
    let again = run(&bench, &compare);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert!(again.stdout.contains("(kept)"), "{}", again.stdout);
    let named = "the report lacks host and build of a run, which is kept: could not read c/runs/bp-seed1/environment.json: ";
    assert!(again.stderr.starts_with(named), "{}", again.stderr);
    fs::rename(bench.path("c/runs"), bench.path("theirs")).unwrap();
    symlink("../theirs", bench.path("c/runs")).unwrap();
    fs::remove_file(bench.path("theirs/bp-seed1/metrics.jsonl")).unwrap();
    assert_refused(&bench, &compare, &["c/runs: it is a link"]);
    assert!(bench.path("theirs/bp-seed1/config.toml").is_file());
}

#[test]
fn nothing_is_written_through_links() {
    let (bench, resume) = bench();
    fs::write(bench.path("theirs"), "theirs").unwrap();
    for file in [
        "run.log",
        "metrics.jsonl",
        "config.toml",
        "data.json",
        "environment.json",
        "last.safetensors",
        "best.safetensors",
        "test.json",
    ] {
        for target in ["../theirs", "../nowhere"] {
            let folder = format!("linked-{file}");
            trapped(&bench, &folder, file, Trap::Pipe);
            fs::remove_file(bench.path(&folder).join(file)).unwrap();
            symlink(target, bench.path(&folder).join(file)).unwrap();
            let expected = match (file, target) {
                // Then it is no run.
                ("config.toml", "../nowhere") => "there is no config.toml in ",
                _ => "it is a link that leads out of its folder",
            };
            assert_refused(&bench, &resume(&folder), &[file, expected]);
            fs::remove_dir_all(bench.path(&folder)).unwrap();
        }
    }
    assert_eq!(fs::read_to_string(bench.path("theirs")).unwrap(), "theirs");
    assert!(!bench.path("nowhere").exists());
    // Not even a link to a file beside it is written through.
    trapped(&bench, "beside", "run.log", Trap::Pipe);
    fs::remove_file(bench.path("beside/run.log")).unwrap();
    symlink("data.json", bench.path("beside/run.log")).unwrap();
    let before = fs::read(bench.path("beside/data.json")).unwrap();
    let expected = [
        "beside/run.log",
        "nothing is written or removed through one",
    ];
    assert_refused(&bench, &resume("beside"), &expected);
    assert_eq!(fs::read(bench.path("beside/data.json")).unwrap(), before);
    for trap in [Trap::Pipe, Trap::Folder] {
        let folder = format!("{trap:?}");
        trapped(&bench, &folder, "run.log", trap);
        assert_refused(&bench, &resume(&folder), &["run.log", trap.inside()]);
    }
}

#[test]
fn snapshots_in_a_foreign_folder_are_neither_read_nor_removed() {
    let (bench, resume) = bench();
    fs::rename(bench.path("run/snapshots"), bench.path("foreign")).unwrap();
    fs::create_dir(bench.path("foreign/.v00000009.partial")).unwrap();
    fs::create_dir_all(bench.path("foreign/v00000099/deep")).unwrap();
    fs::write(bench.path("foreign/v00000099/deep/x"), "theirs").unwrap();
    symlink("../foreign", bench.path("run/snapshots")).unwrap();
    for command in [
        resume("run"),
        "inspect run".to_owned(),
        format!(
            "train {} --resume-weights run --output x",
            bench.tiny_data()
        ),
    ] {
        assert_refused(
            &bench,
            &command,
            &[
                "run/snapshots: it is a link",
                "give --output a folder on the disk",
            ],
        );
    }
    assert!(bench.path("foreign/v00000099/deep/x").is_file());
    assert!(bench.path("foreign/.v00000009.partial").is_dir());
    assert!(bench.path("foreign/v00000004/manifest.json").is_file());
}

#[test]
fn a_run_folder_may_itself_be_named_by_a_link() {
    let (bench, resume) = bench();
    fs::create_dir(bench.path("big")).unwrap();
    fs::rename(bench.path("run"), bench.path("big/run")).unwrap();
    symlink("big", bench.path("runs")).unwrap();
    symlink("big/run", bench.path("alias")).unwrap();
    let resumed = run(&bench, &resume("alias"));
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    assert!(
        resumed.stdout.contains("resumed at version 4"),
        "{}",
        resumed.stdout
    );
    let data = bench.tiny_data();
    fs::create_dir(bench.path("big/empty")).unwrap();
    symlink("big/empty", bench.path("new")).unwrap();
    for output in ["runs/fresh", "new"] {
        let started = format!("train {data} {RUN} --max-batches 2 --output {output}");
        let started = run(&bench, &started);
        assert_eq!(started.status, 0, "{}", started.stderr);
    }
    assert!(
        bench
            .path("big/fresh/snapshots/v00000002/manifest.json")
            .is_file()
    );
    assert!(bench.path("big/empty/last.safetensors").is_file());
}

#[test]
fn only_what_a_run_made_is_pruned() {
    let (bench, resume) = bench();
    let snapshots = bench.path("run/snapshots");
    let theirs = [
        "v00000001",
        "v00000006",
        "v00000099",
        "notes.partial",
        ".notes.partial",
    ];
    for name in theirs {
        fs::write(snapshots.join(name), "theirs").unwrap();
    }
    fs::create_dir(snapshots.join(".v00000003.partial")).unwrap();
    fs::create_dir_all(bench.path("foreign/deep")).unwrap();
    symlink("../../foreign", snapshots.join("v00000098")).unwrap();
    let resumed = run(&bench, &format!("{} --keep-snapshots 1", resume("run")));
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    for name in ["v00000001", "v00000006", "v00000098", "v00000099"] {
        let told = resumed.stdout.lines().find(|line| line.contains(name));
        let told = told.unwrap_or_else(|| panic!("{name}: {}", resumed.stdout));
        assert!(told.contains("move it away"), "{told}");
    }
    for name in theirs {
        let left = fs::read_to_string(snapshots.join(name)).unwrap();
        assert_eq!(left, "theirs", "{name}");
    }
    // Of its own, the newest stays.
    assert!(snapshots.join("v00000004/manifest.json").is_file());
    assert!(bench.path("foreign/deep").is_dir());
    assert!(snapshots.join("v00000098").is_symlink());
    assert!(!snapshots.join(".v00000003.partial").exists());
    let log = fs::read_to_string(bench.path("run/run.log")).unwrap();
    let told = "v00000006 is no snapshot, and not of this run";
    assert!(log.contains(told), "{log}");
}
