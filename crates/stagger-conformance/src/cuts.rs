//! How a model is cut changes nothing.

use stagger_engine::layered::LayeredStage;
use stagger_engine::{EngineError, Optimizer, Stage, StageSpec, StageState, WeightDecay};
use stagger_model::Model;

use crate::Engine;
use crate::fixtures::{dense, resnet8, stage, train, whole};

fn optimizer() -> Optimizer {
    let weight_decay = WeightDecay::matrices(5e-4);
    Optimizer::Momentum {
        beta: 0.9,
        nesterov: 1.0,
        weight_decay,
    }
}

/// Loss per batch, and the merged state after `batches` batches, of a model cut before these blocks.
fn run<K: Engine>(cuts: &[usize], samples: usize, batches: usize) -> (Vec<f32>, StageState) {
    run_of::<K>(&resnet8(), cuts, samples, batches)
}

fn run_of<K: Engine>(
    model: &Model,
    cuts: &[usize],
    samples: usize,
    batches: usize,
) -> (Vec<f32>, StageState) {
    let ends = cuts.iter().copied().chain([model.blocks.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    let mut stages: Vec<_> = starts
        .zip(ends)
        .map(|(start, end)| {
            let optimizer = optimizer();
            stage::<K>(&StageSpec {
                optimizer,
                ..StageSpec::new(model, start..end, 11)
            })
        })
        .collect();
    let losses = (0..batches).map(|round| {
        let (loss, input_grad) = train(&mut stages, samples, round);
        assert!(input_grad.is_none(), "the first stage's input is data");
        loss
    });
    let losses = losses.collect();
    let mut state = StageState::default();
    stages
        .iter()
        .for_each(|stage| state.merge(stage.export().unwrap()));
    (losses, state)
}

pub fn every_cut_starts_from_the_same_weights<K: Engine>() {
    let (_, state) = run::<K>(&[], 2, 0);
    assert_eq!(run::<K>(&[1, 3], 2, 0).1, state);
    assert_eq!(
        state.without_optimizer().tensors["conv1.weight"].shape,
        [16, 3, 3, 3]
    );
}

pub fn every_cut_trains_to_the_same_bits<K: Engine>() {
    for model in [resnet8(), dense()] {
        let blocks = model.blocks.len();
        let run = |cuts: &[usize]| run_of::<K>(&model, cuts, 4, 3);
        let expected = run(&[]);
        for cut in 1..blocks {
            assert_eq!(run(&[cut]), expected, "cut before block {cut}");
        }
        let everywhere: Vec<usize> = (1..blocks).collect();
        assert_eq!(run(&everywhere), expected);
    }
}

pub fn same_bits_beside_other_threads<K: Engine>() {
    let expected = run::<K>(&[2], 3, 2);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| run::<K>(&[2], 3, 2)))
            .collect();
        for other in runs {
            assert_eq!(other.join().unwrap(), expected);
        }
    });
}

pub fn a_part_of_the_whole_state_loads_into_a_part_of_the_model<K: Engine>() {
    let (_, state) = run::<K>(&[], 4, 2);
    let model = resnet8();
    let spec = StageSpec {
        optimizer: optimizer(),
        ..StageSpec::new(&model, 1..3, 99)
    };
    let mut part = stage::<K>(&spec);
    part.import(&state.of_blocks(&model, 1..3)).unwrap();
    assert_eq!(
        part.export().unwrap(),
        run::<K>(&[1, 3], 4, 2).1.of_blocks(&model, 1..3)
    );
}

pub fn blocks_outside_the_model_are_errors<K: Engine>() {
    let model = resnet8();
    let build = |blocks| {
        LayeredStage::<K>::new(
            &StageSpec {
                blocks,
                ..whole(&model)
            },
            Default::default(),
        )
    };
    let blocks = model.blocks.len();
    for range in [0..blocks + 1, 2..2, blocks..blocks] {
        assert!(matches!(
            build(range).err(),
            Some(EngineError::Blocks { .. })
        ));
    }
}
