//! Forward, recompute and backward of a micro-batch.

use std::time::{Duration, Instant};

use stagger_engine::{EngineError, Stage};
use stagger_schedule::Kept;
use stagger_transport::{Content, Lane, LinkError};

use super::Worker;
use super::micro_batch::{LabelledShare, Unit};
use crate::event::Event;
use crate::fault::Fault;
use crate::plan::OnNonFinite;

/// So many batches in a row may be left out.
const SKIPPED_IN_A_ROW: usize = 10;

/// What is kept of a forward until its recompute.
pub(super) struct KeptInput<S: Stage> {
    pub unit: Unit,
    /// See [`Worker::forward_version`].
    pub version: usize,
    pub input: S::Activation,
    /// The weights of the forward, where the backward runs at them too.
    pub weights: Option<S::Weights>,
    pub position: Option<S::Position>,
}

/// What is kept of the pass that built the graph until its backward.
pub(super) struct KeptGraph<S: Stage> {
    pub unit: Unit,
    /// See [`Worker::forward_version`].
    pub forward_version: usize,
    pub graph: S::Graph,
    /// The gradient of the output where the stage has it itself: that of the loss, or a synthetic one.
    pub output_grad: Option<S::Activation>,
    pub position: Option<S::Position>,
    /// Whether its loss is not finite: then it is not pulled back.
    pub void: bool,
    /// What the graph was built from, where graphs outlive an update and so are part of snapshots.
    pub of: Option<Recorded<S>>,
}

/// Input and weights of a recorded pass.
pub(super) struct Recorded<S: Stage> {
    pub input: S::Activation,
    pub weights: S::Weights,
}

/// Where a forward ran, for the backward to compare with.
struct Origin<S: Stage> {
    version: usize,
    position: Option<S::Position>,
}

impl<S: Stage> Worker<S> {
    pub(super) fn forward(&mut self, unit: Unit) -> Result<(), Fault> {
        let input = self.take_input(unit)?;
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
        Ok(())
    }

    pub(super) fn recompute(&mut self, unit: Unit) -> Result<(), Fault> {
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
            worker.keep_statistics(unit);
            let graph = worker.compute(unit, |stage| stage.recompute(&input, pass))?;
            worker.kept_graphs.push_back(KeptGraph {
                unit,
                forward_version: origin.version,
                graph,
                output_grad: None,
                position: origin.position,
                void: false,
                of: None,
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
    ) -> Result<S::Activation, Fault> {
        let pass = self.pass_of(unit);
        let outlives_updates = self.policy.kept == Kept::Graph && self.policy.staleness > 0;
        let of = outlives_updates.then(|| Recorded {
            input: input.clone(),
            weights: self.stage.weights(),
        });
        self.keep_statistics(unit);
        let (output, graph) = self.compute(unit, |stage| stage.record(input, pass))?;
        let judged = self.labels.is_some();
        let output_grad = if judged {
            self.judge(unit, &output)?
        } else {
            self.synthesize(unit, &output)?
        };
        self.kept_graphs.push_back(KeptGraph {
            unit,
            forward_version: origin.version,
            graph,
            void: judged && output_grad.is_none(),
            output_grad,
            position: origin.position,
            of,
        });
        Ok(output)
    }

    /// Keeps the running statistics before the first pass of a batch that may turn out void.
    fn keep_statistics(&mut self, unit: Unit) {
        if self.on_non_finite == OnNonFinite::Skip && unit.micro == 0 {
            self.statistics_before = Some(self.stage.statistics());
        }
    }

    /// Takes the loss of a micro-batch, and tells of it when its batch is complete. `None` when it is not finite and the
    /// run goes on all the same.
    fn judge(
        &mut self,
        unit: Unit,
        output: &S::Activation,
    ) -> Result<Option<S::Activation>, Fault> {
        let labels = self.labels.as_mut().ok_or(Fault::Program {
            what: "a loss on a stage without labels",
        })?;
        let LabelledShare { labels, share } = labels.take(unit).map_err(Fault::Feed)?;
        let loss = self.compute(unit, |stage| stage.loss(output, &labels, share))?;
        let is_finite = loss.value.is_finite();
        let goes_on =
            self.on_non_finite == OnNonFinite::Skip && self.skipped_in_a_row < SKIPPED_IN_A_ROW;
        if !is_finite && !goes_on {
            return Err(Fault::NonFiniteLoss { value: loss.value });
        }
        let (top1, top5) = (loss.correct_top1, loss.correct_top5);
        self.score.add(labels.len(), loss.value, top1, top5);
        let complete = self.score.complete(self.micro_batches);
        if let Some(loss) = complete.as_ref().and_then(|score| score.non_finite) {
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
                learning_rate: (self.learning_rate)(unit.batch),
                at: self.clock.elapsed(),
            });
        }
        Ok(is_finite.then_some(loss.grad))
    }

    pub(super) fn backward(&mut self, unit: Unit) -> Result<(), Fault> {
        let kept = self
            .kept_graphs
            .pop_front()
            .filter(|kept| kept.unit == unit);
        let kept = kept.ok_or(Fault::Program {
            what: "a backward without a graph",
        })?;
        // Kernels may then write into its memory.
        drop(kept.of);
        self.staleness = Some(self.version - kept.forward_version);
        self.gap = self.measure_gap(kept.position)?;
        let output_grad = match kept.output_grad {
            Some(grad) => Some(grad),
            None if kept.void => None,
            None => self.receive_grad(unit)?,
        };
        let Some(output_grad) = output_grad else {
            self.void = true;
            return self.send_down(unit, Content::Void);
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
            self.send_down(unit, Content::Payload(grad))?;
        }
        Ok(())
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
        if self.stop.sleep(delay) {
            return Err(LinkError::Stopped.into());
        }
        Ok(())
    }
}
