//! What the library refuses by itself: rules that hold for programs as they do for the command line.

use stagger::bench::Bench;
use stagger::engine::{LearningRate, Optimizer};
use stagger::plan::Distribution;
use stagger::profiling::Profiling;
use stagger::{
    DurationsChoice, Error, Refusal, SimulatedSnapshots, Simulation, Spelling, Training,
    TrainingOptions,
};

fn sentence<T>(found: Result<T, impl Into<Error>>) -> String {
    let error = found.map(drop).expect_err("it is refused").into();
    assert!(error.is_refusal(), "{error}");
    error.sentence(Spelling::Fields)
}

fn simulation(schedule: &str) -> Simulation {
    Simulation {
        schedule: schedule.into(),
        stages: Some(2),
        ..Simulation::default()
    }
}

#[test]
fn simulations_that_would_never_end_are_refused() {
    for (option, of) in [("batches", (usize::MAX, 1)), ("warmup", (1, 100_000_001))] {
        let (batches, warmup) = of;
        let found = Simulation {
            batches,
            warmup,
            ..simulation("dsp")
        };
        let said = sentence(found.prepare());
        assert!(said.starts_with(&format!("`{option}` ")), "{said}");
        assert!(said.ends_with("give at most 100000000"), "{said}");
    }
}

#[test]
fn times_that_no_text_could_say_are_refused() {
    let usual = || simulation("dsp");
    for seconds in [f64::NAN, f64::INFINITY, -1.0, 1e6] {
        let time = || Some(Distribution::Constant(seconds));
        let snapshots = SimulatedSnapshots { every: 10, seconds };
        for (option, found) in [
            (
                "latency",
                Simulation {
                    latency: time(),
                    ..usual()
                },
            ),
            (
                "transfer",
                Simulation {
                    transfer: time(),
                    ..usual()
                },
            ),
            (
                "snapshot_time",
                Simulation {
                    snapshots: Some(snapshots),
                    ..usual()
                },
            ),
            (
                "profile",
                Simulation {
                    durations: DurationsChoice::Equal(seconds),
                    ..usual()
                },
            ),
        ] {
            let said = sentence(found.prepare());
            assert!(
                said.starts_with(&format!("`{option}` ")),
                "{seconds}: {said}"
            );
        }
    }
}

/// Other methods do other work for a batch than DSP, or have a staleness of their own.
#[test]
fn only_dsp_has_a_least_staleness() {
    for schedule in ["bp", "gpipe(8)", "dsp + predict", "dsp(m=4,0)"] {
        let prepared = simulation(schedule).prepare().unwrap();
        let said = sentence(prepared.with_least_staleness(0.9).map(drop));
        assert!(
            said.contains("`keep_busy` finds the staleness of dsp"),
            "{said}"
        );
    }
    let prepared = simulation("DSP + split").prepare().unwrap();
    for share in [0.0, 1.0, -0.5, f64::NAN] {
        let said = sentence(prepared.with_least_staleness(share).map(drop));
        assert!(said.starts_with("`keep_busy` "), "{said}");
    }
    assert!(prepared.with_least_staleness(0.5).unwrap().1);
}

fn options() -> TrainingOptions {
    TrainingOptions {
        model: Some("resnet8".to_owned()),
        batch_size: Some(8),
        ..TrainingOptions::default()
    }
}

#[test]
fn measurements_of_nothing_are_refused() {
    let bench = |batches, warmup, options| Bench {
        options,
        shape: [1, 8, 8],
        classes: 10,
        batches,
        warmup,
        profile_kernels: false,
    };
    let said = sentence(bench(0, 1, options()).run());
    assert_eq!(said, "`batches` is 0; give a whole number of at least 1");
    for (batches, warmup) in [(usize::MAX, 1), (1, usize::MAX)] {
        let said = sentence(bench(batches, warmup, options()).run());
        assert!(
            said.contains("is not a number of batches to measure"),
            "{said}"
        );
    }
    // Links between threads have no format.
    let narrow = || TrainingOptions {
        wire_dtype: Some("bf16".to_owned()),
        ..options()
    };
    let expected = "`wire_dtype` does nothing with `transport` threads; leave it out, or use `transport` bytes";
    assert_eq!(sentence(bench(1, 0, narrow()).run()), expected);

    let profiling = |options| Profiling {
        options,
        shape: [1, 8, 8],
        classes: 10,
        rounds: 1,
        batches: 1,
        warmup: 0,
        commit: None,
        command_line: None,
    };
    assert_eq!(sentence(profiling(narrow()).run(None)), expected);
    let long = TrainingOptions {
        epochs: Some(9),
        ..options()
    };
    let expected = "`epochs` is of no use in a measurement on random images; leave it out";
    assert_eq!(sentence(bench(1, 0, long.clone()).run()), expected);
    assert_eq!(sentence(profiling(long).run(None)), expected);
    let usual = TrainingOptions::defaults();
    bench(1, 0, options().or(usual)).run().unwrap();
    let as_fixed = TrainingOptions {
        epochs: Some(1),
        lr_schedule: Some("constant".to_owned()),
        evaluate: Some(false),
        ..options()
    };
    bench(1, 0, as_fixed).run().unwrap();
    let slowed = TrainingOptions {
        straggler: Some(vec!["slowdown=100%".to_owned()]),
        ..options()
    };
    let said = sentence(profiling(slowed).run(None));
    assert!(
        said.starts_with("`straggler` would put its pauses"),
        "{said}"
    );
    let emulated = TrainingOptions {
        emulate: Some("equal:1ms".to_owned()),
        balance: Some("uniform".to_owned()),
        ..options()
    };
    let said = sentence(profiling(emulated).run(None));
    assert!(said.contains("there is nothing to measure"), "{said}");
}

/// Random labels would drive the loss to infinity at the rate of training.
#[test]
fn measurements_have_a_small_learning_rate_unless_another_is_said() {
    let rate = |lr| {
        let bench = Bench {
            options: TrainingOptions { lr, ..options() },
            shape: [1, 8, 8],
            classes: 10,
            batches: 1,
            warmup: 0,
            profile_kernels: false,
        };
        bench.run().unwrap().job.learning_rate.base
    };
    assert_eq!((rate(None), rate(Some(0.05))), (0.01, 0.05));
}

#[test]
fn what_is_said_last_holds() {
    let of = |training: Training<'_>| training.check().unwrap().optimizer.name();
    let named = |name: &str| TrainingOptions {
        optimizer: Some(name.to_owned()),
        ..TrainingOptions::default()
    };
    let sgd = || Optimizer::Sgd {
        weight_decay: stagger::engine::WeightDecay::default(),
    };
    let object_first = Training::new().optimizer(sgd()).options(named("adamw"));
    assert_eq!(of(object_first), "adamw");
    let name_first = Training::new().options(named("adamw")).optimizer(sgd());
    assert_eq!(of(name_first), "sgd");
    let other_options = Training::new().optimizer(sgd()).options(TrainingOptions {
        seed: Some(3),
        ..TrainingOptions::default()
    });
    assert_eq!(of(other_options), "sgd");
}

#[test]
fn learning_rates_outside_their_range_are_refused() {
    for base in [-0.1, f64::NAN] {
        let said = sentence(
            Training::new()
                .learning_rate(LearningRate::constant(base))
                .check(),
        );
        let expected = "the learning rate expects base to be finite and above 0 but it is ";
        assert!(said.starts_with(expected), "{said}");
    }
}

#[test]
fn a_rollback_needs_snapshots() {
    let rollback = TrainingOptions {
        on_nan: Some("rollback".to_owned()),
        keep_snapshots: Some(0),
        ..options()
    };
    let refused = Training::new().options(rollback).check();
    assert!(matches!(
        refused,
        Err(Error::Refused(Refusal::Unused {
            option: "on_nan",
            beside: "keep_snapshots",
            ..
        }))
    ));
}

#[test]
fn only_a_resumed_run_has_data_that_may_have_changed() {
    let said = sentence(
        Training::new()
            .accept_changed_data(true)
            .prepare()
            .map(drop),
    );
    assert_eq!(
        said,
        "`accept_changed_data` is for a run that is resumed; name it with `resume`, or leave it out"
    );
}

/// A run that could not be resumed for its config is refused before it begins.
#[test]
fn numbers_that_no_config_can_hold_are_refused() {
    let large = TrainingOptions {
        seed: Some(1 << 63),
        ..options()
    };
    let said = sentence(Training::new().options(large.clone()).check());
    let expected = "`seed` 9223372036854775808 is not a number that a config can hold; give at most 9223372036854775807";
    assert_eq!(said, expected);
    let prepared = Training::new().options(large).prepare().map(drop);
    assert_eq!(sentence(prepared), expected);
    let largest = TrainingOptions {
        seed: Some(i64::MAX as u64),
        ..options()
    };
    Training::new().options(largest).check().unwrap();
    let steps = TrainingOptions {
        lr_schedule: Some("step".to_owned()),
        lr_steps: Some(vec![1, usize::MAX]),
        ..options()
    };
    let said = sentence(Training::new().options(steps).check());
    assert!(
        said.starts_with("`lr_steps` 18446744073709551615"),
        "{said}"
    );
}
