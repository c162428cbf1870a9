//! Losses that are not finite: a run that leaves such batches out does so on every stage alike.

use crate::support::toy::WIDTH;
use crate::support::{ToyFeed, ToyStage, plan, watch_for_hangs};
use stagger_engine::{HostTensor, StageState};
use stagger_runtime::{
    Event, Fault, FeedError, Feeds, Inputs, Interrupt, OnNonFinite, Place, Plan, RunError,
    sequential, threads,
};

/// The toy data with other batches in place of some: with none, that is with NaN, or with later ones.
struct Dealt(fn(usize) -> Option<usize>);

impl Inputs for Dealt {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let Some(batch) = (self.0)(batch) else {
            let rows = 3 + batch % 3;
            return Ok(HostTensor::new(
                vec![rows, WIDTH],
                vec![f32::NAN; rows * WIDTH],
            )?);
        };
        Inputs::train(&mut ToyFeed, batch)
    }
    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Inputs::evaluation(&mut ToyFeed, batch)
    }
}

impl stagger_runtime::Labels for Dealt {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        stagger_runtime::Labels::train(&mut ToyFeed, (self.0)(batch).unwrap_or(batch))
    }
    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        stagger_runtime::Labels::evaluation(&mut ToyFeed, batch)
    }
}

fn feeds(dealt: fn(usize) -> Option<usize>) -> Feeds {
    watch_for_hangs();
    Feeds {
        inputs: Box::new(Dealt(dealt)),
        labels: Box::new(Dealt(dealt)),
    }
}

/// What a run leaves behind.
#[derive(Debug, Default, PartialEq)]
struct Record {
    losses: Vec<(usize, u32)>,
    skipped: Vec<usize>,
    states: Vec<StageState>,
}

impl Record {
    fn take(&mut self, event: Event) {
        match event {
            Event::Trained { batch, loss, .. } => self.losses.push((batch, loss.to_bits())),
            Event::Skipped { batch, loss, .. } => {
                assert!(loss.is_nan());
                self.skipped.push(batch);
            }
            Event::Snapshot {
                stage, snapshot, ..
            } => self.states[stage] = snapshot.state.clone(),
            _ => {}
        }
    }
}

fn skipping(schedule: &str, stages: usize, batches: usize) -> Plan {
    Plan {
        on_non_finite: OnNonFinite::Skip,
        ..plan(schedule, stages, batches, &[batches])
    }
}

fn on_threads(plan: &Plan, dealt: fn(usize) -> Option<usize>) -> Result<Record, RunError> {
    let mut record = Record {
        states: vec![StageState::default(); plan.schedule.stages()],
        ..Record::default()
    };
    let build = ToyStage::build;
    threads::run(plan, build, feeds(dealt), &Interrupt::new(), |event| {
        record.take(event);
        Ok(())
    })?;
    Ok(record)
}

fn some_are_lost(batch: usize) -> Option<usize> {
    (![0, 4, 5, 11].contains(&batch)).then_some(batch)
}

#[test]
fn threads_leave_out_what_the_sequential_executor_leaves_out() {
    for schedule in [
        "bp",
        "gpipe(2)",
        "1f1b(3)",
        "zb(3)",
        "pipemare",
        "fr",
        "dsp",
        "dsp(2,1,0;6,3,0)",
        "dsp+accumulate(2)",
        "dsp+predict",
        "dsp+gap-aware",
    ] {
        let plan = skipping(schedule, 3, 14);
        let mut expected = Record {
            states: vec![StageState::default(); 3],
            ..Record::default()
        };
        let build = ToyStage::build;
        sequential::run(&plan, build, feeds(some_are_lost), |event| {
            expected.take(event);
            Ok(())
        })
        .unwrap();
        assert_eq!(expected.skipped, [0, 4, 5, 11], "{schedule}");
        assert_eq!(expected.losses.len(), 10, "{schedule}");
        for state in &expected.states {
            let weights = &state.tensors["weights"].data;
            assert!(weights.iter().all(|value| value.is_finite()), "{schedule}");
        }
        assert_eq!(
            on_threads(&plan, some_are_lost).unwrap(),
            expected,
            "{schedule}"
        );
    }
}

/// The weights are those of a run that never saw the batch, where the learning rate is constant.
#[test]
fn a_batch_left_out_is_a_batch_that_was_never_there() {
    fn without(batch: usize) -> Option<usize> {
        Some(batch + usize::from(batch >= 4))
    }
    fn with(batch: usize) -> Option<usize> {
        (batch != 4).then_some(batch)
    }
    let constant = |schedule, batches| Plan {
        learning_rate: std::sync::Arc::new(|_| 0.1),
        ..skipping(schedule, 3, batches)
    };
    for schedule in ["bp", "gpipe(2)", "1f1b(2)", "zb(2)"] {
        let skipped = on_threads(&constant(schedule, 9), with).unwrap();
        let never = on_threads(&constant(schedule, 8), without).unwrap();
        assert_eq!(skipped.skipped, [4]);
        assert_eq!(skipped.states, never.states, "{schedule}");
    }
}

/// Where a batch cannot be taken back, no run begins.
#[test]
fn schedules_that_cannot_leave_batches_out_are_refused() {
    for schedule in ["pipedream", "2bw(3)", "ddg", "fdg", "adl(2)", "dni"] {
        let plan = skipping(schedule, 3, 14);
        assert!(!OnNonFinite::Skip.suits(&plan.schedule));
        let error = on_threads(&plan, Some).unwrap_err();
        assert!(
            matches!(
                &error,
                RunError::Build {
                    cause: Fault::Program { .. },
                    ..
                }
            ),
            "{schedule}: {error}"
        );
    }
}

#[test]
fn the_eleventh_in_a_row_ends_the_run() {
    fn lost_from_3(batch: usize) -> Option<usize> {
        (batch < 3).then_some(batch)
    }
    let error = on_threads(&skipping("dsp", 3, 100), lost_from_3).unwrap_err();
    let RunError::Stage {
        stage: 2,
        action,
        cause: Fault::NonFiniteLoss { value },
        ..
    } = &error
    else {
        panic!("{error}");
    };
    assert!(value.is_nan());
    assert!(action.to_string().contains("13"), "{action}");

    // Ten are as many as there may be.
    fn ten_are_lost(batch: usize) -> Option<usize> {
        (!(3..13).contains(&batch)).then_some(batch)
    }
    let record = on_threads(&skipping("dsp", 3, 20), ten_are_lost).unwrap();
    assert_eq!(record.skipped, (3..13).collect::<Vec<_>>());
}

mod running_statistics {
    //! A batch that is left out is not in the running statistics either: on real layers, as toys have none.

    use stagger_cpu::CpuStage;
    use stagger_engine::{EngineError, Optimizer, StageSpec};
    use stagger_model::{Cut, Model};

    use super::*;

    const BATCH: usize = 4;

    /// Noise, but for some batches, of which the second half is not finite.
    struct Noise(fn(usize) -> Option<usize>);

    impl Inputs for Noise {
        fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
            let (of, lost) = match (self.0)(batch) {
                Some(of) => (of, false),
                None => (batch, true),
            };
            let pixels = 3 * 32 * 32;
            let value = |at: usize| ((of * 7919 + at * 31) % 255) as f32 / 255.0 - 0.5;
            let mut data: Vec<f32> = (0..BATCH * pixels).map(value).collect();
            if lost {
                data[BATCH / 2 * pixels..].fill(f32::NAN);
            }
            Ok(HostTensor::new(vec![BATCH, 3, 32, 32], data)?)
        }
        fn evaluation(&mut self, _batch: usize) -> Result<Option<HostTensor>, FeedError> {
            Ok(None)
        }
    }

    impl stagger_runtime::Labels for Noise {
        fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
            let of = (self.0)(batch).unwrap_or(batch);
            Ok((0..BATCH).map(|row| (of + row) % 10).collect())
        }
        fn evaluation(&mut self, _batch: usize) -> Result<Vec<usize>, FeedError> {
            Ok(Vec::new())
        }
    }

    fn states(schedule: &str, batches: usize, dealt: fn(usize) -> Option<usize>) -> Record {
        let model = Model::by_name("resnet8", [3, 32, 32], 10).unwrap();
        let cut = Cut::new(&model, &[2, 3]).unwrap();
        let build = |place: Place, _: Optimizer| -> Result<CpuStage, EngineError> {
            let spec = StageSpec::new(&model, cut.stages()[place.stage].clone(), 5);
            CpuStage::new(&spec, Default::default())
        };
        let plan = Plan {
            on_non_finite: OnNonFinite::Skip,
            learning_rate: std::sync::Arc::new(|_| 0.01),
            ..plan(schedule, 2, batches, &[])
        };
        let mut record = Record {
            states: vec![StageState::default(); 2],
            ..Record::default()
        };
        let feeds = Feeds {
            inputs: Box::new(Noise(dealt)),
            labels: Box::new(Noise(dealt)),
        };
        let result = threads::run(&plan, build, feeds, &Interrupt::new(), |event| {
            record.take(event);
            Ok(())
        });
        result.expect("a run");
        record
    }

    #[test]
    fn are_those_of_a_run_that_never_had_the_batch() {
        fn without(batch: usize) -> Option<usize> {
            Some(batch + usize::from(batch >= 2))
        }
        fn with(batch: usize) -> Option<usize> {
            (batch != 2).then_some(batch)
        }
        // With micro-batches, one of the two is finite. Stale methods are compared in the numbers of batches alone.
        for schedule in ["bp", "gpipe(2)", "1f1b(2)", "zb(2)"] {
            let skipped = states(schedule, 5, with);
            let never = states(schedule, 4, without);
            assert_eq!(skipped.skipped, [2], "{schedule}");
            assert_eq!(skipped.states, never.states, "{schedule}");
        }
        for schedule in ["dsp", "fr", "dsp+accumulate(2)"] {
            let skipped = states(schedule, 5, with);
            assert_eq!(skipped.skipped.len(), 1, "{schedule}");
            for (name, tensor) in skipped.states.iter().flat_map(|state| &state.tensors) {
                let finite = tensor.data.iter().all(|value| value.is_finite());
                assert!(finite, "{schedule}: {name}");
            }
        }
    }
}
