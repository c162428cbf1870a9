//! Stages shared out over the ranks of a world give the bits of one process; what fails, halts or hangs on any rank ends the run on
//! all of them, and rank 0 says what it was.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::{ToyStage, feeds, plan};
use stagger_engine::{EngineError, HostTensor, Optimizer};
use stagger_runtime::snapshot::{Snapshot, StageSnapshot};
use stagger_runtime::{
    Elsewhere, Event, EventError, Fault, FeedError, Feeds, Inputs, Interrupt, Labels, OnNonFinite,
    Outcome, Place, Plan, RunError, ranks, threads,
};
use stagger_schedule::Schedule;
use stagger_transport::wire::Format;
use stagger_transport::{Placement, Ranks, World, world};

/// What a run gives, bit by bit.
#[derive(Debug, Default, PartialEq)]
pub struct Record {
    /// `None` for a batch that was skipped.
    pub losses: Vec<(usize, Option<u32>)>,
    pub evaluations: Vec<u64>,
    /// By version and stage.
    pub snapshots: Vec<((usize, usize), Arc<StageSnapshot>)>,
    /// Of the backwards, by stage and in their order.
    pub staleness: Vec<(usize, usize)>,
}

impl Record {
    pub fn take(&mut self, event: Event) -> Result<(), EventError> {
        match event {
            Event::Trained { batch, loss, .. } => self.losses.push((batch, Some(loss.to_bits()))),
            Event::Skipped { batch, .. } => self.losses.push((batch, None)),
            Event::Evaluated { loss, .. } => self.evaluations.push(loss.to_bits()),
            Event::Snapshot {
                stage,
                version,
                snapshot,
            } => self.snapshots.push(((version, stage), snapshot)),
            Event::Acted(acted) => {
                if let Some(staleness) = acted.staleness {
                    self.staleness.push((acted.stage, staleness));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Stages do not order each other's events.
    pub fn sorted(mut self) -> Self {
        self.snapshots.sort_by_key(|(place, _)| *place);
        self.staleness.sort_by_key(|(stage, _)| *stage);
        self
    }

    pub fn at(&self, version: usize) -> Snapshot {
        let mut stages: Vec<_> = (self.snapshots.iter())
            .filter(|((at, _), _)| *at == version)
            .collect();
        stages.sort_by_key(|(place, _)| *place);
        let stages = stages.iter().map(|(_, stage)| stage.as_ref().clone());
        Snapshot {
            version,
            stages: stages.collect(),
        }
    }
}

fn on_threads(plan: &Plan, feeds: Feeds) -> Record {
    let mut record = Record::default();
    let interrupt = Interrupt::new();
    threads::run(plan, ToyStage::build, feeds, &interrupt, |event| {
        record.take(event)
    })
    .expect("the run succeeds");
    record.sorted()
}

fn ranks_of(world: World, stages: usize) -> Ranks {
    Ranks {
        placement: Placement::even(stages, world.size()).unwrap(),
        world,
        stretch: 1,
        format: Format::F32,
    }
}

type Build = fn(Place, Optimizer) -> Result<ToyStage, EngineError>;

/// Runs the plan over so many ranks: what rank 0 says, and what each of the others does.
fn over(
    ranks: usize,
    plan: &Plan,
    build: Build,
    feeds: Feeds,
    interrupt: &Interrupt,
    record: &mut Record,
) -> (Result<Outcome, RunError>, Vec<Result<(), RunError>>) {
    let stages = plan.schedule.stages();
    let mut worlds = world::in_process(ranks).into_iter();
    let first = ranks_of(worlds.next().unwrap(), stages);
    let Feeds { inputs, labels } = feeds;
    let mut labels = Some(labels);
    thread::scope(|scope| {
        let followers: Vec<_> = worlds
            .map(|world| {
                let is_last = world.rank() + 1 == ranks;
                let labels = labels.take_if(|_| is_last);
                let feeds = Feeds {
                    inputs: Box::new(Elsewhere),
                    labels: labels.unwrap_or_else(|| Box::new(Elsewhere)),
                };
                scope.spawn(move || ranks::follow(&ranks_of(world, stages), plan, build, feeds))
            })
            .collect();
        let feeds = Feeds {
            inputs,
            labels: labels.unwrap_or_else(|| Box::new(Elsewhere)),
        };
        let ended = ranks::lead(&first, plan, build, feeds, interrupt, |event| {
            record.take(event)
        });
        let followers = followers.into_iter();
        (ended, followers.map(|rank| rank.join().unwrap()).collect())
    })
}

/// The same from end to end.
fn whole(ranks: usize, plan: &Plan, feeds: Feeds) -> Record {
    let mut record = Record::default();
    let interrupt = Interrupt::new();
    let (ended, followers) = over(ranks, plan, ToyStage::build, feeds, &interrupt, &mut record);
    assert_eq!(
        ended.expect("the run succeeds").version,
        plan.horizon.batches
    );
    assert!(followers.iter().all(Result::is_ok), "{followers:?}");
    record.sorted()
}

#[test]
fn every_method_gives_the_bits_of_threads() {
    for stages in 1..=4 {
        for method in Schedule::examples(Some(stages)) {
            let plan = plan(&method, stages, 10, &[0, 5, 10]);
            let expected = on_threads(&plan, feeds());
            for ranks in 1..=stages {
                let found = whole(ranks, &plan, feeds());
                assert_eq!(
                    found, expected,
                    "{method}, {stages} stages on {ranks} ranks"
                );
            }
        }
    }
}

/// Inputs or labels with which something happens at a batch.
struct At(usize, Happening);

#[derive(Clone)]
enum Happening {
    Interrupt(Interrupt),
    Failure,
    Panic,
    NotFinite,
}

impl Inputs for At {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let mut feeds = feeds();
        let mut inputs = feeds.inputs.train(batch)?;
        match &self.1 {
            _ if batch != self.0 => {}
            Happening::Interrupt(interrupt) => {
                interrupt.request();
            }
            Happening::Failure => return Err("record 9 is damaged".into()),
            Happening::Panic => panic!("the loader caught fire"),
            Happening::NotFinite => inputs.data.fill(f32::NAN),
        }
        Ok(inputs)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        feeds().inputs.evaluation(batch)
    }
}

impl Labels for At {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        match &self.1 {
            Happening::Failure if batch == self.0 => return Err("record 9 is damaged".into()),
            Happening::Panic if batch == self.0 => panic!("the loader caught fire"),
            _ => {}
        }
        feeds().labels.train(batch)
    }

    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        feeds().labels.evaluation(batch)
    }
}

fn inputs_at(batch: usize, happening: Happening) -> Feeds {
    Feeds {
        inputs: Box::new(At(batch, happening)),
        ..feeds()
    }
}

fn labels_at(batch: usize, happening: Happening) -> Feeds {
    Feeds {
        labels: Box::new(At(batch, happening)),
        ..feeds()
    }
}

#[test]
fn a_run_halts_and_resumes_on_another_number_of_ranks() {
    let plan = plan("dsp(1,1,0;4,2,0)", 3, 30, &[30]);
    let interrupt = Interrupt::new();
    let until = inputs_at(11, Happening::Interrupt(interrupt.clone()));
    let mut found = Record::default();
    let (ended, _) = over(3, &plan, ToyStage::build, until, &interrupt, &mut found);
    let outcome = ended.expect("it halts");
    assert!(outcome.interrupted);
    let resumed = Plan {
        resume: Some(Arc::new(found.at(outcome.version))),
        ..plan.clone()
    };
    let rest = whole(2, &resumed, feeds());
    let whole = on_threads(&plan, feeds());
    assert_eq!(rest.at(30), whole.at(30));
    assert_eq!(
        [found.losses, rest.losses].concat(),
        whole.losses,
        "in one process"
    );
}

#[test]
fn a_batch_that_is_not_finite_is_skipped_on_all_ranks() {
    let plan = Plan {
        on_non_finite: OnNonFinite::Skip,
        ..plan("dsp", 3, 12, &[12])
    };
    let feeds = || inputs_at(4, Happening::NotFinite);
    let found = whole(3, &plan, feeds());
    assert_eq!(found.losses[4], (4, None));
    assert_eq!(found, on_threads(&plan, feeds()));
}

#[test]
fn a_loss_that_is_not_finite_is_told_as_in_one_process() {
    let plan = plan("dsp", 3, 12, &[12]);
    let feeds = inputs_at(4, Happening::NotFinite);
    let mut record = Record::default();
    let interrupt = Interrupt::new();
    let (ended, followers) = over(3, &plan, ToyStage::build, feeds, &interrupt, &mut record);
    let Err(RunError::Stage {
        stage: 2,
        cause: Fault::NonFiniteLoss { value },
        ..
    }) = ended
    else {
        panic!("{ended:?}");
    };
    assert!(value.is_nan());
    assert!(followers[1].is_err());
}

#[test]
fn a_rank_that_fails_releases_the_others_and_is_named() {
    let plan = plan("dsp", 3, 1_000, &[]);
    let interrupt = Interrupt::new();
    for happening in [Happening::Failure, Happening::Panic] {
        for (feeds, stage, rank) in [
            (inputs_at(7, happening.clone()), 0, ""),
            (labels_at(7, happening.clone()), 2, " (rank 2)"),
        ] {
            let mut record = Record::default();
            let (ended, _) = over(3, &plan, ToyStage::build, feeds, &interrupt, &mut record);
            let error = ended.expect_err("a rank fails").to_string();
            let what = match happening {
                Happening::Failure => "the data could not be loaded: record 9 is damaged",
                _ => "panic: the loader caught fire",
            };
            assert_eq!(
                error,
                format!(
                    "stage {stage} failed in the forward of batch 7, version {}: {what}{rank}",
                    if stage == 0 { 3 } else { 7 }
                )
            );
        }
    }
}

#[test]
fn a_stage_that_cannot_be_built_is_named() {
    let build: Build = |place, optimizer| match place.stage {
        1 => Err(EngineError::Backend {
            message: "no device".to_owned(),
        }),
        _ => ToyStage::build(place, optimizer),
    };
    let plan = plan("dsp", 3, 10, &[]);
    let mut record = Record::default();
    let (ended, followers) = over(3, &plan, build, feeds(), &Interrupt::new(), &mut record);
    let error = ended.expect_err("it cannot be built").to_string();
    assert!(
        error.starts_with("stage 1 could not be built:") && error.ends_with("(rank 1)"),
        "{error}"
    );
    assert!(followers.iter().all(Result::is_err), "all of them end");
}

#[test]
fn a_receiver_of_events_that_fails_ends_all_ranks() {
    let plan = plan("dsp", 3, 1_000, &[]);
    let mut worlds = world::in_process(2).into_iter();
    let first = ranks_of(worlds.next().unwrap(), 3);
    let second = worlds.next().unwrap();
    let Feeds { inputs, labels } = feeds();
    let ended = thread::scope(|scope| {
        let plan = &plan;
        scope.spawn(move || {
            let inputs = Box::new(Elsewhere);
            let feeds = Feeds { inputs, labels };
            ranks::follow(&ranks_of(second, 3), plan, ToyStage::build, feeds)
        });
        let labels = Box::new(Elsewhere);
        let feeds = Feeds { inputs, labels };
        let mut events = 0;
        ranks::lead(
            &first,
            plan,
            ToyStage::build,
            feeds,
            &Interrupt::new(),
            |_| {
                events += 1;
                match events {
                    50 => Err("the disk is full".into()),
                    _ => Ok(()),
                }
            },
        )
    });
    let error = ended.expect_err("the receiver fails").to_string();
    assert_eq!(error, "the run was stopped: the disk is full");
}

/// A rank whose stage hangs does not keep the stall from being told, and is named.
#[test]
fn a_stall_names_a_stage_of_another_rank() {
    static HANGS: AtomicUsize = AtomicUsize::new(1);
    let learning_rate = |batch| {
        while batch == 5 && HANGS.load(Ordering::Relaxed) == 1 {
            thread::sleep(Duration::from_millis(5));
        }
        0.1
    };
    let plan = Plan {
        learning_rate: Arc::new(learning_rate),
        stall_timeout: Some(Duration::from_millis(2_500)),
        ..plan("dsp", 3, 1_000, &[])
    };
    let mut worlds = world::in_process(3).into_iter();
    let first = ranks_of(worlds.next().unwrap(), 3);
    let Feeds { inputs, labels } = feeds();
    let mut labels = Some(labels);
    let ended = thread::scope(|scope| {
        for world in worlds {
            let labels = labels.take_if(|_| world.rank() == 2);
            let feeds = Feeds {
                inputs: Box::new(Elsewhere),
                labels: labels.unwrap_or_else(|| Box::new(Elsewhere)),
            };
            let plan = &plan;
            scope.spawn(move || ranks::follow(&ranks_of(world, 3), plan, ToyStage::build, feeds));
        }
        let labels = Box::new(Elsewhere);
        let feeds = Feeds { inputs, labels };
        let interrupt = Interrupt::new();
        ranks::lead(&first, &plan, ToyStage::build, feeds, &interrupt, |event| {
            if matches!(event, Event::Stalled(_)) {
                HANGS.store(0, Ordering::Relaxed);
            }
            Ok(())
        })
    });
    let Err(RunError::Stalled(stall)) = ended else {
        panic!("{ended:?}");
    };
    // The last stage is the first to ask for the rate of a batch. It is at rank 2, which reports what it does.
    assert_eq!(stall.stage, Some(2), "{}", stall.grid);
    assert_eq!(stall.silent_rank, None);
    assert_eq!(stall.grid.lines().count(), 3);
    assert!(!stall.grid.contains("stage 2: (works)"), "{}", stall.grid);
}

/// A follower that does not speak the language of the leader ends the run by name.
#[test]
fn a_rank_that_sends_something_else_is_named() {
    let plan = plan("dsp", 2, 10, &[]);
    let mut worlds = world::in_process(2).into_iter();
    let first = ranks_of(worlds.next().unwrap(), 2);
    let second = worlds.next().unwrap();
    let stranger = thread::spawn(move || {
        second.post(0, stagger_transport::wire::write_control(1, &[250, 1, 2]));
        // The last word of a stretch: an end without stages.
        second.post(0, stagger_transport::wire::write_control(1, &[4, 0]));
    });
    let feeds = feeds();
    let mut record = Record::default();
    let interrupt = Interrupt::new();
    let ended = ranks::lead(&first, &plan, ToyStage::build, feeds, &interrupt, |event| {
        record.take(event)
    });
    stranger.join().unwrap();
    let error = ended.expect_err("nothing is understood").to_string();
    assert!(
        error.starts_with("rank 1: a message of the control lane cannot be read"),
        "{error}"
    );
}
