//! Weights of other versions: replaced, predicted, extrapolated back, and how far they are.

use stagger_engine::layered::LayeredStage;
use stagger_engine::{
    EngineError, HostTensor, Optimizer, Precision, Stage, StageSpec, StageState, WeightDecay,
};
use stagger_model::Model;

use crate::Engine;
use crate::fixtures::{bits, images, labels, resnet8, single, stage, train, whole};

fn momentum() -> Optimizer {
    Optimizer::Momentum {
        beta: 0.9,
        nesterov: 0.0,
        weight_decay: WeightDecay::everywhere(0.01),
    }
}

/// The formats that the engine has.
fn precisions<K: Engine>() -> Vec<Precision> {
    match K::ENGINE {
        "torch" => vec![Precision::F32, Precision::Bf16],
        _ => vec![Precision::F32],
    }
}

fn build<K: Engine>(model: &Model, precision: Precision) -> LayeredStage<K> {
    stage(&StageSpec {
        optimizer: momentum(),
        precision,
        ..whole(model)
    })
}

/// Trains on some batches, numbered from `from`.
fn train_on<K: Engine>(stage: LayeredStage<K>, batches: std::ops::Range<usize>) -> LayeredStage<K> {
    let mut stages = [stage];
    for round in batches {
        train(&mut stages, 4, round);
    }
    let [stage] = stages;
    stage
}

/// Logits of some images under the stage's present weights.
fn logits<K: Engine>(stage: &mut LayeredStage<K>) -> Vec<u32> {
    let input = stage.upload(images(3, 3, 8, 77)).unwrap();
    bits(&stage.forward(&input, 0).unwrap())
}

/// Logits under these weights; the stage has its own again afterwards.
fn logits_of<K: Engine>(
    stage: &mut LayeredStage<K>,
    weights: <LayeredStage<K> as Stage>::Weights,
) -> Vec<u32> {
    let own = stage.replace_weights(weights);
    let found = logits(stage);
    stage.replace_weights(own);
    found
}

fn parameter_names(model: &Model) -> Vec<String> {
    let all = model.parameters(0..model.blocks.len()).into_iter();
    all.map(|parameter| parameter.name).collect()
}

/// A state whose weights are `w + factor·slot`, by the engines' arithmetic.
fn displaced(model: &Model, state: &StageState, slot: &str, factor: f64) -> StageState {
    let mut moved = state.clone();
    for name in parameter_names(model) {
        let by = &state.tensors[&StageState::optimizer_name(&name, slot)];
        let weights = &mut moved.tensors.get_mut(&name).unwrap().data;
        for (weight, by) in weights.iter_mut().zip(&by.data) {
            *weight += factor as f32 * by;
        }
    }
    moved
}

pub fn predictions_follow_the_momentum<K: Engine>() {
    let model = resnet8();
    for precision in precisions::<K>() {
        let mut stage = train_on(build::<K>(&model, precision), 0..3);
        let state = stage.export().unwrap();
        let now = logits(&mut stage);
        let predicted = stage.predicted_weights(0.37).unwrap();
        let found = logits_of(&mut stage, predicted);
        let mut other = build::<K>(&model, precision);
        other
            .import(&displaced(&model, &state, "momentum_buffer", -0.37))
            .unwrap();
        assert_eq!(found, logits(&mut other), "{precision}");
        assert_ne!(found, now);
        let here = stage.predicted_weights(0.0).unwrap();
        assert_eq!(logits_of(&mut stage, here), now);
        assert_eq!(stage.export().unwrap(), state);
    }
}

pub fn means_follow_the_weights<K: Engine>() {
    let model = resnet8();
    let keep = 0.75;
    for precision in precisions::<K>() {
        let mut stage = build::<K>(&model, precision);
        stage.track_average(keep);
        assert!(stage.averaged_weights().unwrap().is_none(), "no update yet");
        let mut states = Vec::new();
        for round in 0..3 {
            stage = train_on(stage, round..round + 1);
            states.push(stage.export().unwrap());
        }
        let averaged = states[2].averaged().expect("a mean");
        for name in parameter_names(&model) {
            let mut expected: Vec<f64> = Vec::new();
            for state in &states {
                let now = state.tensors[&name].data.iter().copied().map(f64::from);
                expected = match expected.is_empty() {
                    true => now.collect(),
                    false => (expected.iter().zip(now))
                        .map(|(mean, now)| keep * mean + (1.0 - keep) * now)
                        .collect(),
                };
            }
            for (found, expected) in averaged.tensors[&name].data.iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 1e-6, "{name}: {found} is not {expected}");
            }
        }
        // Passes on the mean are those of a stage that has it as its weights, at the same running statistics.
        let mean = stage.averaged_weights().unwrap().expect("a mean");
        let mut other = build::<K>(&model, precision);
        other.import(&averaged).unwrap();
        let found = logits_of(&mut stage, mean);
        assert_eq!(found, logits(&mut other), "{precision}");
        assert_ne!(found, logits(&mut stage));
        // Following the weights does not change where they go.
        let untracked = train_on(build::<K>(&model, precision), 0..3);
        let state = untracked.export().unwrap();
        assert_eq!(state.averaged(), None);
        assert_eq!(
            state.without_optimizer(),
            states[2].clone().without_optimizer()
        );
    }
}

pub fn a_stage_goes_on_from_imported_means<K: Engine>() {
    let model = resnet8();
    let tracked = || {
        let mut stage = build::<K>(&model, Precision::F32);
        stage.track_average(0.75);
        stage
    };
    let first = train_on(tracked(), 0..2);
    let state = first.export().unwrap();
    let mut second = tracked();
    second.import(&state).unwrap();
    assert_eq!(second.export().unwrap(), state);
    let (first, second) = (train_on(first, 2..3), train_on(second, 2..3));
    assert_eq!(first.export().unwrap(), second.export().unwrap());
}

pub fn drift_follows_the_updates<K: Engine>() {
    let model = resnet8();
    let keep = 0.75;
    for precision in precisions::<K>() {
        let mut stage = build::<K>(&model, precision);
        stage.track_drift(keep);
        let start = stage.drifted_weights(5.0).unwrap();
        let now = logits(&mut stage);
        assert_eq!(logits_of(&mut stage, start), now, "no update, no drift");
        let mut states = vec![stage.export().unwrap()];
        for round in 0..3 {
            stage = train_on(stage, round..round + 1);
            states.push(stage.export().unwrap());
        }
        for name in parameter_names(&model) {
            let drift_of = |state: &StageState| {
                state.tensors[&StageState::optimizer_name(&name, "drift")].clone()
            };
            assert!(drift_of(&states[0]).data.iter().all(|&drift| drift == 0.0));
            let mut expected = vec![0.0; states[0].tensors[&name].data.len()];
            for pair in states.windows(2) {
                let [old, new] = pair else { unreachable!() };
                let (old, new) = (&old.tensors[&name].data, &new.tensors[&name].data);
                for ((drift, old), new) in expected.iter_mut().zip(old).zip(new) {
                    *drift = keep * *drift + (1.0 - keep) * (f64::from(*new) - f64::from(*old));
                }
            }
            let largest = expected
                .iter()
                .fold(0.0_f64, |most, drift| most.max(drift.abs()));
            assert!(largest > 0.0, "{name} does not move");
            for (found, expected) in drift_of(&states[3]).data.iter().zip(expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(error <= 1e-6 * largest, "{name}: {found} is not {expected}");
            }
        }
        let back = stage.drifted_weights(2.0).unwrap();
        let mut other = build::<K>(&model, precision);
        other
            .import(&displaced(&model, &states[3], "drift", -2.0))
            .unwrap();
        let found = logits_of(&mut stage, back);
        assert_eq!(found, logits(&mut other), "{precision}");
        assert_ne!(found, logits(&mut stage));
        // Following the weights does not change where they go.
        let untracked = train_on(build::<K>(&model, precision), 0..3);
        let mut state = states[3].clone();
        state.tensors.retain(|name, _| !name.ends_with(".drift"));
        assert_eq!(untracked.export().unwrap(), state);
    }
}

pub fn a_stage_goes_on_from_imported_drift<K: Engine>() {
    let model = resnet8();
    for precision in precisions::<K>() {
        let mut first = build::<K>(&model, precision);
        first.track_drift(0.6);
        let first = train_on(first, 0..2);
        let state = first.export().unwrap();
        let mut second = build::<K>(&model, precision);
        second.track_drift(0.6);
        second = train_on(second, 5..6);
        second.import(&state).unwrap();
        assert_eq!(second.export().unwrap(), state);
        let (first, second) = (train_on(first, 2..4), train_on(second, 2..4));
        assert_eq!(first.export().unwrap(), second.export().unwrap());
    }
}

pub fn drift_that_does_not_fit<K: Engine>() {
    let model = resnet8();
    let mut tracking = build::<K>(&model, Precision::F32);
    tracking.track_drift(0.6);
    let mut tracking = train_on(tracking, 0..2);
    let state = tracking.export().unwrap();
    let is_drift = |name: &str| name.ends_with(".drift");

    // Left out where it is not tracked.
    let mut plain = build::<K>(&model, Precision::F32);
    plain.import(&state).unwrap();
    let without = plain.export().unwrap();
    assert!(without.tensors.len() < state.tensors.len());
    assert!(!without.tensors.keys().any(|name| is_drift(name)));

    // 0 where it is not there.
    tracking.import(&without).unwrap();
    let anew = tracking.export().unwrap();
    for (name, tensor) in &anew.tensors {
        let zero = tensor.data.iter().all(|&value| value == 0.0);
        assert!(!is_drift(name) || zero, "{name}");
    }
    assert_eq!(anew.tensors.len(), state.tensors.len());

    // Alone it is no state of the optimizer, which starts anew.
    let mut alone = state.clone();
    alone
        .tensors
        .retain(|name, _| !name.ends_with("momentum_buffer"));
    tracking.import(&alone).unwrap();
    let found = tracking.export().unwrap();
    let name = StageState::optimizer_name("conv1.weight", "drift");
    assert_eq!(found.tensors[&name], state.tensors[&name]);
    let velocity = &found.tensors[&StageState::optimizer_name("conv1.weight", "momentum_buffer")];
    assert!(velocity.data.iter().all(|&value| value == 0.0));

    let mut wrong = state.clone();
    let tensor = HostTensor::new(vec![2], vec![0.0; 2]).unwrap();
    wrong.tensors.insert(name.clone(), tensor);
    let error = tracking.import(&wrong).unwrap_err();
    assert!(matches!(error, EngineError::StateShape { name: found, .. } if found == name));
    assert_eq!(tracking.export().unwrap(), found);
}

pub fn other_weights_leave_no_trace<K: Engine>() {
    let model = resnet8();
    for precision in precisions::<K>() {
        let run = |look_around: bool| {
            let mut stage = train_on(build::<K>(&model, precision), 0..2);
            let input = stage.upload(images(4, 3, 8, 3)).unwrap();
            let old = stage.weights();
            let (output, graph) = stage.record(&input, 3).unwrap();
            if look_around {
                let position = stage.position();
                let predicted = stage.predicted_weights(0.5).unwrap();
                assert_ne!(logits_of(&mut stage, predicted), logits(&mut stage));
                assert_eq!(stage.distance(&position).unwrap().moved, 0.0);
            }
            let loss = stage.loss(&output, &labels(4, 10, 3), 1.0).unwrap();
            stage.backward(graph, loss.grad).unwrap();
            stage.update(0.05).unwrap();
            let found = (bits(&output), stage.export().unwrap());
            (found, logits_of(&mut stage, old), logits(&mut stage))
        };
        let looked = run(true);
        assert_eq!(looked, run(false), "{precision}");
        let (_, old, new) = looked;
        assert_ne!(old, new);
    }
}

pub fn a_graph_keeps_the_weights_it_was_recorded_with<K: Engine>() {
    let model = resnet8();
    for precision in precisions::<K>() {
        let run = |replaced: bool| {
            let mut stage = train_on(build::<K>(&model, precision), 0..2);
            let input = stage.upload(images(4, 3, 8, 3)).unwrap();
            let (output, graph) = stage.record(&input, 3).unwrap();
            let loss = stage.loss(&output, &labels(4, 10, 3), 1.0).unwrap();
            let predicted = stage.predicted_weights(0.5).unwrap();
            let own = stage.weights();
            if replaced {
                stage.replace_weights(predicted);
            }
            stage.backward(graph, loss.grad).unwrap();
            stage.replace_weights(own);
            stage.update(0.05).unwrap();
            stage.export().unwrap()
        };
        assert_eq!(run(true), run(false), "{precision}");

        // The other way round: a graph of predicted weights pulls back through these after an update of the stage's own.
        let run = |update_between: bool| {
            let mut stage = train_on(build::<K>(&model, precision), 0..2);
            let input = stage.upload(images(4, 3, 8, 3)).unwrap();
            let predicted = stage.predicted_weights(0.5).unwrap();
            let own = stage.replace_weights(predicted);
            let (output, graph) = stage.record(&input, 3).unwrap();
            let loss = stage.loss(&output, &labels(4, 10, 3), 1.0).unwrap();
            stage.replace_weights(own);
            let state = stage.export().unwrap();
            if update_between {
                stage = train_on(stage, 4..5);
                // The gradient shows in a step from the same state.
                stage.import(&state).unwrap();
            }
            stage.backward(graph, loss.grad).unwrap();
            stage.update(0.05).unwrap();
            stage.export().unwrap()
        };
        assert_eq!(run(true), run(false), "{precision}");
    }
}

pub fn distance_is_that_of_exported_weights<K: Engine>() {
    let model = resnet8();
    for precision in precisions::<K>() {
        let stage = train_on(build::<K>(&model, precision), 0..1);
        let (from, old) = (stage.position(), stage.export().unwrap());
        assert_eq!(stage.distance(&from).unwrap().moved, 0.0);
        let stage = train_on(stage, 1..3);
        let new = stage.export().unwrap();
        let (mut moved, mut norm) = (0.0, 0.0);
        for name in parameter_names(&model) {
            let (old, new) = (&old.tensors[&name].data, &new.tensors[&name].data);
            for (old, new) in old.iter().zip(new) {
                let (old, new) = (f64::from(*old), f64::from(*new));
                moved += (new - old).powi(2);
                norm += new * new;
            }
        }
        let found = stage.distance(&from).unwrap();
        let near = |found: f64, square: f64| (found / square.sqrt() - 1.0).abs() < 1e-6;
        assert!(moved > 0.0 && near(found.moved, moved), "{found:?}");
        assert!(near(found.norm, norm), "{found:?}");
    }
}

pub fn what_is_not_kept_cannot_be_asked_for<K: Engine>() {
    let model = resnet8();
    let stage = stage::<K>(&whole(&model));
    let text = |error: Option<EngineError>| error.unwrap().to_string();
    assert_eq!(
        text(stage.predicted_weights(1.0).err()),
        "stage `stem to head` cannot predict its weights: optimizer `sgd` keeps no momentum; \
         use optimizer `momentum`"
    );
    assert_eq!(
        text(stage.drifted_weights(1.0).err()),
        "stage `stem to head` cannot extrapolate its weights back: it does not keep their drift; \
         have it tracked from the first update on"
    );
    let layers = vec![stagger_model::Layer::Flatten];
    let other = single([10, 1, 1], 10, layers);
    let other = crate::fixtures::stage::<K>(&whole(&other));
    let error = text(stage.distance(&other.position()).err());
    assert!(
        error.ends_with("take positions from the same stage"),
        "{error}"
    );
}
