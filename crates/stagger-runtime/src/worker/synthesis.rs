//! Synthetic gradients (DNI): a stage predicts the gradient of its output instead of waiting for it, and learns from
//! the true one when it comes.
//!
//! Source: Jaderberg et al., "Decoupled Neural Interfaces using Synthetic Gradients", ICML 2017, arXiv 1608.05343. As in the
//! paper, the true gradient is itself computed from the synthetic gradient of the stage above.

use std::collections::VecDeque;
use std::time::Instant;

use stagger_engine::{Activation, EngineError, MseLoss, Stage};

use super::Worker;
use super::kept::OutputGrad;
use super::micro_batch::Unit;
use super::times::Times;
use crate::event::Event;
use crate::fault::Fault;
use crate::snapshot::{KeptLesson, RunningMean, SynthesisState};

/// Learning rate of synthesizers, which learn with Adam whatever the network learns with.
const LEARNING_RATE: f64 = 1e-3;

/// The synthesizer of the boundary above a stage.
pub(super) struct Synthesis<S: Stage> {
    synthesizer: S,
    lessons: VecDeque<Lesson<S>>,
    scale: Scale,
}

/// What the graph of a lesson was built from.
struct Source<S: Stage> {
    output: S::Activation,
    weights: S::Weights,
}

/// Mean square of the last true gradients. The synthesizer works in units of its root: gradients are smaller by orders of
/// magnitude than what a network of ordinary weights gives, and become smaller as training goes on.
#[derive(Clone, Copy, Default)]
struct Scale {
    mean_square: f64,
    batches: u32,
}

impl Scale {
    /// A running mean over the last twenty batches or so.
    fn add(&mut self, mean_square: f64) {
        self.batches = (self.batches + 1).min(20);
        self.mean_square += (mean_square - self.mean_square) / f64::from(self.batches);
    }

    /// The unit; 1 while all gradients were 0.
    fn unit(&self) -> f64 {
        if self.mean_square > 0.0 {
            self.mean_square.sqrt()
        } else {
            1.0
        }
    }
}

/// A synthetic gradient, until the true one is known.
struct Lesson<S: Stage> {
    unit: Unit,
    graph: S::Graph,
    /// The synthetic gradient, in units of the scale. It is that of the loss of each sample, not of their mean: otherwise the
    /// last, small batch of an epoch would look different.
    guess: S::Activation,
    samples: usize,
    source: Source<S>,
}

impl<S: Stage> Synthesis<S> {
    /// A synthesizer for the outputs of a stage.
    pub fn of(stage: &S) -> Result<Self, EngineError> {
        Ok(Self {
            synthesizer: stage.synthesizer()?,
            lessons: VecDeque::new(),
            scale: Scale::default(),
        })
    }

    /// The synthetic gradient of an output.
    fn guess(
        &mut self,
        unit: Unit,
        pass: usize,
        output: &S::Activation,
    ) -> Result<S::Activation, EngineError> {
        let (guess, samples) = self.record_lesson(unit, pass, output)?;
        let share = self.scale.unit() / samples as f64;
        self.synthesizer.scaled(guess, share)
    }

    /// Runs the synthesizer, and keeps what it needs to learn from the true gradient. Its guess, and the number of samples.
    fn record_lesson(
        &mut self,
        unit: Unit,
        pass: usize,
        output: &S::Activation,
    ) -> Result<(S::Activation, usize), EngineError> {
        let samples = output.shape().first().copied().unwrap_or(1).max(1);
        let weights = self.synthesizer.weights();
        let (guess, graph) = self.synthesizer.record(output, pass)?;
        let output = output.clone();
        self.lessons.push_back(Lesson {
            unit,
            graph,
            guess: guess.clone(),
            samples,
            source: Source { output, weights },
        });
        Ok((guess, samples))
    }

    /// All of it, for a snapshot.
    pub fn export(&self) -> Result<SynthesisState, EngineError> {
        let lesson = |lesson: &Lesson<S>| {
            Ok(KeptLesson {
                batch: lesson.unit.batch,
                micro: lesson.unit.micro,
                output: lesson.source.output.to_host()?,
                weights: self.synthesizer.export_weights(&lesson.source.weights)?,
            })
        };
        Ok(SynthesisState {
            state: self.synthesizer.export()?,
            scale: RunningMean {
                mean: self.scale.mean_square,
                count: self.scale.batches,
            },
            lessons: self
                .lessons
                .iter()
                .map(lesson)
                .collect::<Result<_, EngineError>>()?,
        })
    }

    /// Resumes from a snapshot: repeats the guesses that it has not learned from, at the weights of that time.
    pub fn import(
        &mut self,
        from: &SynthesisState,
        pass_of: impl Fn(Unit) -> usize,
    ) -> Result<(), EngineError> {
        for lesson in &from.lessons {
            let unit = Unit {
                batch: lesson.batch,
                micro: lesson.micro,
            };
            let weights = self.synthesizer.import_weights(lesson.weights.clone())?;
            let output = self.synthesizer.upload(lesson.output.clone())?;
            let present = self.synthesizer.replace_weights(weights);
            let recorded = self.record_lesson(unit, pass_of(unit), &output);
            self.synthesizer.replace_weights(present);
            recorded?;
        }
        self.scale = Scale {
            mean_square: from.scale.mean,
            batches: from.scale.count,
        };
        self.synthesizer.import(&from.state)
    }

    /// The micro-batches that it has not learned from.
    pub fn pending(&self) -> impl Iterator<Item = Unit> {
        self.lessons.iter().map(|lesson| lesson.unit)
    }

    /// Trains the synthesizer. Its loss before the step, and that of a synthesizer that always gives 0.
    fn learn(
        &mut self,
        lesson: Lesson<S>,
        truth: S::Activation,
    ) -> Result<(f64, f64), EngineError> {
        let synthesizer = &mut self.synthesizer;
        let truth = synthesizer.scaled(truth, lesson.samples as f64)?;
        drop(lesson.source);
        let silence = synthesizer.scaled(lesson.guess.clone(), 0.0)?;
        let of_silence = synthesizer.mse_loss(&silence, &truth)?.value;
        self.scale.add(of_silence);
        let unit = self.scale.unit();
        let truth = synthesizer.scaled(truth, 1.0 / unit)?;
        let MseLoss { value, grad } = synthesizer.mse_loss(&lesson.guess, &truth)?;
        synthesizer.backward(lesson.graph, grad)?;
        synthesizer.update(LEARNING_RATE)?;
        Ok((value * unit * unit, of_silence))
    }
}

impl<S: Stage> Worker<S> {
    /// The gradient of an output: synthetic on a stage that has a synthesizer, else from above.
    pub(super) fn synthesize(
        &mut self,
        unit: Unit,
        output: &S::Activation,
        times: &mut Times,
    ) -> Result<OutputGrad<S::Activation>, Fault> {
        let pass = self.pass_of(unit);
        let Some(synthesis) = self.synthesis.as_mut() else {
            return Ok(OutputGrad::FromAbove);
        };
        let started = Instant::now();
        let grad = synthesis.guess(unit, pass, output)?;
        self.straggle(unit.batch, started.elapsed(), times)?;
        Ok(OutputGrad::Known(grad))
    }

    /// Takes the true gradient of a batch and trains the synthesizer on it.
    pub(super) fn learn(&mut self, unit: Unit, times: &mut Times) -> Result<(), Fault> {
        let truth = self.take_gradient(unit, times)?;
        let without = Fault::Program {
            what: "a gradient to learn from that nothing was said about",
        };
        let Some(synthesis) = self.synthesis.as_mut() else {
            return Err(without);
        };
        let lesson = synthesis.lessons.pop_front();
        let lesson = lesson.filter(|lesson| lesson.unit == unit).ok_or(without)?;
        // A void batch has no gradient to learn from.
        let Some(truth) = truth else {
            return Ok(());
        };
        let started = Instant::now();
        let (loss, loss_of_silence) = synthesis.learn(lesson, truth)?;
        self.straggle(unit.batch, started.elapsed(), times)?;
        self.emit(Event::Synthesized {
            stage: self.place.stage,
            batch: unit.batch,
            loss,
            loss_of_silence,
        });
        Ok(())
    }
}
