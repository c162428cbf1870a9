//! Ctrl-C: all stages halt at one version, a snapshot and the weights are written, the exit status is 130.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use stagger::report::Record;

use crate::support::Bench;
#[cfg(target_os = "linux")]
use crate::support::disk_faults;

/// A learning rate that does not depend on the length of the run.
const CONSTANT_RATE: &str = "--lr 0.01 --lr-schedule constant --warmup-batches 0";

/// The program, with the usual answer to signals. Under `nohup`, and in the background of a script, tests run with some of them ignored,
/// which the program would respect.
fn stagger() -> Command {
    const HUP_AND_INT: u64 = 0b11;
    let binary = assert_cmd::cargo::cargo_bin("stagger");
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = (status.lines()).find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    if ignored.unwrap_or_default() & HUP_AND_INT == 0 {
        return Command::new(binary);
    }
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT").arg(binary);
    command
}

/// Starts a run that would take for ever, and interrupts it once a line that begins with `after` has
/// been said and it is `ready`. Gives the exit status and the lines that followed.
fn interrupted(
    bench: &Bench,
    arguments: &str,
    after: &str,
    ready: impl Fn() -> bool,
) -> (Option<i32>, Vec<String>) {
    let mut child = stagger()
        .args(arguments.split_whitespace())
        .current_dir(&bench.folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe"))
        .lines()
        .map_while(Result::ok);
    assert!(
        lines.any(|line| line.starts_with(after)),
        "no line `{after}`"
    );
    while !ready() {
        sleep(Duration::from_millis(10));
        assert!(
            child.try_wait().is_ok_and(|status| status.is_none()),
            "ended too early"
        );
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(killed.is_ok_and(|status| status.success()));
    let rest = lines.collect();
    (child.wait().expect("the child ends").code(), rest)
}

#[test]
fn an_interrupt_halts_and_saves() {
    for (schedule, stages) in [("dsp", 3), ("bp", 1)] {
        let bench = Bench::new();
        let data = bench.tiny_data();
        let flags = format!(
            "{data} --schedule {schedule} --stages {stages} --epochs 100000 {CONSTANT_RATE}"
        );
        let run = format!("train --batch-size 8 --calibration-batches 0 --output run {flags}");
        let (status, rest) = interrupted(&bench, &run, "epoch ", || true);
        assert_eq!(status, Some(130), "{rest:?}");
        let metrics = bench.metrics("run");
        let Some(Record::End(end)) = metrics.last() else {
            panic!("no end: {rest:?}")
        };
        assert!(end.interrupted && end.version >= 3 && end.error.is_none());
        assert_eq!(bench.losses("run").len(), end.version);

        // The same as a run that was planned to end there.
        bench.train("planned", &format!("{flags} --max-batches {}", end.version));
        assert_eq!(bench.weights("run"), bench.weights("planned"));
    }
}

/// However often it is interrupted, the run ends as one that never was.
#[test]
fn an_interrupted_run_goes_on_to_the_bit() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let flags = format!(
        "{data} --schedule dsp --stages 3 --epochs 100 --batch-size 8 --calibration-batches 0 --lr 0.01"
    );
    let unbroken = bench.stagger(&format!("train {flags} --output unbroken"));
    assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
    let run = format!("train {flags} --output run");
    let (status, rest) = interrupted(&bench, &run, "epoch ", || true);
    assert_eq!(status, Some(130), "{rest:?}");
    let halt = rest.iter().find(|line| line.starts_with("interrupted"));
    assert!(halt.is_some(), "{rest:?}");
    let last = rest.last().map(String::as_str);
    assert_eq!(last, Some("resume with: stagger train --resume run"));
    let (status, rest) = interrupted(&bench, "train --resume run", "epoch ", || true);
    assert_eq!(status, Some(130), "{rest:?}");
    let last = bench.stagger("train --resume run");
    assert_eq!(last.status, 0, "{}", last.stderr);
    assert_eq!(bench.weights("run"), bench.weights("unbroken"));
    assert_eq!(bench.losses("run"), bench.losses("unbroken"));
}

#[test]
fn an_interrupted_comparison_stops_its_run_and_says_how_to_go_on() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!(
        "compare bp dsp {data} --batch-size 8 --epochs 100000 {CONSTANT_RATE} --output out"
    );
    let (status, rest) = interrupted(&bench, &run, "2 runs in out", || {
        // The line of the run under way has no end yet.
        bench.path("out/runs/bp-seed1/metrics.jsonl").exists()
    });
    assert_eq!(status, Some(130), "{rest:?}");
    assert_eq!(rest[0], "[1/2] bp, seed 1: interrupted");
    assert!(
        rest[1].starts_with("interrupted: 0 of 2 runs are done; resume with"),
        "{rest:?}"
    );
    assert!(rest[2].starts_with("  stagger compare bp dsp"), "{rest:?}");
    // The run has halted.
    let Some(Record::End(end)) = bench.metrics("out/runs/bp-seed1").pop() else {
        panic!("no end")
    };
    assert!(end.interrupted);
    assert!(!bench.path("out/runs/dsp-seed1").exists());
}

#[test]
fn an_interrupted_sweep_stops_its_run_and_goes_on() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let run = format!(
        "sweep --over schedule=bp,dsp {data} --batch-size 8 --epochs 100000 {CONSTANT_RATE} --output out"
    );
    let (status, rest) = interrupted(&bench, &run, "2 runs in ", || {
        bench.path("out/runs/1/metrics.jsonl").exists()
    });
    assert_eq!(status, Some(130), "{rest:?}");
    assert_eq!(rest[0], "[1/2] schedule bp: interrupted");
    assert_eq!(rest[1], "interrupted: 0 of 2 runs are done; resume with");
    assert!(
        rest[2].starts_with("  stagger sweep --over schedule=bp,dsp"),
        "{rest:?}"
    );
    let Some(Record::End(end)) = bench.metrics("out/runs/1").pop() else {
        panic!("no end")
    };
    assert!(end.interrupted);
    assert!(!bench.path("out/runs/2").exists());
}

#[test]
fn an_interrupt_in_the_calibration_leaves_nothing() {
    let bench = Bench::new();
    let run = "train --calibration-batches 100000 --epochs 1000 --output run";
    let (status, rest) = interrupted(&bench, run, "run folder: ", || true);
    assert_eq!(status, Some(130), "{rest:?}");
    assert!(
        rest.iter()
            .any(|line| line.contains("nothing has been trained")),
        "{rest:?}"
    );
    assert!(!bench.path("run").exists());
}

/// Schedulers warn by SIGUSR2 or by what was asked of them, a closed terminal sends SIGHUP, and the limit on processor time SIGXCPU:
/// the run ends as after Ctrl-C. SIGUSR1 asks for a snapshot only, and changes nothing else.
#[test]
fn other_signals_keep_the_work_too() {
    let send = |signal: &str, id: u32| {
        let sent = Command::new("kill")
            .args([signal, &id.to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()));
    };
    let bench = Bench::new();
    for signal in ["-USR2", "-HUP", "-XCPU"] {
        let run = format!("run{signal}");
        let mut child = start(&bench, &format!("--output {run}"));
        wait_for(&bench, &run);
        send(signal, child.id());
        if signal == "-XCPU" {
            // The system repeats it every second, and the run may take longer.
            send(signal, child.id());
        }
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        assert!(bench.path(&format!("{run}/last.safetensors")).exists());
    }

    let mut child = start(&bench, "--output asked");
    wait_for(&bench, "asked");
    let snapshots = || -> Vec<_> {
        let entries = std::fs::read_dir(bench.path("asked/snapshots"));
        let names = entries.into_iter().flatten().flatten();
        names.map(|entry| entry.file_name()).collect()
    };
    let before = snapshots();
    send("-USR1", child.id());
    while snapshots().iter().all(|name| before.contains(name)) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended");
        sleep(Duration::from_millis(5));
    }
    send("-TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    // Bits are those of a run without the signal.
    let metrics = bench.metrics("asked");
    let Some(Record::End(end)) = metrics.last() else {
        panic!("no end")
    };
    // The first epoch, at whose end there is a snapshot anyway, is not over.
    assert!(end.version < BATCHES_PER_EPOCH, "{}", end.version);
    bench.train(
        "planned",
        &format!(
            "--batch-size 8 --schedule dsp --stages 2 --epochs 100000 {CONSTANT_RATE} --evaluate false --max-batches {}",
            end.version
        ),
    );
    assert_eq!(bench.weights("asked"), bench.weights("planned"));
}

/// Until it writes anything, a signal ends the process at once, with the status of an interrupted run.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_while_a_run_is_prepared_has_the_same_status() {
    for (command, signal) in [("train", "-TERM"), ("train", "-HUP"), ("compare", "-USR2")] {
        let bench = Bench::new();
        // Stays behind the first line of `main`: its config is on a disk that does not answer.
        std::fs::write(bench.path("config.toml"), "seed = 1\n").unwrap();
        let mut child = stagger()
            .args([command, "--config", "config.toml"])
            .current_dir(&bench.folder)
            .envs(disk_faults(&bench, "read:config.toml:0:0:hang"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let catches = || {
            let text = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
            let text = text.unwrap_or_default();
            let mask = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            // SIGUSR1, the last one, is number 10.
            mask.is_some_and(|mask| mask >> 9 & 1 == 1)
        };
        while !catches() {
            sleep(Duration::from_millis(1));
        }
        for signal in ["-USR1", signal] {
            let sent = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            assert!(sent.is_ok_and(|status| status.success()));
        }
        assert_eq!(
            child.wait().unwrap().code(),
            Some(130),
            "{command} {signal}"
        );
    }
}

/// What ends a run ends a comparison, and its run with it; SIGUSR1 does nothing there, as it has no snapshots.
#[test]
fn a_comparison_hears_the_same_signals() {
    for signal in ["-USR2", "-HUP"] {
        let bench = Bench::new();
        let data = bench.tiny_data();
        let run = format!(
            "compare bp dsp {data} --batch-size 8 --epochs 100000 {CONSTANT_RATE} --output out"
        );
        let mut child = stagger()
            .args(run.split_whitespace())
            .current_dir(&bench.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        wait_for(&bench, "out/runs/bp-seed1");
        for signal in ["-USR1", signal] {
            let sent = Command::new("kill")
                .args([signal, &child.id().to_string()])
                .status();
            assert!(sent.is_ok_and(|status| status.success()));
        }
        assert_eq!(child.wait().unwrap().code(), Some(130), "{signal}");
        let Some(Record::End(end)) = bench.metrics("out/runs/bp-seed1").pop() else {
            panic!("no end")
        };
        assert!(end.interrupted);
    }
}

/// Of `shapes`, 8 images each.
const BATCHES_PER_EPOCH: usize = 1250;

/// Starts a run that would take for ever, whose epochs take seconds.
fn start(bench: &Bench, arguments: &str) -> std::process::Child {
    let flags = format!(
        "train --batch-size 8 --schedule dsp --stages 2 --epochs 100000 {CONSTANT_RATE} --evaluate false --calibration-batches 0"
    );
    stagger()
        .args(flags.split_whitespace())
        .args(arguments.split_whitespace())
        .current_dir(&bench.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts")
}

/// Waits until a run trains.
fn wait_for(bench: &Bench, run: &str) {
    let trains = || {
        let text = std::fs::read_to_string(bench.path(&format!("{run}/metrics.jsonl")));
        text.is_ok_and(|text| text.lines().count() > 3)
    };
    while !trains() {
        sleep(Duration::from_millis(5));
    }
}
