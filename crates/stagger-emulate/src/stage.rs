//! A stage that sleeps instead of computing.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stagger_engine::{
    Distance, EngineError, HostTensor, Loss, MixedLabels, MseLoss, Profile, Score, Stage,
    StageState, UpdateReport,
};
use stagger_plan::Times;
use stagger_schedule::{Action, Place};

use crate::rows::Rows;
use crate::sleep::Sleeper;

/// What the names of emulated state begin with, and those of no model.
const PREFIX: &str = "emulated.";

/// Whether a state is one of emulated stages, so that there are no weights in it.
#[must_use]
pub fn is_emulated(state: &StageState) -> bool {
    state.tensors.keys().any(|name| name.starts_with(PREFIX))
}

/// A stage, or a replica of one, whose passes and updates last as long as they would, and do nothing. Evaluations take no time. It has no parameters, and its losses are 0.
pub struct EmulatedStage {
    place: Place,
    /// Its number.
    number: usize,
    times: Arc<Times>,
    /// Micro-batches of a batch, M.
    micro_batches: usize,
    /// What its passes are in its program.
    part: Part,
    /// The pass that was pulled back last since the last update.
    pulled_back: Option<usize>,
    sleeper: Sleeper,
    profile: Option<Profile>,
}

/// Which part of a pipeline a stage is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Layers, which are recomputed or not.
    Layers { recomputes: bool },
    /// The synthesizer above them: its guesses take no time.
    Synthesizer,
}

/// What a recorded pass keeps for its backward.
#[derive(Clone, Copy, Debug)]
pub struct EmulatedGraph {
    /// The share of a micro-batch, counted over the run.
    pass: usize,
    rows: Rows,
}

impl EmulatedStage {
    pub(crate) fn new(
        place: Place,
        times: &Arc<Times>,
        micro_batches: usize,
        recomputes: bool,
        profiled: bool,
    ) -> Self {
        Self {
            place,
            number: times.replicas().number(place.stage, place.replica),
            times: Arc::clone(times),
            micro_batches,
            part: Part::Layers { recomputes },
            pulled_back: None,
            sleeper: Sleeper::default(),
            profile: profiled.then(Profile::default),
        }
    }

    /// The batch and the micro-batch of a pass. Passes are numbered over all replicas.
    fn unit(&self, pass: usize) -> (usize, usize) {
        let unit = pass / self.place.of;
        (unit / self.micro_batches, unit % self.micro_batches)
    }

    /// Lasts as long as an action does.
    fn take(&mut self, action: Action) -> Result<(), EngineError> {
        self.last_as(action, false)
    }

    /// The same, where a backward pass may be the first half of one.
    fn last_as(&mut self, action: Action, halves: bool) -> Result<(), EngineError> {
        let time = Duration::from_nanos(self.times.action(self.number, action, halves));
        if let Some(profile) = &mut self.profile {
            profile.add(name(action), time);
        }
        self.sleeper.sleep(time)
    }

    /// Pulls a gradient back, whole or by the first half of the pass.
    fn pull_back(
        &mut self,
        graph: EmulatedGraph,
        output_grad: Rows,
        halves: bool,
    ) -> Result<Option<Rows>, EngineError> {
        if output_grad != graph.rows {
            let shape = |rows: Rows| vec![rows.0, 1];
            return Err(EngineError::Rows {
                expected: shape(graph.rows),
                found: shape(output_grad),
            });
        }
        self.pulled_back = Some(graph.pass);
        let (batch, micro) = self.unit(graph.pass);
        if self.part == Part::Synthesizer {
            return Ok(None);
        }
        self.last_as(Action::Backward { batch, micro }, halves)?;
        Ok((self.place.stage > 0).then_some(graph.rows))
    }

    /// The name of its only tensor.
    fn tensor(&self) -> String {
        format!("{PREFIX}stage{}", self.place.stage)
    }

    fn label(&self) -> String {
        format!("emulated {}", self.place.stage)
    }
}

/// What a profile calls the time of an action.
fn name(action: Action) -> &'static str {
    match action {
        Action::Forward { .. } => "emulated forward",
        Action::Recompute { .. } => "emulated recompute",
        Action::Backward { .. } => "emulated backward",
        Action::WeightGradients { .. } => "emulated weights",
        Action::Learn { .. } => "emulated learn",
        Action::Update { .. } => "emulated update",
        Action::Evaluate { .. } | Action::Snapshot { .. } => "emulated rest",
    }
}

impl fmt::Debug for EmulatedStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatedStage")
            .field("place", &self.place)
            .field("part", &self.part)
            .finish_non_exhaustive()
    }
}

impl Stage for EmulatedStage {
    type Activation = Rows;
    type Graph = EmulatedGraph;
    type Pending = usize;
    type Weights = ();
    type Position = ();
    type Statistics = ();

    fn upload(&self, host: HostTensor) -> Result<Rows, EngineError> {
        host.check()?;
        Ok(Rows(host.shape.first().copied().unwrap_or_default()))
    }

    fn watch_stop(&mut self, is_stopping: Arc<dyn Fn() -> bool + Send + Sync>) {
        self.sleeper.watch(is_stopping);
    }

    fn forward(&mut self, input: &Rows, batch: usize) -> Result<Rows, EngineError> {
        let (batch, micro) = self.unit(batch);
        if self.part != Part::Synthesizer {
            self.take(Action::Forward { batch, micro })?;
        }
        Ok(*input)
    }

    fn record(&mut self, input: &Rows, pass: usize) -> Result<(Rows, EmulatedGraph), EngineError> {
        let (batch, micro) = self.unit(pass);
        match self.part {
            Part::Layers { recomputes: false } => self.take(Action::Forward { batch, micro })?,
            Part::Layers { recomputes: true } => self.take(Action::Recompute { batch, micro })?,
            Part::Synthesizer => {}
        }
        let rows = *input;
        Ok((rows, EmulatedGraph { pass, rows }))
    }

    fn backward(
        &mut self,
        graph: EmulatedGraph,
        output_grad: Rows,
    ) -> Result<Option<Rows>, EngineError> {
        self.pull_back(graph, output_grad, false)
    }

    fn backward_input(
        &mut self,
        graph: EmulatedGraph,
        output_grad: Rows,
    ) -> Result<(Option<Rows>, usize), EngineError> {
        Ok((self.pull_back(graph, output_grad, true)?, graph.pass))
    }

    fn backward_weights(&mut self, pass: usize) -> Result<(), EngineError> {
        let (batch, micro) = self.unit(pass);
        match self.part {
            Part::Synthesizer => Ok(()),
            Part::Layers { .. } => self.take(Action::WeightGradients { batch, micro }),
        }
    }

    fn loss(
        &self,
        logits: &Rows,
        labels: &[usize],
        _share: f64,
    ) -> Result<Loss<Rows>, EngineError> {
        let score = self.score(logits, labels)?;
        Ok(Loss {
            value: score.loss,
            grad: *logits,
            correct_top1: score.correct_top1,
            correct_top5: score.correct_top5,
        })
    }

    fn mixed_loss(
        &self,
        logits: &Rows,
        labels: MixedLabels<'_>,
        share: f64,
    ) -> Result<Loss<Rows>, EngineError> {
        self.loss(logits, labels.labels, share)
    }

    fn mse_loss(&self, predicted: &Rows, target: &Rows) -> Result<MseLoss<Rows>, EngineError> {
        if predicted != target {
            return Err(EngineError::ShapeMismatch {
                predicted: vec![predicted.0, 1],
                target: vec![target.0, 1],
            });
        }
        let (value, grad) = (0.0, *predicted);
        Ok(MseLoss { value, grad })
    }

    fn scaled(&self, activation: Rows, _factor: f64) -> Result<Rows, EngineError> {
        Ok(activation)
    }

    fn scale_gradients(&mut self, _factor: f64) -> Result<(), EngineError> {
        Ok(())
    }

    fn export_gradients(&self) -> Result<Vec<HostTensor>, EngineError> {
        Ok(Vec::new())
    }

    fn import_gradients(&mut self, values: Vec<HostTensor>) -> Result<(), EngineError> {
        self.import_weights(values)
    }

    fn score(&self, logits: &Rows, labels: &[usize]) -> Result<Score, EngineError> {
        if logits.0 != labels.len() {
            return Err(EngineError::Labels {
                labels: labels.len(),
                logits: vec![logits.0, 1],
            });
        }
        Ok(Score {
            loss: 0.0,
            correct_top1: 0,
            correct_top5: 0,
        })
    }

    fn update(&mut self, _learning_rate: f64) -> Result<UpdateReport, EngineError> {
        let pass = self.pulled_back.take();
        let pass = pass.ok_or_else(|| EngineError::NoGradient {
            stage: self.label(),
        })?;
        // The update of a batch is that of the version of its number.
        let (batch, micro) = self.unit(pass);
        self.take(match self.part {
            Part::Layers { .. } => Action::Update { version: batch },
            Part::Synthesizer => Action::Learn { batch, micro },
        })?;
        Ok(UpdateReport::default())
    }

    fn weights(&self) {}

    fn replace_weights(&mut self, _weights: ()) {}

    fn predicted_weights(&self, _coefficient: f64) -> Result<(), EngineError> {
        Ok(())
    }

    fn track_drift(&mut self, _keep: f64) {}

    fn track_average(&mut self, _keep: f64) {}

    fn averaged_weights(&self) -> Result<Option<()>, EngineError> {
        Ok(None)
    }

    fn drifted_weights(&self, _steps: f64) -> Result<(), EngineError> {
        Ok(())
    }

    fn position(&self) {}

    fn position_of(&self, _weights: &()) -> Option<()> {
        Some(())
    }

    fn distance(&self, _from: &()) -> Result<Distance, EngineError> {
        Ok(Distance::default())
    }

    fn synthesizer(&self) -> Result<Self, EngineError> {
        Ok(Self {
            place: self.place,
            number: self.number,
            times: Arc::clone(&self.times),
            micro_batches: self.micro_batches,
            part: Part::Synthesizer,
            pulled_back: None,
            sleeper: self.sleeper.clone(),
            profile: None,
        })
    }

    fn export_weights(&self, _weights: &()) -> Result<Vec<HostTensor>, EngineError> {
        Ok(Vec::new())
    }

    fn import_weights(&self, values: Vec<HostTensor>) -> Result<(), EngineError> {
        if values.is_empty() {
            return Ok(());
        }
        Err(EngineError::ForeignWeights {
            stage: self.label(),
            expected: 0,
            found: values.len(),
        })
    }

    fn export_position(&self, _position: &()) -> Result<Vec<HostTensor>, EngineError> {
        Ok(Vec::new())
    }

    fn import_position(&self, values: Vec<HostTensor>) -> Result<(), EngineError> {
        self.import_weights(values)
    }

    fn statistics(&self) {}

    fn restore_statistics(&mut self, _statistics: ()) {}

    fn export_statistics(&self, _statistics: &()) -> Result<Vec<HostTensor>, EngineError> {
        Ok(Vec::new())
    }

    fn import_statistics(&self, values: Vec<HostTensor>) -> Result<(), EngineError> {
        self.import_weights(values)
    }

    fn discard_gradients(&mut self) {
        self.pulled_back = None;
    }

    fn evaluate(&mut self, input: &Rows) -> Result<Rows, EngineError> {
        Ok(*input)
    }

    fn profile(&mut self) -> Option<Profile> {
        self.profile.as_mut().map(std::mem::take)
    }

    /// One number, under a name that no model has, so that it is not taken for weights.
    fn export(&self) -> Result<StageState, EngineError> {
        let value = HostTensor::new(vec![1], vec![0.0])?;
        let mut state = StageState::default();
        state.tensors.insert(self.tensor(), value);
        Ok(state)
    }

    fn import(&mut self, state: &StageState) -> Result<(), EngineError> {
        let (stage, name) = (self.label(), self.tensor());
        if let Some(other) = state.tensors.keys().find(|other| **other != name) {
            let name = other.clone();
            return Err(EngineError::Unexpected { stage, name });
        }
        if state.tensors.is_empty() {
            let expected = vec![1];
            return Err(EngineError::Missing {
                stage,
                name,
                expected,
            });
        }
        self.pulled_back = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
