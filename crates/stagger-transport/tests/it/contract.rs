//! The contract of [`Link`], held by every transport.

use std::thread;
use std::time::Duration;

use proptest::prelude::*;
use stagger_transport::threads::{self, Capacities};
use stagger_transport::{
    Content, Header, Lane, Link, LinkError, Message, sequential, stop_channel,
};

fn message(lane: Lane, batch: usize) -> Message<usize> {
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
        content: Content::Payload(batch * 10),
    }
}

fn capacities(activation: usize, gradient: usize) -> Capacities {
    Capacities {
        activation,
        gradient,
    }
}

proptest! {
    /// Every message arrives once and in order, at any capacity, with gradients against the stream.
    #[test]
    fn threads_deliver_in_order(c in 0usize..4, b in 0usize..4, count in 0usize..40) {
        let (_source, stop) = stop_channel();
        let (mut lower, mut upper) = threads::pair(capacities(c, b), &stop);
        let echo = thread::spawn(move || {
            for batch in 0..count {
                assert_eq!(upper.receive(Lane::Activation), Ok(message(Lane::Activation, batch)));
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
                prop_assert_eq!(
                    lower.receive(Lane::Gradient),
                    Ok(message(Lane::Gradient, batch))
                );
            }
        }
        echo.join().unwrap();
    }
}

#[test]
fn evaluation_passes_activations_that_fill_the_queue() {
    let (_source, stop) = stop_channel();
    let (mut lower, mut upper) = threads::pair(capacities(1, 1), &stop);
    let below = thread::spawn(move || {
        // Two activations into a queue of one, then the evaluation: hangs unless the upper end,
        // waiting for the evaluation, takes activations in.
        lower.send(message(Lane::Activation, 0)).unwrap();
        lower.send(message(Lane::Activation, 1)).unwrap();
        lower.send(message(Lane::Evaluation, 0)).unwrap();
        lower
    });
    assert_eq!(
        upper.receive(Lane::Evaluation),
        Ok(message(Lane::Evaluation, 0))
    );
    assert_eq!(
        upper.receive(Lane::Activation),
        Ok(message(Lane::Activation, 0))
    );
    assert_eq!(
        upper.receive(Lane::Activation),
        Ok(message(Lane::Activation, 1))
    );
    below.join().unwrap();
}

#[test]
fn stop_releases_a_blocked_sender_and_a_blocked_receiver() {
    let (source, stop) = stop_channel();
    let (mut lower, mut upper) = threads::pair::<usize>(capacities(0, 0), &stop);
    let sender = thread::spawn(move || lower.send(message(Lane::Activation, 0)));
    let (mut lower_2, upper_2) = threads::pair::<usize>(capacities(1, 1), &stop);
    let receiver = thread::spawn(move || (lower_2.receive(Lane::Gradient), upper_2));
    source.raise();
    assert_eq!(sender.join().unwrap(), Err(LinkError::Stopped));
    assert_eq!(receiver.join().unwrap().0, Err(LinkError::Stopped));
    assert_eq!(upper.receive(Lane::Evaluation), Err(LinkError::Stopped));
}

#[test]
fn a_dropped_end_is_reported_after_what_it_sent() {
    let (_source, stop) = stop_channel();
    let (mut lower, mut upper) = threads::pair(capacities(2, 2), &stop);
    lower.send(message(Lane::Activation, 0)).unwrap();
    drop(lower);
    assert!(upper.receive(Lane::Activation).is_ok());
    let gone = |lane| Err(LinkError::PeerGone { lane });
    assert_eq!(upper.receive(Lane::Activation), gone(Lane::Activation));
    assert_eq!(upper.receive(Lane::Evaluation), gone(Lane::Evaluation));
    let refused = upper.send(message(Lane::Gradient, 0));
    assert_eq!(
        refused,
        Err(LinkError::PeerGone {
            lane: Lane::Gradient
        })
    );
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
fn ends_refuse_the_wrong_direction() {
    fn check(lower: &mut dyn Link<usize>, upper: &mut dyn Link<usize>) {
        let wrong = |verb, lane| LinkError::WrongDirection { verb, lane };
        let lane = Lane::Gradient;
        assert_eq!(lower.send(message(lane, 0)), Err(wrong("send", lane)));
        assert_eq!(upper.receive(lane), Err(wrong("receive", lane)));
        for lane in [Lane::Activation, Lane::Evaluation] {
            assert_eq!(lower.receive(lane), Err(wrong("receive", lane)));
            assert_eq!(upper.send(message(lane, 0)), Err(wrong("send", lane)));
        }
    }
    let (_source, stop) = stop_channel();
    let (mut lower, mut upper) = threads::pair(capacities(1, 1), &stop);
    check(&mut lower, &mut upper);
    let (mut lower, mut upper) = sequential::pair();
    check(&mut lower, &mut upper);
}
