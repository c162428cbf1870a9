//! The contract of [`Transport`], for every transport: a new one adds its line at the end of this file.

use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use stagger_transport::{
    Bytes, Capacities, Content, Delay, Delayed, Header, Hop, Lane, Link, LinkError, Message,
    Sequential, StopSignal, Threads, Transport, sequential, stop_channel,
};

use crate::number::{Number, TwoRanks};

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

/// Both ends of a hop with room for `c` activations and `b` gradients.
fn hop(transport: impl Transport<Number>, (c, b): (usize, usize), stop: &StopSignal) -> (End, End) {
    let capacities = Capacities {
        activation: c,
        gradient: b,
    };
    let ends = transport
        .connect(Hop::above(0), capacities, stop)
        .expect("connected");
    (
        ends.lower.expect("a lower end"),
        ends.upper.expect("an upper end"),
    )
}

/// Every message arrives once and in order, at any capacity, with gradients against the stream.
fn delivers_in_order(transport: impl Transport<Number>, (c, b): (usize, usize), count: usize) {
    let (_source, stop) = stop_channel();
    let (mut lower, mut upper) = hop(transport, (c, b), &stop);
    let echo = thread::spawn(move || {
        for batch in 0..count {
            let expected = Ok(message(Lane::Activation, batch));
            assert_eq!(upper.receive(Lane::Activation), expected);
            upper.send(message(Lane::Gradient, batch)).unwrap();
        }
    });
    // The lower end runs as many batches ahead as the queues allow, as DSP does.
    let ahead = c + b;
    for step in 0..count + ahead {
        if step < count {
            lower.send(message(Lane::Activation, step)).unwrap();
        }
        if let Some(batch) = step.checked_sub(ahead) {
            let expected = Ok(message(Lane::Gradient, batch));
            assert_eq!(lower.receive(Lane::Gradient), expected);
        }
    }
    echo.join().unwrap();
}

fn evaluation_passes_activations_that_fill_the_queue(transport: impl Transport<Number>) {
    let (_source, stop) = stop_channel();
    let (mut lower, mut upper) = hop(transport, (1, 1), &stop);
    let below = thread::spawn(move || {
        // Two activations into a queue of one, then the evaluation: hangs unless the upper end,
        // waiting for the evaluation, takes activations in.
        lower.send(message(Lane::Activation, 0)).unwrap();
        lower.send(message(Lane::Activation, 1)).unwrap();
        lower.send(message(Lane::Evaluation, 0)).unwrap();
        lower
    });
    for (lane, batch) in [
        (Lane::Evaluation, 0),
        (Lane::Activation, 0),
        (Lane::Activation, 1),
    ] {
        assert_eq!(upper.receive(lane), Ok(message(lane, batch)));
    }
    below.join().unwrap();
}

fn stop_releases_a_blocked_sender_and_a_blocked_receiver(
    transport: impl Transport<Number> + Clone,
) {
    let (source, stop) = stop_channel();
    let (mut lower, mut upper) = hop(transport.clone(), (0, 0), &stop);
    let sender = thread::spawn(move || lower.send(message(Lane::Activation, 0)));
    let (mut lower_2, upper_2) = hop(transport, (1, 1), &stop);
    let receiver = thread::spawn(move || (lower_2.receive(Lane::Gradient), upper_2));
    source.raise();
    assert_eq!(sender.join().unwrap(), Err(LinkError::Stopped));
    assert_eq!(receiver.join().unwrap().0, Err(LinkError::Stopped));
    assert_eq!(upper.receive(Lane::Evaluation), Err(LinkError::Stopped));
}

fn a_dropped_end_is_reported_after_what_it_sent(transport: impl Transport<Number>) {
    let (_source, stop) = stop_channel();
    let (mut lower, mut upper) = hop(transport, (2, 2), &stop);
    lower.send(message(Lane::Activation, 0)).unwrap();
    drop(lower);
    assert!(upper.receive(Lane::Activation).is_ok());
    let gone = |lane| Err(LinkError::PeerGone { lane });
    assert_eq!(upper.receive(Lane::Activation), gone(Lane::Activation));
    assert_eq!(upper.receive(Lane::Evaluation), gone(Lane::Evaluation));
    let refused = upper.send(message(Lane::Gradient, 0));
    let lane = Lane::Gradient;
    assert_eq!(refused, Err(LinkError::PeerGone { lane }));
}

fn ends_refuse_the_wrong_direction(transport: impl Transport<Number>) {
    let (_source, stop) = stop_channel();
    let (mut lower, mut upper) = hop(transport, (1, 1), &stop);
    let wrong = |verb, lane| LinkError::WrongDirection { verb, lane };
    let lane = Lane::Gradient;
    assert_eq!(lower.send(message(lane, 0)), Err(wrong("send", lane)));
    assert_eq!(upper.receive(lane), Err(wrong("receive", lane)));
    for lane in [Lane::Activation, Lane::Evaluation] {
        assert_eq!(lower.receive(lane), Err(wrong("receive", lane)));
        assert_eq!(upper.send(message(lane, 0)), Err(wrong("send", lane)));
    }
}

#[test]
fn sequential_links_never_wait() {
    let (mut lower, mut upper) = sequential::pair();
    let empty = |lane| Err(LinkError::Empty { lane });
    assert_eq!(upper.receive(Lane::Activation), empty(Lane::Activation));
    for batch in 0..3 {
        lower.send(message(Lane::Activation, batch)).unwrap();
    }
    for batch in 0..3 {
        assert_eq!(
            upper.receive(Lane::Activation),
            Ok(message(Lane::Activation, batch))
        );
        upper.send(message(Lane::Gradient, batch)).unwrap();
        assert_eq!(
            lower.receive(Lane::Gradient),
            Ok(message(Lane::Gradient, batch))
        );
    }
}

#[test]
fn sequential_ends_refuse_the_wrong_direction() {
    ends_refuse_the_wrong_direction(Sequential);
}

/// The whole contract, for a transport between threads.
macro_rules! contract {
    ($name:ident, $transport:expr) => {
        mod $name {
            use super::*;

            proptest! {
                #[test]
                fn delivers_in_order(c in 0usize..4, b in 0usize..4, count in 0usize..40) {
                    super::delivers_in_order($transport, (c, b), count);
                }
            }

            #[test]
            fn evaluation_passes_activations_that_fill_the_queue() {
                super::evaluation_passes_activations_that_fill_the_queue($transport);
            }

            #[test]
            fn stop_releases_a_blocked_sender_and_a_blocked_receiver() {
                super::stop_releases_a_blocked_sender_and_a_blocked_receiver($transport);
            }

            #[test]
            fn a_dropped_end_is_reported_after_what_it_sent() {
                super::a_dropped_end_is_reported_after_what_it_sent($transport);
            }

            #[test]
            fn ends_refuse_the_wrong_direction() {
                super::ends_refuse_the_wrong_direction($transport);
            }
        }
    };
}

contract!(threads, Threads);
contract!(bytes, Bytes::default());
contract!(ranks, TwoRanks);
contract!(delayed_by_nothing, Delayed::new(|_, _| Delay::default()));
contract!(delayed, delayed());

/// Links on which every message takes another time.
fn delayed() -> Delayed {
    Delayed::new(|_, header| {
        let upwards = u64::from(header.lane == Lane::Activation);
        let key = header.batch as u64 * 7 + upwards;
        Delay {
            occupies: Duration::from_micros(key % 3 * 20),
            latency: Duration::from_micros(key % 5 * 30),
        }
    })
}

/// A sender that waits for room on a link that takes for ever hears a stop, and that its neighbour is gone.
#[test]
fn a_stop_and_a_departure_end_a_wait_that_takes_for_ever() {
    let ever = || {
        Delayed::new(|_, _| Delay {
            occupies: Duration::ZERO,
            latency: Duration::from_secs(1 << 20),
        })
    };
    let (source, stop) = stop_channel();
    let (mut lower, mut upper) = hop(ever(), (0, 1), &stop);
    let sender = thread::spawn(move || lower.send(message(Lane::Activation, 0)));
    let receiver = thread::spawn(move || upper.receive(Lane::Activation));
    source.raise();
    assert_eq!(sender.join().unwrap(), Err(LinkError::Stopped));
    assert_eq!(receiver.join().unwrap(), Err(LinkError::Stopped));

    let (_source, stop) = stop_channel();
    let (mut lower, upper) = hop(ever(), (0, 1), &stop);
    let sender = thread::spawn(move || lower.send(message(Lane::Activation, 0)));
    drop(upper);
    let lane = Lane::Activation;
    assert_eq!(sender.join().unwrap(), Err(LinkError::PeerGone { lane }));
}
