//! What comes into a stage and what leaves it.

use stagger_engine::Stage;
use stagger_transport::{Content, Header, Lane, Message};

use super::micro_batch::Unit;
use super::{Worker, timed};
use crate::event::Event;
use crate::fault::Fault;

impl<S: Stage> Worker<S> {
    /// The input of a training micro-batch; `None` when the stream ends before its batch.
    pub(super) fn take_input(&mut self, unit: Unit) -> Result<Option<S::Activation>, Fault> {
        match (self.ports.below.as_mut(), self.inputs.as_mut()) {
            (Some(below), _) => {
                let message = timed(&mut self.waits.receive, || below.receive(Lane::Activation))?;
                expect(&message, unit)?;
                Ok(match message.content {
                    Content::Payload(input) => Some(input),
                    Content::End => None,
                })
            }
            (None, Some(_)) if unit.micro == 0 && self.interrupt.is_requested() => {
                self.emit(Event::Interrupted { batch: unit.batch });
                Ok(None)
            }
            (None, Some(inputs)) => {
                let host = timed(&mut self.waits.loader, || inputs.take(unit));
                let host = host.map_err(Fault::Feed)?;
                Ok(Some(timed(&mut self.transfer, || self.stage.upload(host))?))
            }
            (None, None) => Err(Fault::Program {
                what: "a first stage without inputs",
            }),
        }
    }

    pub(super) fn receive_grad(&mut self, unit: Unit) -> Result<S::Activation, Fault> {
        let above = self.ports.above.as_mut();
        let above = above.ok_or(Fault::Program {
            what: "a gradient from above on the last stage",
        })?;
        let message = timed(&mut self.waits.receive, || above.receive(Lane::Gradient))?;
        expect(&message, unit)?;
        match message.content {
            Content::Payload(grad) => Ok(grad),
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
        if let Some(above) = self.ports.above.as_mut() {
            timed(&mut self.waits.send, || {
                above.send(Message { header, content })
            })?;
        }
        Ok(())
    }

    /// Sends a gradient to the stage below; the first stage has none.
    pub(super) fn send_down(&mut self, unit: Unit, grad: S::Activation) -> Result<(), Fault> {
        let header = self.header(Lane::Gradient, unit);
        if let Some(below) = self.ports.below.as_mut() {
            let content = Content::Payload(grad);
            timed(&mut self.waits.send, || {
                below.send(Message { header, content })
            })?;
        }
        Ok(())
    }

    fn header(&self, lane: Lane, unit: Unit) -> Header {
        Header {
            lane,
            batch: unit.batch,
            micro: unit.micro,
            version: self.version,
            sent_at: self.clock.elapsed(),
        }
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
