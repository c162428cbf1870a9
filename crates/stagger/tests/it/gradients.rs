//! Gradients that sinks are told of: what the updates take.

use std::collections::BTreeMap;

use stagger::engine::HostTensor;
use stagger::report::ReportError;
use stagger::transport::World;
use stagger::{Event, Sink, Training, TrainingOptions};

use crate::ranks::over;
use crate::support::noise;

const RATE: f64 = 0.1;

/// Parameters by version and name, and gradients by batch and name.
#[derive(Default)]
struct Seen {
    weights: BTreeMap<(usize, String), HostTensor>,
    gradients: BTreeMap<(usize, String), HostTensor>,
}

impl Sink for Seen {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::Snapshot {
                version, snapshot, ..
            } => {
                let parameters = snapshot.state.parameters();
                let named = parameters.map(|(name, value)| ((*version, name.to_owned()), value));
                self.weights
                    .extend(named.map(|(key, value)| (key, value.clone())));
            }
            Event::Gradients {
                batch, gradients, ..
            } => {
                for (name, value) in gradients {
                    let told = self.gradients.insert((*batch, name.clone()), value.clone());
                    assert!(told.is_none(), "{name} is told twice");
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Two epochs of three batches, with plain gradient descent and a snapshot of every version.
fn training<'a>(schedule: &str, stages: usize) -> (Training<'a>, tempfile::TempDir) {
    clipped(schedule, stages, None)
}

/// The same with gradients clipped to this norm.
fn clipped<'a>(
    schedule: &str,
    stages: usize,
    clip_norm: Option<f64>,
) -> (Training<'a>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainingOptions {
        clip_norm,
        optimizer: Some("sgd".to_owned()),
        lr: Some(RATE),
        lr_schedule: Some("constant".to_owned()),
        warmup_batches: Some(0),
        weight_decay: Some(0.0),
        snapshot_every: Some(vec!["1".to_owned()]),
        ..TrainingOptions::default()
    };
    let training = Training::new()
        .dataset(noise(0))
        .options(options)
        .schedule(schedule)
        .stages(stages)
        .batch_size(8)
        .epochs(2)
        .output(folder.path().join("run"));
    (training, folder)
}

fn check(seen: &Seen, case: &str) {
    let names: Vec<&String> = (seen.weights.keys())
        .filter(|(version, _)| *version == 3)
        .map(|(_, name)| name)
        .collect();
    assert!(names.len() > 10, "{case}");
    assert_eq!(seen.gradients.len(), 2 * names.len(), "{case}");
    for (name, batch) in names.iter().flat_map(|name| [(*name, 2), (*name, 5)]) {
        let gradient = &seen.gradients[&(batch, name.clone())].data;
        let of = |version: usize| &seen.weights[&(version, name.clone())].data;
        for ((before, after), gradient) in of(batch).iter().zip(of(batch + 1)).zip(gradient) {
            let expected = f64::from(*before) - RATE * f64::from(*gradient);
            let apart = (f64::from(*after) - expected).abs();
            assert!(apart < 1e-6, "{case}, {name}, batch {batch}: {apart}");
        }
        assert!(gradient.iter().any(|value| *value != 0.0), "{case}, {name}");
    }
}

#[test]
fn the_last_gradients_of_an_epoch_are_what_its_last_update_takes() {
    for (schedule, stages) in [("bp", 1), ("dsp", 3), ("gpipe(2)", 2), ("dp(2)", 1)] {
        let (training, _folder) = training(schedule, stages);
        let mut seen = Seen::default();
        training.tell_gradients(true).sink(&mut seen).run().unwrap();
        check(&seen, schedule);
    }
    let (training, _folder) = training("dsp", 2);
    let mut seen = Seen::default();
    training.sink(&mut seen).run().unwrap();
    assert!(seen.gradients.is_empty() && !seen.weights.is_empty());
}

#[test]
fn gradients_of_other_ranks_are_told_too() {
    let (training, _folder) = training("dsp", 3);
    let mut seen = Seen::default();
    let follow = |world: World| Training::new().dataset(noise(0)).world(world).follow();
    let training = training.tell_gradients(true).sink(&mut seen);
    over(2, |world| training.world(world).run(), follow).unwrap();
    check(&seen, "two ranks");
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|value| value * value).sum::<f64>().sqrt()
}

/// By the norm of all stages, and stage by stage.
#[test]
fn gradients_are_told_before_they_are_clipped() {
    const LIMIT: f64 = 0.1;
    for (schedule, length) in [("bp", LIMIT), ("dsp", 2f64.sqrt() * LIMIT)] {
        let (training, _folder) = clipped(schedule, 2, Some(LIMIT));
        let mut seen = Seen::default();
        training.tell_gradients(true).sink(&mut seen).run().unwrap();
        let told = seen.gradients.iter().filter(|((batch, _), _)| *batch == 2);
        let told = norm(told.flat_map(|(_, value)| value.data.iter().copied().map(f64::from)));
        assert!(told > 3.0 * length, "{schedule}: {told}");
        let after = seen
            .weights
            .iter()
            .filter(|((version, _), _)| *version == 3);
        let moved = norm(after.flat_map(|((_, name), after)| {
            let before = &seen.weights[&(2, name.clone())].data;
            let pairs = after.data.iter().zip(before);
            pairs.map(|(after, before)| f64::from(*after) - f64::from(*before))
        }));
        let off = (moved / (RATE * length) - 1.0).abs();
        assert!(off < 1e-2, "{schedule}: {moved}");
    }
}
