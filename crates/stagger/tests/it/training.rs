//! The builder: names and objects, what is refused, what is left.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use stagger::engine::{LearningRate, Optimizer, WeightDecay};
use stagger::model::Model;
use stagger::report::{METRICS_FILE, Record, read_metrics};
use stagger::runtime::{Outcome, RunError};
use stagger::schedule::Schedule;
use stagger::{
    EarlyEnd, Event, Interrupt, ReportError, RunWeights, Sink, Training, TrainingOptions,
    evaluate_run,
};

use crate::support::{broken_while, interrupting, noise};

/// Six batches of it.
fn training<'a>() -> Training<'a> {
    Training::new()
        .dataset(noise(0))
        .batch_size(8)
        .epochs(2)
        .learning_rate(0.01)
}

#[test]
fn objects_mean_what_their_names_mean() {
    let named = training()
        .schedule("dsp(1,0;2,0) + shrink(0.9)")
        .optimizer("momentum")
        .learning_rate(LearningRate::constant(0.01))
        .run()
        .unwrap();
    let given = training()
        .model(Model::by_name("resnet8", [1, 8, 8], 3).unwrap())
        .schedule(Schedule::parse("dsp + shrink", Some(2)).unwrap())
        .optimizer(Optimizer::Momentum {
            beta: 0.9,
            nesterov: 0.0,
            weight_decay: WeightDecay::everywhere(5e-4),
        })
        .learning_rate(LearningRate::constant(0.01))
        .run()
        .unwrap();
    assert_eq!(named.title, given.title);
    assert_eq!((named.version, given.version), (6, 6));
    assert_eq!(named.loss(), given.loss());
    assert_eq!(named.best, given.best);
    assert!(named.weights().unwrap() == given.weights().unwrap());
    let other = training().optimizer("sgd").run().unwrap();
    assert!(named.weights().unwrap() != other.weights().unwrap());
}

#[test]
fn a_run_folder_has_what_memory_has() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let in_memory = training().run().unwrap();
    let on_disk = training().output(&path).run().unwrap();
    assert_eq!(in_memory.folder, None);
    assert_eq!(on_disk.folder.as_deref(), Some(path.as_path()));
    assert!(in_memory.weights().unwrap() == on_disk.weights().unwrap());
    assert_eq!(in_memory.test_accuracy(), on_disk.test_accuracy());
    assert!(on_disk.snapshots.iter().all(|cost| cost.taken >= 2));

    let again = Training::new()
        .dataset(noise(0))
        .resume(&path)
        .run()
        .unwrap();
    assert_eq!((again.version, again.best), (6, on_disk.best));
    assert_eq!(again.loss(), on_disk.loss());
    assert!(again.weights().unwrap() == on_disk.weights().unwrap());
}

/// Versions that are evaluated, by the weights and by their mean.
#[derive(Default)]
struct ByMean {
    weights: Vec<usize>,
    mean: Vec<usize>,
}

impl Sink for ByMean {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::Evaluated { version, .. } => self.weights.push(*version),
            Event::EvaluatedAverage { version, .. } => self.mean.push(*version),
            _ => {}
        }
        Ok(())
    }
}

#[test]
fn the_mean_is_evaluated_where_a_run_ends_early_without_a_folder() {
    let options = TrainingOptions {
        ema: Some(0.8),
        patience: Some(2),
        ..TrainingOptions::default()
    };
    let mut seen = ByMean::default();
    let run = training()
        .options(options)
        .batch_size(8)
        .epochs(1000)
        .sink(&mut seen)
        .run()
        .unwrap();
    assert_eq!(run.ended_by, Some(EarlyEnd::Patience));
    assert_eq!(seen.weights.last(), Some(&run.version));
    assert_eq!(seen.mean, seen.weights);
}

/// Versions that a run evaluates. With a folder, it waits in the last batch until the snapshot of version 3 is on disk, and told of
/// its evaluation: a slow disk leaves snapshots out.
#[derive(Default)]
struct Evaluations {
    versions: Vec<usize>,
    folder: Option<PathBuf>,
}

impl Sink for Evaluations {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::Evaluated { version, .. } => self.versions.push(*version),
            Event::Trained { batch: 5, .. } => {
                let manifest = (self.folder.as_ref())
                    .map(|folder| folder.join("snapshots/v00000003/manifest.json"));
                let is_told = |path: &PathBuf| {
                    let text = fs::read_to_string(path).unwrap_or_default();
                    text.contains("test_top1") && !text.contains("\"test_top1\": null")
                };
                while manifest.as_ref().is_some_and(|path| !is_told(path)) {
                    thread::sleep(Duration::from_millis(5));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A snapshot is taken before the evaluation of its version, and knows of it after.
/// The snapshot of the last version was written before that version was evaluated, and the run was killed on its very last steps, in which
/// the snapshot is told of the evaluation.
#[test]
fn a_finished_run_that_is_resumed_keeps_its_best_weights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let is_broken = Arc::new(AtomicBool::new(true));
    let training = || Training::new().dataset(broken_while(Arc::clone(&is_broken)));
    let failed = training().batch_size(8).epochs(1).output(&path).run();
    assert!(failed.is_err());
    let manifest = path.join("snapshots/v00000003/manifest.json");
    let before_evaluation = fs::read_to_string(&manifest).unwrap();
    assert!(
        before_evaluation.contains("\"best\": null"),
        "{before_evaluation}"
    );
    is_broken.store(false, Ordering::SeqCst);
    let best = training().resume(&path).run().unwrap().best;
    assert_eq!(best.map(|(version, _)| version), Some(3));
    fs::write(&manifest, before_evaluation).unwrap();
    let weights = fs::read(path.join("best.safetensors")).unwrap();
    for is_missing in [false, true] {
        if is_missing {
            fs::remove_file(path.join("best.safetensors")).unwrap();
        }
        let again = training().resume(&path).run().unwrap();
        assert_eq!(again.best, best);
        let found = fs::read(path.join("best.safetensors")).unwrap();
        assert!(found == weights);
    }
}

#[test]
fn a_resumed_run_evaluates_no_version_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut evaluations = Evaluations {
        folder: Some(path.clone()),
        ..Evaluations::default()
    };
    let whole = training().output(&path).sink(&mut evaluations);
    let whole = whole.run().unwrap();
    assert_eq!(evaluations.versions, [3, 6]);

    let mut evaluations = Evaluations::default();
    let again = Training::new()
        .dataset(noise(0))
        .resume(path.join("snapshots/v00000003"))
        .sink(&mut evaluations)
        .run()
        .unwrap();
    assert_eq!(evaluations.versions, [6]);
    assert_eq!((again.loss(), again.best), (whole.loss(), whole.best));
}

/// An epoch that the end of a run cuts short is one epoch when the run goes on, evaluated or not.
#[test]
fn a_longer_run_has_the_epochs_of_the_unbroken() {
    for evaluate in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let options = TrainingOptions {
            evaluate: Some(evaluate),
            lr_schedule: Some("constant".to_owned()),
            warmup_batches: Some(0),
            ..TrainingOptions::default()
        };
        let run = |name: &str| {
            let training = training().schedule("bp").learning_rate(0.01);
            training
                .options(options.clone())
                .output(folder.path().join(name))
        };
        let epochs = |name: &str| -> Vec<_> {
            let records = read_metrics(&folder.path().join(name).join(METRICS_FILE)).unwrap();
            let epochs = records.into_iter().filter_map(|record| match record {
                Record::Epoch(epoch) => {
                    let passes: Vec<_> = epoch.stages.iter().map(|s| s.staleness_mean).collect();
                    Some((
                        epoch.epoch,
                        epoch.version,
                        epoch.batches,
                        epoch.train_loss,
                        epoch.test_top1,
                        passes,
                    ))
                }
                _ => None,
            });
            epochs.collect()
        };
        run("whole").run().unwrap();
        run("longer").max_batches(4).run().unwrap();
        assert_eq!(epochs("longer").len(), 2);
        let longer = Training::new()
            .dataset(noise(0))
            .max_batches(6)
            .resume(folder.path().join("longer"));
        longer.run().unwrap();
        assert_eq!(epochs("longer"), epochs("whole"), "evaluate: {evaluate}");
    }
}

/// The message when a run is refused.
fn refused(training: Training<'_>) -> String {
    match training.prepare() {
        Ok(_) => panic!("not refused"),
        Err(error) => {
            assert!(error.is_refusal());
            error.to_string()
        }
    }
}

#[test]
fn refusals_name_fields() {
    let options = |options: TrainingOptions| training().options(options);
    let every = TrainingOptions {
        snapshot_every: Some(vec!["5".to_owned()]),
        ..TrainingOptions::default()
    };
    let rollback = TrainingOptions {
        on_nan: Some("rollback".to_owned()),
        ..TrainingOptions::default()
    };
    let momentum = TrainingOptions {
        momentum: Some(0.5),
        ..TrainingOptions::default()
    };
    let sgd = Optimizer::Sgd {
        weight_decay: WeightDecay::everywhere(0.0),
    };
    for (training, expected) in [
        (
            training().model("resnet18-cifar").batch_size(1),
            "`batch_size` 1 does not work with resnet18-cifar and dsp(1,0;2,0): batch normalisation of single pixels needs at least 2 samples per \
             batch; use `batch_size` 2 or more",
        ),
        (
            training().epochs(0),
            "`epochs` is 0; give a whole number of at least 1",
        ),
        (
            options(every),
            "`snapshot_every` 5 needs a run folder; name one with `output`",
        ),
        (
            options(rollback),
            "`on_nan` rollback needs a run folder; name one with `output`",
        ),
        (
            options(momentum).optimizer(sgd),
            "`momentum` does nothing with an object as optimizer, which has its own; leave it out",
        ),
        (
            training()
                .schedule(Schedule::parse("bp", Some(3)).unwrap())
                .stages(2),
            "schedule bp has 3 stages, and `stages` is 2; leave that out",
        ),
        (
            training().model(Model::by_name("resnet8", [3, 32, 32], 10).unwrap()),
            "model resnet8 expects images of 3x32x32 and 10 classes, and tiny has images of 1x8x8 and 3 classes",
        ),
        (
            training().schedule("dsp + look-ahead").optimizer("adamw"),
            "`dsp(1,0;2,0) + look-ahead` looks ahead by the formulas of optimizer momentum, and the run has optimizer adamw; use \
             `optimizer` momentum",
        ),
    ] {
        assert_eq!(refused(training), expected);
    }
}

/// Counts the losses and the ends of a run.
#[derive(Default)]
struct Watch {
    losses: usize,
    ends: usize,
}

impl Sink for Watch {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        self.losses += usize::from(matches!(event, Event::Trained { .. }));
        Ok(())
    }

    fn finish(&mut self, _: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        self.ends += 1;
        Ok(())
    }
}

#[test]
fn an_interrupt_ends_a_run_which_can_be_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let interrupt = Interrupt::new();
    let mut watch = Watch::default();
    let run = training()
        .dataset(interrupting(4, interrupt.clone()))
        .epochs(40)
        .output(&path)
        .interrupt(interrupt)
        .sink(&mut watch)
        .run()
        .unwrap();
    assert!(run.interrupted && (1..120).contains(&run.version));
    assert_eq!((watch.losses, watch.ends), (run.version, 1));
    let resumed = Training::new()
        .dataset(noise(0))
        .resume(&path)
        .run()
        .unwrap();
    assert!(!resumed.interrupted);
    let unbroken = training().epochs(40).run().unwrap();
    assert!(resumed.weights().unwrap() == unbroken.weights().unwrap());
}

/// Sinks get the events of every attempt, and finish once.
#[test]
fn own_sinks_outlive_a_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let options = TrainingOptions {
        on_nan: Some("rollback".to_owned()),
        lr_schedule: Some("constant".to_owned()),
        warmup_batches: Some(0),
        ..TrainingOptions::default()
    };
    let mut watch = Watch::default();
    let error = training()
        .options(options)
        .schedule("bp")
        .learning_rate(1e30)
        .output(folder.path().join("run"))
        .sink(&mut watch)
        .run()
        .unwrap_err();
    assert!(!error.is_refusal());
    assert!(error.to_string().contains("training diverged"), "{error}");
    // Eleven attempts, each of which trains on a batch at least.
    assert!(watch.losses >= 11, "{}", watch.losses);
    assert_eq!(watch.ends, 1);
}

#[test]
fn a_folder_in_which_nothing_was_trained_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let interrupt = Interrupt::new();
    interrupt.request();
    let options = TrainingOptions {
        calibration_batches: Some(100),
        ..TrainingOptions::default()
    };
    let run = training()
        .epochs(40)
        .options(options)
        .output(&path)
        .interrupt(interrupt)
        .run()
        .unwrap();
    assert!(run.interrupted && run.folder.is_none() && !path.exists());
    assert_eq!(
        run.weights().unwrap_err().to_string(),
        "no weights: nothing has been trained"
    );
}

#[test]
fn a_run_is_evaluated_by_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = Training::new()
        .schedule("bp")
        .stages(1)
        .max_batches(2)
        .batch_size(8)
        .output(&path)
        .run()
        .unwrap();
    let said = TrainingOptions::default();
    let found = evaluate_run(&path, &RunWeights::Last, said.clone()).unwrap();
    let top1 = run.test_accuracy().unwrap();
    assert!((found.top1 - top1).abs() < 1e-9, "{found}");
    // A config of the time when the default engine was another one.
    let config = path.join("config.toml");
    let text = std::fs::read_to_string(&config).unwrap();
    assert!(text.contains("engine = \"cpu\""), "{text}");
    let (text, _) = text.split_once("# crc32").unwrap();
    std::fs::write(
        &config,
        text.replace("engine = \"cpu\"", "engine = \"burn\""),
    )
    .unwrap();
    assert_eq!(evaluate_run(&path, &RunWeights::Last, said).unwrap(), found);
    assert_eq!(
        resume_error(&path),
        format!(
            "{} was trained by engine `burn`, which is no longer there, and engine `cpu` may give other last bits; start a new run, \
         with `resume_weights` {} for its last weights",
            path.display(),
            path.display()
        )
    );
}

fn resume_error(path: &Path) -> String {
    refused(Training::new().resume(path))
}
