//! Rung 8 of the ladder (docs/algorithm.md, "The ladder of correctness") without the disk: a run that resumes from a snapshot
//! does, action by action and bit by bit, what the run did that the snapshot was taken of.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::support::{ToyFeed, ToyStage, watch_for_hangs};
use stagger_cpu::CpuStage;
use stagger_engine::{
    EngineError, HostTensor, Optimizer, Stage, StageSpec, StageState, WeightDecay,
};
use stagger_model::{Balance, Cut, Model};
use stagger_runtime::snapshot::{Snapshot, StageSnapshot};
use stagger_runtime::{
    Acted, Event, FeedError, Feeds, Inputs, Interrupt, Labels, Outcome, Place, Plan, threads,
};
use stagger_schedule::{Action, Horizon, Schedule};

/// An action, with counted staleness and the bits of the gap.
type Done = (Action, Option<usize>, Option<u64>);

/// What a run does, in terms that do not depend on timing.
#[derive(Debug, Default)]
struct Record {
    losses: BTreeMap<usize, u32>,
    evaluations: BTreeMap<usize, u64>,
    /// Per stage.
    actions: Vec<Vec<Done>>,
    /// Per version, from stage 0 up.
    snapshots: BTreeMap<usize, Vec<Option<Arc<StageSnapshot>>>>,
    synthesized: BTreeMap<(usize, usize), u64>,
}

impl Record {
    fn of<S: Stage>(
        plan: &Plan,
        build: impl Fn(Place, Optimizer) -> Result<S, EngineError> + Sync,
        feeds: Feeds,
        interrupt: &Interrupt,
    ) -> (Self, Outcome) {
        watch_for_hangs();
        let stages = plan.schedule.stages();
        let mut record = Self {
            actions: vec![Vec::new(); stages],
            ..Self::default()
        };
        let outcome = threads::run(plan, build, feeds, interrupt, |event| {
            record.take(event, stages);
            Ok(())
        });
        (record, outcome.expect("the run succeeds"))
    }

    fn take(&mut self, event: Event, stages: usize) {
        match event {
            Event::Trained { batch, loss, .. } => {
                assert_eq!(self.losses.insert(batch, loss.to_bits()), None);
            }
            Event::Evaluated { version, loss, .. } => {
                self.evaluations.insert(version, loss.to_bits());
            }
            Event::Acted(Acted {
                stage,
                action,
                staleness,
                gap,
                ..
            }) => self.actions[stage].push((action, staleness, gap.map(f64::to_bits))),
            Event::Snapshot {
                stage,
                version,
                snapshot,
            } => {
                let parts = self.snapshots.entry(version);
                parts.or_insert_with(|| vec![None; stages])[stage] = Some(snapshot);
            }
            Event::Synthesized {
                stage, batch, loss, ..
            } => {
                self.synthesized.insert((stage, batch), loss.to_bits());
            }
            _ => {}
        }
    }

    /// All stages at a version.
    fn snapshot(&self, version: usize) -> Snapshot {
        let parts = self.snapshots[&version].iter();
        let stages = parts.map(|part| part.as_deref().expect("a whole snapshot").clone());
        Snapshot {
            version,
            stages: stages.collect(),
        }
    }

    /// Checks that this is what the other one did behind its snapshot of `version`.
    fn assert_is_the_rest_of(&self, whole: &Self, version: usize, what: &str) {
        let rest = whole.losses.range(version..).map(|(&b, &l)| (b, l));
        assert_eq!(self.losses, rest.collect(), "losses of {what}");
        // The snapshot of a version comes before its evaluation.
        let rest = whole.evaluations.range(version..).map(|(&v, &l)| (v, l));
        assert_eq!(self.evaluations, rest.collect(), "evaluations of {what}");
        for (stage, (found, whole)) in self.actions.iter().zip(&whole.actions).enumerate() {
            let cut = whole
                .iter()
                .position(|(action, ..)| *action == Action::Snapshot { version })
                .expect("the snapshot");
            assert_eq!(found, &whole[cut + 1..], "stage {stage} of {what}");
        }
        for (&later, parts) in &self.snapshots {
            assert_eq!(
                parts, &whole.snapshots[&later],
                "snapshot {later} of {what}"
            );
        }
        for (lesson, loss) in &self.synthesized {
            assert_eq!(loss, &whole.synthesized[lesson], "{lesson:?} of {what}");
        }
    }
}

const BATCHES: usize = 9;
const SIDE: usize = 8;
const SAMPLES: usize = 8;

struct Noise;

impl Inputs for Noise {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let data = (0..SAMPLES * 3 * SIDE * SIDE).map(|i| ((batch * 31 + i) as f32 * 0.7).sin());
        let shape = vec![SAMPLES, 3, SIDE, SIDE];
        Ok(HostTensor::new(shape, data.collect())?)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        (batch < 2)
            .then(|| Inputs::train(self, 90 + batch))
            .transpose()
    }
}

impl Labels for Noise {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok((0..SAMPLES).map(|sample| (batch + sample) % 10).collect())
    }

    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Labels::train(self, 90 + batch)
    }
}

/// Inputs that start at a batch, as a loader does.
struct From<I> {
    inner: I,
    next: usize,
}

impl<I: Inputs> Inputs for From<I> {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        if batch != self.next {
            return Err(format!("batch {batch} was asked for and {} is next", self.next).into());
        }
        self.next += 1;
        self.inner.train(batch)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        self.inner.evaluation(batch)
    }
}

fn noise(next: usize) -> Feeds {
    let inner = Noise;
    Feeds {
        inputs: Box::new(From { inner, next }),
        labels: Box::new(Noise),
    }
}

fn toys(next: usize) -> Feeds {
    let inner = ToyFeed;
    Feeds {
        inputs: Box::new(From { inner, next }),
        labels: Box::new(ToyFeed),
    }
}

fn every_version(batches: usize) -> Horizon {
    Horizon {
        batches,
        evaluate_at: vec![3, batches],
        snapshot_at: (0..=batches).collect(),
        ..Horizon::default()
    }
}

fn plan(schedule: &str, stages: usize, batches: usize) -> Plan {
    let schedule = Schedule::parse(schedule, Some(stages)).expect("a valid schedule");
    let optimizer = Optimizer::Momentum {
        beta: 0.9,
        nesterov: 0.0,
        weight_decay: WeightDecay::everywhere(1e-4),
    };
    let rate = |batch| 0.02 / (1.0 + batch as f64);
    Plan {
        gap_every: 2,
        ..Plan::new(schedule, every_version(batches), optimizer, rate)
    }
}

/// Resumes from every version in turn, from the snapshots of an unbroken run.
fn check_every_version<S: Stage>(
    plan: &Plan,
    build: impl Fn(Place, Optimizer) -> Result<S, EngineError> + Sync + Copy,
    feeds: impl Fn(usize) -> Feeds,
) {
    let what = plan.schedule.to_string();
    let (whole, _) = Record::of(plan, build, feeds(0), &Interrupt::new());
    assert_eq!(whole.losses.len(), plan.horizon.batches, "{what}");
    for version in 0..=plan.horizon.batches {
        let snapshot = whole.snapshot(version);
        let next = snapshot.next_batch(&plan.schedule);
        let resumed = Plan {
            resume: Some(Arc::new(snapshot)),
            ..plan.clone()
        };
        let (rest, outcome) = Record::of(&resumed, build, feeds(next), &Interrupt::new());
        assert_eq!(outcome.version, plan.horizon.batches, "{what}");
        rest.assert_is_the_rest_of(&whole, version, &format!("{what} from version {version}"));
    }
}

/// Graphs that outlive updates, stashed and predicted weights, drift, positions, synthesizers: all that a stage can hold.
#[test]
fn every_method_goes_on_from_every_version_on_a_real_engine() {
    let model = Model::by_name("resnet8", [3, SIDE, SIDE], 10).expect("a model");
    for method in [
        "bp",
        "gpipe(2)",
        "1f1b(4)",
        "zb(4)",
        "pipedream",
        "2bw(4)",
        "pipemare(anneal=4,sync=3)",
        "fr",
        "fdg",
        "adl(2)",
        "dsp",
        "dsp + accumulate(2)",
        "dsp + predict",
        "pipedream + gap-aware",
        "dsp + gap-aware",
        "dni",
    ] {
        let plan = plan(method, 3, BATCHES);
        let cut = Balance::Auto.cut(&model, &plan.schedule.recomputes(), None);
        let cut = cut.expect("enough blocks");
        let build = |place: Place, optimizer| build(&model, &cut, place.stage, optimizer);
        check_every_version(&plan, build, noise);
    }
}

fn build(
    model: &Model,
    cut: &Cut,
    stage: usize,
    optimizer: Optimizer,
) -> Result<CpuStage, EngineError> {
    let spec = StageSpec {
        optimizer,
        ..StageSpec::new(model, cut.stages()[stage].clone(), 5)
    };
    CpuStage::new(&spec, Default::default())
}

#[test]
fn every_method_goes_on_from_every_version_at_any_number_of_stages() {
    for stages in 1..=5 {
        for method in Schedule::examples(Some(stages)) {
            let plan = plan(&method, stages, 17);
            check_every_version(&plan, ToyStage::build, toys);
        }
    }
}

/// c moves time, m moves numbers: a run may resume with other queues.
#[test]
fn queues_may_change_where_a_run_goes_on() {
    let build = ToyStage::build;
    let first = plan("dsp(1,1,0;4,2,0)", 3, 12);
    let (whole, _) = Record::of(&first, build, toys(0), &Interrupt::new());
    for queues in ["dsp(2,1,0;4,2,0)", "dsp(0,0,0;4,2,0)"] {
        let snapshot = whole.snapshot(5);
        let next = snapshot.next_batch(&first.schedule);
        let resumed = Plan {
            resume: Some(Arc::new(snapshot)),
            ..plan(queues, 3, 12)
        };
        let (rest, _) = Record::of(&resumed, build, toys(next), &Interrupt::new());
        rest.assert_is_the_rest_of(&whole, 5, queues);
    }
}

/// Labels that ask for an interrupt at a batch.
struct InterruptAt(usize, Interrupt);

impl Labels for InterruptAt {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        if batch == self.0 {
            self.1.request();
        }
        Labels::train(&mut ToyFeed, batch)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Labels::evaluation(&mut ToyFeed, batch)
    }
}

#[test]
fn a_halted_run_goes_on_where_it_halted() {
    let build = ToyStage::build;
    for method in ["bp", "pipedream", "dsp", "gpipe(3)", "2bw(4)", "dni"] {
        let plan = plan(method, 3, 40);
        let (whole, _) = Record::of(&plan, build, toys(0), &Interrupt::new());
        let interrupt = Interrupt::new();
        let feeds = Feeds {
            labels: Box::new(InterruptAt(4, interrupt.clone())),
            ..toys(0)
        };
        // Nothing is listed: the snapshot is that of the halt.
        let mut listed_nothing = plan.clone();
        listed_nothing.horizon.snapshot_at.clear();
        let (first, outcome) = Record::of(&listed_nothing, build, feeds, &interrupt);
        assert!(outcome.interrupted && outcome.version > 4, "{method}");
        assert!(outcome.version < 40, "{method}: {outcome:?}");
        let version = outcome.version;
        assert_eq!(first.losses.len(), version, "{method}");
        let snapshot = first.snapshot(version);
        assert_eq!(snapshot, whole.snapshot(version), "{method}");

        let next = snapshot.next_batch(&plan.schedule);
        let resumed = Plan {
            resume: Some(Arc::new(snapshot)),
            ..plan
        };
        let (rest, _) = Record::of(&resumed, build, toys(next), &Interrupt::new());
        rest.assert_is_the_rest_of(&whole, version, method);
    }
}

#[test]
fn snapshots_by_the_clock_are_those_of_their_version() {
    let build = ToyStage::build;
    let plan = plan("dsp", 3, 400);
    let (whole, _) = Record::of(&plan, build, toys(0), &Interrupt::new());
    let mut by_the_clock = plan;
    by_the_clock.horizon.snapshot_at.clear();
    by_the_clock.snapshot_interval = Some(std::time::Duration::from_micros(50));
    let (found, outcome) = Record::of(&by_the_clock, build, toys(0), &Interrupt::new());
    assert!(!outcome.interrupted);
    assert!(!found.snapshots.is_empty());
    for &version in found.snapshots.keys() {
        assert_eq!(found.snapshot(version), whole.snapshot(version));
    }
}

#[test]
fn a_snapshot_that_does_not_fit_is_refused() {
    let build = ToyStage::build;
    let original = plan("dsp", 3, 12);
    let (whole, _) = Record::of(&original, build, toys(0), &Interrupt::new());
    let refuse = |schedule: &str, stages, change: &dyn Fn(&mut Snapshot)| {
        let mut snapshot = whole.snapshot(5);
        change(&mut snapshot);
        let resumed = Plan {
            resume: Some(Arc::new(snapshot)),
            ..plan(schedule, stages, 12)
        };
        let run = threads::run(&resumed, build, toys(0), &Interrupt::new(), |_| Ok(()));
        run.expect_err("it does not fit").to_string()
    };
    let error = refuse("dsp", 4, &|_| ());
    assert!(error.contains("of 3 stages and the run has 4"), "{error}");
    let error = refuse("bp", 3, &|_| ());
    assert!(error.contains("does not fit the schedule"), "{error}");
    let error = refuse("dsp", 3, &|snapshot| {
        snapshot.stages[0].pipeline.sent_up.pop();
    });
    assert!(error.contains("activations in flight"), "{error}");
    let error = refuse("dsp", 3, &|snapshot| {
        snapshot.stages[0].pipeline.kept[1].batch += 1;
    });
    assert!(error.contains("batch 6 was expected"), "{error}");
    let error = refuse("dsp", 3, &|snapshot| {
        snapshot.stages[0].pipeline.sent_up[1].batch = 99;
    });
    assert!(error.contains("an activation in flight"), "{error}");
    // A whole state cannot be mistaken for another.
    assert_ne!(whole.snapshot(5).stages[0].state, StageState::default());
}
