//! Forward, recompute and backward of a micro-batch.

use std::time::{Duration, Instant};

use stagger_engine::{EngineError, Stage};
use stagger_schedule::Kept;
use stagger_transport::{Content, Lane, LinkError};

use super::micro_batch::{LabelledShare, Unit};
use super::{Flow, Worker};
use crate::event::Event;
use crate::fault::Fault;

/// What is kept of a forward until its recompute.
pub(super) struct KeptInput<S: Stage> {
    unit: Unit,
    /// See [`Worker::forward_version`].
    version: usize,
    input: S::Activation,
    /// The weights of the forward, where the backward runs at them too.
    weights: Option<S::Weights>,
    position: Option<S::Position>,
}

/// What is kept of the pass that built the graph until its backward.
pub(super) struct KeptGraph<S: Stage> {
    unit: Unit,
    /// See [`Worker::forward_version`].
    forward_version: usize,
    graph: S::Graph,
    /// The gradient of the output where the stage has it itself: that of the loss, or a synthetic one.
    output_grad: Option<S::Activation>,
    position: Option<S::Position>,
}

/// Where a forward ran, for the backward to compare with.
struct Origin<S: Stage> {
    version: usize,
    position: Option<S::Position>,
}

impl<S: Stage> Worker<S> {
    pub(super) fn forward(&mut self, unit: Unit) -> Result<Flow, Fault> {
        let Some(input) = self.take_input(unit)? else {
            self.send_up(Lane::Activation, unit, Content::End)?;
            return Ok(Flow::EndBefore(unit.batch));
        };
        let weights = self.forward_weights(unit.batch)?;
        let origin = Origin {
            version: self.forward_version(unit.batch),
            position: self.position_to_keep(unit.batch, weights.as_ref()),
        };
        match self.policy.kept {
            Kept::Graph => {
                let output = self.at(weights, |worker| worker.build_graph(unit, origin, &input))?;
                self.send_up(Lane::Activation, unit, Content::Payload(output))?;
            }
            Kept::Input => {
                let (pass, mut stashed) = (self.pass_of(unit), None);
                let sends = self.ports.above.is_some();
                let output = self.at(weights, |worker| {
                    stashed = worker.weights_to_stash();
                    // Nobody reads the last stage's output before its recompute.
                    sends
                        .then(|| worker.compute(unit, |stage| stage.forward(&input, pass)))
                        .transpose()
                })?;
                if let Some(output) = output {
                    self.send_up(Lane::Activation, unit, Content::Payload(output))?;
                }
                self.kept_inputs.push_back(KeptInput {
                    unit,
                    version: origin.version,
                    input,
                    weights: stashed,
                    position: origin.position,
                });
            }
        }
        Ok(Flow::Continue)
    }

    pub(super) fn recompute(&mut self, unit: Unit) -> Result<Flow, Fault> {
        let kept = self
            .kept_inputs
            .pop_front()
            .filter(|kept| kept.unit == unit);
        let kept = kept.ok_or(Fault::Program {
            what: "a recompute without a kept input",
        })?;
        let weights = self.backward_weights(kept.version, kept.weights)?;
        let (input, pass) = (kept.input, self.pass_of(unit));
        let origin = Origin {
            version: kept.version,
            position: kept.position,
        };
        self.at(weights, |worker| {
            if worker.labels.is_some() {
                // The loss is taken from the output.
                worker.build_graph(unit, origin, &input)?;
                return Ok(());
            }
            let graph = worker.compute(unit, |stage| stage.recompute(&input, pass))?;
            worker.keep(unit, origin, graph, None);
            Ok(())
        })?;
        Ok(Flow::Continue)
    }

    /// Runs the pass that builds the graph, with the loss on top of it on the last stage.
    fn build_graph(
        &mut self,
        unit: Unit,
        origin: Origin<S>,
        input: &S::Activation,
    ) -> Result<S::Activation, Fault> {
        let pass = self.pass_of(unit);
        let (output, graph) = self.compute(unit, |stage| stage.record(input, pass))?;
        let output_grad = if self.labels.is_some() {
            Some(self.judge(unit, &output)?)
        } else {
            self.synthesize(unit, &output)?
        };
        self.keep(unit, origin, graph, output_grad);
        Ok(output)
    }

    fn keep(
        &mut self,
        unit: Unit,
        origin: Origin<S>,
        graph: S::Graph,
        output_grad: Option<S::Activation>,
    ) {
        self.kept_graphs.push_back(KeptGraph {
            unit,
            forward_version: origin.version,
            graph,
            output_grad,
            position: origin.position,
        });
    }

    /// Takes the loss of a micro-batch, and tells of it when its batch is complete.
    fn judge(&mut self, unit: Unit, output: &S::Activation) -> Result<S::Activation, Fault> {
        let labels = self.labels.as_mut().ok_or(Fault::Program {
            what: "a loss on a stage without labels",
        })?;
        let LabelledShare { labels, share } = labels.take(unit).map_err(Fault::Feed)?;
        let loss = self.compute(unit, |stage| stage.loss(output, &labels, share))?;
        if !loss.value.is_finite() {
            return Err(Fault::NonFiniteLoss { value: loss.value });
        }
        let (top1, top5) = (loss.correct_top1, loss.correct_top5);
        self.score.add(labels.len(), loss.value, top1, top5);
        if let Some(score) = self.score.complete(self.micro_batches) {
            self.emit(Event::Trained {
                batch: unit.batch,
                samples: score.samples,
                loss: score.loss(),
                correct_top1: score.correct_top1,
                correct_top5: score.correct_top5,
                learning_rate: (self.learning_rate)(unit.batch),
                at: self.clock.elapsed(),
            });
        }
        Ok(loss.grad)
    }

    pub(super) fn backward(&mut self, unit: Unit) -> Result<Flow, Fault> {
        let kept = self
            .kept_graphs
            .pop_front()
            .filter(|kept| kept.unit == unit);
        let kept = kept.ok_or(Fault::Program {
            what: "a backward without a graph",
        })?;
        self.staleness = Some(self.version - kept.forward_version);
        self.gap = self.measure_gap(kept.position)?;
        let output_grad = match kept.output_grad {
            Some(grad) => grad,
            None => self.receive_grad(unit)?,
        };
        let shrinking = self.shrinking;
        let input_grad = self.compute(unit, |stage| {
            let grad = stage.backward(kept.graph, output_grad)?;
            match (grad, shrinking) {
                (Some(grad), Some(shrinking)) => stage.scaled(grad, shrinking.beta).map(Some),
                (grad, _) => Ok(grad),
            }
        })?;
        if let Some(grad) = input_grad {
            self.send_down(unit, grad)?;
        }
        Ok(Flow::Continue)
    }

    /// The number that dropout is keyed by: that of the micro-batch over the whole run.
    pub(super) fn pass_of(&self, unit: Unit) -> usize {
        unit.batch * self.micro_batches + unit.micro
    }

    /// Runs a computation, drawn out where the stage straggles with this batch.
    pub(super) fn compute<R>(
        &mut self,
        unit: Unit,
        work: impl FnOnce(&mut S) -> Result<R, EngineError>,
    ) -> Result<R, Fault> {
        let started = Instant::now();
        let result = work(&mut self.stage)?;
        self.straggle(unit.batch, started.elapsed())?;
        Ok(result)
    }

    /// Sleeps as a straggler does after `computed` of work.
    pub(super) fn straggle(&mut self, batch: usize, computed: Duration) -> Result<(), Fault> {
        let delay = self.disturbance.delay(batch, computed);
        if delay.is_zero() {
            return Ok(());
        }
        self.delayed += delay;
        // Nothing is ever sent here: the wait ends at its time, or when the run is stopped.
        match self.stop.raised().recv_timeout(delay) {
            Err(error) if error.is_timeout() => Ok(()),
            _ => Err(LinkError::Stopped.into()),
        }
    }
}
