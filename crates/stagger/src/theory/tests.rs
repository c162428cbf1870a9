use std::sync::Arc;

use stagger_data::{Augmentation, DataError, Dataset, Normalization, Split};
use stagger_engine::{EngineError, HostTensor, Optimizer, Stage, StageState, WeightDecay};

use super::meter::{Found, Meter, Places, Sum};
use super::*;
use crate::stages::OnStages;

fn options(schedule: &str) -> TrainingOptions {
    TrainingOptions {
        schedule: Some(schedule.to_owned()),
        stages: Some(3),
        optimizer: Some("sgd".to_owned()),
        lr: Some(0.25),
        weight_decay: Some(0.0),
        batch_size: Some(8),
        ..TrainingOptions::default()
    }
}

/// The largest relative difference between an update and the gradient that the meter has of its batch.
struct Compared<'a> {
    job: &'a Job,
    versions: &'a Versions,
    probes: &'a [Probe],
}

impl OnStages for Compared<'_> {
    type Output = f64;

    fn run<S: Stage>(self, build: impl Fn(usize) -> Result<S, EngineError> + Sync) -> f64 {
        let rate = self.job.learning_rate.base;
        let mut meter = Meter::new(self.versions.stages(), &build).unwrap();
        let mut worst = 0.0_f64;
        for n in self.versions.measured() {
            let version = self.versions.at(n);
            let forward = version.stale.as_ref().unwrap_or(&version.now);
            let backward = match version.is_stashed {
                true => forward,
                false => &version.now,
            };
            let sum = meter
                .gradient(backward, forward, &[&self.probes[n]])
                .unwrap();
            let (mut apart, mut size) = (0.0, 0.0);
            for k in 0..self.versions.stages() {
                // By the names of the state: its order is not that of the gradients.
                let (now, next) = (moved(&version.now, k), moved(&version.next, k));
                let steps: f64 = now.iter().zip(&next).map(|(a, b)| (a - b).powi(2)).sum();
                let grads = sum.gradients[k].iter().flatten();
                let length: f64 = grads.map(|g| (rate * f64::from(*g)).powi(2)).sum();
                apart += (steps.sqrt() - length.sqrt()).powi(2);
                size += length;
            }
            worst = worst.max((apart / size).sqrt());
        }
        worst
    }
}

/// The values of a stage's parameters, without running statistics.
fn moved(states: &[&StageState], stage: usize) -> Vec<f64> {
    let tensors = states[stage].tensors.iter();
    let parameters = tensors.filter(|(name, _)| !name.contains("running_"));
    let values = parameters.flat_map(|(_, tensor)| &tensor.data);
    values.map(|&value| f64::from(value)).collect()
}

/// What the meter computes of a batch is what the runtime has updated by, with the staleness of the method.
#[test]
fn the_meter_computes_what_the_runtime_does() {
    for schedule in ["dsp(m=3,1,0)", "pipedream", "bp"] {
        let job = Job::new(with_constant_rate(&options(schedule)), &Given::default()).unwrap();
        let convergence = Convergence::of(&job.schedule).unwrap();
        let mut versions = Versions::train(&job, convergence, None, 6).unwrap();
        let probes = Probe::read(&job, 0, 6).unwrap();
        let compared = |versions: &Versions| {
            let compared = Compared {
                job: &job,
                versions,
                probes: &probes,
            };
            stages::on_stages(&job, compared)
        };
        let found = compared(&versions);
        assert!(found < 1e-3, "{schedule}: {found}");
        if schedule != "bp" {
            versions.forget_staleness();
            let found = compared(&versions);
            assert!(found > 1e-2, "{schedule} without staleness: {found}");
        }
    }
}

/// Two batches on one parameter of two values.
#[test]
fn a_point_by_hand() {
    let sum = |gradient: [f32; 2], squares: f64| Sum {
        gradients: vec![vec![gradient.to_vec()]],
        squares: vec![squares],
        loss: 3.0,
        batches: 2,
    };
    let weights = |values: [f32; 2]| {
        let tensor = HostTensor::new(vec![2, 1], values.to_vec()).unwrap();
        vec![vec![tensor]]
    };
    let mut found = Found {
        // Gradients (1, 0) and (3, 0).
        now: sum([4.0, 0.0], 10.0),
        next: sum([4.0, 6.0], 26.0),
        stale: None,
        places: Places {
            now: weights([0.0, 2.0]),
            next: weights([0.0, 1.0]),
            stale: None,
        },
    };
    let sgd = |rate| Optimizer::Sgd {
        weight_decay: WeightDecay::everywhere(rate),
    };
    let of = |found: &Found, rate| Point::of(7, found, &sgd(rate)).unwrap();
    let point = of(&found, 0.0);
    assert_eq!((point.version, point.loss, point.gradient), (7, 1.5, 4.0));
    assert_eq!((point.noise.as_slice(), point.spread()), (&[2.0][..], None));
    assert_eq!(point.curvature, Some(3.0));
    // λ/2 ‖w‖² = 8; ∇F is (2, 8) and then (2, 7).
    let decayed = of(&found, 4.0);
    assert_eq!((decayed.loss, decayed.gradient), (9.5, 68.0));
    assert_eq!(decayed.curvature, Some(1.0));

    // Twice (2, 4), at weights that are two away.
    found.stale = Some(sum([4.0, 8.0], 40.0));
    found.places.stale = Some(weights([0.0, 4.0]));
    for rate in [0.0, 2.0] {
        let stale = of(&found, rate);
        assert_eq!(
            (stale.moved, stale.bias, stale.spread()),
            (2.0, 4.0, Some(2.0))
        );
        assert_eq!(stale.noise, [0.0]);
    }
    found.places.next = found.places.now.clone();
    assert_eq!(of(&found, 0.0).curvature, None);
    found.next.loss = f64::NAN;
    found.now.gradients[0][0][1] = f32::INFINITY;
    let error = Point::of(7, &found, &sgd(0.0)).unwrap_err();
    assert!(
        error.to_string().contains("the gradient at version 7"),
        "{error}"
    );
}

#[test]
fn medians_are_in_the_middle() {
    let of = |values: &[f64]| Estimates::of(values.iter().copied());
    assert_eq!(of(&[]), None);
    let found = of(&[3.0, 1.0, 2.0]).unwrap();
    assert_eq!((found.median, found.largest, found.versions), (2.0, 3.0, 3));
    assert_eq!(of(&[4.0, 1.0]).unwrap().median, 2.5);
}

/// Without staleness there is no bias, SGD may step by 1/L, and the bound of a rate above that is none.
#[test]
fn what_follows_from_what_was_measured() {
    let theory = |options| Theory {
        options,
        steps: Some(4),
        probe_batches: 3,
    };
    let fresh = theory(options("bp")).run().unwrap();
    assert_eq!(fresh.spread(), None);
    assert!((fresh.largest_rate() * fresh.smoothness().largest - 1.0).abs() < 1e-9);
    assert!(fresh.bound(fresh.largest_rate() * 1.01).is_none());
    let bound = fresh.bound(fresh.largest_rate()).unwrap();
    assert_eq!((bound.staleness, bound.momentum), (0.0, 0.0));
    let stale = theory(options("dsp(m=2,1,0)")).run().unwrap();
    assert!(stale.spread().unwrap().largest > 0.0);
    assert!(stale.largest_rate() < 1.0 / stale.smoothness().largest);
    assert!(stale.bound(stale.largest_rate()).unwrap().staleness > 0.0);
    // Weight decay is part of F: of a large one the curvature is at least that much.
    let decayed = TrainingOptions {
        weight_decay: Some(100.0),
        lr: Some(1e-5),
        ..options("bp")
    };
    let decayed = theory(decayed).run().unwrap();
    assert!(decayed.smoothness().median > 50.0, "{:?}", decayed.points);
    assert!(decayed.height() > 100.0 * fresh.height());
}

/// What was measured says so where weights that are stale did not move, and where none did.
#[test]
fn what_shows_nothing_is_no_constant() {
    let theory = Theory {
        options: options("dsp(m=2,1,0)"),
        steps: Some(2),
        probe_batches: 2,
    };
    let mut measured = theory.run().unwrap();
    measured
        .points
        .iter_mut()
        .for_each(|point| point.moved = 0.0);
    let error = measured.check().unwrap_err();
    assert!(!error.is_refusal());
    let sentence = error.to_string();
    let begin =
        "in 2 updates of dsp(m=2,1,0) the weights of the stages that use stale ones have not moved";
    assert!(sentence.starts_with(begin), "{sentence}");
    measured
        .points
        .iter_mut()
        .for_each(|point| point.curvature = None);
    assert!(matches!(measured.check(), Err(TheoryError::Still)));
}

/// Images that are gone.
struct Gone(Vec<String>);

impl Dataset for Gone {
    fn name(&self) -> &str {
        "gone"
    }

    fn len(&self) -> usize {
        100
    }

    fn classes(&self) -> usize {
        self.0.len()
    }

    fn class_names(&self) -> &[String] {
        &self.0
    }

    fn shape(&self) -> [usize; 3] {
        [3, 8, 8]
    }

    fn label(&self, index: usize) -> usize {
        index % self.0.len()
    }

    fn image(&self, _: usize, _: &mut [u8]) -> Result<(), DataError> {
        Err(DataError::UnknownDataset {
            name: "gone".to_owned(),
            known: String::new(),
        })
    }

    fn fingerprint(&self) -> u64 {
        0
    }
}

/// Images that cannot be read are found before anything is trained.
#[test]
fn probe_batches_are_read_first() {
    let images: Arc<dyn Dataset> = Arc::new(Gone(vec!["a".to_owned(), "b".to_owned()]));
    let given = Given {
        split: Some(Split {
            final_test: None,
            train: Arc::clone(&images),
            test: images,
            normalization: Normalization::cifar10(),
            augmentation: Augmentation::NONE,
            inventory: None,
            notes: Vec::new(),
        }),
        ..Given::default()
    };
    let theory = Theory {
        options: options("bp"),
        steps: Some(2),
        probe_batches: 2,
    };
    let error = theory.run_on(&given).unwrap_err();
    let sentence = error.to_string();
    assert!(
        sentence.starts_with("the probe batches cannot be read: "),
        "{sentence}"
    );
}
