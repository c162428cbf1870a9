//! Gradients and activations times a number.

use stagger_engine::{EngineError, HostTensor, Stage, StageSpec};

use crate::Engine;
use crate::fixtures::{bits, images, labels, resnet8, stage, whole};

pub fn a_share_of_the_loss_scales_its_gradient<K: Engine>() {
    let model = resnet8();
    let stage = stage::<K>(&StageSpec {
        label_smoothing: 0.1,
        ..whole(&model)
    });
    let logits = HostTensor::new(vec![3, 10], images(1, 1, 6, 0).data[..30].to_vec());
    let logits = stage.upload(logits.unwrap()).unwrap();
    let loss = |share| stage.loss(&logits, &labels(3, 10, 0), share).unwrap();
    let whole = loss(1.0);
    let exact = whole.grad.clone();
    for share in [0.25, 1.0 / 3.0] {
        let part = loss(share);
        assert_eq!(part.value.to_bits(), whole.value.to_bits());
        assert_eq!(part.correct_top5, whole.correct_top5);
        let exact = bits(&exact).into_iter().map(f32::from_bits);
        let expected = exact.map(|grad| ((f64::from(grad) * share) as f32).to_bits());
        assert_eq!(bits(&part.grad), expected.collect::<Vec<_>>());
    }
}

pub fn scaled_gradients_are_a_scaled_learning_rate<K: Engine>() {
    let model = resnet8();
    let run = |factor: f64, rate: f64| {
        let mut stage = stage::<K>(&whole(&model));
        for round in 0..2 {
            let input = stage.upload(images(3, 3, 8, round)).unwrap();
            let (logits, graph) = stage.record(&input, round).unwrap();
            let loss = stage.loss(&logits, &labels(3, 10, round), 1.0).unwrap();
            stage.backward(graph, loss.grad).unwrap();
        }
        stage.scale_gradients(factor).unwrap();
        stage.update(rate).unwrap();
        stage.export().unwrap()
    };
    assert_eq!(run(0.5, 0.1), run(1.0, 0.05));
    assert_ne!(run(0.5, 0.1), run(1.0, 0.1));
    let mut idle = stage::<K>(&whole(&model));
    idle.scale_gradients(0.5).unwrap();
    assert!(matches!(
        idle.update(0.1),
        Err(EngineError::NoGradient { .. })
    ));
}

/// What replicas of a stage exchange crosses as values, and back to the bit.
pub fn gradients_and_statistics_cross_as_values<K: Engine>() {
    let model = resnet8();
    let trained = || {
        let mut stage = stage::<K>(&whole(&model));
        let input = stage.upload(images(3, 3, 8, 0)).unwrap();
        let (logits, graph) = stage.record(&input, 0).unwrap();
        let loss = stage.loss(&logits, &labels(3, 10, 0), 1.0).unwrap();
        stage.backward(graph, loss.grad).unwrap();
        stage
    };
    let mut expected = trained();
    let mut found = trained();
    let gradients = found.export_gradients().unwrap();
    let own: Vec<HostTensor> = found.export_statistics(&found.statistics()).unwrap();
    assert_eq!(
        gradients.len(),
        model.parameters(0..model.blocks.len()).len()
    );
    found.discard_gradients();
    assert!(
        found
            .export_gradients()
            .unwrap()
            .iter()
            .all(|zeros| zeros.data.iter().all(|&zero| zero == 0.0))
    );
    found.import_gradients(gradients.clone()).unwrap();
    assert_eq!(found.export_gradients().unwrap(), gradients);
    let fresh = stage::<K>(&whole(&model));
    let initial = fresh.export_statistics(&fresh.statistics()).unwrap();
    assert_ne!(initial, own);
    let other = found.import_statistics(initial.clone()).unwrap();
    found.restore_statistics(other);
    assert_eq!(
        found.export_statistics(&found.statistics()).unwrap(),
        initial
    );
    let back = found.import_statistics(own).unwrap();
    found.restore_statistics(back);
    for stage in [&mut expected, &mut found] {
        stage.update(0.1).unwrap();
    }
    assert_eq!(found.export().unwrap(), expected.export().unwrap());

    let error = found.import_gradients(gradients[1..].to_vec());
    assert!(matches!(error, Err(EngineError::ForeignWeights { .. })));
    let error = found.import_statistics(initial[1..].to_vec()).err();
    assert!(matches!(error, Some(EngineError::ForeignStatistics { .. })));
}

pub fn scaling_leaves_other_handles_alone<K: Engine>() {
    let model = resnet8();
    let stage = stage::<K>(&whole(&model));
    let original = stage.upload(images(2, 3, 8, 0)).unwrap();
    let before = bits(&original);
    let same = stage.scaled(original.clone(), 1.0).unwrap();
    assert_eq!(bits(&same), before);
    let half = stage.scaled(original.clone(), 0.5).unwrap();
    assert_eq!(bits(&original), before);
    let halves = before.iter().map(|&value| 0.5 * f32::from_bits(value));
    let halves: Vec<u32> = halves.map(f32::to_bits).collect();
    assert_eq!(bits(&half), halves);
    drop(same);
    // And the same where there is no other handle.
    assert_eq!(bits(&stage.scaled(original, 0.5).unwrap()), halves);
}

pub fn mse_loss_by_hand<K: Engine>() {
    let model = resnet8();
    let stage = stage::<K>(&whole(&model));
    let upload = |shape: &[usize], data: &[f32]| {
        let host = HostTensor::new(shape.to_vec(), data.to_vec()).unwrap();
        stage.upload(host).unwrap()
    };
    let predicted = upload(&[1, 2, 1, 2], &[1.0, 2.0, 3.0, 4.0]);
    let target = upload(&[1, 2, 1, 2], &[1.0, 0.0, 4.0, 4.0]);
    let found = stage.mse_loss(&predicted, &target).unwrap();
    assert_eq!(found.value, 5.0 / 4.0);
    let floats = |tensor| bits(tensor).into_iter().map(f32::from_bits);
    let grad: Vec<f32> = floats(&found.grad).collect();
    assert_eq!(grad, [0.0, 1.0, -0.5, 0.0]);
    assert_eq!(floats(&predicted).collect::<Vec<_>>(), [1.0, 2.0, 3.0, 4.0]);
    let other = upload(&[2, 2], &[1.0, 0.0, 4.0, 4.0]);
    let error = stage.mse_loss(&predicted, &other).err().unwrap();
    assert_eq!(
        error.to_string(),
        "the mean squared error expects a prediction and a target of one shape but gets [1, 2, 1, 2] and [2, 2]"
    );
}
