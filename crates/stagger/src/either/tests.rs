//! Stages of two "engines" that are both engine `cpu`: what goes from one to the other goes through host memory, and gives the bits
//! of one engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use stagger_data::{InMemory, Split};
use stagger_engine::{Activation, EngineError, HostTensor, Optimizer, Stage, StageSpec};
use stagger_runtime::snapshot::{Snapshot, StageSnapshot};
use stagger_runtime::{Event, Interrupt, Place, Plan, stage_optimizer, threads};
use stagger_schedule::Horizon;

use super::Either;
use crate::job::Job;
use crate::training::Training;
use crate::{TrainingOptions, stages};
use stagger_cpu::{CpuDevice, CpuStage};

const BATCHES: usize = 6;
const STAGES: usize = 3;

fn noise() -> Split {
    let images = |count: usize| {
        let labels = (0..count).map(|image| (image % 3) as u16).collect();
        let pixel = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7) as u8;
        let pixels = (0..count * 64).map(pixel).collect();
        InMemory::new("tiny", ["a", "b", "c"], [1, 8, 8], labels, pixels).unwrap()
    };
    Split::new(images(24), images(10)).unwrap()
}

fn job(schedule: &str) -> Job {
    job_of(schedule, TrainingOptions::default())
}

fn job_of(schedule: &str, options: TrainingOptions) -> Job {
    let options = TrainingOptions {
        clip_norm: Some(1.0),
        ..options
    };
    let training = Training::new().options(options).dataset(noise());
    let training = training.schedule(schedule).stages(STAGES);
    training
        .batch_size(8)
        .epochs(2)
        .learning_rate(0.01)
        .check()
        .unwrap()
}

fn plan(job: &Job) -> Plan {
    let horizon = Horizon {
        batches: BATCHES,
        evaluate_at: vec![3, BATCHES],
        snapshot_at: (0..=BATCHES).collect(),
        ..Horizon::default()
    };
    Plan {
        gap_every: 2,
        ..stages::plan(job, job.schedule.clone(), horizon, 1.0)
    }
}

fn cpu(job: &Job, place: Place, optimizer: Optimizer) -> Result<CpuStage, EngineError> {
    let blocks = job.cut.stages()[place.stage].clone();
    let spec = StageSpec {
        optimizer,
        clip_norm: job.options.clip_norm,
        ..StageSpec::new(&job.model, blocks, job.seed)
    };
    CpuStage::new(&spec, CpuDevice::default())
}

/// Everything of a run that is a number.
#[derive(Debug, Default, PartialEq)]
struct Record {
    losses: Vec<(usize, u32)>,
    scores: Vec<(usize, u64, usize)>,
    synthesized: BTreeMap<(usize, usize), u64>,
    snapshots: BTreeMap<(usize, usize), Arc<StageSnapshot>>,
}

impl Record {
    fn of<S: Stage>(
        job: &Job,
        plan: &Plan,
        build: impl Fn(Place, Optimizer) -> Result<S, EngineError> + Sync,
    ) -> Self {
        let mut record = Self::default();
        let from = (plan.resume.as_ref()).map_or(0, |from| from.next_batch(&plan.schedule));
        let feeds = stages::feeds(job, from.min(BATCHES)..BATCHES).unwrap();
        let outcome = threads::run(plan, build, feeds, &Interrupt::new(), |event| {
            match event {
                Event::Trained { batch, loss, .. } => record.losses.push((batch, loss.to_bits())),
                Event::Evaluated {
                    version,
                    loss,
                    correct_top1,
                    ..
                } => record.scores.push((version, loss.to_bits(), correct_top1)),
                Event::Synthesized {
                    stage, batch, loss, ..
                } => {
                    record.synthesized.insert((batch, stage), loss.to_bits());
                }
                Event::Snapshot {
                    stage,
                    version,
                    snapshot,
                } => {
                    record.snapshots.insert((version, stage), snapshot);
                }
                _ => {}
            }
            Ok(())
        });
        assert_eq!(outcome.unwrap().version, BATCHES);
        record
    }

    fn snapshot(&self, version: usize) -> Snapshot {
        let stage = |stage| StageSnapshot::clone(&self.snapshots[&(version, stage)]);
        Snapshot {
            version,
            stages: (0..STAGES).map(stage).collect(),
        }
    }
}

/// Stages are of the one type and the other by turns.
fn by_turns(
    job: &Job,
) -> impl Fn(Place, Optimizer) -> Result<Either<CpuStage, CpuStage>, EngineError> {
    move |place: Place, optimizer| {
        let stage = cpu(job, place, optimizer)?;
        Ok(match place.stage % 2 {
            0 => Either::A(stage),
            _ => Either::B(stage),
        })
    }
}

#[test]
fn two_engines_that_are_one_give_its_bits() {
    for schedule in [
        "bp",
        "gpipe(2)",
        "pipedream",
        "pipedream + gap-aware",
        "pipemare(anneal=4,sync=3)",
        "fr",
        "dsp",
        "dsp + predict",
        "dni",
    ] {
        let job = job(schedule);
        let plan = plan(&job);
        let one = Record::of(&job, &plan, |place, optimizer| cpu(&job, place, optimizer));
        let two = Record::of(&job, &plan, by_turns(&job));
        assert_eq!(one.losses.len(), BATCHES);
        assert!(one == two, "{schedule}");
        for version in [1, 4] {
            let resumed = Plan {
                resume: Some(Arc::new(two.snapshot(version))),
                ..plan.clone()
            };
            let rest = Record::of(&job, &resumed, by_turns(&job));
            assert!(
                rest.snapshot(BATCHES) == one.snapshot(BATCHES),
                "{schedule} from {version}"
            );
        }
    }
}

#[test]
fn replicas_normalise_together_on_two_engines_too() {
    let together = |sync| TrainingOptions {
        replicas: Some(vec![2]),
        sync_batch_norm: Some(sync),
        ..TrainingOptions::default()
    };
    let losses = |sync| {
        let job = job_of("gpipe(2)", together(sync));
        let plan = plan(&job);
        let one = Record::of(&job, &plan, |place, optimizer| cpu(&job, place, optimizer));
        let two = Record::of(&job, &plan, by_turns(&job));
        assert!(one == two, "synchronised: {sync}");
        one.losses
    };
    assert_ne!(losses(true), losses(false));
}

/// It is converted as it arrives, not at every pass over it.
#[test]
fn what_comes_from_the_other_engine_is_the_stages_own_from_then_on() {
    let job = job("bp");
    let stage = |number: usize| {
        let place = stagger_runtime::Replicas::none(STAGES).place(number);
        let optimizer = stage_optimizer(&job.schedule, number, &job.optimizer);
        cpu(&job, place, optimizer).unwrap()
    };
    let values = HostTensor::new(vec![2, 1, 1, 2], vec![0.5, -0.25, 3.0, 1e-30]).unwrap();
    let a: Either<CpuStage, CpuStage> = Either::A(stage(0));
    let b: Either<CpuStage, CpuStage> = Either::B(stage(1));
    let sent = a.upload(values.clone()).unwrap();
    let arrived = b.take_over(sent.clone()).unwrap();
    assert!(matches!(arrived, Either::B(_)), "{arrived:?}");
    assert_eq!(arrived.to_host().unwrap(), values);
    assert!(matches!(a.take_over(arrived).unwrap(), Either::A(_)));
    assert!(matches!(a.take_over(sent).unwrap(), Either::A(_)));
}

/// What cannot come about by itself is an error with a sentence, or a panic with one where there is no error to give.
#[test]
fn what_belongs_to_a_stage_of_the_other_engine_is_refused() {
    let job = job("bp");
    let optimizer = stage_optimizer(&job.schedule, 0, &job.optimizer);
    let place = stagger_runtime::Replicas::none(STAGES).place(0);
    let stage = |optimizer: &Optimizer| cpu(&job, place, optimizer.clone()).unwrap();
    let mut a: Either<CpuStage, CpuStage> = Either::A(stage(&optimizer));
    let b: Either<CpuStage, CpuStage> = Either::B(stage(&optimizer));
    let sentence = "a stage was given graphs, weights or statistics of a stage of another engine";
    let refused = |error: EngineError| assert!(error.to_string().contains(sentence), "{error}");
    refused(a.export_weights(&b.weights()).unwrap_err());
    refused(a.export_statistics(&b.statistics()).unwrap_err());
    refused(a.distance(&b.position()).unwrap_err());
    assert!(a.position_of(&b.weights()).is_none());
    let weights = b.weights();
    let replaced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        drop(a.replace_weights(weights));
    }));
    assert!(replaced.is_err());
}
