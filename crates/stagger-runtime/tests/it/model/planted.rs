//! The checks can fail: planted faults are found.

use std::sync::Arc;

use stagger_runtime::{FeedError, Feeds, Interrupt, Labels, Plan, threads};
use stagger_transport::{Lane, Link, LinkError, Message};

use super::{ITERATIONS, Wrapped, build, check, on_threads, short};
use crate::support::{ToyCargo, ToyFeed, feeds};

/// A link that loses, or doubles, the gradient of batch 2.
struct Faulty {
    inner: Box<dyn Link<ToyCargo>>,
    doubles: bool,
}

impl Link<ToyCargo> for Faulty {
    fn send(&mut self, message: Message<ToyCargo>) -> Result<(), LinkError> {
        if message.header.lane == Lane::Gradient && message.header.batch == 2 {
            if !self.doubles {
                return Ok(());
            }
            self.inner.send(message.clone())?;
        }
        self.inner.send(message)
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<ToyCargo>, LinkError> {
        self.inner.receive(lane)
    }
}

fn run_with_faulty_links(doubles: bool) {
    check(ITERATIONS, move || {
        let wrap = |inner| Box::new(Faulty { inner, doubles }) as Box<dyn Link<ToyCargo>>;
        let plan = short("dsp");
        let result = threads::run_over(
            &Wrapped(wrap),
            &plan,
            build,
            feeds(),
            &Interrupt::new(),
            |_| Ok(()),
        );
        result.expect("every message once");
    });
}

/// A lost message is found.
#[test]
#[should_panic(expected = "every message once")]
fn a_lost_message_is_found() {
    run_with_faulty_links(false);
}

/// So is a doubled one.
#[test]
#[should_panic(expected = "every message once")]
fn a_doubled_message_is_found() {
    run_with_faulty_links(true);
}

/// And a stage that waits for what never comes.
#[test]
#[should_panic(expected = "deadlock")]
fn a_wait_for_ever_is_found() {
    check(ITERATIONS, || {
        let (never, wait) = stagger_transport::sync::mpsc::channel::<()>();
        let plan = Plan {
            learning_rate: Arc::new(move |_| {
                let _ = &never;
                0.1
            }),
            ..short("dsp")
        };
        let labels = Waits(wait);
        let feeds = Feeds {
            labels: Box::new(labels),
            ..feeds()
        };
        let _ = on_threads(&plan, feeds, &Interrupt::new());
    });
}

struct Waits(stagger_transport::sync::mpsc::Receiver<()>);

impl Labels for Waits {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        if batch == 2 {
            let _ = self.0.recv();
        }
        Labels::train(&mut ToyFeed, batch)
    }
    fn evaluation(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Labels::evaluation(&mut ToyFeed, batch)
    }
}
