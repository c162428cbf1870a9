//! What comes into a stage and what leaves it.

use std::collections::VecDeque;
use std::time::Duration;

use stagger_engine::Stage;
use stagger_transport::{Content, Header, Lane, LinkError, Mark, Message};

use super::micro_batch::Unit;
use super::{Line, Worker, timed};
use crate::board::WaitsFor;
use crate::event::Event;
use crate::fault::Fault;
use crate::plan::Plan;

/// A tensor on its way, with the version of the stage that computed it.
pub(super) struct InFlight<T> {
    pub unit: Unit,
    pub version: usize,
    pub tensor: T,
}

/// Handles of the last messages that a stage has sent on a lane: at a version, what is in flight there is among them.
pub(super) struct SentLog<T> {
    pub messages: VecDeque<InFlight<T>>,
    capacity: usize,
}

impl<T> SentLog<T> {
    pub fn new(capacity: usize) -> Self {
        Self {
            messages: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    fn add(&mut self, sent: impl FnOnce() -> InFlight<T>) {
        if self.capacity == 0 {
            return;
        }
        if self.messages.len() == self.capacity {
            self.messages.pop_front();
        }
        self.messages.push_back(sent());
    }
}

impl<S: Stage> Worker<S> {
    /// The input of a training micro-batch.
    pub(super) fn take_input(&mut self, unit: Unit) -> Result<S::Activation, Fault> {
        if let Some(arrived) = self.arrived.pop_front() {
            return expect_unit(arrived, Lane::Activation, unit);
        }
        let line = Line {
            board: &self.board,
            stage: self.index,
        };
        match (self.ports.below.as_mut(), self.inputs.as_mut()) {
            (Some(below), _) => {
                let account = &mut self.waits.receive;
                let message =
                    line.waits(WaitsFor::Below, account, || below.receive(Lane::Activation))?;
                expect(&message, unit)?;
                self.mark = message.header.mark;
                match message.content {
                    Content::Payload(input) => Ok(input),
                    Content::Void | Content::End => Err(Fault::Program {
                        what: "an activation stream that ends early",
                    }),
                }
            }
            (None, Some(inputs)) => {
                let account = &mut self.waits.loader;
                let host = line.waits(WaitsFor::Loader, account, || inputs.take(unit));
                let host = host.map_err(Fault::Feed)?;
                self.mark = self.announce(unit);
                timed(&mut self.transfer, || self.stage.upload(host)).map_err(Fault::from)
            }
            (None, None) => Err(Fault::Program {
                what: "a first stage without inputs",
            }),
        }
    }

    /// What stage 0 has to announce with a batch: no stage has made the update of that batch yet.
    fn announce(&mut self, unit: Unit) -> Option<Mark> {
        let version = unit.batch + 1;
        if unit.micro > 0 || self.announcements.halted || version >= self.announcements.batches {
            return None;
        }
        let halts = self.interrupt.is_requested();
        let due = self.announcements.is_due(self.clock.elapsed());
        if halts {
            self.announcements.halted = true;
            self.emit(Event::Interrupted { batch: version });
        }
        (halts || due).then_some(Mark { version, halts })
    }

    /// The gradient from above; `None` when the batch is void.
    pub(super) fn receive_grad(&mut self, unit: Unit) -> Result<Option<S::Activation>, Fault> {
        if let Some(returned) = self.returned.pop_front() {
            return expect_unit(returned, Lane::Gradient, unit).map(Some);
        }
        let above = self.ports.above.as_mut();
        let above = above.ok_or(Fault::Program {
            what: "a gradient from above on the last stage",
        })?;
        let line = Line {
            board: &self.board,
            stage: self.index,
        };
        let account = &mut self.waits.receive;
        let message = line.waits(WaitsFor::Above, account, || above.receive(Lane::Gradient))?;
        expect(&message, unit)?;
        match message.content {
            Content::Payload(grad) => Ok(Some(grad)),
            Content::Void => Ok(None),
            Content::End => Err(Fault::Program {
                what: "a gradient stream that ends early",
            }),
        }
    }

    /// Sends to the stage above; the last stage has none and keeps quiet.
    pub(super) fn send_up(
        &mut self,
        lane: Lane,
        unit: Unit,
        content: Content<S::Activation>,
    ) -> Result<(), Fault> {
        let header = self.header(lane, unit);
        let Some(above) = self.ports.above.as_mut() else {
            return Ok(());
        };
        if let (Lane::Activation, Content::Payload(output)) = (lane, &content) {
            self.sent_up.add(|| InFlight {
                unit,
                version: header.version,
                tensor: output.clone(),
            });
        }
        let line = Line {
            board: &self.board,
            stage: self.index,
        };
        let sent = line.waits(WaitsFor::Above, &mut self.waits.send, || {
            above.send(Message { header, content })
        });
        self.unless_halted(sent)
    }

    /// Sends a gradient to the stage below, or the word that there is none; the first stage has nobody to tell.
    pub(super) fn send_down(
        &mut self,
        unit: Unit,
        content: Content<S::Activation>,
    ) -> Result<(), Fault> {
        let header = self.header(Lane::Gradient, unit);
        let Some(below) = self.ports.below.as_mut() else {
            return Ok(());
        };
        if let Content::Payload(grad) = &content {
            self.sent_down.add(|| InFlight {
                unit,
                version: header.version,
                tensor: grad.clone(),
            });
        }
        let line = Line {
            board: &self.board,
            stage: self.index,
        };
        let sent = line.waits(WaitsFor::Below, &mut self.waits.send, || {
            below.send(Message { header, content })
        });
        self.unless_halted(sent)
    }

    /// A neighbour that has halted takes no more messages, and they are in this stage's snapshot.
    fn unless_halted(&self, sent: Result<(), LinkError>) -> Result<(), Fault> {
        match sent {
            Err(LinkError::PeerGone { .. }) if self.halts => Ok(()),
            sent => sent.map_err(Fault::from),
        }
    }

    fn header(&self, lane: Lane, unit: Unit) -> Header {
        Header {
            lane,
            batch: unit.batch,
            micro: unit.micro,
            version: self.version,
            sent_at: self.clock.elapsed(),
            mark: self.mark.filter(|_| lane == Lane::Activation),
        }
    }
}

/// The versions that stage 0 announces.
pub(super) struct Announcements {
    /// Batches of the whole run: what ends there anyway is not announced.
    batches: usize,
    interval: Option<Duration>,
    /// When the last snapshot by the clock was announced.
    last: Duration,
    /// Whether the last of them is made.
    halted: bool,
}

impl Announcements {
    pub fn new(plan: &Plan) -> Self {
        Self {
            batches: plan.horizon.batches,
            interval: plan.snapshot_interval,
            last: Duration::ZERO,
            halted: false,
        }
    }

    /// Whether a snapshot by the clock is due; the next one then comes an interval later.
    fn is_due(&mut self, now: Duration) -> bool {
        let due = self
            .interval
            .is_some_and(|interval| now.saturating_sub(self.last) >= interval);
        if due {
            self.last = now;
        }
        due
    }
}

/// Makes sure that a message is the one that the program asked for.
pub(super) fn expect<T>(message: &Message<T>, unit: Unit) -> Result<(), Fault> {
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
