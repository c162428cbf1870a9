//! Evaluation of w^n: the test set travels the same pipeline in a lane of its own
//! (docs/algorithm.md, "Semantics that are easy to get wrong").

use stagger_engine::Stage;
use stagger_transport::{Content, Lane};

use super::hops::expect;
use super::micro_batch::Unit;
use super::{Line, Worker, timed};
use crate::board::WaitsFor;
use crate::event::Event;
use crate::fault::Fault;

/// Running sums of an evaluation.
#[derive(Default)]
struct Tally {
    samples: usize,
    loss_sum: f64,
    correct_top1: usize,
    correct_top5: usize,
}

/// Evaluation batches travel whole.
fn whole(batch: usize) -> Unit {
    Unit { batch, micro: 0 }
}

impl<S: Stage> Worker<S> {
    /// Passes the whole test set through this stage at its current parameters. Training queues
    /// keep their content.
    pub(super) fn evaluate(&mut self, version: usize) -> Result<(), Fault> {
        let mut tally = Tally::default();
        for batch in 0.. {
            self.check_stop()?;
            let Some(input) = self.take_evaluation_input(batch)? else {
                self.send_up(Lane::Evaluation, whole(batch), Content::End)?;
                break;
            };
            let output = self.stage.evaluate(&input)?;
            match self.labels.as_mut() {
                None => self.send_up(Lane::Evaluation, whole(batch), Content::Payload(output))?,
                Some(labels) => {
                    let labels = labels.whole.evaluation(batch).map_err(Fault::Feed)?;
                    let score = self.stage.score(&output, &labels)?;
                    tally.samples += labels.len();
                    tally.loss_sum += f64::from(score.loss) * labels.len() as f64;
                    tally.correct_top1 += score.correct_top1;
                    tally.correct_top5 += score.correct_top5;
                }
            }
        }
        if self.labels.is_some() {
            self.emit(Event::Evaluated {
                version,
                samples: tally.samples,
                loss: tally.loss_sum / tally.samples as f64,
                correct_top1: tally.correct_top1,
                correct_top5: tally.correct_top5,
                at: self.clock.elapsed(),
            });
        }
        Ok(())
    }

    fn take_evaluation_input(&mut self, batch: usize) -> Result<Option<S::Activation>, Fault> {
        let line = Line {
            board: &self.board,
            stage: self.index,
        };
        if let Some(below) = self.ports.below.as_mut() {
            let account = &mut self.waits.receive;
            let message =
                line.waits(WaitsFor::Below, account, || below.receive(Lane::Evaluation))?;
            expect(&message, whole(batch))?;
            return Ok(match message.content {
                Content::Payload(input) => Some(input),
                Content::Void | Content::End => None,
            });
        }
        let inputs = self.inputs.as_mut();
        let inputs = inputs.ok_or(Fault::Program {
            what: "a first stage without inputs",
        })?;
        let account = &mut self.waits.loader;
        let host = line.waits(WaitsFor::Loader, account, || inputs.whole.evaluation(batch));
        match host.map_err(Fault::Feed)? {
            Some(host) => Ok(Some(timed(&mut self.transfer, || self.stage.upload(host))?)),
            None => Ok(None),
        }
    }
}
