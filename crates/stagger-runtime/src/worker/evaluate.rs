//! Evaluation of w^n: the test set travels the same pipeline in a lane of its own (docs/algorithm.md, "Semantics that are
//! easy to get wrong").

use stagger_engine::{Activation, Stage};
use stagger_transport::{Content, Lane};

use super::Worker;
use super::micro_batch::Unit;
use super::times::{Times, timed};
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
    /// keep their content. The first replica does it, at the mean of all replicas' running statistics.
    pub(super) fn evaluate(&mut self, version: usize, times: &mut Times) -> Result<(), Fault> {
        let pass = |worker: &mut Self, times: &mut Times| match worker.place.is_first() {
            true => worker.pass_test_set(version, times),
            false => Ok(()),
        };
        self.at_mean_statistics(version, times, pass)?;
        Ok(())
    }

    fn pass_test_set(&mut self, version: usize, times: &mut Times) -> Result<(), Fault> {
        let mut tally = Tally::default();
        for batch in 0.. {
            self.check_stop()?;
            let Some(input) = self.take_evaluation_input(batch, times)? else {
                let header = self.header(Lane::Evaluation, whole(batch));
                self.hops.send(header, Content::End, times)?;
                break;
            };
            let output = self.stage.evaluate(&input)?;
            match self.labels.as_mut() {
                None => {
                    let header = self.header(Lane::Evaluation, whole(batch));
                    self.hops.send(header, Content::Payload(output), times)?;
                }
                Some(labels) => {
                    let labels = labels.whole.evaluation(batch).map_err(Fault::Feed)?;
                    let score = self.stage.score(&output, &labels)?;
                    tally.samples += labels.len();
                    tally.loss_sum += f64::from(score.loss) * labels.len() as f64;
                    tally.correct_top1 += score.correct_top1;
                    tally.correct_top5 += score.correct_top5;
                    if self.tells_logits {
                        let logits = output.to_host()?;
                        self.emit(Event::Logits { batch, logits });
                    }
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

    fn take_evaluation_input(
        &mut self,
        batch: usize,
        times: &mut Times,
    ) -> Result<Option<S::Activation>, Fault> {
        let Some(inputs) = self.inputs.as_mut() else {
            let cargo = self.hops.receive_evaluation(whole(batch), times)?;
            return cargo.map(|cargo| self.land(cargo, times)).transpose();
        };
        let account = &mut times.waits.loader;
        let host = self
            .line
            .waits(WaitsFor::Loader, account, || inputs.whole.evaluation(batch));
        match host.map_err(Fault::Feed)? {
            Some(host) => Ok(Some(timed(&mut times.transfer, || {
                self.stage.upload(host)
            })?)),
            None => Ok(None),
        }
    }
}
