//! Emulated runs, from the library.

use stagger::runtime::Acted;
use stagger::schedule::Action;
use stagger::{Event, Interrupt, ReportError, Sink, Training, TrainingOptions};

use crate::ranks::over;
use crate::support::noise;

fn training<'a>() -> Training<'a> {
    Training::new()
        .options(TrainingOptions {
            emulate: Some("equal:1ms".to_owned()),
            ..TrainingOptions::default()
        })
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
    for schedule in ["dsp", "pipedream", "gpipe(2)", "dni"] {
        let of = || training().epochs(3).schedule(schedule);
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

/// Fails at once.
struct Failing;

impl Sink for Failing {
    fn event(&mut self, _: &Event) -> Result<(), ReportError> {
        Err(ReportError::Encode {
            path: "nowhere".into(),
            what: "a failure".to_owned(),
        })
    }
}

/// Stages that would sleep for hours hear that the run has failed.
#[test]
fn a_failure_wakes_stages_that_sleep() {
    let options = TrainingOptions {
        emulate: Some("equal:1d".to_owned()),
        ..TrainingOptions::default()
    };
    let error = training().options(options).sink(Failing).run();
    let error = error.expect_err("failed").to_string();
    assert!(error.contains("a failure"), "{error}");
}
