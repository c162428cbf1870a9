//! `stagger sweep`: runs combinations, resumes, and refuses.

use std::fs;

use serde_json::Value;
use stagger::report::Record;

use crate::support::{Bench, Output};

const TINY: &str = "--batch-size 8 --max-batches 6 --eval-batch-size 250 --output out";

fn sweep(bench: &Bench, arguments: &str) -> Output {
    let mut words = vec!["sweep"];
    words.extend(arguments.split(' '));
    words.extend(TINY.split(' '));
    bench.stagger_words(&words)
}

fn json(bench: &Bench) -> Vec<Value> {
    let text = fs::read_to_string(bench.path("out/sweep.json")).expect("a file");
    let found: Value = serde_json::from_str(&text).expect("JSON");
    found["runs"].as_array().expect("runs").clone()
}

/// What stands before the colon of each run's line.
fn lines(output: &Output) -> Vec<&str> {
    let lines = output.stdout.lines().filter(|line| line.starts_with('['));
    lines
        .filter_map(|line| Some(line.split_once("] ")?.1.split_once(": ")?.0))
        .collect()
}

#[test]
fn every_combination_is_run_and_the_best_comes_first() {
    let bench = Bench::new();
    let arguments = "--over schedule=bp,dsp --over lr=0.001,0.05 --seed 7";
    let output = sweep(&bench, arguments);
    assert_eq!(output.status, 0, "{}", output.stderr);
    let all = [
        "schedule bp, lr 0.001",
        "schedule bp, lr 0.05",
        "schedule dsp, lr 0.001",
        "schedule dsp, lr 0.05",
    ];
    assert_eq!(lines(&output), all);
    let runs = json(&bench);
    let best = |run: &Value| run["best_top1"].as_f64().unwrap();
    assert_eq!(runs.len(), 4);
    assert!(runs.windows(2).all(|pair| best(&pair[0]) >= best(&pair[1])));
    let first = runs[0]["run"].as_str().unwrap();
    let table = output.stdout.split("\n\n").nth(1).unwrap();
    assert!(
        table.lines().nth(1).unwrap().starts_with(first),
        "{table}, {first}"
    );

    // A run is what `train` does with these values.
    bench.train("alone", "--schedule dsp --lr 0.05 --seed 7 --max-batches 6");
    assert_eq!(bench.losses("alone"), bench.losses("out/runs/4"));

    // What is done is kept, and what was cut short is run again.
    let metrics = bench.path("out/runs/3/metrics.jsonl");
    let whole = fs::read_to_string(&metrics).unwrap();
    let (without_end, _) = whole.trim_end().rsplit_once('\n').unwrap();
    fs::write(&metrics, format!("{without_end}\n")).unwrap();
    let again = sweep(&bench, arguments);
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(
        again.stdout.matches("(kept)").count(),
        3,
        "{}",
        again.stdout
    );
    assert!(matches!(
        bench.metrics("out/runs/3").last(),
        Some(Record::End(_))
    ));

    // Another sweep does not mix with this one, and neither does a comparison.
    let other = sweep(
        &bench,
        "--over schedule=bp,dsp --over lr=0.001,0.05 --seed 8",
    );
    assert_eq!(
        (other.status, other.stderr.as_str()),
        (
            2,
            "error: out holds another sweep: `seed` is 7 there and 8 here; choose another --output, or ask for the same\n"
        )
    );
    let compare = bench.stagger("compare bp dsp --output out");
    assert_eq!(compare.status, 2, "{}", compare.stdout);
}

#[test]
fn draws_are_those_of_their_seed() {
    let bench = Bench::new();
    let arguments = "--over lr=log(1e-3,0.1) --over nesterov=true,false --draw 3 --evaluate false";
    let output = sweep(&bench, arguments);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(lines(&output).len(), 3);
    let runs = json(&bench);
    for run in &runs {
        let lr = run["values"]["lr"].as_f64().unwrap();
        assert!((1e-3..=0.1).contains(&lr), "{lr}");
        assert!(run["values"]["nesterov"].is_boolean());
        assert!(run["best_top1"].is_null());
        // A tenth of six batches, rounded up.
        let losses = bench.losses(&format!("out/runs/{}", run["run"].as_str().unwrap()));
        assert_eq!(
            run["last_loss"].as_f64().map(|loss| loss as f32),
            losses.last().copied()
        );
    }
    // Without evaluation, the lowest loss is the best.
    let losses = runs.iter().map(|run| run["last_loss"].as_f64().unwrap());
    assert!(losses.is_sorted());
    let again = sweep(&bench, arguments);
    assert_eq!(
        again.stdout.matches("(kept)").count(),
        3,
        "{}",
        again.stdout
    );
    let other = sweep(&bench, &format!("{arguments} --draw-seed 2"));
    assert!(
        other.stderr.contains("`draw-seed` is 1 there and 2 here"),
        "{}",
        other.stderr
    );
}

/// As many as there are combinations are all of them, in an order of their seed.
#[test]
fn no_combination_is_drawn_twice() {
    let bench = Bench::new();
    let mut orders = Vec::new();
    for seed in [1, 2] {
        let output = bench.stagger(&format!(
            "sweep --over batch-size=8,16,32 --over seed=1,2 --draw 6 --draw-seed {seed} --emulate equal:1ms --max-batches 1 --output out{seed}"
        ));
        assert_eq!(output.status, 0, "{}", output.stderr);
        orders.push(lines(&output).iter().map(|&line| line.to_owned()).collect());
    }
    let sorted = |order: &Vec<String>| {
        let mut sorted = order.clone();
        sorted.sort();
        sorted
    };
    let mut all = Vec::new();
    for batch in [16, 32, 8] {
        all.extend([1, 2].map(|seed| format!("batch-size {batch}, seed {seed}")));
    }
    assert!(
        orders.iter().all(|order| sorted(order) == all),
        "{orders:?}"
    );
    assert_ne!(orders[0], orders[1]);
}

/// What is swept stands above what a config file says, and the rest of the file counts.
#[test]
fn a_config_file_gives_what_is_not_swept() {
    let bench = Bench::new();
    fs::write(bench.path("c.toml"), "lr = 0.5\nmomentum = 0.25\n").unwrap();
    let output = sweep(&bench, "--over lr=0.001,0.002 --config c.toml");
    assert_eq!(output.status, 0, "{}", output.stderr);
    for (run, lr) in [("1", "lr = 0.001"), ("2", "lr = 0.002")] {
        let config =
            fs::read_to_string(bench.path(&format!("out/runs/{run}/config.toml"))).unwrap();
        for line in [lr, "momentum = 0.25"] {
            assert!(config.lines().any(|it| it == line), "{line}: {config}");
        }
    }
}

/// What a sweep is of does not change under it: neither where a path is relative to, nor what a file says.
#[test]
fn model_files_are_taken_when_the_sweep_begins() {
    let bench = Bench::new();
    let network = |channels: usize| {
        format!(
            "name = \"c{channels}\"\n[[blocks]]\nname = \"a\"\nlayers = [\n{{ kind = \"conv2d\", out_channels = {channels}, kernel = 3 }},\n{{ kind = \
             \"global-avg-pool\" }},\n{{ kind = \"flatten\" }},\n{{ kind = \"linear\", outputs = \"classes\" }},\n]\n"
        )
    };
    for channels in [4, 8] {
        fs::write(bench.path(&format!("{channels}.toml")), network(channels)).unwrap();
    }
    let arguments = "--over model=4.toml,./8.toml --stages 1 --schedule bp";
    let output = sweep(&bench, arguments);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(lines(&output), ["model 4.toml", "model ./8.toml"]);
    let config = fs::read_to_string(bench.path("out/configs/2.toml")).unwrap();
    assert!(config.contains("out_channels = 8"), "{config}");
    fs::write(bench.path("8.toml"), network(9)).unwrap();
    let other = sweep(&bench, arguments);
    assert_eq!(other.status, 2, "{}", other.stdout);
    assert!(
        other.stderr.contains("out holds another sweep"),
        "{}",
        other.stderr
    );
}

#[test]
fn emulated_runs_have_no_losses() {
    let bench = Bench::new();
    let output =
        bench.stagger("sweep --over emulate=equal:1ms,equal:2ms --max-batches 6 --output out");
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(
        output
            .stdout
            .matches(": stages slept for their durations")
            .count(),
        2,
        "{}",
        output.stdout
    );
    assert_eq!(
        output.stdout.matches("images/s (emulated)").count(),
        2,
        "{}",
        output.stdout
    );
    let runs = json(&bench);
    for run in &runs {
        assert!(run["last_loss"].is_null(), "{run}");
        assert_eq!(run["emulated"], run["values"]["emulate"]);
    }
}

#[test]
fn a_run_that_fails_does_not_end_the_others() {
    let bench = Bench::new();
    let output = sweep(&bench, "--over lr=1e30,0.01 --winograd false");
    assert_eq!(output.status, 1, "{}", output.stdout);
    assert!(
        output.stdout.contains("[1/2] lr 1e30: failed: "),
        "{}",
        output.stdout
    );
    assert!(
        output.stderr.contains("1 of 2 runs failed"),
        "{}",
        output.stderr
    );
    let runs = json(&bench);
    assert_eq!(
        (&runs[0]["done"], &runs[1]["done"]),
        (&true.into(), &false.into())
    );
    assert_eq!(runs[0]["values"]["lr"], 0.01);
}

#[test]
fn wrong_sweeps_are_refused_before_anything_is_run() {
    let bench = Bench::new();
    for (arguments, expected) in [
        (
            "--over lrr=1",
            "error: --over lrr: unknown field `lrr`; did you mean `lr`?\n",
        ),
        (
            "--over lr=0.1 --over lr=0.2",
            "error: --over names lr twice; list all of its values in one\n",
        ),
        (
            "--over lr=0.1 --lr 0.2",
            "error: --lr and --over lr both say what it is; give one of them\n",
        ),
        (
            "--over lr=log(0.1,1)",
            "error: --over lr is a range, of which all values cannot be run; say how many to draw, as in --draw 20\n",
        ),
        (
            "--over lr=0.1,0.2 --draw 1000000000",
            "error: 1000000000 runs are more than the 10000 of a sweep; draw fewer\n",
        ),
        (
            "--over lr=0.1,0.2 --draw 3",
            "error: --draw 3 is more than the 2 combinations that there are; leave --draw out to run all of them\n",
        ),
        (
            "--over lr=0.1 --draw 0",
            "error: --draw is 0; give a whole number of at least 1\n",
        ),
        (
            "--over lr=0.1 --draw-seed 3",
            "error: --draw-seed does nothing without --draw; add it, or leave the seed out\n",
        ),
        ("--over schedule=bp,dps", "error: with schedule dps: "),
        ("--over dataset=shapes,shape", "error: with dataset shape: "),
        (
            "--over model=resnet8,resnet9",
            "error: with model resnet9: there is no model `resnet9`",
        ),
        ("--over lr=0.1,-1", "error: with lr -1: "),
        (
            "--over balance=profile,auto",
            "error: --over balance: --balance profile would cut the model anew",
        ),
        ("--over lr=\u{1b}[31m", "error: --over lr: "),
    ] {
        let output = sweep(&bench, arguments);
        assert_eq!(output.status, 2, "{arguments}: {}", output.stdout);
        assert!(
            output.stderr.starts_with(expected),
            "{arguments}: {}",
            output.stderr
        );
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
        assert!(!output.stderr.contains('\u{1b}'), "{}", output.stderr);
        assert!(!bench.path("out").exists(), "{arguments}");
    }
    let none = bench.stagger("sweep");
    assert_eq!(none.status, 2, "{}", none.stdout);
}

/// A rollback needs snapshots, of which a sweep keeps none by itself.
#[test]
fn an_axis_of_rollbacks_keeps_snapshots() {
    let bench = Bench::new();
    let arguments = "--over on-nan=stop,rollback --stages 1 --schedule bp --evaluate false";
    let output = sweep(&bench, arguments);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(lines(&output), ["on-nan stop", "on-nan rollback"]);
}
