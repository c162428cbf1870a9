//! Stages, loaders, builds and receivers of events that fail: the others are released, and the error names who failed.

use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::rand::{Rng, thread_rng};
use stagger_engine::{EngineError, HostTensor};
use stagger_runtime::{
    Fault, FeedError, Feeds, Inputs, Interrupt, Labels, OnNonFinite, Place, Plan, RunError, threads,
};
use stagger_transport::{Lane, Link, LinkError, Message};

use super::{
    BATCHES, ITERATIONS, STAGES, Wrapped, build, check, in_order, methods, on_threads, short,
};
use crate::support::{ToyCargo, ToyFeed, feeds};

/// No run has fewer events.
const FEWEST_EVENTS: usize = 40;

/// Inputs or labels that fail at a batch, or are not finite.
#[derive(Clone, Copy)]
pub enum Bad {
    Error,
    Panic,
    NotFinite,
}

pub struct BadAt(pub usize, pub Bad);

impl Inputs for BadAt {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let mut inputs = Inputs::train(&mut ToyFeed, batch)?;
        match self.1 {
            _ if batch != self.0 => {}
            Bad::Error => return Err("record 9 is damaged".into()),
            Bad::Panic => panic!("the loader caught fire"),
            Bad::NotFinite => inputs.data.fill(f32::NAN),
        }
        Ok(inputs)
    }
    fn evaluation(&mut self, batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Inputs::evaluation(&mut ToyFeed, batch)
    }
}

impl Labels for BadAt {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        match self.1 {
            _ if batch != self.0 => {}
            Bad::Panic => panic!("the loader caught fire"),
            _ => return Err("record 9 is damaged".into()),
        }
        Labels::train(&mut ToyFeed, batch)
    }
    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Labels::evaluation(&mut ToyFeed, batch)
    }
}

#[test]
fn a_stage_that_fails_releases_the_others_and_is_named() {
    for method in methods() {
        for (is_first, bad) in [(true, Bad::Error), (false, Bad::Error), (false, Bad::Panic)] {
            let method = method.clone();
            check(ITERATIONS / 8, move || {
                let bad = BadAt(2, bad);
                let feeds = if is_first {
                    Feeds {
                        inputs: Box::new(bad),
                        ..feeds()
                    }
                } else {
                    Feeds {
                        labels: Box::new(bad),
                        ..feeds()
                    }
                };
                let (_, result) = on_threads(&short(&method), feeds, &Interrupt::new());
                let Err(RunError::Stage { stage, cause, .. }) = result else {
                    panic!("{method}: {result:?}");
                };
                assert_eq!(stage, if is_first { 0 } else { STAGES - 1 }, "{method}");
                assert!(
                    matches!(cause, Fault::Feed(_) | Fault::Panic { .. }),
                    "{method}: {cause}"
                );
            });
        }
    }
}

/// A link that panics when it is used once too often.
struct Fragile {
    inner: Box<dyn Link<ToyCargo>>,
    uses_left: usize,
}

impl Fragile {
    fn wear(&mut self) {
        self.uses_left = self.uses_left.checked_sub(1).expect("the link is worn");
    }
}

impl Link<ToyCargo> for Fragile {
    fn send(&mut self, message: Message<ToyCargo>) -> Result<(), LinkError> {
        self.wear();
        self.inner.send(message)
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<ToyCargo>, LinkError> {
        self.wear();
        self.inner.receive(lane)
    }
}

#[test]
fn a_stage_between_others_may_fail_at_any_moment() {
    for method in methods() {
        check(ITERATIONS / 4, move || {
            // Every batch comes up and goes down once.
            let uses_left = thread_rng().gen_range(0..2 * BATCHES);
            let ends = AtomicUsize::new(0);
            // The second end is that of stage 1 to the stage below.
            let wrap = |inner: Box<dyn Link<ToyCargo>>| -> Box<dyn Link<ToyCargo>> {
                match ends.fetch_add(1, Ordering::Relaxed) {
                    1 => Box::new(Fragile { inner, uses_left }),
                    _ => inner,
                }
            };
            let plan = short(&method);
            let result = threads::run_over(
                &Wrapped(wrap),
                &plan,
                build,
                feeds(),
                &Interrupt::new(),
                |_| Ok(()),
            );
            let Err(RunError::Stage { stage, cause, .. }) = result else {
                panic!("{method}: {result:?}");
            };
            assert_eq!(stage, 1, "{method}: {cause}");
            assert!(cause.to_string().contains("worn"), "{method}: {cause}");
        });
    }
}

#[test]
fn a_stage_that_cannot_be_built_releases_the_others() {
    for missing in 0..STAGES {
        check(ITERATIONS, move || {
            let build = |place: Place, optimizer| match place.stage {
                stage if stage == missing => Err(EngineError::Labels {
                    labels: 1,
                    logits: vec![],
                }),
                _ => build(place, optimizer),
            };
            let result = threads::run(&short("dsp"), build, feeds(), &Interrupt::new(), |_| Ok(()));
            assert!(
                matches!(result, Err(RunError::Build { stage, .. }) if stage == missing),
                "{result:?}"
            );
        });
    }
}

#[test]
fn a_failing_receiver_of_events_releases_the_stages() {
    for method in methods() {
        check(ITERATIONS / 4, move || {
            let moment = thread_rng().gen_range(0..FEWEST_EVENTS);
            let mut events = 0;
            let on_event = |_| {
                events += 1;
                if events > moment {
                    return Err("the disk is full".into());
                }
                Ok(())
            };
            let result = threads::run(&short(&method), build, feeds(), &Interrupt::new(), on_event);
            assert!(
                matches!(result, Err(RunError::Event(_))),
                "{method}: {result:?}"
            );
        });
    }
}

#[test]
fn batches_that_are_left_out_are_left_out_by_all() {
    let suits = |method: &String| OnNonFinite::Skip.suits(&short(method).schedule);
    for method in methods().into_iter().filter(suits) {
        check(ITERATIONS / 4, move || {
            let plan = Plan {
                on_non_finite: OnNonFinite::Skip,
                ..short(&method)
            };
            let lossy = || Feeds {
                inputs: Box::new(BadAt(1, Bad::NotFinite)),
                ..feeds()
            };
            let expected = in_order(&plan, lossy());
            assert_eq!(expected.skipped, [1]);
            let (found, result) = on_threads(&plan, lossy(), &Interrupt::new());
            result.expect("a run");
            assert_eq!(found, expected, "{method}");
        });
    }
}
