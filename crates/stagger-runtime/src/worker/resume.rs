//! What a stage holds at a version besides its state: written to a snapshot, and restored from one.

use std::collections::VecDeque;

use stagger_engine::{Activation, HostTensor, Stage};
use stagger_schedule as schedule;

use super::Worker;
use super::hops::{InFlight, SentLog};
use super::kept::{KeptGraph, KeptInput, Origin, OutputGrad, Recorded};
use super::micro_batch::Unit;
use super::times::Times;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::snapshot::{
    KeptPass, PipelineState, ResumeError, RunningMean, Sent, Snapshot, StageSnapshot,
};
use stagger_schedule::Place;

impl<S: Stage> Worker<S> {
    /// All that is in flight here, right after an update.
    pub(super) fn pipeline_state(&self) -> Result<PipelineState, Fault> {
        let graphs = self.kept.graphs.iter().map(|kept| {
            let Some(recorded) = &kept.recorded else {
                return Err(Fault::Program {
                    what: "a snapshot while a graph is in use",
                });
            };
            let weights = Some(&recorded.weights);
            self.export_pass(kept.unit, &kept.origin, &recorded.input, weights)
        });
        let inputs = self.kept.inputs.iter().map(|kept| {
            self.export_pass(kept.unit, &kept.origin, &kept.input, kept.weights.as_ref())
        });
        let previous = self.versions.previous.as_ref();
        let previous = previous.filter(|_| self.place.is_first());
        let synthesis = self.synthesis.as_ref();
        Ok(PipelineState {
            kept: graphs.chain(inputs).collect::<Result<_, _>>()?,
            sent_up: export_sent(&self.hops.sent_up)?,
            sent_down: export_sent(&self.hops.sent_down)?,
            previous_weights: previous
                .map(|weights| self.stage.export_weights(weights))
                .transpose()?,
            mean_step: self.versions.step.export(),
            skipped_in_a_row: self.skipped_in_a_row,
            statistics: None,
            synthesis: synthesis.map(|synthesis| synthesis.export()).transpose()?,
        })
    }

    fn export_pass(
        &self,
        unit: Unit,
        origin: &Origin<S>,
        input: &S::Activation,
        weights: Option<&S::Weights>,
    ) -> Result<KeptPass, Fault> {
        // Other replicas have the same weights.
        let is_first = self.place.is_first();
        let weights = weights.filter(|_| is_first);
        let position = origin.position.as_ref().filter(|_| is_first);
        Ok(KeptPass {
            batch: unit.batch,
            micro: unit.micro,
            version: origin.version,
            input: input.to_host()?,
            weights: weights
                .map(|weights| self.stage.export_weights(weights))
                .transpose()?,
            position: position
                .map(|position| self.stage.export_position(position))
                .transpose()?,
        })
    }

    /// Puts the stage where it was when the snapshot was taken. To be called once, on a stage that has done nothing.
    pub(super) fn resume(&mut self, plan: &Plan, snapshot: &Snapshot) -> Result<(), Fault> {
        let (expected, found) = (plan.schedule.stages(), snapshot.stages.len());
        if expected != found {
            return Err(ResumeError::Stages { expected, found }.into());
        }
        let Place { stage, replica, of } = self.place;
        let found = &snapshot.stages[stage];
        let count = found.of_replicas().count();
        let Some(pipeline) = found.of_replicas().nth(replica).filter(|_| count == of) else {
            return Err(ResumeError::Replicas {
                stage,
                expected: of,
                found: count,
            }
            .into());
        };
        let state = &found.state;
        let mut program = plan.schedule.program(stage, &plan.horizon);
        let expected = program.skip_to(snapshot.version);
        check_count(
            "passes between forward and backward",
            expected,
            pipeline.kept.len(),
        )?;

        self.skipped_in_a_row = pipeline.skipped_in_a_row;
        let first = snapshot.version * self.micro_batches;
        // Weights are those of the first replica, as they are equal.
        let weights = &found.pipeline;
        check_count(
            "passes with their weights",
            pipeline.kept.len(),
            weights.kept.len(),
        )?;
        for (number, (kept, weights)) in (first..).zip(pipeline.kept.iter().zip(&weights.kept)) {
            let unit = Unit::of_number(number, self.micro_batches);
            check_unit("a kept pass", unit, (kept.batch, kept.micro))?;
            self.restore_pass(unit, kept, weights)?;
        }
        if let Some(synthesis) = self.synthesis.as_mut() {
            let micro_batches = self.micro_batches;
            let from = pipeline.synthesis.as_ref();
            check_count("synthesizers", 1, usize::from(from.is_some()))?;
            if let Some(from) = from {
                synthesis.import(from, |unit| unit.number(micro_batches))?;
            }
        }
        // Building graphs has moved the running statistics, which are part of the state.
        self.stage.import(state)?;
        if self.siblings.is_some() {
            let own = pipeline.statistics.as_ref();
            check_count(
                "running statistics of a replica",
                1,
                usize::from(own.is_some()),
            )?;
            if let Some(own) = own {
                let own = self.stage.import_statistics(own.clone())?;
                self.stage.restore_statistics(own);
            }
        }
        self.versions.previous = match &weights.previous_weights {
            Some(values) => Some(self.stage.import_weights(values.clone())?),
            None => None,
        };
        self.versions.step.import(pipeline.mean_step);
        self.is_at(snapshot.version);

        self.hops.arrived = self.inputs_in_flight(snapshot, first + pipeline.kept.len())?;
        self.hops.returned = self.gradients_in_flight(snapshot)?;
        self.hops.sent_up.messages = self.restore_all(&pipeline.sent_up)?;
        self.hops.sent_down.messages = self.restore_all(&pipeline.sent_down)?;
        Ok(())
    }

    /// Restores a pass between its forward and its backward, at the weights that the first replica keeps of it.
    fn restore_pass(
        &mut self,
        unit: Unit,
        kept: &KeptPass,
        of_first: &KeptPass,
    ) -> Result<(), Fault> {
        let input = self.stage.upload(kept.input.clone())?;
        let import = |values: &Vec<HostTensor>| self.stage.import_weights(values.clone());
        let weights = of_first.weights.as_ref().map(import).transpose()?;
        let import = |values: &Vec<HostTensor>| self.stage.import_position(values.clone());
        let position = of_first.position.as_ref().map(import).transpose()?;
        let origin = Origin {
            version: kept.version,
            position,
        };
        if self.policy.kept == schedule::Kept::Input {
            self.kept.inputs.push_back(KeptInput {
                unit,
                origin,
                input,
                weights,
            });
            return Ok(());
        }
        check_count("weights of a graph", 1, usize::from(weights.is_some()))?;
        let Some(weights) = weights else {
            return Ok(());
        };
        let pass = self.pass_of(unit);
        let present = self.stage.replace_weights(weights.clone());
        // How long a run takes to start is not counted.
        let recorded = self.pass(&mut Times::default(), |stage| stage.record(&input, pass));
        self.stage.replace_weights(present);
        let ((_, graph), _) = recorded?;
        self.kept.graphs.push_back(KeptGraph {
            unit,
            origin,
            graph,
            output_grad: OutputGrad::FromAbove,
            recorded: Some(Recorded { input, weights }),
        });
        Ok(())
    }

    fn restore_all(&self, sent: &[Sent]) -> Result<VecDeque<InFlight<S::Activation>>, Fault> {
        sent.iter().map(|sent| self.restore_sent(sent)).collect()
    }

    fn restore_sent(&self, sent: &Sent) -> Result<InFlight<S::Activation>, Fault> {
        Ok(InFlight {
            unit: Unit {
                batch: sent.batch,
                micro: sent.micro,
            },
            version: sent.version,
            tensor: self.stage.upload(sent.tensor.clone())?,
        })
    }

    /// What the stage below has sent and this one, about to forward micro-batch `next`, has not taken.
    fn inputs_in_flight(
        &self,
        snapshot: &Snapshot,
        next: usize,
    ) -> Result<VecDeque<InFlight<S::Activation>>, Fault> {
        let Some(below) = self.place.stage.checked_sub(1) else {
            return Ok(VecDeque::new());
        };
        let (kept, sent_up) = self.sent_below(&snapshot.stages[below])?;
        let sent_until = snapshot.version * self.micro_batches + kept;
        let number = |sent: &Sent| sent.batch * self.micro_batches + sent.micro;
        let pending = sent_up.iter().filter(|sent| number(sent) >= next);
        check_count(
            "activations in flight",
            sent_until.saturating_sub(next),
            pending.clone().count(),
        )?;
        pending
            .zip(next..)
            .map(|(sent, number)| {
                check_unit(
                    "an activation in flight",
                    Unit::of_number(number, self.micro_batches),
                    (sent.batch, sent.micro),
                )?;
                self.restore_sent(sent)
            })
            .collect()
    }

    /// How many micro-batches the stage below has forwarded and not pulled back, and what it has sent last: of that the rows that
    /// this place takes.
    fn sent_below(&self, below: &StageSnapshot) -> Result<(usize, Vec<Sent>), Fault> {
        let Place { stage, replica, of } = self.place;
        let replicas: Vec<&PipelineState> = below.of_replicas().collect();
        let mut sent = match replicas.get(replica) {
            Some(other) if replicas.len() == of => other.sent_up.clone(),
            _ => below.pipeline.sent_up.clone(),
        };
        match (replicas.as_slice(), of) {
            (all, of) if all.len() == of => {}
            ([_], _) => {
                for sent in &mut sent {
                    sent.tensor.check()?;
                    let rows = sent.tensor.shape.first().copied();
                    check_count("sides of an activation in flight", 1, rows.iter().count())?;
                    let rows = self.place.rows(rows.unwrap_or_default());
                    sent.tensor = sent.tensor.rows(rows);
                }
            }
            ([_, rest @ ..], 1) => {
                for (number, sent) in sent.iter_mut().enumerate() {
                    let others = rest.iter().filter_map(|other| other.sent_up.get(number));
                    let mut parts = vec![std::mem::take(&mut sent.tensor)];
                    parts.extend(others.map(|sent| sent.tensor.clone()));
                    let what = "parts of an activation in flight";
                    check_count(what, replicas.len(), parts.len())?;
                    sent.tensor = HostTensor::of_rows(&parts)?;
                }
            }
            (all, expected) => {
                return Err(ResumeError::Replicas {
                    stage: stage - 1,
                    expected,
                    found: all.len(),
                }
                .into());
            }
        }
        Ok((below.pipeline.kept.len(), sent))
    }

    /// What the stage above has sent and the synthesizer has not learned from.
    fn gradients_in_flight(
        &self,
        snapshot: &Snapshot,
    ) -> Result<VecDeque<InFlight<S::Activation>>, Fault> {
        let Some((synthesis, above)) = self
            .synthesis
            .as_ref()
            .zip(snapshot.stages.get(self.place.stage + 1))
        else {
            return Ok(VecDeque::new());
        };
        let sent = &above.pipeline.sent_down;
        let expected = synthesis.pending().count();
        check_count("gradients in flight", expected, sent.len().min(expected))?;
        let pending = &sent[sent.len() - expected..];
        synthesis
            .pending()
            .zip(pending)
            .map(|(unit, sent)| {
                check_unit("a gradient in flight", unit, (sent.batch, sent.micro))?;
                self.restore_sent(sent)
            })
            .collect()
    }
}

fn export_sent<T: Activation>(log: &SentLog<T>) -> Result<Vec<Sent>, Fault> {
    let export = |message: &InFlight<T>| {
        Ok(Sent {
            batch: message.unit.batch,
            micro: message.unit.micro,
            version: message.version,
            tensor: message.tensor.to_host()?,
        })
    };
    log.messages.iter().map(export).collect()
}

fn check_count(what: &'static str, expected: usize, found: usize) -> Result<(), ResumeError> {
    if expected == found {
        return Ok(());
    }
    Err(ResumeError::Count {
        what,
        expected,
        found,
    })
}

fn check_unit(
    what: &'static str,
    expected: Unit,
    (batch, micro): (usize, usize),
) -> Result<(), ResumeError> {
    if (Unit { batch, micro }) == expected {
        return Ok(());
    }
    Err(ResumeError::Batch {
        what,
        expected: expected.batch,
        found: batch,
    })
}

impl super::versions::MeanStep {
    fn export(self) -> RunningMean {
        RunningMean {
            mean: self.mean,
            count: self.steps,
        }
    }

    fn import(&mut self, from: RunningMean) {
        (self.mean, self.steps) = (from.mean, from.count);
    }
}
