//! Replicas that normalise batches together: they train what one copy trains, on ranks too, and resume to the bit; and where there
//! is nothing to do, that is said.

use stagger::engine::StageState;
use stagger::model::{Block, Layer, Model};
use stagger::transport::World;
use stagger::{RunWeights, Training, TrainingOptions, evaluate_run};

use crate::ranks::over;
use crate::support::{interrupting, noise};

fn options(replicas: &[usize], together: bool) -> TrainingOptions {
    TrainingOptions {
        replicas: (!replicas.is_empty()).then(|| replicas.to_vec()),
        sync_batch_norm: Some(together),
        ..TrainingOptions::default()
    }
}

fn training<'a>(schedule: &str, replicas: &[usize], together: bool) -> Training<'a> {
    Training::new()
        .dataset(noise(0))
        .options(options(replicas, together))
        .schedule(schedule)
        .batch_size(10)
        .epochs(3)
        .learning_rate(0.01)
}

/// The largest difference of parameters, running means and variances, by the largest value of each.
fn furthest(found: &StageState, expected: &StageState) -> f32 {
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    let each = expected.tensors.iter().map(|(name, expected)| {
        let found = &found.tensors[name];
        let pairs = found.data.iter().zip(&expected.data);
        let off = largest(&mut pairs.map(|(found, expected)| (found - expected).abs()));
        off / largest(&mut expected.data.iter().map(|value| value.abs())).max(0.1)
    });
    assert_eq!(found.tensors.len(), expected.tensors.len());
    largest(&mut each.into_iter())
}

/// To rounding, of which six batches of ResNet-8 make more.
#[test]
fn replicas_train_what_one_copy_trains() {
    for (method, stages) in [("bp", 1), ("gpipe(2)", 2), ("dsp", 2)] {
        let run = |replicas: &[usize], together| {
            let run = training(method, replicas, together).stages(stages).run();
            let run = run.unwrap();
            (run.loss().unwrap(), run.weights().unwrap())
        };
        let (loss, weights) = run(&[], false);
        for replicas in [2, 3] {
            let (found, ours) = run(&[replicas], true);
            let off = furthest(&ours, &weights);
            assert!(off < 5e-4, "{method} on {replicas}: weights off by {off}");
            assert!((found - loss).abs() < 5e-4 * loss, "{found} and {loss}");
            if replicas == 3 {
                continue;
            }
            let apart = furthest(&run(&[replicas], false).1, &weights);
            assert!(apart > 0.01, "{method} on {replicas} apart: {apart}");
        }
    }
}

#[test]
fn data_parallelism_is_one_copy() {
    let one = training("bp", &[], false).stages(1).run().unwrap();
    let one = one.weights().unwrap();
    for (schedule, replicas) in [("dp(2)", 2), ("dp(3)", 3)] {
        let found = training(schedule, &[], true).run().unwrap();
        let found = found.weights().unwrap();
        let off = furthest(&found, &one);
        assert!(off < 5e-4, "{schedule} is off by {off}");
        let same = training("bp", &[replicas], true).stages(1).run().unwrap();
        assert!(found == same.weights().unwrap());
    }
}

#[test]
fn replicas_on_ranks_give_the_numbers_of_one_process() {
    for (schedule, stages, replicas, ranks) in [
        ("dp(3)", 1, vec![], 3),
        ("dsp", 2, vec![2], 4),
        ("1f1b(2)", 3, vec![2, 1, 1], 4),
        ("zb(2)", 3, vec![2, 1, 1], 4),
        ("ddg", 2, vec![2, 1], 2),
        ("pipedream", 2, vec![1, 2], 3),
    ] {
        let of = || training(schedule, &replicas, true).stages(stages).epochs(2);
        let follow = |world: World| Training::new().dataset(noise(0)).world(world).follow();
        let shared = over(ranks, |world| of().world(world).run(), follow).unwrap();
        let alone = of().run().unwrap();
        assert_eq!(shared.title, alone.title);
        assert_eq!(shared.loss(), alone.loss(), "{schedule}");
        assert_eq!(shared.best, alone.best, "{schedule}");
        let apart = training(schedule, &replicas, false).stages(stages);
        let apart = apart.epochs(2).run().unwrap().weights().unwrap();
        let weights = alone.weights().unwrap();
        assert!(shared.weights().unwrap() == weights, "{schedule}");
        assert!(apart != weights, "{schedule}");
    }
}

#[test]
fn a_halted_run_resumes_to_the_bit() {
    for (schedule, stages, replicas) in [
        ("dsp", 3, vec![2, 2, 2]),
        ("pipedream", 2, vec![3, 1]),
        ("dp(2)", 1, vec![]),
    ] {
        let bench = tempfile::tempdir().unwrap();
        let whole = |folder: &str| {
            let output = bench.path().join(folder);
            training(schedule, &replicas, true)
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
        let run = bench.path().join("run");
        let resume = || Training::new().dataset(noise(0)).resume(&run);
        let other = options(&[], false);
        let error = resume()
            .options(other)
            .run()
            .map(drop)
            .expect_err("another run");
        assert!(
            error
                .to_string()
                .contains("`sync_batch_norm` was true and is not set now"),
            "{error}"
        );
        let resumed = resume().run().unwrap();
        let alone = whole("alone").run().unwrap();
        assert_eq!(resumed.version, alone.version);
        assert_eq!(resumed.best, alone.best, "{schedule}");
        let (resumed, alone) = (resumed.weights().unwrap(), alone.weights().unwrap());
        assert!(resumed == alone, "{schedule} {replicas:?}");
    }
}

#[test]
fn what_is_left_evaluates_as_the_run_did() {
    let bench = tempfile::tempdir().unwrap();
    let output = bench.path().join("run");
    let run = Training::new()
        .options(options(&[], true))
        .schedule("dp(3)")
        .max_batches(3)
        .batch_size(8)
        .output(&output)
        .run()
        .unwrap();
    let found = evaluate_run(&output, &RunWeights::Last, TrainingOptions::default()).unwrap();
    assert!((found.top1 - run.test_accuracy().unwrap()).abs() < 1e-9);
}

/// Eight shares of ten samples: most have one.
#[test]
fn a_share_may_be_one_sample() {
    let apart = training("dsp", &[8], false).model("resnet18-cifar");
    let apart = apart.stages(2).check();
    assert!(apart.is_err_and(|error| error.is_refusal()));
    let run = training("dsp", &[8], true).stages(2).epochs(1).run();
    assert!(run.unwrap().loss().unwrap().is_finite());
    let error = training("gpipe(2)", &[6], true).stages(2).check();
    let sentence = error.expect_err("too few samples").to_string();
    assert!(
        sentence.contains("each of 12 replicas' shares of micro-batches needs at least 1 sample"),
        "{sentence}"
    );
}

#[test]
fn what_would_change_nothing_is_refused() {
    let layers = vec![Layer::Flatten, Layer::linear("linear", 64, 3)];
    let plain = Model::new("plain", [1, 8, 8], 3, vec![Block::new("only", layers)]).unwrap();
    for (training, sentence) in [
        (
            training("dsp", &[], true),
            "`sync_batch_norm` normalises over the replicas of a stage, and no stage has any; use `replicas`, or leave it out",
        ),
        (
            training("dp(1)", &[], true),
            "`sync_batch_norm` normalises over the replicas of a stage, and no stage has any; use `replicas`, or leave it out",
        ),
        (
            training("dp(2)", &[], true).model(plain),
            "`sync_batch_norm` changes nothing: plain has no batch normalisation; leave it out",
        ),
    ] {
        let error = training.check().expect_err(sentence);
        assert!(error.is_refusal());
        assert_eq!(error.to_string(), sentence);
    }
    // The default, said aloud.
    let job = training("dsp", &[], false).check().unwrap();
    assert_eq!(job.options.sync_batch_norm, None);
}
