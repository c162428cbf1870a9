//! Stages on several ranks: links over frames, and the control lane with start, stop and the end, under every interleaving.

use shuttle::rand::{Rng, thread_rng};
use stagger_runtime::{
    Elsewhere, Feeds, Inputs, Interrupt, Labels, Outcome, Plan, Replicas, RunError, ranks,
};
use stagger_transport::sync::thread;
use stagger_transport::wire::Format;
use stagger_transport::{Placement, Ranks, World, world};

use super::failures::{Bad, BadAt};
use super::record::Record;
use super::{BATCHES, ITERATIONS, STAGES, build, check, in_order, methods, on_threads, short};
use crate::support::feeds;

fn ranks_of(world: World, places: usize) -> Ranks {
    Ranks {
        placement: Placement::even(places, world.size()).expect("enough places"),
        world,
        stretch: 1,
        format: Format::F32,
    }
}

/// Runs the plan over so many ranks.
fn over(
    ranks: usize,
    plan: &Plan,
    feeds: Feeds,
    interrupt: &Interrupt,
) -> (Record, Result<Outcome, RunError>) {
    let Feeds { inputs, labels } = feeds;
    let mut worlds = world::in_process(ranks).into_iter();
    let places = plan.replicas.places();
    let first = ranks_of(worlds.next().expect("a rank"), places);
    let mut labels = Some(labels);
    let mut record = Record::default();
    // No scope: the checker's wakes the thread that opened it with the end of each of its threads, whatever that waits for.
    let mut followers = Vec::new();
    for world in worlds {
        let labels = labels.take_if(|_| world.rank() + 1 == ranks);
        let feeds = Feeds {
            inputs: Box::new(Elsewhere),
            labels: labels.unwrap_or_else(|| Box::new(Elsewhere) as Box<dyn Labels>),
        };
        let plan = plan.clone();
        followers.push(thread::spawn(move || {
            // What fails is told by rank 0.
            let _ = ranks::follow(&ranks_of(world, places), &plan, build, feeds);
        }));
    }
    let feeds = Feeds {
        inputs,
        labels: Box::new(Elsewhere),
    };
    let result = ranks::lead(&first, plan, build, feeds, interrupt, |event| {
        record.take(event);
        Ok(())
    });
    for follower in followers {
        follower.join().expect("a rank");
    }
    (record, result)
}

#[test]
fn every_method_gives_the_numbers_of_the_sequential_executor_on_ranks() {
    for method in methods() {
        for ranks in [2, 3] {
            let method = method.clone();
            check(ITERATIONS / 16, move || {
                let plan = short(&method);
                let expected = in_order(&plan, feeds());
                let (found, result) = over(ranks, &plan, feeds(), &Interrupt::new());
                assert_eq!(result.expect("a run").version, BATCHES);
                assert_eq!(found, expected, "{method}");
            });
        }
    }
}

/// Whatever fails, and whenever: all ranks end, and rank 0 has a stage to name.
#[test]
fn a_rank_that_fails_at_any_moment_releases_the_others() {
    for is_first in [true, false] {
        check(ITERATIONS, move || {
            let bad = || BadAt(thread_rng().gen_range(0..BATCHES), Bad::Error);
            let feeds = match is_first {
                true => Feeds {
                    inputs: Box::new(bad()) as Box<dyn Inputs>,
                    ..feeds()
                },
                false => Feeds {
                    labels: Box::new(bad()),
                    ..feeds()
                },
            };
            let (_, result) = over(3, &short("dsp"), feeds, &Interrupt::new());
            let Err(RunError::Stage { stage, .. }) = result else {
                panic!("{result:?}");
            };
            assert_eq!(stage, if is_first { 0 } else { STAGES - 1 });
        });
    }
}

/// As [`over`], where every rank has both ends.
fn over_with_replicas(
    ranks: usize,
    plan: &Plan,
    interrupt: &Interrupt,
) -> (Record, Result<Outcome, RunError>) {
    let places = plan.replicas.places();
    let mut worlds = world::in_process(ranks).into_iter();
    let first = ranks_of(worlds.next().expect("a rank"), places);
    let mut record = Record::default();
    let followers: Vec<_> = worlds
        .map(|world| {
            let plan = plan.clone();
            thread::spawn(move || {
                let _ = ranks::follow(&ranks_of(world, places), &plan, build, feeds());
            })
        })
        .collect();
    let result = ranks::lead(&first, plan, build, feeds(), interrupt, |event| {
        record.take(event);
        Ok(())
    });
    for follower in followers {
        follower.join().expect("a rank");
    }
    (record, result)
}

fn with_replicas(method: &str, counts: &[usize]) -> Plan {
    Plan {
        replicas: Replicas::new(counts, STAGES).expect("numbers that suit"),
        ..short(method)
    }
}

#[test]
fn replicas_give_the_numbers_of_threads_on_ranks() {
    for (counts, sync_batch_norm) in [
        ([2, 2, 2], false),
        ([2, 1, 2], false),
        ([2, 2, 1], true),
        ([2, 1, 2], true),
    ] {
        for method in ["dsp", "pipedream", "bp"] {
            check(ITERATIONS / 16, move || {
                let plan = Plan {
                    sync_batch_norm,
                    ..with_replicas(method, &counts)
                };
                let (expected, result) = on_threads(&plan, feeds(), &Interrupt::new());
                result.expect("a run");
                let (found, result) = over_with_replicas(3, &plan, &Interrupt::new());
                assert_eq!(result.expect("a run").version, BATCHES);
                assert_eq!(found, expected, "{method}");
            });
        }
    }
}

#[test]
fn an_interrupt_at_any_moment_halts_all_replicas() {
    for (ranks, sync_batch_norm) in [(1, false), (3, false), (1, true), (3, true)] {
        check(ITERATIONS / 4, move || {
            let plan = Plan {
                sync_batch_norm,
                ..with_replicas("dsp", &[2, 2, 1])
            };
            let interrupt = Interrupt::new();
            let asks = interrupt.clone();
            let asking = thread::spawn(move || asks.request());
            let (_, result) = match ranks {
                1 => on_threads(&plan, feeds(), &interrupt),
                _ => over_with_replicas(ranks, &plan, &interrupt),
            };
            asking.join().expect("a thread");
            let outcome = result.expect("it halts or ends");
            assert!(outcome.interrupted || outcome.version == BATCHES);
        });
    }
}

#[test]
fn an_interrupt_at_any_moment_halts_all_ranks() {
    check(ITERATIONS, || {
        let plan = short("dsp");
        let interrupt = Interrupt::new();
        let asks = interrupt.clone();
        let asking = thread::spawn(move || asks.request());
        let (_, result) = over(2, &plan, feeds(), &interrupt);
        asking.join().expect("a thread");
        let outcome = result.expect("it halts or ends");
        assert!(outcome.interrupted || outcome.version == BATCHES);
    });
}
