//! Streams of events: the programs of a real schedule, timed by a simple clock per stage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use stagger_engine::{HostTensor, StageState};
use stagger_report::{EpochPlan, EpochTally, Sink};
use stagger_runtime::snapshot::{PipelineState, StageSnapshot};
use stagger_runtime::{Acted, Event, Outcome, Waits};
use stagger_schedule::{Action, Horizon, Schedule};

/// Samples in every batch.
pub const SAMPLES: usize = 10;
/// Samples in the test set.
pub const TEST_SAMPLES: usize = 1000;

/// A run of a schedule. A forward, recompute or update takes 1 ms, a backward 2 ms, an evaluation
/// or a snapshot 10 ms; stages above the first take 2 ms for a forward and wait 1 ms before it.
///
/// The loss of batch j is j; of its ten samples `j % 10` are right in the first place and all in
/// the first five. An evaluation of version n gets `correct[n]` of 1000 right, else 500.
pub struct Run {
    pub schedule: &'static str,
    pub batches_per_epoch: usize,
    pub batches: usize,
    pub evaluate_at: Vec<usize>,
    pub snapshot_at: Vec<usize>,
    pub correct: HashMap<usize, usize>,
    /// The run is asked to stop before this batch.
    pub interrupted_at: Option<usize>,
}

impl Run {
    /// `dsp(1,0;2,0)` over two epochs of four batches, both evaluated and snapshot.
    pub fn dsp() -> Self {
        Self {
            schedule: "dsp(1,0;2,0)",
            batches_per_epoch: 4,
            batches: 8,
            evaluate_at: vec![4, 8],
            snapshot_at: vec![4, 8],
            correct: HashMap::new(),
            interrupted_at: None,
        }
    }

    pub fn tally(&self) -> EpochTally {
        EpochTally::new(EpochPlan {
            batches_per_epoch: self.batches_per_epoch,
            batches: self.batches,
            evaluate_at: self.evaluate_at.clone(),
            emulated: false,
        })
    }

    pub fn outcome(&self) -> Outcome {
        Outcome {
            version: self.interrupted_at.unwrap_or(self.batches),
            interrupted: self.interrupted_at.is_some(),
            ended_by: None,
            wall: Duration::from_millis(1500),
        }
    }

    /// The events of each stage in its own order.
    pub fn by_stage(&self) -> Vec<Vec<(Duration, Event)>> {
        let schedule = Schedule::parse(self.schedule, None).unwrap();
        let horizon = Horizon {
            batches: self.batches,
            evaluate_at: self.evaluate_at.clone(),
            snapshot_at: self.snapshot_at.clone(),
            ..Horizon::default()
        };
        (0..schedule.stages())
            .map(|stage| {
                let mut program = schedule.program(stage, &horizon);
                let mut clock = StageClock::new(stage, schedule.stages());
                while let Some(action) = program.next() {
                    match (action, self.interrupted_at) {
                        (Action::Forward { batch, .. }, Some(end)) if batch + 1 == end => {
                            program.halt_at(end);
                            if stage == 0 {
                                clock.push(Event::Interrupted { batch: end });
                            }
                        }
                        _ => {}
                    }
                    clock.act(action, self);
                }
                clock.events
            })
            .collect()
    }

    /// All events, sorted by time.
    pub fn events(&self) -> Vec<Event> {
        let by_stage = self.by_stage();
        let stages = by_stage.len();
        let mut events: Vec<_> = by_stage.into_iter().flatten().collect();
        events.sort_by_key(|&(at, _)| at);
        started(stages, events)
    }

    /// The events of each stage behind its snapshot of a version, sorted by time.
    pub fn events_after_snapshot(&self, version: usize) -> Vec<Event> {
        let is_snapshot = |event: &Event| {
            let is_it = |action| action == Action::Snapshot { version };
            matches!(event, Event::Acted(acted) if is_it(acted.action))
        };
        let mut events: Vec<_> = (self.by_stage().into_iter())
            .flat_map(|events| {
                let behind = events.iter().position(|(_, event)| is_snapshot(event));
                events.into_iter().skip(behind.map_or(0, |at| at + 1))
            })
            .collect();
        events.sort_by_key(|&(at, _)| at);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// All events, one stage after the other.
    pub fn stage_after_stage(&self, order: impl IntoIterator<Item = usize>) -> Vec<Event> {
        let by_stage = self.by_stage();
        let events = order
            .into_iter()
            .flat_map(|stage| by_stage[stage].clone())
            .collect();
        started(by_stage.len(), events)
    }

    /// Feeds a sink with the whole run.
    pub fn feed(&self, sink: &mut dyn Sink) {
        for event in self.events() {
            sink.event(&event).unwrap();
        }
        sink.finish(Ok(&self.outcome())).unwrap();
    }
}

fn started(stages: usize, events: Vec<(Duration, Event)>) -> Vec<Event> {
    let start = std::iter::once(Event::Started { stages });
    start
        .chain(events.into_iter().map(|(_, event)| event))
        .collect()
}

struct StageClock {
    stage: usize,
    stages: usize,
    now: Duration,
    version: usize,
    forward_version: HashMap<usize, usize>,
    events: Vec<(Duration, Event)>,
}

impl StageClock {
    fn new(stage: usize, stages: usize) -> Self {
        let (now, version) = (Duration::ZERO, 0);
        Self {
            stage,
            stages,
            now,
            version,
            forward_version: HashMap::new(),
            events: vec![],
        }
    }

    fn push(&mut self, event: Event) {
        self.events.push((self.now, event));
    }

    fn act(&mut self, action: Action, run: &Run) {
        let started_at = self.now;
        let (busy, waited, mut staleness) = match action {
            Action::Forward { .. } if self.stage > 0 => (2, 1, None),
            Action::Forward { .. } | Action::Recompute { .. } | Action::Update { .. } => {
                (1, 0, None)
            }
            Action::Backward { .. } | Action::Learn { .. } => (2, 0, None),
            Action::WeightGradients { .. } => (1, 0, None),
            Action::Evaluate { .. } | Action::Snapshot { .. } => (10, 0, None),
        };
        self.now += Duration::from_millis(busy + waited);
        let at = self.now;
        let last = self.stage + 1 == self.stages;
        match action {
            Action::Forward { batch, .. } => {
                self.forward_version.insert(batch, self.version);
                if last {
                    self.push(trained(batch, at));
                }
            }
            Action::Recompute { .. } | Action::Learn { .. } | Action::WeightGradients { .. } => {}
            Action::Backward { batch, .. } => {
                staleness = self
                    .forward_version
                    .remove(&batch)
                    .map(|before| self.version - before);
            }
            Action::Update { version } => self.version = version + 1,
            Action::Evaluate { version } if last => {
                let correct_top1 = run.correct.get(&version).copied().unwrap_or(500);
                let loss = version as f64 / 100.0;
                let (samples, correct_top5) = (TEST_SAMPLES, 990);
                let event = Event::Evaluated {
                    version,
                    samples,
                    loss,
                    correct_top1,
                    correct_top5,
                    at,
                };
                self.push(event);
            }
            Action::Evaluate { .. } => {}
            Action::Snapshot { version } => {
                let state = state(self.stage, version);
                let pipeline = PipelineState::default();
                self.push(Event::Snapshot {
                    stage: self.stage,
                    version,
                    snapshot: Arc::new(StageSnapshot {
                        state,
                        pipeline,
                        replicas: Vec::new(),
                    }),
                });
            }
        }
        let (stage, ended_at) = (self.stage, at);
        let waits = Waits {
            receive: Duration::from_millis(waited),
            ..Waits::default()
        };
        self.push(Event::Acted(Acted {
            stage,
            action,
            started_at,
            ended_at,
            waits,
            transfer: Duration::ZERO,
            delayed: Duration::ZERO,
            staleness,
            gap: None,
        }));
    }
}

fn trained(batch: usize, at: Duration) -> Event {
    Event::Trained {
        batch,
        samples: SAMPLES,
        loss: batch as f32,
        correct_top1: batch % 10,
        correct_top5: SAMPLES,
        learning_rate: 0.1 / (batch + 1) as f64,
        at,
    }
}

/// One parameter per stage, whose value is the version, with a counter and optimizer state.
fn state(stage: usize, version: usize) -> StageState {
    let tensor = |value: f32| HostTensor {
        shape: vec![1],
        data: vec![value],
    };
    let parameter = format!("stage{stage}.weight");
    StageState {
        tensors: [
            (
                StageState::optimizer_name(&parameter, "momentum"),
                tensor(7.0),
            ),
            (parameter, tensor(version as f32)),
        ]
        .into(),
        counters: [(format!("stage{stage}.num_batches_tracked"), version as u64)].into(),
    }
}
