//! A hop under the model checker: under every interleaving, messages arrive once and in order, and no thread waits for ever.
//!
//! The checker switches threads at every lock, wait and wake-up. It draws interleavings at random (from fixed seeds) and
//! reports a deadlock as a panic, with the interleaving that led there. `STAGGER_MODEL_ITERATIONS` multiplies how many it tries.

use std::collections::VecDeque;
use std::env;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};
use stagger_transport::sync::{Condvar, Mutex, lock, thread};
use stagger_transport::{
    Bytes, Capacities, Content, Header, Hop, Lane, Link, LinkError, Message, StopSignal, Threads,
    Transport, stop_channel,
};

use crate::number::{Number, in_world};

/// Interleavings that each check tries, half of them uniformly random, half with few switches at chosen places.
const ITERATIONS: usize = 1_000;

/// Capacities of activations and gradients.
const CAPACITIES: [(usize, usize); 6] = [(0, 0), (1, 0), (0, 1), (1, 1), (3, 2), (2, 3)];

/// Messages per lane.
const COUNT: usize = 4;

fn check(body: impl Fn() + Send + Sync + Clone + 'static) {
    let more = env::var("STAGGER_MODEL_ITERATIONS").ok();
    let more = more.and_then(|text| text.parse::<usize>().ok());
    let iterations = ITERATIONS / 2 * more.unwrap_or(1);
    Runner::new(RandomScheduler::new_from_seed(1, iterations), Config::new()).run(body.clone());
    Runner::new(PctScheduler::new_from_seed(2, 3, iterations), Config::new()).run(body);
}

fn message(lane: Lane, batch: usize) -> Message<Number> {
    let header = Header {
        lane,
        batch,
        version: 0,
        micro: 0,
        sent_at: Duration::ZERO,
        mark: None,
    };
    Message {
        header,
        content: Content::Payload(Number(batch * 10)),
    }
}

type End = Box<dyn Link<Number>>;

/// How the two ends of a hop are connected.
#[derive(Clone, Copy, Debug)]
enum Way {
    Threads,
    Bytes,
    World,
}

/// Every way with every pair of capacities.
fn hops() -> impl Iterator<Item = (Way, (usize, usize))> {
    let ways = [Way::Threads, Way::Bytes, Way::World].into_iter();
    ways.flat_map(|way| CAPACITIES.map(|capacities| (way, capacities)))
}

fn hop((way, (c, b)): (Way, (usize, usize)), stop: &StopSignal) -> (End, End) {
    let capacities = Capacities {
        activation: c,
        gradient: b,
    };
    let ends = match way {
        Way::Threads => Threads.connect(Hop::above(0), capacities, stop),
        Way::Bytes => Bytes::default().connect(Hop::above(0), capacities, stop),
        Way::World => in_world(Hop::above(0), capacities, stop),
    };
    let ends = ends.expect("connected");
    (
        ends.lower.expect("a lower end"),
        ends.upper.expect("an upper end"),
    )
}

/// The upper stage evaluates after its first batch, when the lower one has run ahead as far as the queues let it.
fn upper_stage(mut upper: End) -> Result<(), LinkError> {
    for batch in 0..COUNT {
        assert_eq!(
            upper.receive(Lane::Activation)?,
            message(Lane::Activation, batch)
        );
        upper.send(message(Lane::Gradient, batch))?;
        if batch == 0 {
            for number in 0..2 {
                assert_eq!(
                    upper.receive(Lane::Evaluation)?,
                    message(Lane::Evaluation, number)
                );
            }
        }
    }
    Ok(())
}

fn lower_stage(mut lower: End, ahead: usize) -> Result<(), LinkError> {
    for step in 0..COUNT + ahead {
        if step < COUNT {
            lower.send(message(Lane::Activation, step))?;
        }
        let Some(batch) = step.checked_sub(ahead) else {
            continue;
        };
        assert_eq!(
            lower.receive(Lane::Gradient)?,
            message(Lane::Gradient, batch)
        );
        if batch == 0 {
            for number in 0..2 {
                lower.send(message(Lane::Evaluation, number))?;
            }
        }
    }
    Ok(())
}

#[test]
fn every_message_arrives_once_and_in_order() {
    for (way, capacities) in hops() {
        check(move || {
            let (_source, stop) = stop_channel();
            let (lower, upper) = hop((way, capacities), &stop);
            let above = thread::spawn(|| upper_stage(upper));
            assert_eq!(lower_stage(lower, capacities.0 + capacities.1), Ok(()));
            assert_eq!(above.join().expect("a stage"), Ok(()));
        });
    }
}

/// A send returns when its message has room, or has been taken where there is none.
#[test]
fn a_queue_holds_no_more_than_its_capacity() {
    for (way, capacities) in hops() {
        check(move || {
            let (_source, stop) = stop_channel();
            let (mut lower, mut upper) = hop((way, capacities), &stop);
            let [up, down] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
            let (sent_up, sent_down) = (Arc::clone(&up), Arc::clone(&down));
            let above = thread::spawn(move || {
                for taken in 0..COUNT {
                    let sent = sent_up.load(Ordering::Relaxed);
                    assert!(sent <= taken + capacities.0, "{sent} sent, {taken} taken");
                    upper.receive(Lane::Activation).expect("an activation");
                }
                for batch in 0..COUNT {
                    upper.send(message(Lane::Gradient, batch)).expect("open");
                    sent_down.fetch_add(1, Ordering::Relaxed);
                }
            });
            for batch in 0..COUNT {
                lower.send(message(Lane::Activation, batch)).expect("open");
                up.fetch_add(1, Ordering::Relaxed);
            }
            for taken in 0..COUNT {
                let sent = down.load(Ordering::Relaxed);
                assert!(sent <= taken + capacities.1, "{sent} sent, {taken} taken");
                lower.receive(Lane::Gradient).expect("a gradient");
            }
            above.join().expect("a stage");
        });
    }
}

#[test]
fn a_stop_releases_both_ends_whenever_it_comes() {
    for (way, capacities) in hops() {
        check(move || {
            let (source, stop) = stop_channel();
            let (mut lower, mut upper) = hop((way, capacities), &stop);
            // Both come to wait for a message that is never sent. They give their ends back, so that neither sees the other gone.
            let above = thread::spawn(move || (upper.receive(Lane::Evaluation), upper));
            let below = thread::spawn(move || {
                let mut send = |batch| lower.send(message(Lane::Activation, batch));
                let sent = (0..COUNT).try_for_each(&mut send);
                (sent.and_then(|()| lower.receive(Lane::Gradient)), lower)
            });
            source.raise();
            let (received, mut upper) = above.join().expect("a stage");
            let (returned, lower) = below.join().expect("a stage");
            assert_eq!(received, Err(LinkError::Stopped));
            assert_eq!(returned, Err(LinkError::Stopped));
            // The stop goes before what is queued, and before an end that has gone.
            drop(lower);
            assert_eq!(upper.receive(Lane::Activation), Err(LinkError::Stopped));
        });
    }
}

#[test]
fn what_was_sent_arrives_though_the_sender_has_gone() {
    for (way, capacities) in hops() {
        check(move || {
            let (_source, stop) = stop_channel();
            let (mut lower, mut upper) = hop((way, capacities), &stop);
            let sent = thread_rng().gen_range(0..=COUNT);
            let above = thread::spawn(move || {
                // Evaluation inputs first: activations are taken in on the way, and are not lost with their sender.
                for lane in [Lane::Evaluation, Lane::Activation] {
                    for batch in 0..sent {
                        assert_eq!(upper.receive(lane), Ok(message(lane, batch)));
                    }
                    assert_eq!(upper.receive(lane), Err(LinkError::PeerGone { lane }));
                }
            });
            for batch in 0..sent {
                for lane in [Lane::Activation, Lane::Evaluation] {
                    assert_eq!(lower.send(message(lane, batch)), Ok(()));
                }
            }
            drop(lower);
            above.join().expect("a stage");
        });
    }
}

#[test]
fn gradients_arrive_though_the_upper_stage_has_gone() {
    for (way, capacities) in hops() {
        check(move || {
            let (_source, stop) = stop_channel();
            let (mut lower, mut upper) = hop((way, capacities), &stop);
            let sent = thread_rng().gen_range(0..=COUNT);
            let lane = Lane::Gradient;
            let above = thread::spawn(move || {
                (0..sent).try_for_each(|batch| upper.send(message(lane, batch)))
            });
            for batch in 0..sent {
                assert_eq!(lower.receive(lane), Ok(message(lane, batch)));
            }
            assert_eq!(lower.receive(lane), Err(LinkError::PeerGone { lane }));
            assert_eq!(above.join().expect("a stage"), Ok(()));
        });
    }
}

#[test]
fn a_receiver_that_leaves_releases_its_sender() {
    for (way, capacities) in hops() {
        check(move || {
            let (_source, stop) = stop_channel();
            let (mut lower, mut upper) = hop((way, capacities), &stop);
            let above = thread::spawn(move || upper.receive(Lane::Activation));
            let error = loop {
                if let Err(error) = lower.send(message(Lane::Activation, 0)) {
                    break error;
                }
            };
            let lane = Lane::Activation;
            assert_eq!(error, LinkError::PeerGone { lane });
            let lane = Lane::Gradient;
            assert_eq!(lower.receive(lane), Err(LinkError::PeerGone { lane }));
            let received = above.join().expect("a stage");
            assert_eq!(received, Ok(message(Lane::Activation, 0)));
        });
    }
}

/// The checker finds a thread that waits for ever: a hop that does not know of the stop.
#[test]
#[should_panic(expected = "deadlock")]
fn a_hop_without_the_stop_is_found() {
    check(|| {
        let (source, _) = stop_channel();
        let (_other_source, other_stop) = stop_channel();
        let (_lower, mut upper) = hop((Way::Bytes, (1, 1)), &other_stop);
        let above = thread::spawn(move || upper.receive(Lane::Activation));
        source.raise();
        let _ = above.join();
    });
}

/// It also finds messages that two senders of one lane swap.
#[test]
#[should_panic(expected = "assertion")]
fn an_order_that_depends_on_the_schedule_is_found() {
    check(|| {
        let (_source, stop) = stop_channel();
        let (lower, mut upper) = hop((Way::Threads, (2, 1)), &stop);
        let lower = Arc::new(Mutex::new(lower));
        let senders: Vec<_> = (0..2)
            .map(|batch| {
                let lower = lower.clone();
                thread::spawn(move || lock(&lower).send(message(Lane::Activation, batch)))
            })
            .collect();
        for batch in 0..2 {
            let expected = Ok(message(Lane::Activation, batch));
            assert_eq!(upper.receive(Lane::Activation), expected);
        }
        for sender in senders {
            let _ = sender.join();
        }
    });
}

/// And a wake-up that is lost under few interleavings only: this queue looks for a message, unlocks, and locks again to wait for
/// one, so a message that is sent in between wakes no thread.
#[derive(Default)]
struct Forgetful {
    messages: Mutex<VecDeque<usize>>,
    arrival: Condvar,
}

impl Forgetful {
    fn send(&self, message: usize) {
        lock(&self.messages).push_back(message);
        self.arrival.notify_one();
    }

    fn receive(&self) -> usize {
        loop {
            if let Some(message) = lock(&self.messages).pop_front() {
                return message;
            }
            let waited = self.arrival.wait(lock(&self.messages));
            drop(waited.expect("a whole queue"));
        }
    }
}

#[test]
#[should_panic(expected = "deadlock")]
fn a_lost_wake_up_is_found() {
    check(|| {
        let queue = Arc::new(Forgetful::default());
        let receiver = Arc::clone(&queue);
        let above = thread::spawn(move || receiver.receive());
        queue.send(7);
        assert_eq!(above.join().expect("a stage"), 7);
    });
}
