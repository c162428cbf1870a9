//! The hops beside a stage: what it receives and sends, and what is in flight there.

use std::collections::VecDeque;

use stagger_transport::{Content, Header, Lane, LinkError, Mark, Message};

use super::micro_batch::Unit;
use super::times::Times;
use crate::board::{Line, WaitsFor};
use crate::cargo::Cargo;
use crate::fault::Fault;
use crate::ports::Ports;

/// A tensor on its way, with the version of the stage that computed it.
pub(super) struct InFlight<T> {
    pub unit: Unit,
    pub version: usize,
    pub tensor: T,
}

/// The links to both neighbours, and handles of what is in flight on them.
pub(super) struct Hops<T> {
    ports: Ports<Cargo<T>>,
    line: Line,
    pub sent_up: SentLog<T>,
    pub sent_down: SentLog<T>,
    /// Inputs that were in flight where the run was resumed: they come before those of the link.
    pub arrived: VecDeque<InFlight<T>>,
    /// Gradients that were.
    pub returned: VecDeque<InFlight<T>>,
    /// Whether the run is to halt at a version ahead.
    halts: bool,
}

/// Handles of the last messages that a stage has sent on a lane: what is in flight there at a version is among them.
pub(super) struct SentLog<T> {
    pub messages: VecDeque<InFlight<T>>,
    capacity: usize,
}

impl<T> SentLog<T> {
    fn new(capacity: usize) -> Self {
        Self {
            messages: VecDeque::with_capacity(capacity),
            capacity,
        }
    }
}

impl<T: Clone> SentLog<T> {
    fn add(&mut self, header: &Header, tensor: &T) {
        if self.capacity == 0 {
            return;
        }
        if self.messages.len() == self.capacity {
            self.messages.pop_front();
        }
        self.messages.push_back(InFlight {
            unit: Unit {
                batch: header.batch,
                micro: header.micro,
            },
            version: header.version,
            tensor: tensor.clone(),
        });
    }
}

impl<T: Clone> Hops<T> {
    /// Hops that keep handles of so many activations and gradients that were sent last.
    pub fn new(ports: Ports<Cargo<T>>, line: Line, (up, down): (usize, usize)) -> Self {
        Self {
            ports,
            line,
            sent_up: SentLog::new(up),
            sent_down: SentLog::new(down),
            arrived: VecDeque::new(),
            returned: VecDeque::new(),
            halts: false,
        }
    }

    /// Whether there is a stage above.
    pub fn has_above(&self) -> bool {
        self.ports.above.is_some()
    }

    /// From now on a neighbour may be gone when the stage sends to it: it has halted, takes no more messages, and what it
    /// would have taken is in this stage's snapshot.
    pub fn expect_halt(&mut self) {
        self.halts = true;
    }

    /// The input of a training micro-batch, and what stage 0 has announced with it.
    pub fn receive_activation(
        &mut self,
        unit: Unit,
        times: &mut Times,
    ) -> Result<(Cargo<T>, Option<Mark>), Fault> {
        if let Some(arrived) = self.arrived.pop_front() {
            let input = expect_unit(arrived, Lane::Activation, unit)?;
            return Ok((Cargo::Device(input), None));
        }
        let message = self.receive(Lane::Activation, unit, times)?;
        match message.content {
            Content::Payload(input) => Ok((input, message.header.mark)),
            Content::Void | Content::End => Err(Fault::Program {
                what: "an activation stream that ends early",
            }),
        }
    }

    /// The input of an evaluation batch; `None` after the last.
    pub fn receive_evaluation(
        &mut self,
        unit: Unit,
        times: &mut Times,
    ) -> Result<Option<Cargo<T>>, Fault> {
        let message = self.receive(Lane::Evaluation, unit, times)?;
        Ok(match message.content {
            Content::Payload(input) => Some(input),
            Content::Void | Content::End => None,
        })
    }

    /// The gradient from above; `None` when the batch is void.
    pub fn receive_gradient(
        &mut self,
        unit: Unit,
        times: &mut Times,
    ) -> Result<Option<Cargo<T>>, Fault> {
        if let Some(returned) = self.returned.pop_front() {
            let grad = expect_unit(returned, Lane::Gradient, unit)?;
            return Ok(Some(Cargo::Device(grad)));
        }
        match self.receive(Lane::Gradient, unit, times)?.content {
            Content::Payload(grad) => Ok(Some(grad)),
            Content::Void => Ok(None),
            Content::End => Err(Fault::Program {
                what: "a gradient stream that ends early",
            }),
        }
    }

    /// Sends an activation, an evaluation input or a gradient to the neighbour that its lane leads to. Without such a
    /// neighbour nothing is sent: the last stage has no stage above, the first none below.
    pub fn send(
        &mut self,
        header: Header,
        content: Content<T>,
        times: &mut Times,
    ) -> Result<(), Fault> {
        let (link, log, waits_for) = match header.lane {
            Lane::Activation | Lane::Evaluation => {
                (&mut self.ports.above, &mut self.sent_up, WaitsFor::Above)
            }
            Lane::Gradient => (&mut self.ports.below, &mut self.sent_down, WaitsFor::Below),
        };
        let Some(link) = link else {
            return Ok(());
        };
        if let Content::Payload(tensor) = &content
            && header.lane != Lane::Evaluation
        {
            log.add(&header, tensor);
        }
        let content = match content {
            Content::Payload(tensor) => Content::Payload(Cargo::Device(tensor)),
            Content::Void => Content::Void,
            Content::End => Content::End,
        };
        let sent = self.line.waits(waits_for, &mut times.waits.send, || {
            link.send(Message { header, content })
        });
        match sent {
            Err(LinkError::PeerGone { .. }) if self.halts => Ok(()),
            sent => sent.map_err(Fault::from),
        }
    }

    /// The next message of a lane, which has to be the one that the program asks for.
    fn receive(
        &mut self,
        lane: Lane,
        unit: Unit,
        times: &mut Times,
    ) -> Result<Message<Cargo<T>>, Fault> {
        let (link, waits_for, what) = match lane {
            Lane::Activation | Lane::Evaluation => {
                let what = "a first stage without inputs";
                (&mut self.ports.below, WaitsFor::Below, what)
            }
            Lane::Gradient => {
                let what = "a gradient from above on the last stage";
                (&mut self.ports.above, WaitsFor::Above, what)
            }
        };
        let link = link.as_mut().ok_or(Fault::Program { what })?;
        let account = &mut times.waits.receive;
        let message = self.line.waits(waits_for, account, || link.receive(lane))?;
        expect(&message, unit)?;
        Ok(message)
    }
}

/// Makes sure that a message is the one that the program asked for.
fn expect<T>(message: &Message<T>, unit: Unit) -> Result<(), Fault> {
    let Header {
        lane, batch, micro, ..
    } = message.header;
    // An end stands before a batch, not before one of its micro-batches.
    if batch == unit.batch && (micro == unit.micro || matches!(message.content, Content::End)) {
        return Ok(());
    }
    Err(Fault::OutOfOrder {
        lane,
        expected: unit.batch,
        found: batch,
    })
}

/// The tensor of a message that was in flight, if it is the one that the program asked for.
fn expect_unit<T>(message: InFlight<T>, lane: Lane, unit: Unit) -> Result<T, Fault> {
    if message.unit == unit {
        return Ok(message.tensor);
    }
    Err(Fault::OutOfOrder {
        lane,
        expected: unit.batch,
        found: message.unit.batch,
    })
}
