//! State out and in.

use stagger_engine::layered::LayeredStage;
use stagger_engine::{EngineError, HostTensor, Optimizer, Stage, StageSpec, WeightDecay};
use stagger_model::Model;

use crate::Engine;
use crate::fixtures::{resnet8, stage, train, whole};

fn adamw() -> Optimizer {
    let weight_decay = WeightDecay::everywhere(0.01);
    Optimizer::AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-8,
        weight_decay,
    }
}

fn momentum() -> Optimizer {
    Optimizer::Momentum {
        beta: 0.9,
        nesterov: 0.0,
        weight_decay: WeightDecay::default(),
    }
}

fn with<K: Engine>(model: &Model, optimizer: Optimizer, seed: u64) -> [LayeredStage<K>; 1] {
    [stage::<K>(&StageSpec {
        optimizer,
        seed,
        ..whole(model)
    })]
}

pub fn a_stage_goes_on_from_an_imported_state_as_if_nothing_had_happened<K: Engine>() {
    let model = resnet8();
    let decay = WeightDecay::everywhere(0.01);
    let others = [Optimizer::lars(0.9, decay), Optimizer::lion(decay)];
    for optimizer in [momentum(), adamw()].into_iter().chain(others) {
        let mut first = with::<K>(&model, optimizer.clone(), 1);
        for round in 0..3 {
            train(&mut first, 3, round);
        }
        let state = first[0].export().unwrap();
        let mut second = with::<K>(&model, optimizer, 2);
        second[0].import(&state).unwrap();
        assert_eq!(second[0].export().unwrap(), state);
        assert_eq!(train(&mut first, 3, 3), train(&mut second, 3, 3));
        assert_eq!(first[0].export().unwrap(), second[0].export().unwrap());
    }
}

pub fn names_are_pytorchs<K: Engine>() {
    let model = resnet8();
    let state = with::<K>(&model, momentum(), 1)[0].export().unwrap();
    for name in [
        "conv1.weight",
        "bn1.running_var",
        "optimizer.conv1.weight.momentum_buffer",
    ] {
        assert!(state.tensors.contains_key(name), "{name}");
    }
    assert!(state.counters.contains_key("bn1.num_batches_tracked"));
    let state = with::<K>(&model, adamw(), 1)[0].export().unwrap();
    assert_eq!(state.tensors["optimizer.conv1.weight.step"].shape, [1]);
}

pub fn weights_alone_start_the_optimizer_anew<K: Engine>() {
    let model = resnet8();
    let mut trained = with::<K>(&model, momentum(), 1);
    train(&mut trained, 3, 0);
    let weights = trained[0].export().unwrap().without_optimizer();
    train(&mut trained, 3, 1);
    trained[0].import(&weights).unwrap();
    let state = trained[0].export().unwrap();
    let momentum = &state.tensors["optimizer.conv1.weight.momentum_buffer"];
    assert!(momentum.data.iter().all(|&value| value == 0.0));
    assert_eq!(state.without_optimizer(), weights);
}

pub fn states_that_do_not_fit_are_refused_and_change_nothing<K: Engine>() {
    let model = resnet8();
    let mut stages = with::<K>(&model, momentum(), 1);
    let good = stages[0].export().unwrap();
    let mut refused = |change: &dyn Fn(&mut stagger_engine::StageState)| {
        let mut state = good.clone();
        state
            .tensors
            .get_mut("conv1.weight")
            .unwrap()
            .data
            .fill(0.5);
        change(&mut state);
        let error = stages[0].import(&state).unwrap_err();
        assert_eq!(stages[0].export().unwrap(), good, "{error}");
        error
    };
    let error = refused(&|state| drop(state.tensors.remove("bn1.weight")));
    assert!(matches!(&error, EngineError::Missing { name, .. } if name == "bn1.weight"));
    let missing = "optimizer.conv1.weight.momentum_buffer";
    let error = refused(&|state| drop(state.tensors.remove(missing)));
    assert!(matches!(&error, EngineError::Missing { name, .. } if name == missing));
    let error = refused(&|state| drop(state.tensors.insert("x".into(), HostTensor::default())));
    assert!(matches!(&error, EngineError::Unexpected { name, .. } if name == "x"));
    let error = refused(&|state| _ = state.counters.insert("y".into(), 1));
    assert!(matches!(&error, EngineError::Unexpected { name, .. } if name == "y"));
    let error = refused(&|state| {
        let tensor = HostTensor::new(vec![2], vec![0.0; 2]).unwrap();
        state.tensors.insert("bn1.bias".into(), tensor);
    });
    assert_eq!(
        error.to_string(),
        "`bn1.bias` in the state expects shape [16] but has [2]; load the state of the same model"
    );
    let error = refused(&|state| state.tensors.get_mut("bn1.bias").unwrap().data.truncate(3));
    assert!(matches!(error, EngineError::TensorSize { found: 3, .. }));
}
