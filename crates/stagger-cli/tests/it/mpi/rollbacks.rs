//! Runs over several processes that go back to a snapshot where the loss is not finite.

use std::fs;
use std::process::Stdio;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use super::{HANG, end_of, mpirun, rank_process, signal, stagger};
use crate::kill::timeless_metrics;
use crate::rollbacks::rolled_back;
use crate::support::Bench;

const RANKS: usize = 2;

/// With direct sums, whose rounding has two rollbacks.
fn run(bench: &Bench, method: &str) -> String {
    format!(
        "train {} --winograd false --schedule {method} --stages 3 --batch-size 8 --epochs 8 --snapshot-every 2 --keep-snapshots 3 \
         --calibration-batches 0 --lr 300 --lr-schedule constant --warmup-batches 0 --on-nan rollback",
        bench.tiny_data()
    )
}

fn assert_same(bench: &Bench, name: &str, expected: &str, what: &str) {
    for file in ["last.safetensors", "best.safetensors", "rollback.json"] {
        let read = |run: &str| fs::read(bench.path(run).join(file)).ok();
        assert!(read(name) == read(expected), "{what}: {file}");
    }
    let metrics = |run: &str| timeless_metrics(&bench.path(run));
    assert_eq!(metrics(name), metrics(expected), "{what}");
}

#[test]
fn a_run_goes_back_as_in_one_process() {
    for (method, more) in [("dsp", ""), ("pipedream", ""), ("dsp", "--replicas 1,2,1")] {
        let bench = Bench::new();
        let run = format!("{} {more}", run(&bench, method));
        let alone = bench.stagger(&format!("{run} --output alone"));
        assert_eq!(alone.status, 0, "{method}: {}", alone.stderr);
        let lines = rolled_back(&alone.stdout);
        assert!(!lines.is_empty(), "{method}: {}", alone.stdout);
        for name in ["once", "twice"] {
            let shared = stagger(&bench, RANKS, &format!("{run} --output {name}"));
            assert_eq!(shared.status, 0, "{method}: {}", shared.stderr);
            assert_eq!(rolled_back(&shared.stdout), lines, "{method}");
            assert_same(&bench, name, "alone", method);
        }
    }
}

/// Kills one rank and then the other, each time a little after the run has gone back or has started again.
#[test]
fn a_rank_that_is_killed_after_a_rollback_costs_no_bits() {
    let bench = Bench::new();
    let run = run(&bench, "dsp").replace("--epochs 8", "--epochs 12");
    let alone = bench.stagger(&format!("{run} --output alone"));
    assert_eq!(alone.status, 0, "{}", alone.stderr);
    let changed = || {
        let file = fs::metadata(bench.path("run/rollback.json"));
        file.and_then(|file| file.modified()).ok()
    };
    let mut last: Option<SystemTime> = None;
    let mut kills = 0;
    for rank in (0..RANKS).cycle() {
        let mut child = mpirun(&bench, RANKS, &format!("{run} --output run --resume auto"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("mpirun");
        let begun = Instant::now();
        while changed() == last && child.try_wait().expect("a child").is_none() {
            assert!(begun.elapsed() < HANG, "it does not end");
            sleep(Duration::from_micros(200));
        }
        if changed() == last {
            let (status, said) = end_of(child, &[]);
            assert_eq!(status, Some(0), "{said}");
            break;
        }
        last = changed();
        sleep(Duration::from_millis(3 * kills));
        let ranks: Vec<u32> = (0..RANKS)
            .filter_map(|rank| rank_process(&child, rank))
            .collect();
        assert_eq!(ranks.len(), RANKS, "it has ended before kill {kills}");
        signal(ranks[rank], "KILL");
        let (status, said) = end_of(child, &ranks);
        assert_ne!(status, Some(0), "{said}");
        kills += 1;
        assert!(kills < 50, "it does not come further");
    }
    assert!(kills > 0, "it has not gone back");
    assert_same(&bench, "run", "alone", "after kills");
}
