//! A run does not depend on its transport: one that writes every message to bytes gives the bits of that between threads, also
//! where a run halts, resumes, skips a batch or fails.

use std::sync::Arc;

use crate::support::{Delays, ToyCargo, ToyFeed, ToyStage, feeds, plan};
use stagger_engine::HostTensor;
use stagger_runtime::snapshot::{Snapshot, StageSnapshot};
use stagger_runtime::{
    Event, EventError, FeedError, Feeds, Inputs, Interrupt, OnNonFinite, Outcome, Plan, RunError,
    threads,
};
use stagger_schedule::Schedule;
use stagger_transport::{
    Bytes, Capacities, ConnectError, Ends, Hop, StopSignal, Threads, Transport,
};

const STAGES: usize = 3;

/// What a run gives, bit by bit.
#[derive(Debug, Default, PartialEq)]
struct Record {
    /// `None` for a batch that was skipped.
    losses: Vec<(usize, Option<u32>)>,
    evaluations: Vec<u64>,
    /// Of the last version at which there is one, by stage.
    snapshots: [Option<Arc<StageSnapshot>>; STAGES],
}

impl Record {
    fn take(&mut self, event: Event) -> Result<(), EventError> {
        match event {
            Event::Trained { batch, loss, .. } => self.losses.push((batch, Some(loss.to_bits()))),
            Event::Skipped { batch, .. } => self.losses.push((batch, None)),
            Event::Evaluated { loss, .. } => self.evaluations.push(loss.to_bits()),
            Event::Snapshot {
                stage, snapshot, ..
            } => self.snapshots[stage] = Some(snapshot),
            _ => {}
        }
        Ok(())
    }

    fn snapshot(&self, version: usize) -> Snapshot {
        let stages = self.snapshots.iter().flatten();
        let stages: Vec<_> = stages.map(|stage| stage.as_ref().clone()).collect();
        assert_eq!(stages.len(), STAGES);
        Snapshot { version, stages }
    }
}

/// Runs the plan, and adds what it gives to `record`.
fn run(
    record: &mut Record,
    transport: &impl Transport<ToyCargo>,
    plan: &Plan,
    feeds: Feeds,
    interrupt: &Interrupt,
) -> Result<Outcome, RunError> {
    let on_event = |event| record.take(event);
    threads::run_over(transport, plan, ToyStage::build, feeds, interrupt, on_event)
}

/// Runs the plan from end to end.
fn whole(transport: &impl Transport<ToyCargo>, plan: &Plan, feeds: Feeds) -> Record {
    let mut record = Record::default();
    let outcome = run(&mut record, transport, plan, feeds, &Interrupt::new());
    assert_eq!(
        outcome.expect("the run succeeds").version,
        plan.horizon.batches
    );
    record
}

#[test]
fn every_method_gives_the_bits_of_threads() {
    for method in Schedule::examples(Some(STAGES)) {
        let plan = plan(&method, STAGES, 12, &[0, 5, 12]);
        let delayed = Delays::over(Bytes::default(), 3);
        let found = whole(&delayed, &plan, feeds());
        assert_eq!(found, whole(&Threads, &plan, feeds()), "{method}");
    }
}

/// Inputs with which something happens at a batch.
struct At(usize, Happening);

enum Happening {
    Interrupt(Interrupt),
    Failure,
    NotFinite,
}

impl Inputs for At {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let mut inputs = Inputs::train(&mut ToyFeed, batch)?;
        match &self.1 {
            _ if batch != self.0 => {}
            Happening::Interrupt(interrupt) => {
                interrupt.request();
            }
            Happening::Failure => return Err("record 9 is damaged".into()),
            Happening::NotFinite => inputs.data.fill(f32::NAN),
        }
        Ok(inputs)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Inputs::evaluation(&mut ToyFeed, batch)
    }
}

fn feeds_with(batch: usize, happening: Happening) -> Feeds {
    Feeds {
        inputs: Box::new(At(batch, happening)),
        ..feeds()
    }
}

#[test]
fn a_run_halts_and_resumes() {
    let plan = plan("dsp(1,1,0;4,2,0)", STAGES, 30, &[30]);
    let interrupt = Interrupt::new();
    let until = feeds_with(11, Happening::Interrupt(interrupt.clone()));
    let mut found = Record::default();
    let outcome = run(&mut found, &Bytes::default(), &plan, until, &interrupt).expect("it halts");
    assert!(outcome.interrupted);
    let resumed = Plan {
        resume: Some(Arc::new(found.snapshot(outcome.version))),
        ..plan.clone()
    };
    let outcome = run(
        &mut found,
        &Bytes::default(),
        &resumed,
        feeds(),
        &Interrupt::new(),
    );
    assert_eq!(outcome.expect("the run succeeds").version, 30);
    assert_eq!(found, whole(&Threads, &plan, feeds()));
}

#[test]
fn a_batch_that_is_not_finite_is_skipped() {
    let plan = Plan {
        on_non_finite: OnNonFinite::Skip,
        ..plan("dsp", STAGES, 12, &[12])
    };
    let feeds = || feeds_with(4, Happening::NotFinite);
    let found = whole(&Bytes::default(), &plan, feeds());
    assert_eq!(found.losses[4], (4, None));
    assert_eq!(found, whole(&Threads, &plan, feeds()));
}

#[test]
fn a_failing_stage_releases_the_others() {
    let plan = plan("dsp", STAGES, 1_000, &[]);
    let feeds = feeds_with(7, Happening::Failure);
    let mut record = Record::default();
    let outcome = run(
        &mut record,
        &Bytes::default(),
        &plan,
        feeds,
        &Interrupt::new(),
    );
    assert!(
        matches!(outcome, Err(RunError::Stage { stage: 0, .. })),
        "{outcome:?}"
    );
}

/// A transport that cannot connect hop 1, or has its upper end in another process.
struct Partial {
    is_remote: bool,
}

impl Transport<ToyCargo> for Partial {
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<ToyCargo>, ConnectError> {
        let ends = Threads.connect(hop, capacities, stop)?;
        match (hop.number, self.is_remote) {
            (1, false) => Err("no route to host".into()),
            (1, true) => Ok(Ends {
                upper: None,
                ..ends
            }),
            _ => Ok(ends),
        }
    }
}

#[test]
fn a_hop_that_cannot_be_connected_is_named() {
    let plan = plan("dsp", STAGES, 4, &[]);
    for (is_remote, why) in [
        (false, "no route to host"),
        (true, "an end is in another process"),
    ] {
        let mut record = Record::default();
        let transport = Partial { is_remote };
        let outcome = run(&mut record, &transport, &plan, feeds(), &Interrupt::new());
        let error = outcome.expect_err("a hop is missing").to_string();
        assert_eq!(
            error,
            format!("stage 1 and stage 2 could not be connected: {why}")
        );
    }
}
