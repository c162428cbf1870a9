//! The constants of the convergence theorems, measured.

use serde_json::Value;

use crate::support::Bench;

const SMALL: &str = "--batch-size 8 --steps 6 --probe-batches 3 --stages 2";

fn measured(bench: &Bench, arguments: &str) -> Value {
    let output = bench.stagger(&format!("theory {SMALL} --json {arguments}"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    serde_json::from_str(&output.stdout).expect("JSON")
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn tables_for_people() {
    let bench = Bench::new();
    let output = bench.stagger(&format!("theory {SMALL} --optimizer sgd --lr 1e-4"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    for expected in [
        "resnet8 on shapes · dsp(1,0;2,0) on 2 stages · cpu f32 · sgd, weight decay 0.0005, rate 0.0001, batches of 8\n",
        "measured along 6 updates, at 6 versions, on 3 other batches (24 images)\n",
        "S   bias",
        "largest that (22) allows",
        "if nothing were stale",
        "bound (23) on the mean of ‖∇F‖², T = ",
        "at η in use",
        "none is proven",
        "- ReLU is not smooth",
        "- batch normalisation: F is the expected loss of batches of 8",
    ] {
        assert!(
            output.stdout.contains(expected),
            "{expected}: {}",
            output.stdout
        );
    }
    assert!(!output.stdout.contains("clipping"), "{}", output.stdout);
    assert!(
        !output.stdout.contains("the learning rate changes"),
        "{}",
        output.stdout
    );
}

/// What applies to the run is said of it, and a rate that is too large has no bound.
#[test]
fn what_no_theorem_covers_is_said() {
    let bench = Bench::new();
    let output = bench.stagger(&format!(
        "theory {SMALL} --lr 0.2 --lr-schedule cosine --clip-norm 5 --schedule pipedream"
    ));
    assert_eq!(output.status, 0, "{}", output.stderr);
    for expected in [
        "heavy ball 0.9",
        "largest that (24) allows",
        "times as large, which no theorem covers",
        "noise in the velocity",
        "Stashed weights: by (28)",
        "- the learning rate changes",
        "- gradient clipping",
    ] {
        assert!(
            output.stdout.contains(expected),
            "{expected}: {}",
            output.stdout
        );
    }
    assert!(!output.stdout.contains("at η in use"), "{}", output.stdout);
}

#[test]
fn numbers_follow_from_the_seed_and_from_each_other() {
    let bench = Bench::new();
    let sgd = "--optimizer sgd --lr 1e-3";
    let stale = measured(&bench, sgd);
    assert_eq!(stale, measured(&bench, sgd));
    assert_ne!(
        stale["points"],
        measured(&bench, &format!("{sgd} --seed 2"))["points"]
    );

    let (smoothness, spread) = (
        number(&stale["smoothness"]["largest"]),
        number(&stale["spread"]["largest"]),
    );
    let largest = number(&stale["largest_learning_rate"]);
    // (22), with the staleness 2 of stage 0.
    let condition = smoothness * largest + 2.0 * (2.0 * spread * largest).powi(2);
    assert!((condition - 1.0).abs() < 1e-9, "{condition}");
    assert!(largest < number(&stale["largest_learning_rate_without_staleness"]));
    let terms = ["start", "noise", "staleness", "momentum"];
    let sum: f64 = terms.iter().map(|term| number(&stale["bound"][term])).sum();
    assert!((sum / number(&stale["bound"]["total"]) - 1.0).abs() < 1e-9);
    assert_eq!(stale["staleness"], serde_json::json!([2, 0]));
    assert_eq!(stale["points"].as_array().unwrap().len(), 6);

    // Backpropagation goes another way, and nothing of it is stale.
    let fresh = measured(&bench, &format!("{sgd} --schedule bp"));
    assert_eq!(fresh["spread"], Value::Null);
    assert_eq!(number(&fresh["bound"]["staleness"]), 0.0);
    let largest = number(&fresh["largest_learning_rate"]);
    assert!((largest * number(&fresh["smoothness"]["largest"]) - 1.0).abs() < 1e-9);
    // The first version is the same, and so is its gradient.
    assert_eq!(
        fresh["points"][0]["gradient_squared"],
        stale["points"][0]["gradient_squared"]
    );

    // Momentum: nothing at its usual rate, and less than SGD at the same η/(1 − β).
    let heavy = measured(&bench, "");
    assert_eq!(heavy["bound"], Value::Null);
    assert!(number(&heavy["times_the_largest"]) > 1.0);
    assert!(number(&heavy["bound_at_the_largest"]["momentum"]) > 0.0);
    // More updates: only the start counts less.
    let longer = measured(&bench, &format!("{sgd} --epochs 400"));
    assert_eq!(
        number(&longer["updates"]),
        100.0 * number(&stale["updates"])
    );
    assert_eq!(longer["bound"]["noise"], stale["bound"]["noise"]);
    let start = number(&longer["bound"]["start"]) / number(&stale["bound"]["start"]);
    assert!((start * 100.0 - 1.0).abs() < 1e-9, "{start}");
}

/// Weights that have learned something have a smaller loss at the start.
#[test]
fn it_starts_from_weights() {
    let bench = Bench::new();
    let run = bench
        .stagger("train --batch-size 16 --max-batches 40 --calibration-batches 0 --evaluate false --output run");
    assert_eq!(run.status, 0, "{}", run.stderr);
    let trained = measured(&bench, "--lr 1e-3 --pretrained run");
    let height = number(&trained["height"]);
    assert!(height < 0.9 * number(&measured(&bench, "--lr 1e-3")["height"]));
}

#[test]
fn wrong_requests_are_one_sentence() {
    let bench = Bench::new();
    let folder = bench.folder.path().to_string_lossy().into_owned();
    let cases = [
        "--steps 0",
        "--steps 18446744073709551615",
        "--probe-batches 1",
        "--probe-batches 100000",
        "--probe-batches many",
        "--optimizer adamw",
        "--optimizer adam",
        "--optimizer sgd --momentum 0.9",
        "--lr 0",
        "--lr-gamma 0.1",
        "--schedule gpipe(4)",
        "--schedule dsp+accumulate(2)",
        "--schedule dsp+predict",
        "--schedule pipemare",
        "--schedule fdg(beta=0.9)",
        "--schedule dni",
        "--schedule dsp(1;2)",
        "--schedule dp(2)",
        "--replicas 2",
        "--sync-batch-norm",
        "--steps 1 --schedule dsp(m=100,0)",
        "--max-batches 1 --lr-schedule cosine",
        "--steps 21 --max-batches 20 --lr-schedule cosine",
        "--emulate equal:5ms",
        "--dataset cifar10 --data-dir nowhere",
        "--data-dir nowhere",
        "--model resnet9",
        "--batch-size 0",
        "--batch-size 18446744073709551615",
        "--epochs 0",
        "--output run",
        "--resume run",
        "--straggler slowdown=1",
        "--pretrained nowhere",
        "--device cuda",
    ];
    let said: Vec<String> = (cases.iter())
        .map(|case| {
            let output = bench.stagger(&format!("theory --stages 2 {case}"));
            assert_eq!((output.status, output.stdout.as_str()), (2, ""), "{case}");
            assert_eq!(
                output.stderr.lines().count(),
                1,
                "{case}: {}",
                output.stderr
            );
            let said = output.stderr.replace(&folder, "DIR");
            format!("{case}\n  {}", said.trim_end())
        })
        .collect();
    insta::assert_snapshot!("theory_refusals", said.join("\n"));
}

/// Where the rate changes, measuring ends with the run. What one version shows is said of one.
#[test]
fn no_version_is_past_the_end_of_the_run() {
    let bench = Bench::new();
    let few = "theory --json --batch-size 8 --probe-batches 2 --stages 2 --max-batches 4";
    let output = bench.stagger(&format!("{few} --lr-schedule cosine"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let found: Value = serde_json::from_str(&output.stdout).expect("JSON");
    assert_eq!(found["steps"], 4);
    assert_eq!(found["smoothness"]["versions"], 4);
    assert_eq!(found["spread"]["versions"], 3);
    // At a constant rate the run may be measured further.
    let found = measured(&bench, "--max-batches 4");
    assert_eq!(found["steps"], 6);

    let output = bench.stagger("theory -b 8 --steps 1 --probe-batches 2 -s bp");
    assert_eq!(output.status, 0, "{}", output.stderr);
    let line = "measured along 1 update, at 1 version, on 2 other batches (16 images)\n";
    assert!(output.stdout.contains(line), "{}", output.stdout);
}

/// A run that diverges says so, with the status of runs that fail.
#[test]
fn a_run_that_diverges_is_a_failure() {
    let bench = Bench::new();
    let output = bench.stagger("theory --lr 1e6 --batch-size 8 --steps 30 --probe-batches 2");
    assert_eq!((output.status, output.stdout.as_str()), (1, ""));
    assert!(output.stderr.contains("diverge"), "{}", output.stderr);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
}

/// What the theorems leave out is refused before images are looked for.
#[test]
fn what_can_be_known_before_is_said_before() {
    let bench = Bench::new();
    for (arguments, expected) in [
        ("--schedule gpipe(4)", "proves nothing of gpipe(4)"),
        ("--schedule dp(2)", "proves nothing of dp(2)"),
        ("--replicas 2", "there are 2 replicas"),
        ("--optimizer adamw", "proves nothing of optimizer adamw"),
    ] {
        let output = bench.stagger(&format!("theory {arguments} --data-dir nowhere"));
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments}"
        );
        assert!(
            output.stderr.contains(expected),
            "{arguments}: {}",
            output.stderr
        );
    }
}
