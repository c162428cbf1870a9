//! Replicas from the library: what they compute, what is left of them, and what is refused.

use stagger::schedule::Schedule;
use stagger::transport::World;
use stagger::{RunWeights, Training, TrainingOptions, evaluate_run};

use crate::ranks::over;
use crate::support::{interrupting, noise};

fn training<'a>(schedule: &str, replicas: &[usize]) -> Training<'a> {
    let options = TrainingOptions {
        replicas: (!replicas.is_empty()).then(|| replicas.to_vec()),
        ..TrainingOptions::default()
    };
    Training::new()
        .dataset(noise(0))
        .options(options)
        .schedule(schedule)
        .batch_size(10)
        .epochs(3)
        .learning_rate(0.01)
}

/// Two replicas see the halves of a batch that two micro-batches are, normalise each by itself, and add the same gradients up: so
/// data parallelism gives the parameters of GPipe on one stage, to the bit. Running statistics differ: GPipe's see one half after
/// the other.
#[test]
fn two_replicas_train_as_two_micro_batches() {
    let parameters = |training: Training<'_>| {
        let mut weights = training.run().unwrap().weights().unwrap();
        weights.tensors.retain(|name, _| !name.contains("running"));
        weights.tensors
    };
    let dp = parameters(training("dp(2)", &[]));
    assert!(dp == parameters(training("gpipe(2)", &[]).stages(1)));
    assert!(dp == parameters(training("bp", &[2]).stages(1)));
    assert!(dp != parameters(training("bp", &[]).stages(1)));
    // A synchronous method is the same however it is cut: also where three values are added up, and their order counts.
    assert!(dp == parameters(training("bp", &[2]).stages(3)));
    let three = parameters(training("dp(3)", &[]));
    for stages in [2, 5] {
        assert!(three == parameters(training("bp", &[3]).stages(stages)));
    }
}

#[test]
fn replicas_on_ranks_give_the_numbers_of_one_process() {
    for (schedule, stages, replicas, ranks) in [
        ("dp(3)", 1, vec![], 3),
        ("dsp", 2, vec![2], 4),
        ("dsp + predict", 3, vec![2, 1, 1], 2),
        ("pipedream", 2, vec![1, 2], 3),
    ] {
        let of = || training(schedule, &replicas).stages(stages).epochs(2);
        let follow = |world: World| Training::new().dataset(noise(0)).world(world).follow();
        let shared = over(ranks, |world| of().world(world).run(), follow).unwrap();
        let alone = of().run().unwrap();
        assert_eq!(shared.title, alone.title);
        assert_eq!(shared.loss(), alone.loss(), "{schedule}");
        assert_eq!(shared.best, alone.best, "{schedule}");
        assert!(
            shared.weights().unwrap() == alone.weights().unwrap(),
            "{schedule}"
        );
    }
}

/// Every rank becomes a replica of a stage, where neither stages nor ranks say anything else.
#[test]
fn ranks_become_replicas() {
    let follow = |world: World| Training::new().dataset(noise(0)).world(world).follow();
    let lead = |world| training("dsp", &[2]).epochs(1).world(world).run();
    let run = over(4, lead, follow).unwrap();
    let two = training("dsp", &[2]).stages(2).epochs(1).run().unwrap();
    assert!(run.weights().unwrap() == two.weights().unwrap());
}

#[test]
fn a_halted_run_resumes_to_the_bit() {
    for (schedule, stages, replicas) in [
        ("dsp", 3, vec![2, 2, 2]),
        ("dsp", 3, vec![1, 2, 2]),
        ("pipedream", 2, vec![3, 1]),
        ("dp(2)", 1, vec![]),
    ] {
        let bench = tempfile::tempdir().unwrap();
        let whole = |folder: &str| {
            let output = bench.path().join(folder);
            training(schedule, &replicas)
                .stages(stages)
                .epochs(12)
                .output(output)
        };
        let interrupt = stagger::Interrupt::new();
        let halted = whole("run")
            .dataset(interrupting(3, interrupt.clone()))
            .interrupt(interrupt)
            .run()
            .unwrap();
        assert!(halted.interrupted);
        let resumed = Training::new()
            .dataset(noise(0))
            .resume(bench.path().join("run"))
            .run()
            .unwrap();
        let alone = whole("alone").run().unwrap();
        assert_eq!(resumed.version, alone.version);
        assert_eq!(resumed.best, alone.best, "{schedule}");
        assert!(
            resumed.weights().unwrap() == alone.weights().unwrap(),
            "{schedule} {replicas:?}"
        );
    }
}

/// The weights that are left give the accuracy that the run told: both are at the mean of the replicas' running statistics.
#[test]
fn what_is_left_evaluates_as_the_run_did() {
    let bench = tempfile::tempdir().unwrap();
    let output = bench.path().join("run");
    let run = Training::new()
        .schedule("dp(2)")
        .max_batches(3)
        .batch_size(8)
        .output(&output)
        .run()
        .unwrap();
    let found = evaluate_run(&output, &RunWeights::Last, TrainingOptions::default()).unwrap();
    assert!((found.top1 - run.test_accuracy().unwrap()).abs() < 1e-9);
}

#[test]
fn what_does_not_suit_is_refused() {
    for (schedule, stages, replicas, sentence) in [
        (
            "dni",
            2,
            vec![2],
            "schedule dni has no replicas: its synthesizers would learn from different shares of a batch, and no longer be the same; leave `replicas` out",
        ),
        (
            "dsp",
            2,
            vec![2, 3],
            "`replicas`: stage 0 has 2 replicas and stage 1 has 3: two neighbours need equal numbers, or one of them 1",
        ),
        (
            "dsp",
            2,
            vec![2, 2, 2],
            "`replicas`: 3 numbers of replicas are given; expected one for all stages, or 2, one for each",
        ),
        (
            "dsp",
            2,
            vec![0],
            "`replicas`: stage 0 has no replica; every stage needs 1 or more",
        ),
        (
            "dp(2)",
            1,
            vec![3],
            "schedule dp(2) has 2 replicas, and `replicas` asks for 3; leave it out",
        ),
        (
            "dsp",
            2,
            vec![11],
            "each of 11 replicas' shares needs at least 1 sample",
        ),
    ] {
        let refused = training(schedule, &replicas).stages(stages).check();
        let error = refused.expect_err(sentence);
        assert!(error.is_refusal());
        let found = error.to_string();
        assert!(found.contains(sentence), "{found}");
    }
    let several = Schedule::parse("dp(2)", Some(3)).expect_err("one stage");
    assert!(
        several
            .to_string()
            .contains("`dp` runs on one stage, not on 3"),
        "{several}"
    );
}

/// Where the notation says how many stages there are, they need not be said again.
#[test]
fn stages_follow_from_the_schedule() {
    let job = training("dsp(1,1,0;4,2,0)", &[]).check().unwrap();
    assert_eq!(job.schedule.stages(), 3);
    let job = training("dp(4)", &[]).check().unwrap();
    assert_eq!((job.schedule.stages(), job.replicas.places()), (1, 4));
    let bench = stagger::bench::Bench {
        options: TrainingOptions {
            schedule: Some("dp(2)".to_owned()),
            batch_size: Some(8),
            ..TrainingOptions::default()
        },
        shape: [1, 8, 8],
        classes: 3,
        batches: 2,
        warmup: 1,
        profile_kernels: false,
    };
    assert_eq!(bench.run().unwrap().job.replicas.places(), 2);
}
