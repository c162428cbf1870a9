//! Forward, recompute and backward of a micro-batch, whole or in two halves.

use stagger_engine::{MixedLabels, Stage};
use stagger_schedule as schedule;
use stagger_transport::{Content, Header, Lane, Mark};

use super::kept::{KeptGraph, KeptHalf, KeptInput, Origin, OutputGrad, Recorded};
use super::micro_batch::{LabelledShare, Unit};
use super::times::{Times, timed};
use super::{Done, Worker};
use crate::board::WaitsFor;
use crate::event::Event;
use crate::fault::Fault;
use crate::plan::OnNonFinite;

/// The number of batches in a row that may be skipped.
pub const MOST_SKIPPED_IN_A_ROW: usize = 10;

impl<S: Stage> Worker<S> {
    pub(super) fn forward(&mut self, unit: Unit, times: &mut Times) -> Result<Done, Fault> {
        let (input, mark) = self.take_input(unit, times)?;
        if let (Some(mark), Some(siblings)) = (mark, self.siblings.as_mut()) {
            siblings.announced.push(mark);
        }
        let weights = self.forward_weights(unit.batch)?;
        let origin = Origin {
            version: self.forward_version(unit.batch),
            position: self.position_to_keep(unit.batch, weights.as_ref()),
        };
        let output = match self.policy.kept {
            schedule::Kept::Graph => Some(self.at(weights, |worker| {
                worker.build_graph(unit, origin, &input, times)
            })?),
            schedule::Kept::Input => {
                let (pass, mut stashed) = (self.pass_of(unit), None);
                // The last stage forms its output when it recomputes.
                let sends = self.hops.has_above();
                let output = self.at(weights, |worker| {
                    stashed = worker.weights_to_stash();
                    sends
                        .then(|| worker.compute(unit, times, |stage| stage.forward(&input, pass)))
                        .transpose()
                })?;
                self.kept.inputs.push_back(KeptInput {
                    unit,
                    origin,
                    input,
                    weights: stashed,
                });
                output
            }
        };
        if let Some(output) = output {
            let header = Header {
                mark,
                ..self.header(Lane::Activation, unit)
            };
            self.hops.send(header, Content::Payload(output), times)?;
        }
        Ok(Done {
            mark,
            ..Done::default()
        })
    }

    /// The input of a training micro-batch, and what stage 0 announces with it.
    fn take_input(
        &mut self,
        unit: Unit,
        times: &mut Times,
    ) -> Result<(S::Activation, Option<Mark>), Fault> {
        let Some(inputs) = self.inputs.as_mut() else {
            let (cargo, mark) = self.hops.receive_activation(unit, times)?;
            // One replica hears it from below, and tells the others with the update before that version.
            let mark = mark.filter(|_| self.place.is_first());
            return Ok((self.land(cargo, times)?, mark));
        };
        let account = &mut times.waits.loader;
        let host = self
            .line
            .waits(WaitsFor::Loader, account, || inputs.take(unit))
            .map_err(Fault::Feed)?;
        let mark = match self.place.is_first() {
            true => self.announcements.next(unit, self.clock.elapsed()),
            false => None,
        };
        if let Some(Mark {
            version,
            halts: true,
        }) = mark
        {
            self.emit(Event::Interrupted { batch: version });
        }
        let input = timed(&mut times.transfer, || self.stage.upload(host))?;
        Ok((input, mark))
    }

    pub(super) fn recompute(&mut self, unit: Unit, times: &mut Times) -> Result<(), Fault> {
        let kept = self.kept.take_input(unit)?;
        let weights = self.backward_weights(kept.origin.version, kept.weights)?;
        let (input, origin, pass) = (kept.input, kept.origin, self.pass_of(unit));
        self.at(weights, |worker| {
            if worker.labels.is_some() {
                // The loss is taken from the output.
                worker.build_graph(unit, origin, &input, times)?;
                return Ok(());
            }
            worker.keep_statistics(unit);
            let graph = worker.compute(unit, times, |stage| stage.recompute(&input, pass))?;
            worker.kept.graphs.push_back(KeptGraph {
                unit,
                origin,
                graph,
                output_grad: OutputGrad::FromAbove,
                recorded: None,
            });
            Ok(())
        })
    }

    /// Runs the pass that builds the graph, with the loss on top of it on the last stage.
    fn build_graph(
        &mut self,
        unit: Unit,
        origin: Origin<S>,
        input: &S::Activation,
        times: &mut Times,
    ) -> Result<S::Activation, Fault> {
        let pass = self.pass_of(unit);
        let outlives_updates =
            self.policy.kept == schedule::Kept::Graph && self.policy.staleness > 0;
        let recorded = outlives_updates.then(|| Recorded {
            input: input.clone(),
            weights: self.stage.weights(),
        });
        self.keep_statistics(unit);
        let (output, graph) = self.compute(unit, times, |stage| stage.record(input, pass))?;
        let output_grad = if self.labels.is_some() {
            self.compute_loss(unit, &output, times)?
        } else {
            self.synthesize(unit, &output, times)?
        };
        self.kept.graphs.push_back(KeptGraph {
            unit,
            origin,
            graph,
            output_grad,
            recorded,
        });
        Ok(output)
    }

    /// Keeps the running statistics before the first pass of a batch whose update may be skipped.
    fn keep_statistics(&mut self, unit: Unit) {
        if self.on_non_finite == OnNonFinite::Skip && unit.micro == 0 {
            self.batch.statistics_before = Some(self.stage.statistics());
        }
    }

    /// Computes the loss of a micro-batch and its gradient, and emits an event when its batch is complete. The gradient is
    /// void when the loss is not finite and the run goes on.
    fn compute_loss(
        &mut self,
        unit: Unit,
        output: &S::Activation,
        times: &mut Times,
    ) -> Result<OutputGrad<S::Activation>, Fault> {
        let labels = self.labels.as_mut().ok_or(Fault::Program {
            what: "a loss on a stage without labels",
        })?;
        let LabelledShare {
            labels,
            mixed,
            share,
        } = labels.take(unit).map_err(Fault::Feed)?;
        let loss = self.compute(unit, times, |stage| match &mixed {
            None => stage.loss(output, &labels, share),
            Some((others, own)) => {
                let (labels, others, own) = (&labels, others, *own);
                stage.mixed_loss(
                    output,
                    MixedLabels {
                        labels,
                        others,
                        own,
                    },
                    share,
                )
            }
        })?;
        let is_finite = loss.value.is_finite();
        let goes_on = self.on_non_finite == OnNonFinite::Skip
            && self.skipped_in_a_row < MOST_SKIPPED_IN_A_ROW;
        if !is_finite && !goes_on {
            return Err(Fault::NonFiniteLoss { value: loss.value });
        }
        let (top1, top5) = (loss.correct_top1, loss.correct_top5);
        self.score.add(labels.len(), loss.value, top1, top5);
        let is_finite = self.agree_on_loss(is_finite, times)?;
        let complete = self.score.complete(self.micro_batches);
        if let Some(siblings) = self.siblings.as_mut() {
            // It is told with the update, when all replicas have theirs.
            siblings.score = complete;
        } else if let Some(loss) = complete.as_ref().and_then(|score| score.non_finite) {
            self.skipped_in_a_row += 1;
            self.emit(Event::Skipped {
                batch: unit.batch,
                loss,
                at: self.clock.elapsed(),
            });
        } else if let Some(score) = complete {
            self.skipped_in_a_row = 0;
            self.emit(Event::Trained {
                batch: unit.batch,
                samples: score.samples,
                loss: score.loss(),
                correct_top1: score.correct_top1,
                correct_top5: score.correct_top5,
                learning_rate: self.rate.common(unit.batch),
                at: self.clock.elapsed(),
            });
        }
        Ok(if is_finite {
            OutputGrad::Known(loss.grad)
        } else {
            OutputGrad::Void
        })
    }

    pub(super) fn backward(&mut self, unit: Unit, times: &mut Times) -> Result<Done, Fault> {
        let KeptGraph {
            origin,
            graph,
            output_grad,
            recorded,
            ..
        } = self.kept.take_graph(unit)?;
        // Kernels may then write into its memory.
        drop(recorded);
        let done = Done {
            mark: None,
            staleness: Some(self.version - origin.version),
            gap: self.measure_gap(origin.position)?,
        };
        let output_grad = match output_grad {
            OutputGrad::Known(grad) => Some(grad),
            OutputGrad::Void => None,
            OutputGrad::FromAbove => self.take_gradient(unit, times)?,
        };
        let splits = self.policy.split.is_some();
        let Some(output_grad) = output_grad else {
            if splits {
                let pending = None;
                self.kept.halves.push_back(KeptHalf { unit, pending });
            }
            self.batch.is_void = true;
            let header = self.header(Lane::Gradient, unit);
            self.hops.send(header, Content::Void, times)?;
            return Ok(done);
        };
        let shrinking = self.shrinking;
        let (input_grad, pending) = self.compute(unit, times, |stage| {
            let (grad, pending) = match splits {
                true => {
                    let (grad, pending) = stage.backward_input(graph, output_grad)?;
                    (grad, Some(pending))
                }
                false => (stage.backward(graph, output_grad)?, None),
            };
            let grad = match (grad, shrinking) {
                (Some(grad), Some(beta)) => Some(stage.scaled(grad, beta)?),
                (grad, _) => grad,
            };
            Ok((grad, pending))
        })?;
        if splits {
            self.kept.halves.push_back(KeptHalf { unit, pending });
        }
        if let Some(grad) = input_grad {
            let header = self.header(Lane::Gradient, unit);
            self.hops.send(header, Content::Payload(grad), times)?;
        }
        Ok(done)
    }

    /// The second half of a backward. Of a void micro-batch there is nothing to add.
    pub(super) fn complete(&mut self, unit: Unit, times: &mut Times) -> Result<(), Fault> {
        let KeptHalf { pending, .. } = self.kept.take_half(unit)?;
        if let Some(pending) = pending {
            self.compute(unit, times, |stage| stage.backward_weights(pending))?;
        }
        Ok(())
    }

    /// The gradient of this stage's output, from above; `None` when the batch is void.
    pub(super) fn take_gradient(
        &mut self,
        unit: Unit,
        times: &mut Times,
    ) -> Result<Option<S::Activation>, Fault> {
        let cargo = self.hops.receive_gradient(unit, times)?;
        cargo.map(|cargo| self.land(cargo, times)).transpose()
    }

    pub(super) fn header(&self, lane: Lane, unit: Unit) -> Header {
        Header {
            lane,
            batch: unit.batch,
            micro: unit.micro,
            version: self.version,
            sent_at: self.clock.elapsed(),
            mark: None,
        }
    }
}
