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
    /// Passes the whole test set through this stage at its current parameters, and before that at the mean of those so far where that is kept.
    /// Training queues keep their content. The first replica does it, at the mean of all replicas' running statistics.
    pub(super) fn evaluate(&mut self, version: usize, times: &mut Times) -> Result<(), Fault> {
        let pass = |worker: &mut Self, times: &mut Times| match worker.place.is_first() {
            true => worker.evaluate_here(version, times),
            false => Ok(()),
        };
        self.at_mean_statistics(version, times, pass)?;
        Ok(())
    }

    fn evaluate_here(&mut self, version: usize, times: &mut Times) -> Result<(), Fault> {
        // Version 0 has no mean.
        if self.has_average && version > 0 {
            // A stage that keeps its weights has none either.
            let own =
                (self.stage.averaged_weights()?).map(|average| self.stage.replace_weights(average));
            let passed = self.pass_test_set(false, times);
            if let Some(own) = own {
                self.stage.replace_weights(own);
            }
            if let Some(tally) = passed? {
                self.emit(Event::EvaluatedAverage {
                    version,
                    samples: tally.samples,
                    loss: tally.loss_sum / tally.samples as f64,
                    correct_top1: tally.correct_top1,
                    correct_top5: tally.correct_top5,
                });
            }
        }
        if let Some(tally) = self.pass_test_set(self.tells_logits, times)? {
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

    /// The sums over the test set, in the last stage.
    fn pass_test_set(
        &mut self,
        tells_logits: bool,
        times: &mut Times,
    ) -> Result<Option<Tally>, Fault> {
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
                    if tells_logits {
                        let logits = output.to_host()?;
                        self.emit(Event::Logits { batch, logits });
                    }
                }
            }
        }
        Ok(self.labels.is_some().then_some(tally))
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
