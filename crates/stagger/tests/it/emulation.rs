//! Emulated runs, from the library.

use serde_json::json;
use stagger::runtime::Acted;
use stagger::schedule::Action;
use stagger::{Event, Interrupt, ReportError, Sink, Training, TrainingOptions};

use crate::ranks::over;
use crate::support::noise;

fn options() -> TrainingOptions {
    TrainingOptions {
        emulate: Some("equal:1ms".to_owned()),
        ..TrainingOptions::default()
    }
}

fn training<'a>() -> Training<'a> {
    Training::new()
        .options(options())
        .dataset(noise(0))
        .batch_size(8)
        .stages(3)
}

#[test]
fn a_run_learns_nothing_and_says_so() {
    let run = training().epochs(2).run().unwrap();
    assert_eq!(run.title, "resnet8 on tiny, dsp(1,1,0;4,2,0), emulated");
    assert_eq!(
        (run.loss(), run.test_accuracy(), run.best),
        (None, None, None)
    );
    assert!(run.last_epoch.as_ref().is_some_and(|epoch| epoch.emulated));
    assert!(run.weights().is_err());
    assert!(!run.to_string().contains("loss"), "{run}");
}

#[test]
fn several_processes_are_refused() {
    let follow = |world| training().world(world).follow();
    let lead = |world| training().world(world).run();
    let error = over(2, lead, follow).expect_err("refused");
    assert_eq!(
        error.to_string(),
        "an emulated run is one process, and there are 2; start it without mpirun"
    );
}

/// Keeps the actions of one stage.
#[derive(Default)]
struct Actions(Vec<Action>);

impl Sink for Actions {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        if let Event::Acted(Acted {
            stage: 1, action, ..
        }) = *event
            && !matches!(action, Action::Snapshot { .. })
        {
            self.0.push(action);
        }
        Ok(())
    }
}

/// An emulated run halts and goes on as any other: what was in flight is in its snapshot.
#[test]
fn a_run_that_was_halted_goes_on_with_the_same_actions() {
    for (schedule, replicas) in [
        ("dsp", None),
        ("pipedream", None),
        ("gpipe(2)", None),
        ("dni", None),
        ("dsp", Some(vec![2])),
        ("pipedream", Some(vec![2, 1, 2])),
        ("gpipe(2)", Some(vec![1, 2, 2])),
    ] {
        let options = || TrainingOptions {
            replicas: replicas.clone(),
            ..options()
        };
        let of = || training().options(options()).epochs(3).schedule(schedule);
        let mut whole = Actions::default();
        let version = of().sink(&mut whole).run().unwrap().version;

        let bench = tempfile::tempdir().unwrap();
        let folder = bench.path().join("run");
        // From the start on: stage 0 announces the halt with its first batch.
        let interrupt = Interrupt::new();
        interrupt.request();
        let (mut first, mut second) = (Actions::default(), Actions::default());
        let halted = of()
            .output(&folder)
            .interrupt(interrupt)
            .sink(&mut first)
            .run()
            .unwrap();
        assert!(halted.interrupted && halted.version > 0, "{schedule}");
        assert!(halted.version < version, "{schedule}");
        let resumed = Training::new()
            .dataset(noise(0))
            .resume(&folder)
            .sink(&mut second)
            .run()
            .unwrap();
        assert_eq!(resumed.version, version);
        let both: Vec<Action> = first.0.into_iter().chain(second.0).collect();
        assert_eq!(both, whole.0, "{schedule}");
    }
}

/// Fails when stage 0 has forwarded batch 1, for which the queue above has room only once stage 1 has taken batch 0.
struct Failing;

impl Sink for Failing {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match *event {
            Event::Acted(Acted {
                stage: 0,
                action: Action::Forward { batch: 1, .. },
                ..
            }) => Err(ReportError::Encode {
                path: "nowhere".into(),
                what: "a failure".to_owned(),
            }),
            _ => Ok(()),
        }
    }
}

/// A stage that would sleep for a day hears that the run has failed.
#[test]
fn a_failure_wakes_stages_that_sleep() {
    let block = json!({"name": "block", "parameter_bytes": 1, "output_bytes": 1, "graph_bytes": 1});
    let times = ["0s", "0s", "0s", "1d", "1d"];
    let device = json!({"name": "slow", "forward": times, "recompute": times, "backward": times, "update": times});
    let profile = json!({
        "format": 1, "model": "resnet8", "input": [1, 8, 8], "classes": 3, "samples": 8, "dtype": "f32",
        "blocks": vec![block; 5], "devices": [device],
    });
    let bench = tempfile::tempdir().unwrap();
    let path = bench.path().join("profile.json");
    std::fs::write(&path, profile.to_string()).unwrap();
    let options = TrainingOptions {
        emulate: path.to_str().map(str::to_owned),
        balance: Some("3,2".to_owned()),
        ..TrainingOptions::default()
    };
    let run = training().stages(2).options(options).sink(Failing).run();
    let error = run.expect_err("failed").to_string();
    assert!(error.contains("a failure"), "{error}");
}
