//! Stages on several ranks: links over frames, and the control lane with start, stop and the end, under every interleaving.

use shuttle::rand::{Rng, thread_rng};
use stagger_runtime::{
    Elsewhere, Feeds, Inputs, Interrupt, Labels, Outcome, Plan, RunError, ranks,
};
use stagger_transport::sync::thread;
use stagger_transport::wire::Format;
use stagger_transport::{Placement, Ranks, World, world};

use super::failures::{Bad, BadAt};
use super::record::Record;
use super::{BATCHES, ITERATIONS, STAGES, build, check, in_order, methods, short};
use crate::support::feeds;

fn ranks_of(world: World) -> Ranks {
    Ranks {
        placement: Placement::even(STAGES, world.size()).expect("enough stages"),
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
    let first = ranks_of(worlds.next().expect("a rank"));
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
            let _ = ranks::follow(&ranks_of(world), &plan, build, feeds);
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
