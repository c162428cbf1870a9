//! Every method from the command line, and what is measured of it.

use stagger::report::{EpochSummary, Record};

use crate::support::Bench;

fn last_epoch(bench: &Bench, run: &str) -> EpochSummary {
    let epochs = bench.metrics(run).into_iter().rev();
    let epoch = |record| match record {
        Record::Epoch(epoch) => Some(epoch),
        _ => None,
    };
    epochs.filter_map(epoch).next().expect("an epoch")
}

#[test]
fn every_method_trains() {
    let bench = Bench::new();
    for (schedule, staleness) in [
        ("gpipe(2)", [0, 0]),
        ("1f1b(3)", [0, 0]),
        ("zb(3)", [0, 0]),
        ("pipedream", [1, 0]),
        ("2bw(2)", [1, 1]),
        ("pipemare(sync=1)", [1, 0]),
        ("ddg", [1, 0]),
        ("fr", [1, 0]),
        ("fdg", [2, 0]),
        ("adl(2)", [1, 0]),
        ("dni", [0, 0]),
        ("dsp+predict+reschedule(3)", [2, 0]),
        ("dsp+gap-aware+shrink(0.9)", [2, 0]),
        ("fr+look-ahead", [1, 0]),
    ] {
        let name = schedule.replace(['(', ')', '=', '+'], "-");
        bench.train(&name, &format!("--schedule {schedule}"));
        assert_eq!(bench.losses(&name).len(), 4, "{schedule}");
        let found = last_epoch(&bench, &name);
        let of_stages: Vec<_> = found
            .stages
            .iter()
            .map(|stage| stage.staleness_max)
            .collect();
        assert_eq!(of_stages, staleness, "{schedule}");
    }
}

#[test]
fn accumulation_multiplies_the_batch() {
    let bench = Bench::new();
    let run = bench.train("run", "--schedule dsp+accumulate(3)");
    let headline = run.stdout.lines().next().unwrap_or_default();
    assert!(
        headline.ends_with("4 batches of 24 in 3 micro-batches"),
        "{headline}"
    );
}

#[test]
fn the_gap_is_in_the_epoch_line_and_the_metrics() {
    let bench = Bench::new();
    let run = bench.train("run", "--gap-every 1");
    let stages = last_epoch(&bench, "run").stages;
    assert!(stages[0].gap_mean.is_some_and(|gap| gap > 0.0 && gap < 1.0));
    assert_eq!(stages[1].gap_mean, None);
    let line = run.stdout.lines().find(|line| line.starts_with("epoch"));
    assert!(
        line.is_some_and(|line| line.contains("· staleness 1.2 0 · gap 0.")),
        "{line:?}"
    );

    bench.train("unasked", "--gap-every 0");
    assert_eq!(last_epoch(&bench, "unasked").stages[0].gap_mean, None);
    assert_eq!(bench.losses("run"), bench.losses("unasked"));
}

#[test]
fn stragglers_change_times_only_and_the_config_repeats_them() {
    let bench = Bench::new();
    let both = "--straggler stage=0,slowdown=50% --straggler stage=1,probability=1,slowdown=0.2";
    bench.train("slow", both);
    bench.train("usual", "");
    assert_eq!(bench.losses("slow"), bench.losses("usual"));
    let delayed = |run| {
        let stages = last_epoch(&bench, run).stages;
        stages
            .iter()
            .map(|stage| !stage.delayed.is_zero())
            .collect::<Vec<_>>()
    };
    assert_eq!(delayed("slow"), [true, true]);
    assert_eq!(delayed("usual"), [false, false]);
    let repeated = bench.stagger("train --config slow/config.toml --output again");
    assert_eq!(repeated.status, 0, "{}", repeated.stderr);
    assert_eq!(delayed("again"), [true, true]);
}
