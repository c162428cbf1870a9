//! The hops beside a stage: what it receives and sends, and what is in flight there.

use std::collections::VecDeque;

use stagger_engine::{Activation, HostTensor};
use stagger_transport::{Content, Header, Lane, LinkError, Mark, Message};

use super::micro_batch::Unit;
use super::times::Times;
use crate::board::{Line, WaitsFor};
use crate::cargo::Cargo;
use crate::fault::Fault;
use crate::ports::Ports;
use stagger_schedule::Place;

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

impl<T: Activation> Hops<T> {
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
        !self.ports.above.is_empty()
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
        let (links, log, waits_for) = match header.lane {
            Lane::Activation | Lane::Evaluation => {
                (&mut self.ports.above, &mut self.sent_up, WaitsFor::Above)
            }
            Lane::Gradient => (&mut self.ports.below, &mut self.sent_down, WaitsFor::Below),
        };
        if let Content::Payload(tensor) = &content
            && header.lane != Lane::Evaluation
            && !links.is_empty()
        {
            log.add(&header, tensor);
        }
        // Evaluations run over first replicas only.
        let links = match header.lane {
            Lane::Evaluation => links.get_mut(..1).unwrap_or_default(),
            Lane::Activation | Lane::Gradient => links.as_mut_slice(),
        };
        let contents = shared_out(content, links.len())?;
        for (link, content) in links.iter_mut().zip(contents) {
            let sent = self.line.waits(waits_for, &mut times.waits.send, || {
                link.send(Message { header, content })
            });
            match sent {
                Err(LinkError::PeerGone { .. }) if self.halts => {}
                sent => sent?,
            }
        }
        Ok(())
    }

    /// The next message of a lane, which has to be the one that the program asks for.
    fn receive(
        &mut self,
        lane: Lane,
        unit: Unit,
        times: &mut Times,
    ) -> Result<Message<Cargo<T>>, Fault> {
        let (links, waits_for, what) = match lane {
            Lane::Activation | Lane::Evaluation => {
                let what = "a first stage without inputs";
                (&mut self.ports.below, WaitsFor::Below, what)
            }
            Lane::Gradient => {
                let what = "a gradient from above on the last stage";
                (&mut self.ports.above, WaitsFor::Above, what)
            }
        };
        let links = match lane {
            Lane::Evaluation => links.get_mut(..1).unwrap_or_default(),
            Lane::Activation | Lane::Gradient => links.as_mut_slice(),
        };
        let mut messages = Vec::with_capacity(links.len());
        for link in links {
            let account = &mut times.waits.receive;
            let message = self.line.waits(waits_for, account, || link.receive(lane))?;
            expect(&message, unit)?;
            messages.push(message);
        }
        let mut messages = messages.into_iter();
        let first = messages.next().ok_or(Fault::Program { what })?;
        // What stage 0 announces comes by way of first replicas.
        let header = first.header;
        let contents = [first.content]
            .into_iter()
            .chain(messages.map(|message| message.content));
        let content = joined(contents)?;
        Ok(Message { header, content })
    }
}

/// Contents for so many links: a tensor's rows are shared out over them, by the rule of [`Place::rows`].
fn shared_out<T: Activation>(
    content: Content<T>,
    links: usize,
) -> Result<Vec<Content<Cargo<T>>>, Fault> {
    let tensor = match content {
        Content::Payload(tensor) => tensor,
        Content::Void => return Ok((0..links).map(|_| Content::Void).collect()),
        Content::End => return Ok((0..links).map(|_| Content::End).collect()),
    };
    if links <= 1 {
        return Ok(vec![Content::Payload(Cargo::Device(tensor))]);
    }
    let host = tensor.to_host()?;
    let rows = host.shape.first().copied().unwrap_or_default();
    let share = |replica| {
        let (stage, of) = (0, links);
        let rows = Place { stage, replica, of }.rows(rows);
        Content::Payload(Cargo::Host(host.rows(rows)))
    };
    Ok((0..links).map(share).collect())
}

/// The content of a message whose rows come from several replicas.
fn joined<T: Activation>(
    contents: impl Iterator<Item = Content<Cargo<T>>>,
) -> Result<Content<Cargo<T>>, Fault> {
    let mut cargos = Vec::new();
    for content in contents {
        match content {
            Content::Payload(cargo) => cargos.push(cargo),
            // One part without a gradient makes the batch void.
            other => return Ok(without_payload(&other)),
        }
    }
    if cargos.len() == 1
        && let Some(only) = cargos.pop()
    {
        return Ok(Content::Payload(only));
    }
    let mut parts = Vec::with_capacity(cargos.len());
    for cargo in cargos {
        parts.push(match cargo {
            Cargo::Device(tensor) => tensor.to_host()?,
            Cargo::Host(host) => host,
        });
    }
    Ok(Content::Payload(Cargo::Host(HostTensor::of_rows(&parts)?)))
}

fn without_payload<T>(content: &Content<T>) -> Content<T> {
    match content {
        Content::End => Content::End,
        Content::Void | Content::Payload(_) => Content::Void,
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
