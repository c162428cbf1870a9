//! Replicas that normalise batches together: they train what one copy trains, give the same bits over every transport, resume to
//! the bit, and leave a batch out together.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use stagger_conformance::ladder::Delays;
use stagger_runtime::{Acted, Event, Fault, Interrupt, OnNonFinite, Plan, RunError, threads};
use stagger_schedule::Action;
use stagger_transport::{
    Bytes, Capacities, ConnectError, Ends, Hop, Lane, Link, LinkError, Message, StopSignal,
    Threads, Transport,
};

use crate::ranks::Record;
use crate::replicas::{
    Build, Happening, counts, feeds, feeds_with, methods, numbers, over_ranks_of, replicated,
    run_of,
};
use crate::support::{ToyCargo, ToyStage, plan};

const CENTRED: Build = ToyStage::build_centred;

/// The plan with so many replicas, which normalise together.
fn together(plan: &Plan, counts: &[usize]) -> Plan {
    Plan {
        sync_batch_norm: true,
        ..replicated(plan.clone(), counts)
    }
}

fn whole(transport: &impl Transport<ToyCargo>, plan: &Plan) -> Record {
    let (ended, record) = run_of(CENTRED, transport, plan, feeds(), &Interrupt::new());
    let outcome = ended.expect("the run succeeds");
    assert_eq!(outcome.version, plan.horizon.batches);
    record
}

/// Losses, weights and running statistics.
fn everything(record: &Record) -> Vec<f32> {
    let (last, _) = record.snapshots.last().expect("a snapshot").0;
    let statistics = record.at(last).stages.into_iter();
    let statistics = statistics.map(|stage| stage.state.tensors["running_mean"].data[0]);
    numbers(record).into_iter().chain(statistics).collect()
}

fn furthest(found: &Record, expected: &Record) -> f32 {
    let (found, expected) = (everything(found), everything(expected));
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(&expected);
    let off = pairs.map(|(found, expected)| (found - expected).abs());
    off.fold(0.0, f32::max)
}

#[test]
fn replicas_train_what_one_copy_trains() {
    for stages in 1..=3 {
        for method in methods(stages) {
            let alone = plan(&method, stages, 9, &[0, 9]);
            let expected = whole(&Threads, &alone);
            for counts in counts(stages) {
                let found = whole(&Threads, &together(&alone, &counts));
                let off = furthest(&found, &expected);
                assert!(off < 2e-5, "{method} {counts:?} differ by {off}");
                assert_eq!(found.staleness, expected.staleness);
                assert_eq!(found.evaluations.len(), 2);
                let apart = whole(&Threads, &replicated(alone.clone(), &counts));
                let off = furthest(&apart, &expected);
                assert!(off > 2e-4, "{method} {counts:?} apart differ by {off}");
            }
        }
    }
}

/// Running statistics of all replicas are the same, to the bit, and those that stand for all of them: no mean is taken, which
/// would round.
#[test]
fn running_statistics_do_not_drift_apart() {
    let mut plan = together(&plan("dsp", 2, 60, &[]), &[3]);
    plan.horizon.snapshot_at = (1..=60).collect();
    let snapshots = whole(&Threads, &plan).snapshots;
    assert_eq!(snapshots.len(), 2 * 60);
    for (_, stage) in snapshots {
        let common = Some(vec![stage.state.tensors["running_mean"].clone()]);
        assert_eq!(stage.pipeline.statistics, common);
        assert_eq!(stage.replicas.len(), 2);
        for replica in &stage.replicas {
            assert_eq!(replica.statistics, common);
        }
    }
}

#[test]
fn every_transport_gives_the_same_bits() {
    for stages in 1..=4 {
        for method in methods(stages) {
            for counts in counts(stages) {
                let plan = together(&plan(&method, stages, 7, &[0, 4, 7]), &counts);
                let expected = whole(&Threads, &plan);
                let bytes = whole(&Bytes::default(), &plan);
                assert_eq!(bytes, expected, "{method} {counts:?}");
                let places = plan.replicas.places();
                for ranks in [2, places - 1, places] {
                    if ranks == 0 || ranks > places {
                        continue;
                    }
                    let (ended, found) =
                        over_ranks_of(CENTRED, ranks, &plan, feeds, &Interrupt::new());
                    ended.expect("the run succeeds");
                    assert_eq!(found, expected, "{method} {counts:?} on {ranks} ranks");
                }
            }
        }
    }
}

#[test]
fn bits_do_not_depend_on_delays() {
    for method in methods(3) {
        for counts in counts(3) {
            let plan = together(&plan(&method, 3, 6, &[3]), &counts);
            let expected = whole(&Threads, &plan);
            for seed in 0..2 {
                let delays = Delays::over(Threads, seed);
                assert_eq!(whole(&delays, &plan), expected, "{method} {counts:?}");
            }
        }
    }
}

#[test]
fn a_run_resumes_from_every_version() {
    for method in methods(3) {
        for counts in counts(3) {
            let mut plan = together(&plan(&method, 3, 8, &[4, 8]), &counts);
            plan.horizon.snapshot_at = (0..=8).collect();
            let whole_run = whole(&Threads, &plan);
            for version in 0..8 {
                let resumed = Plan {
                    resume: Some(Arc::new(whole_run.at(version))),
                    ..plan.clone()
                };
                let on_threads = whole(&Threads, &resumed);
                let (ended, on_ranks) =
                    over_ranks_of(CENTRED, 3, &resumed, feeds, &Interrupt::new());
                ended.expect("the run succeeds");
                assert_eq!(on_ranks, on_threads, "{method} {counts:?}");
                let (found, expected) = (&on_threads.losses, &whole_run.losses[version..]);
                assert_eq!(found, expected, "{method} {counts:?}");
                for later in version + 1..=8 {
                    assert_eq!(
                        on_threads.at(later),
                        whole_run.at(later),
                        "{method} {counts:?}: version {later} from {version}"
                    );
                }
            }
        }
    }
}

/// A loss that is not finite on one replica only: the others would pull the micro-batch back, and wait for it for ever.
#[test]
fn a_batch_that_is_void_on_one_replica_is_skipped_on_all() {
    for (method, stages) in [
        ("dp(2)", 1),
        ("bp", 3),
        ("dsp", 3),
        ("gpipe(2)", 3),
        ("1f1b(3)", 3),
        ("zb(3)", 3),
        ("gpipe(2)", 2),
    ] {
        let alone = Plan {
            on_non_finite: OnNonFinite::Skip,
            ..plan(method, stages, 12, &[12])
        };
        let happening = || feeds_with(4, Happening::Spoilt);
        let (ended, expected) = run_of(CENTRED, &Threads, &alone, happening(), &Interrupt::new());
        ended.expect("the run succeeds");
        assert_eq!(expected.losses[4], (4, None), "{method}");
        for counts in counts(stages) {
            let plan = together(&alone, &counts);
            let (ended, found) = run_of(CENTRED, &Threads, &plan, happening(), &Interrupt::new());
            ended.expect("the run succeeds");
            assert_eq!(found.losses[4], (4, None), "{method} {counts:?}");
            let numbers = everything(&found).into_iter().zip(everything(&expected));
            for (at, (found, expected)) in numbers.enumerate().filter(|(at, _)| *at != 4) {
                let off = (found - expected).abs();
                assert!(
                    off < 2e-5,
                    "{method} {counts:?}, number {at}: {found}, {expected}"
                );
            }
            let (ended, again) = over_ranks_of(CENTRED, 2, &plan, happening, &Interrupt::new());
            match plan.replicas.places() {
                1 => assert!(ended.is_err(), "one place on two ranks"),
                _ => {
                    ended.expect("the run succeeds");
                    assert_eq!(again, found, "{method} {counts:?}");
                }
            }
        }
    }
}

#[test]
fn a_replica_that_fails_within_an_exchange_of_the_others_ends_all() {
    let plan = together(&plan("dsp", 2, 1_000, &[]), &[2]);
    for (happening, what) in [
        (Happening::Panic, "the loader caught fire"),
        (Happening::Spoilt, "the loss is NaN"),
    ] {
        let happens = || feeds_with(7, happening.clone());
        let (alone, _) = run_of(CENTRED, &Threads, &plan, happens(), &Interrupt::new());
        let (shared, _) = over_ranks_of(CENTRED, 4, &plan, happens, &Interrupt::new());
        for ended in [alone, shared] {
            let error = ended.expect_err("it fails").to_string();
            assert!(error.contains(what), "{error}");
        }
    }
}

#[test]
fn all_replicas_halt_at_one_version() {
    for method in methods(3) {
        for counts in counts(3) {
            let plan = together(&plan(&method, 3, 5_000, &[]), &counts);
            let interrupt = Interrupt::new();
            let until = feeds_with(6, Happening::Interrupt(interrupt.clone()));
            let (ended, found) = run_of(CENTRED, &Threads, &plan, until, &interrupt);
            let outcome = ended.expect("it halts");
            assert!(outcome.interrupted, "{method} {counts:?}");
            let mut longer = plan.clone();
            longer.horizon.snapshot_at = vec![outcome.version];
            longer.horizon.batches = outcome.version + 20;
            let expected = whole(&Threads, &longer).at(outcome.version);
            assert_eq!(found.at(outcome.version), expected, "{method} {counts:?}");
        }
    }
}

/// Messages of a pass at version 3, between replicas, go astray, or come late.
struct Astray(Fate);

#[derive(Clone, Copy)]
enum Fate {
    Late,
    Lost,
    Renumbered,
}

const LATE: Duration = Duration::from_millis(20);

struct AstrayLink(Box<dyn Link<ToyCargo>>, Fate);

impl Transport<ToyCargo> for Astray {
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<ToyCargo>, ConnectError> {
        let Ends { lower, upper } = Threads.connect(hop, capacities, stop)?;
        let lower = lower.map(|link| match hop.exact {
            true => Box::new(AstrayLink(link, self.0)),
            false => link,
        });
        Ok(Ends { lower, upper })
    }
}

impl Link<ToyCargo> for AstrayLink {
    fn send(&mut self, mut message: Message<ToyCargo>) -> Result<(), LinkError> {
        let header = &mut message.header;
        // The sum of two replicas takes two messages; what has higher numbers is of passes.
        match self.1 {
            _ if header.batch != 3 || header.micro < 2 => {}
            Fate::Late => thread::sleep(LATE),
            Fate::Lost => return Ok(()),
            Fate::Renumbered => header.micro += 1,
        }
        self.0.send(message)
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<ToyCargo>, LinkError> {
        self.0.receive(lane)
    }
}

#[test]
fn waiting_within_a_pass_is_waiting() {
    let plan = together(&plan("bp", 2, 5, &[]), &[2, 1]);
    let mut waits = Vec::new();
    let take = |event| {
        if let Event::Acted(Acted {
            stage: 0,
            action: Action::Forward { .. } | Action::Backward { .. },
            waits: found,
            ..
        }) = event
        {
            waits.push(found.send);
        }
        Ok(())
    };
    let (transport, interrupt) = (Astray(Fate::Late), Interrupt::new());
    let ended = threads::run_over(&transport, &plan, CENTRED, feeds(), &interrupt, take);
    ended.expect("the run succeeds");
    // Forward and backward of batch 3.
    assert_eq!(waits.len(), 10);
    assert!(waits[6] >= LATE && waits[7] >= LATE, "{waits:?}");
}

fn astray(fate: Fate) -> RunError {
    let plan = Plan {
        stall_timeout: Some(Duration::from_millis(500)),
        ..together(&plan("bp", 2, 10, &[]), &[2, 1])
    };
    let (ended, _) = run_of(CENTRED, &Astray(fate), &plan, feeds(), &Interrupt::new());
    ended.expect_err("a message is astray")
}

#[test]
fn a_replica_that_waits_within_a_pass_says_so() {
    let RunError::Stalled(stall) = astray(Fate::Lost) else {
        panic!("no stall");
    };
    for replica in 0..2 {
        let line = format!(
            "stage 0 (replica {replica} of 2): B0 U0 F1 B1 U1 F2 B2 U2 → F3 (waits for another replica)\n"
        );
        assert!(stall.grid.contains(&line), "{}", stall.grid);
    }
}

#[test]
fn an_exchange_that_is_another_is_refused() {
    let error = astray(Fate::Renumbered);
    // The replica's own words, and not that its stage could not go on.
    let RunError::Stage {
        cause: Fault::Program { .. },
        ..
    } = error
    else {
        panic!("{error:?}");
    };
    let error = error.to_string();
    assert!(
        error.contains("an exchange of values of which one side is at another"),
        "{error}"
    );
}
