//! Clipping over all stages: the same bits over every transport and under delays, also around halts and batches without a loss;
//! and only where stages wait for each other.

use std::sync::Arc;

use stagger_conformance::ladder::Delays;
use stagger_runtime::{Fault, Interrupt, OnNonFinite, Plan, RunError, threads};
use stagger_transport::{Bytes, Threads};

use crate::ranks::Record;
use crate::replicas::{Build, Happening, feeds, feeds_with, over_ranks_of, replicated, run_of};
use crate::support::{ToyStage, plan};

const BUILD: Build = ToyStage::build;

const METHODS: [&str; 4] = ["bp", "gpipe(2)", "1f1b(3)", "zb(2)"];

/// A plan over three stages whose gradients are above the limit.
fn clipped(method: &str) -> Plan {
    Plan {
        clip_norm: Some(0.01),
        ..plan(method, 3, 9, &[0, 4, 9])
    }
}

fn whole(plan: &Plan) -> Record {
    let (ended, record) = run_of(BUILD, &Threads, plan, feeds(), &Interrupt::new());
    assert_eq!(
        ended.expect("the run succeeds").version,
        plan.horizon.batches
    );
    record
}

#[test]
fn every_transport_gives_the_same_bits() {
    for method in METHODS {
        for counts in [[1, 1, 1], [2, 1, 3]] {
            let plan = replicated(clipped(method), &counts);
            let expected = whole(&plan);
            let unclipped = Plan {
                clip_norm: None,
                ..plan.clone()
            };
            assert_ne!(whole(&unclipped), expected, "{method} is not clipped");
            let bytes = Bytes::default();
            let (_, found) = run_of(BUILD, &bytes, &plan, feeds(), &Interrupt::new());
            assert_eq!(found, expected, "{method} over bytes");
            let delayed = Delays::over(Threads, 3);
            let (_, found) = run_of(BUILD, &delayed, &plan, feeds(), &Interrupt::new());
            assert_eq!(found, expected, "{method} with delays");
            let (_, found) = over_ranks_of(BUILD, 2, &plan, feeds, &Interrupt::new());
            assert_eq!(found, expected, "{method} over ranks");
        }
    }
}

#[test]
fn an_interrupted_run_goes_on_to_the_same_bits() {
    for method in METHODS {
        let plan = clipped(method);
        let expected = whole(&plan);
        let interrupt = Interrupt::new();
        let until = feeds_with(5, Happening::Interrupt(interrupt.clone()));
        let (ended, halted) = run_of(BUILD, &Threads, &plan, until, &interrupt);
        let version = ended.expect("an interrupt is no failure").version;
        assert!(version < 9);
        let resumed = Plan {
            resume: Some(Arc::new(halted.at(version))),
            ..plan
        };
        let found = whole(&resumed);
        assert_eq!(found.at(9), expected.at(9), "{method}");
    }
}

/// All stages leave it out, and clip the batches behind it as before, also with replicas, of which one has the spoilt loss, and over ranks.
#[test]
fn a_batch_without_a_loss_is_left_out() {
    for method in METHODS {
        let alone = Plan {
            on_non_finite: OnNonFinite::Skip,
            ..clipped(method)
        };
        let plan = replicated(alone.clone(), &[2, 1, 3]);
        let spoilt = || feeds_with(3, Happening::NotFinite);
        let (ended, expected) = run_of(BUILD, &Threads, &plan, spoilt(), &Interrupt::new());
        assert_eq!(ended.expect("the run succeeds").version, 9, "{method}");
        let (_, found) = over_ranks_of(BUILD, 3, &plan, spoilt, &Interrupt::new());
        assert_eq!(found, expected, "{method} over ranks");
        let unclipped = Plan {
            clip_norm: None,
            ..plan
        };
        let (_, found) = run_of(BUILD, &Threads, &unclipped, spoilt(), &Interrupt::new());
        assert_ne!(found.at(9), expected.at(9), "{method} is not clipped");
        let (ended, record) = run_of(BUILD, &Threads, &alone, spoilt(), &Interrupt::new());
        assert_eq!(ended.expect("the run succeeds").version, 9, "{method}");
        let skipped = record.losses.iter().filter(|(_, loss)| loss.is_none());
        assert_eq!(skipped.map(|(batch, _)| *batch).collect::<Vec<_>>(), [3]);
        let values = record
            .at(9)
            .stages
            .into_iter()
            .flat_map(|stage| stage.state.tensors);
        assert!(
            values
                .flat_map(|(_, tensor)| tensor.data)
                .all(f32::is_finite)
        );
    }
}

#[test]
fn stages_that_do_not_wait_for_each_other_are_refused() {
    for method in ["dsp", "pipedream", "2bw(3)", "dni", "ddg"] {
        let plan = Plan {
            clip_norm: Some(1.0),
            ..plan(method, 3, 9, &[0, 9])
        };
        let ended = threads::run(&plan, ToyStage::build, feeds(), &Interrupt::new(), |_| {
            Ok(())
        });
        let Err(RunError::Build {
            cause: Fault::Program { what },
            ..
        }) = ended
        else {
            panic!("{method}: {ended:?}");
        };
        assert!(what.contains("clipping over all stages"), "{what}");
    }
}
