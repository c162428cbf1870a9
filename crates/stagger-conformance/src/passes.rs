//! Forward, record, backward, evaluate.

use stagger_engine::{Activation, EngineError, HostTensor, Stage, StageSpec};
use stagger_model::{Layer, Model};

use crate::Engine;
use crate::fixtures::{bits, dense, images, labels, mobile, resnet8, single, stage, train, whole};

fn dropout_model() -> Model {
    let layers = vec![
        Layer::conv3x3("conv", 3, 5, 1),
        Layer::batch_norm("bn", 5),
        Layer::Relu,
        Layer::Dropout {
            name: "drop".into(),
            probability: 0.5,
        },
        Layer::MaxPool2d {
            kernel: 2,
            stride: 2,
            padding: 0,
        },
        Layer::Flatten,
        Layer::linear("fc", 80, 10),
    ];
    single([3, 8, 8], 10, layers)
}

pub fn record_gives_the_bits_of_forward<K: Engine>() {
    for model in [resnet8(), dropout_model(), mobile(), dense()] {
        for samples in [1, 3, 8] {
            let mut stage = stage::<K>(&whole(&model));
            let input = stage.upload(images(samples, 3, 8, 0)).unwrap();
            let forward = stage.forward(&input, 5).unwrap();
            let (recorded, _) = stage.record(&input, 5).unwrap();
            assert_eq!(bits(&forward), bits(&recorded));
            assert_eq!(
                bits(&input),
                bits(&stage.upload(images(samples, 3, 8, 0)).unwrap())
            );
            assert_eq!(forward.shape(), [samples, 10]);
            assert_eq!(forward.size_bytes(), samples * 40);
        }
    }
}

pub fn dropout_is_keyed_by_the_batch_and_absent_in_evaluation<K: Engine>() {
    let model = dropout_model();
    let mut stage = stage::<K>(&whole(&model));
    let input = stage.upload(images(2, 3, 8, 0)).unwrap();
    let first = stage.forward(&input, 1).unwrap();
    assert_ne!(bits(&first), bits(&stage.forward(&input, 2).unwrap()));
    assert_eq!(
        bits(&first),
        bits(&stage.forward(&input, 1).unwrap()),
        "not by call order"
    );
    let evaluated = bits(&stage.evaluate(&input).unwrap());
    assert_eq!(evaluated, bits(&stage.evaluate(&input).unwrap()));
}

/// Running statistics against a plain computation, over two batches.
pub fn running_statistics<K: Engine>() {
    let layers = vec![
        Layer::batch_norm("bn", 3),
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("fc", 3, 2),
    ];
    let model = single([3, 8, 8], 2, layers);
    let mut stage = stage::<K>(&whole(&model));
    let (mut mean, mut variance) = ([0.0_f64; 3], [1.0_f64; 3]);
    for round in 0..2 {
        let host = images(4, 3, 8, round);
        let input = stage.upload(host.clone()).unwrap();
        stage.forward(&input, round).unwrap();
        stage.evaluate(&input).unwrap();
        stage.record(&input, round).unwrap();
        for channel in 0..3 {
            let values: Vec<f64> = (0..4 * 64)
                .map(|index| f64::from(host.data[(index / 64 * 3 + channel) * 64 + index % 64]))
                .collect();
            let count = values.len() as f64;
            let batch_mean = values.iter().sum::<f64>() / count;
            let squares = values
                .iter()
                .map(|value| (value - batch_mean).powi(2))
                .sum::<f64>();
            mean[channel] = 0.9 * mean[channel] + 0.1 * batch_mean;
            variance[channel] = 0.9 * variance[channel] + 0.1 * squares / (count - 1.0);
        }
    }
    let state = stage.export().unwrap();
    for channel in 0..3 {
        let found = |name: &str| f64::from(state.tensors[name].data[channel]);
        assert!((found("bn.running_mean") - mean[channel]).abs() < 1e-6);
        assert!((found("bn.running_var") - variance[channel]).abs() < 1e-6);
    }
    assert_eq!(
        state.counters["bn.num_batches_tracked"], 2,
        "record alone counts"
    );
}

/// After many batches of the same images, running statistics are the batch's, so evaluation is close to training.
pub fn evaluation_meets_training<K: Engine>() {
    let model = resnet8();
    let mut stage = stage::<K>(&whole(&model));
    let input = stage.upload(images(8, 3, 8, 0)).unwrap();
    let mut trained = None;
    for _ in 0..200 {
        trained = Some(stage.record(&input, 0).unwrap().0);
    }
    let trained = trained.unwrap().to_host().unwrap();
    let evaluated = stage.evaluate(&input).unwrap().to_host().unwrap();
    for (trained, evaluated) in trained.data.iter().zip(&evaluated.data) {
        // The running variance is unbiased: off by 1/(8·2·2) in the last blocks.
        assert!((trained - evaluated).abs() < 0.1, "{trained} {evaluated}");
    }
}

/// An update replaces weights; a graph from before still pulls back through its own.
pub fn a_kept_graph_outlives_an_update<K: Engine>() {
    let model = resnet8();
    let run = |update_between: bool| {
        let mut stages = [stage::<K>(&whole(&model))];
        let input = stages[0].upload(images(3, 3, 8, 9)).unwrap();
        let (logits, graph) = stages[0].record(&input, 9).unwrap();
        let loss = stages[0].loss(&logits, &labels(3, 10, 9), 1.0).unwrap();
        let before = stages[0].weights();
        if update_between {
            train(&mut stages, 3, 0);
        }
        stages[0].backward(graph, loss.grad).unwrap();
        // The gradient shows in a step from the same weights.
        stages[0].replace_weights(before);
        stages[0].update(0.1).unwrap();
        let mut state = stages[0].export().unwrap();
        state.tensors.retain(|name, _| !name.contains("running"));
        state.tensors
    };
    assert_eq!(run(true), run(false));
}

pub fn replaced_weights_are_the_ones_that_run<K: Engine>() {
    let model = resnet8();
    let mut stages = [stage::<K>(&whole(&model))];
    let input = stages[0].upload(images(2, 3, 8, 0)).unwrap();
    let old_output = bits(&stages[0].forward(&input, 0).unwrap());
    let old = stages[0].weights();
    train(&mut stages, 4, 0);
    let new_output = bits(&stages[0].forward(&input, 0).unwrap());
    let new = stages[0].replace_weights(old);
    assert_eq!(bits(&stages[0].forward(&input, 0).unwrap()), old_output);
    stages[0].replace_weights(new);
    assert_eq!(bits(&stages[0].forward(&input, 0).unwrap()), new_output);
    assert_ne!(old_output, new_output);
}

/// An activation that has crossed a wire is row-major in memory, unlike one that has not; the numbers are the same.
pub fn a_detour_over_host_memory_changes_nothing<K: Engine>() {
    let model = resnet8();
    let run = |detour: bool| {
        let blocks = model.blocks.len();
        let mut lower = stage::<K>(&StageSpec {
            blocks: 0..2,
            last: false,
            ..whole(&model)
        });
        let mut upper = stage::<K>(&StageSpec {
            blocks: 2..blocks,
            first: false,
            ..whole(&model)
        });
        let input = lower.upload(images(3, 3, 8, 1)).unwrap();
        let (mut middle, lower_graph) = lower.record(&input, 0).unwrap();
        if detour {
            middle = upper.upload(middle.to_host().unwrap()).unwrap();
        }
        let (logits, graph) = upper.record(&middle, 0).unwrap();
        let loss = upper.loss(&logits, &labels(3, 10, 0), 1.0).unwrap();
        let mut grad = upper.backward(graph, loss.grad).unwrap().unwrap();
        if detour {
            grad = lower.upload(grad.to_host().unwrap()).unwrap();
        }
        assert!(lower.backward(lower_graph, grad).unwrap().is_none());
        lower.update(0.1).unwrap();
        upper.update(0.1).unwrap();
        (lower.export().unwrap(), upper.export().unwrap())
    };
    assert_eq!(run(true), run(false));
}

pub fn batch_of_one_needs_more_than_one_pixel<K: Engine>() {
    let layers = vec![
        Layer::conv1x1("conv", 3, 4, 1),
        Layer::batch_norm("bn", 4),
        Layer::Flatten,
        Layer::linear("fc", 4, 2),
    ];
    let model = single([3, 1, 1], 2, layers);
    let mut stage = stage::<K>(&whole(&model));
    let input = stage.upload(images(1, 3, 1, 0)).unwrap();
    let error = stage.record(&input, 0).err().unwrap();
    assert_eq!(
        error.to_string(),
        "batch normalisation `bn` expects at least 2 values per channel but the batch has 1 \
         (samples x height x width); use a larger batch size, or drop the last, smaller batch"
    );
    assert_eq!(stage.forward(&input, 0).err(), Some(error));
    assert!(stage.evaluate(&input).is_ok());
}

pub fn wrong_shapes_are_errors<K: Engine>() {
    let model = resnet8();
    let mut stage = stage::<K>(&whole(&model));
    let wrong = stage.upload(images(2, 3, 7, 0)).unwrap();
    let error = stage.forward(&wrong, 0).err().unwrap().to_string();
    assert!(
        error.ends_with("expects shape [N, 3, 8, 8] but has [2, 3, 7, 7]"),
        "{error}"
    );
    let none = stage
        .upload(HostTensor::new(vec![0, 3, 8, 8], vec![]).unwrap())
        .unwrap();
    assert!(matches!(
        stage.forward(&none, 0),
        Err(EngineError::Shape { .. })
    ));
    let short = HostTensor {
        shape: vec![1, 3, 8, 8],
        data: vec![0.0; 3],
    };
    assert!(matches!(
        stage.upload(short),
        Err(EngineError::TensorSize { found: 3, .. })
    ));
    let input = stage.upload(images(2, 3, 8, 0)).unwrap();
    let (_, graph) = stage.record(&input, 0).unwrap();
    assert!(matches!(
        stage.backward(graph, input.clone()),
        Err(EngineError::Shape { .. })
    ));
    assert!(matches!(
        stage.loss(&input, &[0, 1], 1.0),
        Err(EngineError::Labels { .. })
    ));
}

pub fn a_nan_in_the_input_shows_in_the_loss<K: Engine>() {
    let model = resnet8();
    let mut stage = stage::<K>(&whole(&model));
    let mut host = images(2, 3, 8, 0);
    host.data[5] = f32::NAN;
    let input = stage.upload(host).unwrap();
    let logits = stage.forward(&input, 0).unwrap();
    let loss = stage.loss(&logits, &[0, 1], 1.0).unwrap();
    assert!(loss.value.is_nan());
    assert_eq!(loss.correct_top5, 0);
}

/// A stage that recomputes its layers without their output, as one with staleness does, gives the same numbers.
pub fn recompute_gives_the_bits_of_record<K: Engine>() {
    let resnet = Model::by_name("resnet164", [3, 8, 8], 10).unwrap();
    for model in [resnet8(), dropout_model(), resnet] {
        let blocks = model.blocks.len();
        // Up to the end, and up to the middle: other layers are last.
        for end in [blocks, blocks.div_ceil(2)] {
            let run = |recompute: bool| {
                let mut stage = stage::<K>(&StageSpec {
                    first: false,
                    ..StageSpec::new(&model, 0..end, 11)
                });
                let input = stage.upload(images(3, 3, 8, 1)).unwrap();
                let output = stage.forward(&input, 4).unwrap();
                let graph = if recompute {
                    stage.recompute(&input, 4).unwrap()
                } else {
                    stage.record(&input, 4).unwrap().1
                };
                let grad = stage.backward(graph, output).unwrap().unwrap();
                stage.update(0.1).unwrap();
                (bits(&grad), stage.export().unwrap())
            };
            assert_eq!(run(true), run(false), "{}, 0..{end}", model.name);
        }
    }
}
