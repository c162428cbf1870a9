//! Rung 8 of the ladder (docs/algorithm.md, "The ladder of correctness"): a process that is killed
//! at any moment, and started again, ends with the weights and the metrics of one that never was.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::support::Bench;

/// Method, stages, and other flags.
type Run = (&'static str, usize, &'static str);

const PLAIN: &str = "--lr 0.01";

/// Rates at which the loss is soon not finite.
const ROLLBACKS: &str = "--lr 300 --lr-schedule constant --warmup-batches 0 --on-nan rollback";

/// The method that has most in flight, and one that keeps versions of the weights and goes back to snapshots.
const SHORT: [Run; 2] = [("dsp+accumulate(2)", 3, PLAIN), ("pipedream", 2, ROLLBACKS)];

const LONG: [Run; 8] = [
    ("bp", 1, PLAIN),
    ("gpipe(2)", 2, PLAIN),
    ("pipedream", 3, PLAIN),
    ("dsp", 2, PLAIN),
    ("dsp+accumulate(2)", 3, PLAIN),
    ("dsp", 4, PLAIN),
    ("dsp", 3, ROLLBACKS),
    ("bp", 1, ROLLBACKS),
];

/// Kills of each run at random moments, and within the writing of a snapshot.
const KILLS: usize = 4;
const KILLS_WHILE_WRITING: usize = 1;

/// Moments that differ from run to run of the test.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self(now.expect("a clock").as_nanos() as u64)
    }

    /// Anywhere within a span.
    fn within(&mut self, span: Duration) -> Duration {
        self.0 = (self.0)
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        span.mul_f64((self.0 >> 33) as f64 / (1_u64 << 31) as f64)
    }
}

fn start(bench: &Bench, arguments: &str) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin("stagger"))
        .args(arguments.split_whitespace())
        .current_dir(&bench.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// Waits for a moment, then kills. Gives whether there was still something to kill.
fn kill(mut child: Child, mut moment: impl FnMut() -> bool) -> bool {
    while !moment() {
        if let Some(status) = child.try_wait().expect("a child") {
            assert!(status.success(), "{}", said(child));
            return false;
        }
    }
    let running = child.try_wait().expect("a child").is_none();
    child.kill().expect("a child");
    child.wait().expect("a child");
    running
}

fn said(child: Child) -> String {
    let output = child.wait_with_output().expect("a child");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn is_being_written(run: &Path) -> bool {
    let Ok(entries) = fs::read_dir(run.join("snapshots")) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| entry.file_name().to_string_lossy().ends_with(".partial"))
}

/// All records but the first and the last, without what measures time or memory, in an order of their own: the end of an
/// epoch and the next batch come as they come.
pub fn timeless_metrics(run: &Path) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    let mut records = BTreeMap::new();
    for line in text.lines() {
        let mut record: Value = serde_json::from_str(line).expect("a record");
        let field = |name: &str| record[name].as_u64().unwrap_or_default();
        let key = match record["kind"].as_str() {
            Some("batch") => format!("batch {:05}", field("batch")),
            Some("epoch") => format!("epoch {:05}", field("epoch")),
            Some("end") => format!("end {:05}", field("version")),
            _ => "run".to_owned(),
        };
        drop_times(&mut record);
        assert_eq!(records.insert(key.clone(), record), None, "{key} twice");
    }
    records
}

fn drop_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| {
                let measured = [
                    "images_per_second",
                    "bubble_share",
                    "busy_share",
                    "peak_memory_bytes",
                ];
                !name.ends_with("seconds") && !measured.contains(&name.as_str())
            });
            fields.values_mut().for_each(drop_times);
        }
        Value::Array(values) => values.iter_mut().for_each(drop_times),
        _ => {}
    }
}

#[test]
fn a_run_that_is_killed_and_resumed_is_the_run_that_never_was() {
    check(&SHORT);
}

#[test]
#[ignore = "long: .ci/nightly"]
fn runs_of_more_methods_that_are_killed_are_the_runs_that_never_were() {
    check(&LONG);
}

fn check(runs: &[Run]) {
    let mut moments = Moments::new();
    let seed = moments.0;
    let mut kills = 0;
    for (method, stages, more) in runs {
        let bench = Bench::new();
        let data = bench.tiny_data();
        let flags = format!(
            "{data} --schedule {method} --stages {stages} --batch-size 8 --epochs 24 --snapshot-every 4 \
             --calibration-batches 0 --gap-every 2 {more}"
        );
        let began = Instant::now();
        let unbroken = bench.stagger(&format!("train {flags} --output unbroken"));
        assert_eq!(unbroken.status, 0, "{}", unbroken.stderr);
        assert_eq!(
            unbroken.stdout.contains("rolled back to version "),
            *more == ROLLBACKS,
            "{}",
            unbroken.stdout
        );
        let span = began.elapsed();

        let resume = format!("train {flags} --resume auto --output run");
        let run = bench.path("run");
        let what = format!("{method} on {stages} stages, {more}, moments of {seed}");
        for _ in 0..KILLS {
            let (began, delay) = (Instant::now(), moments.within(span / 3));
            kills += usize::from(kill(start(&bench, &resume), || {
                sleep(Duration::from_micros(200));
                began.elapsed() >= delay
            }));
        }
        for _ in 0..KILLS_WHILE_WRITING {
            kills += usize::from(kill(start(&bench, &resume), || is_being_written(&run)));
        }
        let last = bench.stagger(&resume);
        assert_eq!(last.status, 0, "{what}: {}", last.stderr);

        for file in ["last.safetensors", "best.safetensors"] {
            let read = |folder: &str| fs::read(bench.path(folder).join(file)).expect("weights");
            assert!(read("run") == read("unbroken"), "{what}: {file} differs");
        }
        assert_eq!(
            timeless_metrics(&run),
            timeless_metrics(&bench.path("unbroken")),
            "{what}"
        );
    }
    let tried = runs.len() * (KILLS + KILLS_WHILE_WRITING);
    // A process that was faster than its moment could not be killed.
    assert!(
        3 * kills >= 2 * tried,
        "only {kills} of {tried} runs could be killed, moments of {seed}"
    );
}
