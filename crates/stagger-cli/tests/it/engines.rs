//! An engine and a device of each stage, on the command line.

use std::fmt::Write as _;

use crate::support::{Bench, is_empty};

/// What each command says, which has to be one sentence; nothing is left behind.
fn sentences(commands: &[&str]) -> String {
    let mut text = String::new();
    for command in commands {
        let bench = Bench::new();
        let output = bench.stagger(command);
        assert_eq!(output.status, 2, "{command}: {}", output.stderr);
        assert_eq!(
            output.stderr.lines().count(),
            1,
            "{command}: {}",
            output.stderr
        );
        assert!(
            is_empty(bench.folder.path()),
            "{command} left something behind"
        );
        let _ = writeln!(text, "{command}\n    {}", output.stderr.trim_end());
    }
    text
}

#[test]
fn what_does_not_suit_is_refused() {
    insta::assert_snapshot!(sentences(&[
        "train --engine cpu --engines cpu,cpu",
        "train --engines cpu",
        "train --engines cpu,cpu,cpu",
        "train --stages 1 --schedule bp --engines cpu,cpu",
        "train --engines cpu,tpu",
        "train --engines cpu,cpu --device cpu",
        "train --engines cpu,cpu --threads-per-stage 0",
        "train --engines cpu,cpu --dtype bf16",
        "train --devices cpu,cuda:0",
        "train --engines cpu,cpu --devices cuda:0,cpu",
        "train --devices cpu",
        "train --replicas 2 --devices cpu,cpu,cpu",
        "train --devices cpu,gpu",
        "bench --engines cpu",
        "bench --engine cpu --engines cpu,cpu",
        "compare bp dp(2) --engines cpu,cpu",
        "compare dsp(1,1,0;4,2,0) bp --engines cpu,cpu",
        "compare bp --engine cpu --engines cpu,cpu",
        "compare bp --engines cpu,tpu",
    ]));
}

#[cfg(not(feature = "torch"))]
#[test]
fn a_stage_of_an_engine_that_is_not_built_in_is_refused() {
    let sentence = |command: &str| sentences(&[command]).lines().nth(1).map(str::to_owned);
    let expected = sentence("train --engine torch");
    for command in [
        "train --engines cpu,torch",
        "bench --engines torch,torch",
        "compare bp --engines cpu,torch",
    ] {
        assert_eq!(sentence(command), expected, "{command}");
    }
}

#[cfg(feature = "torch")]
#[test]
fn what_does_not_suit_two_engines_is_refused() {
    insta::assert_snapshot!(sentences(&[
        "train --engines cpu,torch --dtype bf16",
        "train --engines cpu,torch --devices cuda:0,cpu",
        "train --engines cpu,torch --devices cpu,gpu",
        "train --engines cpu,torch --device cpu --devices cpu,cpu",
        "train --engines cpu,torch --devices cpu",
        "train --engines cpu,torch --replicas 1,2 --devices cpu,cpu,cuda:0",
        "train --engines cpu,torch --threads-per-stage 0",
        "train --engines cpu,torch --tf32",
        "compare bp dp(2) --engines cpu,torch",
    ]));
}

/// The three verbs take them, and say the same of them.
#[test]
fn train_bench_and_compare_take_an_engine_for_each_stage() {
    let engines = match cfg!(feature = "torch") {
        true => "torch,cpu",
        false => "cpu,cpu",
    };
    let name = match cfg!(feature = "torch") {
        true => "engines torch,cpu",
        false => "engine cpu",
    };
    let bench = Bench::new();
    let fast = "--model resnet8 --batch-size 8";
    let measured = bench.stagger(&format!(
        "bench {fast} --batches 2 --warmup 1 --json --engines {engines} --devices cpu,cpu"
    ));
    assert_eq!(measured.status, 0, "{}", measured.stderr);
    let found: serde_json::Value = serde_json::from_str(&measured.stdout).expect("one JSON object");
    assert_eq!(found["engine"], name.split(' ').nth(1).unwrap());

    let data = bench.tiny_data();
    let common = format!("{data} --max-batches 3 --epochs 1 --engines {engines}");
    bench.train("run", &common);
    let log = std::fs::read_to_string(bench.path("run/run.log")).expect("a log");
    assert!(log.contains(&format!("· {name} ·")), "{log}");

    let compared = bench.stagger(&format!(
        "compare bp dsp {common} --batch-size 8 --lr 0.01 --output compared"
    ));
    assert_eq!(compared.status, 0, "{}", compared.stderr);
    assert!(
        compared.stdout.contains(&format!("· {name} f32 ·")),
        "{}",
        compared.stdout
    );
}

#[test]
fn threads_change_no_bit_and_may_change_on_a_resume() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    let common = format!("{data} --schedule bp --epochs 2 --lr-schedule constant");
    bench.train("alone", &format!("{common} --max-batches 6"));
    let threads = "--threads-per-stage";
    bench.train("shared", &format!("{common} --max-batches 3 {threads} 3"));
    let resumed = bench.stagger(&format!(
        "train --resume shared --max-batches 6 {threads} 2"
    ));
    assert_eq!(resumed.status, 0, "{}", resumed.stderr);
    assert!(bench.weights("shared") == bench.weights("alone"));
}
