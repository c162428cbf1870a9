//! What emulated stages sleep for, and what they refuse.

use stagger_plan::Pipeline;
use stagger_schedule::{Place, Replicas, Schedule};

use super::*;
use crate::Emulation;

/// A stage whose actions take as many microseconds as they would milliseconds.
fn stage(schedule: &str, stage: usize) -> EmulatedStage {
    let schedule = Schedule::parse(schedule, Some(2)).unwrap();
    let pipeline = Pipeline::equal(&schedule, 12e-6);
    let micro_batches = schedule.micro_batches();
    let place = Place {
        stage,
        replica: 0,
        of: 1,
    };
    Emulation::new(pipeline, micro_batches, 1)
        .under(&schedule)
        .stage(place, true)
}

/// What it has slept: name, calls and microseconds.
fn slept(stage: &mut EmulatedStage) -> Vec<(String, u64, u128)> {
    let profile = stage.profile().unwrap();
    let mut found: Vec<_> = profile
        .entries()
        .map(|(name, calls, time)| (name.to_owned(), calls, time.as_micros()))
        .collect();
    found.sort();
    found
}

fn entries(expected: &[(&str, u64, u128)]) -> Vec<(String, u64, u128)> {
    let entry = |&(name, calls, time): &(&str, u64, u128)| (name.to_owned(), calls, time);
    expected.iter().map(entry).collect()
}

#[test]
fn passes_take_what_the_actions_of_their_program_take() {
    let rows = Rows(3);
    let mut lower = stage("dsp", 0);
    lower.forward(&rows, 5).unwrap();
    let graph = lower.recompute(&rows, 5).unwrap();
    assert_eq!(lower.backward(graph, rows).unwrap(), None);
    lower.update(0.1).unwrap();
    let expected = [
        ("emulated backward", 1, 6),
        ("emulated forward", 1, 3),
        ("emulated recompute", 1, 3),
        ("emulated update", 1, 0),
    ];
    assert_eq!(slept(&mut lower), entries(&expected));

    let mut upper = stage("dsp", 1);
    let (output, graph) = upper.record(&rows, 5).unwrap();
    let loss = upper.loss(&output, &[0, 1, 2], 1.0).unwrap();
    assert_eq!((loss.value, loss.correct_top1), (0.0, 0));
    assert_eq!(upper.backward(graph, loss.grad).unwrap(), Some(rows));
    upper.evaluate(&rows).unwrap();
    let expected = [("emulated backward", 1, 8), ("emulated forward", 1, 4)];
    assert_eq!(slept(&mut upper), entries(&expected));
}

#[test]
fn halves_take_together_what_a_backward_takes() {
    let rows = Rows(2);
    let mut upper = stage("zb(4)", 1);
    let (_, graph) = upper.record(&rows, 5).unwrap();
    let (input_grad, pending) = upper.backward_input(graph, rows).unwrap();
    assert_eq!(input_grad, Some(rows));
    upper.backward_weights(pending).unwrap();
    upper.update(0.1).unwrap();
    let (_, whole) = upper.record(&rows, 6).unwrap();
    upper.backward(whole, rows).unwrap();
    let expected = [
        // A half, and a whole.
        ("emulated backward", 2, 4 + 8),
        ("emulated forward", 2, 8),
        ("emulated update", 1, 0),
        ("emulated weights", 1, 4),
    ];
    assert_eq!(slept(&mut upper), entries(&expected));
}

#[test]
fn an_update_needs_a_backward_and_is_that_of_its_batch() {
    let mut stage = stage("gpipe(4)", 1);
    assert!(stage.update(0.1).is_err());
    let (rows, graph) = stage.record(&Rows(2), 23).unwrap();
    stage.backward(graph, rows).unwrap();
    assert_eq!(stage.unit(stage.pulled_back.unwrap()), (5, 3));
    stage.update(0.1).unwrap();
    assert!(stage.update(0.1).is_err());
    let (rows, graph) = stage.record(&Rows(2), 24).unwrap();
    stage.backward(graph, rows).unwrap();
    stage.discard_gradients();
    assert!(stage.update(0.1).is_err());
}

#[test]
fn a_state_is_that_of_its_stage() {
    let (mut lower, mut upper) = (stage("dsp", 0), stage("dsp", 1));
    let state = lower.export().unwrap();
    lower.import(&state).unwrap();
    assert!(is_emulated(&state) && !is_emulated(&StageState::default()));
    let error = upper.import(&state).unwrap_err().to_string();
    assert!(error.contains("emulated.stage0"), "{error}");
    let error = upper
        .import(&StageState::default())
        .unwrap_err()
        .to_string();
    assert!(error.contains("emulated.stage1"), "{error}");
}

#[test]
fn other_rows_are_refused() {
    let mut stage = stage("bp", 1);
    let (rows, graph) = stage.record(&Rows(2), 0).unwrap();
    assert!(stage.loss(&rows, &[1], 1.0).is_err());
    assert!(stage.mse_loss(&rows, &Rows(3)).is_err());
    assert!(stage.backward(graph, Rows(3)).is_err());
    let images = HostTensor::new(vec![2, 3], vec![0.0; 6]).unwrap();
    let rows = stage.upload(images).unwrap();
    assert_eq!(rows, Rows(2));
    assert_eq!(
        stagger_engine::Activation::to_host(&rows).unwrap().shape,
        [2, 1]
    );
}

/// Passes of replicas are numbered over all of them.
#[test]
fn a_replica_sleeps_for_its_share_of_the_right_batch() {
    let schedule = Schedule::parse("gpipe(2)", Some(2)).unwrap();
    let mut pipeline =
        Pipeline::equal(&schedule, 24e-6).shared_out(&Replicas::new(&[2, 1], 2).unwrap(), Some(3));
    // What is drawn for micro-batch 1 of batch 3, of the second replica.
    pipeline.places[1].backward = "exponential(50us)".parse().unwrap();
    let times = Times::new(&pipeline, 2, 1);
    let backward = times.action(1, Action::Backward { batch: 3, micro: 1 }, false);
    let place = Place {
        stage: 0,
        replica: 1,
        of: 2,
    };
    let mut stage = Emulation::new(pipeline, 2, 1)
        .under(&schedule)
        .stage(place, true);
    // Two of three rows; micro-batch 7 of the run, whose shares are passes 14 and 15.
    let rows = Rows(2);
    let (_, graph) = stage.record(&rows, 15).unwrap();
    stage.backward(graph, rows).unwrap();
    let profile = stage.profile().unwrap();
    let slept = |expected: &str| {
        let mut entries = profile.entries();
        let found = entries.find(|(name, ..)| *name == expected);
        found.unwrap().2.as_nanos()
    };
    assert_eq!(slept("emulated backward"), u128::from(backward));
    // A third of 24 µs for three rows.
    assert_eq!(slept("emulated forward"), 5_333);
}
