//! Plain values that stages and replicas tell each other between passes: norms of gradients, and parts of sums.

use stagger_engine::HostTensor;
use stagger_transport::{Content, Header, Link, Message};

use super::times::Times;
use crate::board::{Line, WaitsFor};
use crate::cargo::Cargo;
use crate::fault::Fault;

/// Sends values, and adds the wait for it to the times.
pub(super) fn give<T>(
    link: &mut dyn Link<Cargo<T>>,
    waits_for: WaitsFor,
    header: Header,
    values: Vec<f32>,
    line: &Line,
    times: &mut Times,
) -> Result<(), Fault> {
    let tensor = HostTensor::new(vec![values.len()], values)?;
    let message = Message {
        header,
        content: Content::Payload(Cargo::Host(tensor)),
    };
    Ok(line.waits(waits_for, &mut times.waits.send, || link.send(message))?)
}

/// Receives the values that come with this lane, batch and micro-batch, and adds the wait for them to the times. How many there
/// are, the caller checks.
pub(super) fn take<T>(
    link: &mut dyn Link<Cargo<T>>,
    waits_for: WaitsFor,
    expected: Header,
    line: &Line,
    times: &mut Times,
) -> Result<Vec<f32>, Fault> {
    let lane = expected.lane;
    let message = line.waits(waits_for, &mut times.waits.receive, || link.receive(lane))?;
    let found = message.header;
    if expected.batch != found.batch {
        return Err(Fault::OutOfOrder {
            lane,
            expected: expected.batch,
            found: found.batch,
        });
    }
    match message.content {
        Content::Payload(Cargo::Host(tensor)) if expected.micro == found.micro => Ok(tensor.data),
        _ => Err(Fault::Program {
            what: "an exchange of values of which one side is at another",
        }),
    }
}
