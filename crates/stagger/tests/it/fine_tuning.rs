//! Frozen stages, a rate of its own for the head, which parameters decay, and classes that are matched by name.

use stagger::cpu::{CpuDevice, CpuStage};
use stagger::data::{InMemory, Split};
use stagger::engine::{HostTensor, Optimizer, Stage, StageSpec, StageState, WeightDecay};
use stagger::model::Model;
use stagger::{Training, TrainingOptions};

use crate::support::noise;

fn training<'a>(options: TrainingOptions) -> Training<'a> {
    Training::new()
        .dataset(noise(0))
        .options(TrainingOptions {
            lr_schedule: Some("constant".into()),
            warmup_batches: Some(0),
            ..options
        })
        .batch_size(8)
        .learning_rate(0.05)
}

fn weights(training: Training<'_>) -> StageState {
    training.run().unwrap().weights().unwrap()
}

fn frozen(stages: usize) -> TrainingOptions {
    TrainingOptions {
        freeze_stages: Some(stages),
        ..TrainingOptions::default()
    }
}

/// Initial weights of [`training`].
fn initial() -> StageState {
    let model = Model::by_name("resnet8", [1, 8, 8], 3).unwrap();
    let spec = StageSpec::new(&model, 0..model.blocks.len(), 1);
    CpuStage::new(&spec, CpuDevice::default())
        .unwrap()
        .export()
        .unwrap()
}

fn is_of_blocks(name: &str, blocks: std::ops::Range<usize>) -> bool {
    let model = Model::by_name("resnet8", [1, 8, 8], 3).unwrap();
    let parameters = model.parameters(blocks.clone()).into_iter();
    let buffers = model.buffers(blocks).into_iter();
    let names = parameters.map(|one| one.name);
    let mut names = names.chain(buffers.map(|one| one.name));
    names.any(|other| other == name)
}

/// Stages that do not change are never stale, so that every method does to the others what backpropagation does.
#[test]
fn frozen_stages_stay_and_every_method_trains_the_rest_alike() {
    let balance = Some("2,3".to_owned());
    let two = |schedule: &str| {
        let options = TrainingOptions {
            balance: balance.clone(),
            ..frozen(1)
        };
        weights(training(options).schedule(schedule).stages(2).epochs(2))
    };
    let (initial, trained) = (initial(), two("bp"));
    for (name, tensor) in &initial.tensors {
        let stays = trained.tensors[name] == *tensor;
        assert_eq!(stays, is_of_blocks(name, 0..2), "{name}");
    }
    for (name, count) in &trained.counters {
        let name = name.replace("num_batches_tracked", "running_mean");
        assert_eq!(*count == 0, is_of_blocks(&name, 0..2), "{name}");
    }
    for schedule in ["dsp", "pipedream", "1f1b(1)", "ddg", "fdg", "pipemare"] {
        assert!(two(schedule) == trained, "{schedule}");
    }
    // Two frozen stages, of which the second has no gradient for the first.
    let three = TrainingOptions {
        balance: Some("1,1,3".to_owned()),
        ..frozen(2)
    };
    let three = training(three).schedule("dsp").stages(3).epochs(2);
    assert!(weights(three) == trained);
}

/// The same by hand: features of a stage that is evaluated, and a plain loop over the rest.
#[test]
fn what_is_not_frozen_sees_features_of_an_evaluation() {
    let split = noise(0);
    let mut pixels = vec![0; 64];
    let model = Model::by_name("resnet8", [1, 8, 8], 3).unwrap();
    let build =
        |blocks| CpuStage::new(&StageSpec::new(&model, blocks, 1), CpuDevice::default()).unwrap();
    let (mut below, mut above) = (build(0..2), build(2..5));
    // One batch of all images, in the order in which they are; the order makes a difference of rounding.
    let (mean, std) = (split.normalization.mean[0], split.normalization.std[0]);
    let (mut images, mut labels) = (Vec::new(), Vec::new());
    for image in 0..split.train.len() {
        split.train.image(image, &mut pixels).unwrap();
        images.extend(
            pixels
                .iter()
                .map(|&pixel| (f32::from(pixel) / 255.0 - mean) / std),
        );
        labels.push(split.train.label(image));
    }
    let images = HostTensor::new(vec![labels.len(), 1, 8, 8], images).unwrap();
    let images = below.upload(images).unwrap();
    let features = below.evaluate(&images).unwrap();
    for batch in 0..3 {
        let (logits, graph) = above.record(&features, batch).unwrap();
        let loss = above.loss(&logits, &labels, 1.0).unwrap();
        above.backward(graph, loss.grad).unwrap();
        above.update(0.05).unwrap();
    }
    let options = TrainingOptions {
        balance: Some("2,3".to_owned()),
        augment: Some(false.into()),
        weight_decay: Some(0.0),
        ..frozen(1)
    };
    let run = training(options).optimizer("sgd").schedule("dsp").stages(2);
    let found = weights(run.batch_size(20).epochs(3));
    for (name, tensor) in above.export().unwrap().tensors {
        let pairs = tensor.data.iter().zip(&found.tensors[&name].data);
        let off = pairs
            .map(|(one, other)| (one - other).abs())
            .fold(0.0, f32::max);
        assert!(off < 1e-4, "{name} is off by {off}");
    }
}

#[test]
fn a_run_with_frozen_stages_goes_on_to_the_bit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let options = || TrainingOptions {
        snapshot_every: Some(vec!["2".into()]),
        keep_snapshots: Some(9),
        head_lr_factor: Some(3.0),
        ..frozen(1)
    };
    for schedule in ["dsp", "pipedream"] {
        let run = training(options()).schedule(schedule).stages(2).epochs(2);
        let whole = run.output(path(schedule)).run().unwrap().weights().unwrap();
        // The first one: a slow disk leaves out others, but never the first and the last.
        let snapshot = path(schedule).join("snapshots/v00000002");
        let resumed = Training::new().dataset(noise(0)).resume(&snapshot);
        assert!(weights(resumed) == whole, "{schedule}");
        let other = TrainingOptions::default();
        let refused = Training::new()
            .dataset(noise(0))
            .options(TrainingOptions {
                freeze_stages: Some(0),
                ..other
            })
            .resume(&snapshot)
            .prepare();
        let refused = refused.err().unwrap().to_string();
        assert!(refused.contains("freeze_stages"), "{refused}");
    }
}

/// By hand for plain SGD: the head's first step is as many times as long, and nothing else changes.
#[test]
fn the_head_has_a_rate_of_its_own() {
    let one_step = |factor| {
        let options = TrainingOptions {
            head_lr_factor: factor,
            ..TrainingOptions::default()
        };
        let run = training(options).optimizer("sgd").schedule("bp").stages(2);
        weights(run.max_batches(1))
    };
    let (before, plain, fast) = (initial(), one_step(None), one_step(Some(4.0)));
    for (name, plain) in &plain.tensors {
        let fast = &fast.tensors[name];
        if !name.starts_with("linear.") {
            assert_eq!(fast, plain, "{name}");
            continue;
        }
        assert_ne!(fast, plain, "{name}");
        let each = before.tensors[name]
            .data
            .iter()
            .zip(&plain.data)
            .zip(&fast.data);
        for ((before, plain), fast) in each {
            let expected = before + 4.0 * (plain - before);
            assert!(
                (fast - expected).abs() < 1e-5,
                "{name}: {fast}, expected {expected}"
            );
        }
    }
}

/// Weights are predicted along the steps that the optimizer makes, which are longer for the head.
#[test]
fn predictions_follow_the_rate_of_the_head() {
    let model = Model::by_name("resnet8", [1, 8, 8], 3).unwrap();
    let spec = StageSpec {
        optimizer: Optimizer::Momentum {
            beta: 0.9,
            nesterov: 0.0,
            weight_decay: WeightDecay::default(),
        },
        head_rate_factor: 4.0,
        ..StageSpec::new(&model, 4..5, 1)
    };
    let mut stage = CpuStage::new(&spec, CpuDevice::default()).unwrap();
    let input = HostTensor::new(
        vec![2, 64, 2, 2],
        (0..512).map(|at| at as f32 / 100.0).collect(),
    );
    let input = stage.upload(input.unwrap()).unwrap();
    let (logits, graph) = stage.record(&input, 0).unwrap();
    let loss = stage.loss(&logits, &[0, 2], 1.0).unwrap();
    stage.backward(graph, loss.grad).unwrap();
    stage.update(0.1).unwrap();
    let state = stage.export().unwrap();
    let predicted = stage.predicted_weights(0.3).unwrap();
    let predicted = stage.export_weights(&predicted).unwrap();
    for (name, predicted) in ["linear.weight", "linear.bias"].iter().zip(predicted) {
        let (weight, slot) = (
            &state.tensors[*name],
            format!("optimizer.{name}.momentum_buffer"),
        );
        let each = weight
            .data
            .iter()
            .zip(&state.tensors[&slot].data)
            .zip(predicted.data);
        for ((weight, velocity), predicted) in each {
            assert!(
                (predicted - (weight - 0.3 * 4.0 * velocity)).abs() < 1e-6,
                "{name}"
            );
        }
    }
}

#[test]
fn every_optimizer_decays_all_parameters_unless_told_otherwise() {
    let decay = |optimizer: &str, on: Option<&str>| {
        let options = TrainingOptions {
            weight_decay: Some(0.1),
            weight_decay_on: on.map(str::to_owned),
            ..TrainingOptions::default()
        };
        let job = training(options).optimizer(optimizer.to_owned()).check();
        job.unwrap().optimizer.weight_decay()
    };
    for optimizer in ["sgd", "momentum", "adamw"] {
        assert_eq!(decay(optimizer, None), WeightDecay::everywhere(0.1));
        assert_eq!(decay(optimizer, Some("all")), WeightDecay::everywhere(0.1));
        assert_eq!(
            decay(optimizer, Some("weights")),
            WeightDecay::matrices(0.1)
        );
    }
}

/// `--lr` is the rate of the first batch behind warm-up, whatever comes after.
#[test]
fn the_rate_is_reached_when_warm_up_ends() {
    for schedule in ["constant", "step", "cosine"] {
        let options = TrainingOptions {
            lr_schedule: Some(schedule.into()),
            warmup_batches: Some(4),
            ..TrainingOptions::default()
        };
        let job = training(options).options(TrainingOptions {
            lr_schedule: Some(schedule.into()),
            warmup_batches: Some(4),
            ..TrainingOptions::default()
        });
        let rate = job.epochs(4).check().unwrap().learning_rate;
        let found: Vec<f64> = (0..5).map(|batch| rate.at(batch) / 0.05).collect();
        for (found, expected) in found.iter().zip([0.2, 0.4, 0.6, 0.8, 1.0]) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{schedule}: {found}, expected {expected}"
            );
        }
    }
}

/// Each channel sees 2×2 values of the one image.
#[test]
fn a_batch_of_one_sample_trains() {
    for schedule in ["bp", "dsp"] {
        let run = training(TrainingOptions::default())
            .schedule(schedule)
            .stages(2);
        let run = run.batch_size(1).max_batches(5).run().unwrap();
        assert!(run.loss().unwrap().is_finite(), "{schedule}");
    }
}

/// [`noise`] with these class names.
fn named(names: [&str; 3]) -> Split {
    let set = |split: &dyn stagger::data::Dataset| {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for image in 0..split.len() {
            let mut of_image = vec![0; 64];
            split.image(image, &mut of_image).unwrap();
            pixels.extend(of_image);
            let name = ["a", "b", "c"][split.label(image)];
            let label = names.iter().position(|other| *other == name);
            labels.push(label.unwrap_or(split.label(image)) as u16);
        }
        InMemory::new("tiny", names, [1, 8, 8], labels, pixels).unwrap()
    };
    let split = noise(0);
    Split::new(set(&*split.train), set(&*split.test)).unwrap()
}

#[test]
fn classes_are_matched_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let first = training(TrainingOptions::default())
        .schedule("dsp")
        .stages(2);
    let first = first.epochs(1).output(path("first")).run().unwrap();
    let weights = first.weights().unwrap();
    // Steps too small to be seen: weights stay those that the run starts from.
    let start = |names, options: TrainingOptions| {
        let run = training(options).dataset(named(names)).optimizer("sgd");
        let run = run.schedule("bp").stages(1).max_batches(1);
        run.learning_rate(1e-30)
    };
    let resume = |from: &str| TrainingOptions {
        resume_weights: Some(path(from)),
        weight_decay: Some(0.0),
        ..TrainingOptions::default()
    };
    let pretrained = |from: &str| TrainingOptions {
        pretrained: Some(path(from)),
        weight_decay: Some(0.0),
        ..TrainingOptions::default()
    };
    let bias = |state: &StageState| state.tensors["linear.bias"].data.clone();
    let (here, rows) = (bias(&weights), |state: &StageState| {
        state.tensors["linear.weight"].data.clone()
    });
    // A run has snapshots; a file has metadata.
    for options in [
        resume("first"),
        resume("first/last.safetensors"),
        pretrained("first"),
    ] {
        let found = start(["b", "c", "a"], options)
            .run()
            .unwrap()
            .weights()
            .unwrap();
        assert_eq!(bias(&found), [here[1], here[2], here[0]]);
        assert_eq!(rows(&found)[..64], rows(&weights)[64..128]);
        let same = start(["a", "b", "c"], resume("first")).run().unwrap();
        assert_eq!(bias(&same.weights().unwrap()), here);
    }
    let refused = start(["a", "b", "x"], resume("first")).run().unwrap_err();
    let refused = refused.to_string();
    assert!(
        refused.contains(
            "are of other classes: \"c\" only there, \"x\" only here; `pretrained` keeps the rest"
        ),
        "{refused}"
    );
    let anew = start(["a", "b", "x"], pretrained("first")).run().unwrap();
    let (anew, initial) = (anew.weights().unwrap(), initial());
    assert_eq!(
        anew.tensors["linear.weight"],
        initial.tensors["linear.weight"]
    );
    assert_eq!(
        anew.tensors["conv1.weight"],
        weights.tensors["conv1.weight"]
    );
}
