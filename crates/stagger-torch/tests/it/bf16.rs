//! Passes in bfloat16, master weights in 32 bits.

use stagger_cpu::CpuStage;
use stagger_engine::{
    Activation, EngineError, Optimizer, Precision, Stage, StageSpec, WeightDecay,
};
use stagger_model::Model;
use stagger_torch::{Torch, TorchStage};

use stagger_conformance::fixtures::{bits, images, resnet8, train, whole};

fn spec(model: &Model, precision: Precision) -> StageSpec<'_> {
    StageSpec {
        precision,
        optimizer: Optimizer::Momentum {
            beta: 0.9,
            nesterov: 0.0,
            weight_decay: WeightDecay::matrices(5e-4),
        },
        ..whole(model)
    }
}

fn stage(model: &Model, precision: Precision) -> [TorchStage; 1] {
    [TorchStage::new(&spec(model, precision), Default::default()).unwrap()]
}

#[test]
fn losses_follow_those_of_f32() {
    let model = resnet8();
    let losses = |precision| {
        let mut stages = stage(&model, precision);
        let losses = (0..20).map(|step| train::<Torch>(&mut stages, 8, step % 2).0);
        losses.collect::<Vec<f32>>()
    };
    let (rounded, exact) = (losses(Precision::Bf16), losses(Precision::F32));
    assert!(exact[19] < 0.2 * exact[0], "{exact:?}");
    for (step, (rounded, exact)) in rounded.iter().zip(&exact).enumerate() {
        // Roundings of 2⁻⁹ in the first pass; later ones start from weights that have drifted apart.
        let bound = if step == 0 { 0.01 } else { 0.1 };
        assert!(
            (rounded - exact).abs() < bound,
            "step {step}: {rounded} is not {exact}"
        );
    }
}

fn is_rounded(value: f32) -> bool {
    value.to_bits() & 0xffff == 0
}

#[test]
fn what_is_kept_between_steps_is_not_rounded() {
    let model = resnet8();
    let mut stages = stage(&model, Precision::Bf16);
    let start = stages[0].export().unwrap();
    assert_eq!(start, stage(&model, Precision::F32)[0].export().unwrap());
    for round in 0..3 {
        train::<Torch>(&mut stages, 8, round);
    }
    let state = stages[0].export().unwrap();
    assert_eq!(state.tensors.len(), start.tensors.len());
    for (name, tensor) in &state.tensors {
        let rounded = tensor.data.iter().filter(|&&value| is_rounded(value));
        let (rounded, all) = (rounded.count(), tensor.data.len());
        assert!(rounded <= all / 4, "{name}: {rounded} of {all} are rounded");
    }
    let mut other = TorchStage::new(
        &StageSpec {
            seed: 99,
            ..spec(&model, Precision::Bf16)
        },
        Default::default(),
    )
    .unwrap();
    other.import(&state).unwrap();
    assert_eq!(other.export().unwrap(), state);
    let mut other = [other];
    // Dropout, the one thing that the seed decides besides initial weights, is not in this model.
    assert_eq!(
        train::<Torch>(&mut stages, 8, 3),
        train::<Torch>(&mut other, 8, 3)
    );
    assert_eq!(other[0].export().unwrap(), stages[0].export().unwrap());
}

#[test]
fn activations_are_rounded_and_half_as_large() {
    let model = resnet8();
    let [mut stage] = stage(&model, Precision::Bf16);
    let input = stage.upload(images(3, 3, 8, 0)).unwrap();
    assert_eq!(input.size_bytes(), 3 * 3 * 8 * 8 * 2);
    let forward = stage.forward(&input, 5).unwrap();
    let (recorded, _) = stage.record(&input, 5).unwrap();
    assert_eq!(bits(&forward), bits(&recorded));
    let logits = forward.to_host().unwrap();
    assert!(logits.data.into_iter().all(is_rounded));
}

#[test]
fn engine_cpu_says_that_it_has_no_bf16() {
    let model = resnet8();
    let error = CpuStage::new(&spec(&model, Precision::Bf16), Default::default());
    let error = error.err().unwrap();
    assert!(matches!(error, EngineError::Precision { .. }));
    assert_eq!(
        error.to_string(),
        "engine `cpu` computes in f32, not in bf16; use another engine or format"
    );
}
