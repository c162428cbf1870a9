//! Every method that trains on stale parameters, written straight from its definition, with the whole history of weights
//! kept.
//!
//! A batch travels in M micro-batches; micro-batch i of batch j is unit u = j·M + i. Stage k forwards it `d_k` units before
//! it pulls it back, so at version `f = max(0, ⌊(u − d_k) / M⌋)`, and the gradient of batch j turns `w^j` into `w^(j+1)`
//! (docs/algorithm.md, "Facts" 3). What sets methods apart is at which weights the two passes run.

use stagger_schedule::{Damping, Discrepancy, Prediction, Rescheduling};

use super::toy::{self, MOMENTUM, Momentum, Rows, WIDTH, Weights};

/// What a run must reproduce to the bit.
#[derive(Debug, PartialEq)]
pub struct Reference {
    /// Loss of every batch.
    pub losses: Vec<f32>,
    /// Final weights of every stage.
    pub weights: Vec<Weights>,
    /// Evaluation losses at the versions asked for.
    pub evaluations: Vec<f64>,
}

/// Evaluation batches are training batches `EVALUATION_OFFSET..`, this many.
pub const EVALUATION_BATCHES: usize = 3;
/// Keeps evaluation inputs apart from training inputs.
pub const EVALUATION_OFFSET: usize = 1_000;

/// At which weights a unit of batch j, forwarded at version f, is pulled back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Backward {
    /// `w^j`.
    Current,
    /// Those of its forward.
    Stashed,
    /// `w^j` minus `j − f` times the running mean of the updates.
    Corrected(Discrepancy),
}

/// A method by its numbers.
#[derive(Clone, Debug)]
pub struct Rule {
    /// `d_k`, in units.
    pub delays: Vec<usize>,
    /// M.
    pub micro_batches: usize,
    /// Batches at the start that nothing runs ahead of.
    pub synchronous_batches: usize,
    /// Whether both passes of batch j run at `w^max(j−1, 0)`.
    pub previous: bool,
    pub backward: Backward,
    /// Factor of the gradient at every stage boundary.
    pub shrinking: f64,
    pub prediction: Option<Prediction>,
    pub rescheduling: Option<Rescheduling>,
    pub damping: Option<Damping>,
    /// The momentum of the stalest stage, with Nesterov's look-ahead on every stage.
    pub largest_momentum: Option<f64>,
}

impl Rule {
    /// DSP with this staleness.
    pub fn dsp(staleness: &[usize]) -> Self {
        Self {
            delays: staleness.to_vec(),
            micro_batches: 1,
            synchronous_batches: 0,
            previous: false,
            backward: Backward::Current,
            shrinking: 1.0,
            prediction: None,
            rescheduling: None,
            damping: None,
            largest_momentum: None,
        }
    }

    /// Version of stage `k` when it forwards a unit of batch `j`.
    fn forward_version(&self, k: usize, unit: usize, j: usize) -> usize {
        let stale = unit.saturating_sub(self.delays[k]) / self.micro_batches;
        stale.max(self.synchronous_batches.min(j))
    }

    fn staleness(&self, k: usize) -> usize {
        if self.previous {
            return 1;
        }
        self.delays[k].div_ceil(self.micro_batches)
    }

    fn rate(&self, k: usize, batch: usize) -> f64 {
        let factor = |rescheduling: Rescheduling| rescheduling.factor(self.staleness(k), batch);
        // `v` comes to g / (1 − β) when the gradient stays g, so a larger β needs a smaller rate to move as far.
        let share = (1.0 - self.momentum(k).beta) / (1.0 - MOMENTUM);
        toy::learning_rate(batch) * share * self.rescheduling.map_or(1.0, factor)
    }

    /// The heavy ball; or Nesterov's look-ahead, at a momentum that rises with the staleness.
    fn momentum(&self, k: usize) -> Momentum {
        let Some(largest) = self.largest_momentum else {
            let (beta, nesterov) = (MOMENTUM, 0.0);
            return Momentum { beta, nesterov };
        };
        let (own, stalest) = (self.staleness(k), self.staleness(0));
        let rise = match stalest {
            0 => 0.0,
            _ => (largest - MOMENTUM) * own as f64 / stalest as f64,
        };
        let (beta, nesterov) = (MOMENTUM + rise, 1.0);
        Momentum { beta, nesterov }
    }
}

/// A stage at every version so far.
struct History {
    weights: Vec<Weights>,
    velocity: Vec<Weights>,
    drift: Vec<Weights>,
    mean_step: f64,
}

const ZERO: Weights = [0.0; WIDTH * WIDTH + WIDTH];

impl History {
    fn forward_weights(&self, rule: &Rule, k: usize, version: usize, batch: usize) -> Weights {
        if rule.previous {
            return self.weights[batch.saturating_sub(1)];
        }
        let steps = batch - version;
        match rule.prediction {
            Some(prediction) if steps > 0 => {
                let rate = rule.rate(k, version);
                let coefficient = prediction.coefficient(rate, steps, MOMENTUM);
                toy::displaced(
                    &self.weights[version],
                    &self.velocity[version],
                    -coefficient,
                )
            }
            _ => self.weights[version],
        }
    }

    fn backward_weights(&self, rule: &Rule, k: usize, version: usize, batch: usize) -> Weights {
        match rule.backward {
            Backward::Stashed => self.forward_weights(rule, k, version, batch),
            Backward::Corrected(_) if batch > version => {
                let steps = (batch - version) as f64;
                toy::displaced(&self.weights[batch], &self.drift[batch], -steps)
            }
            Backward::Current | Backward::Corrected(_) => self.weights[batch],
        }
    }

    fn update(&mut self, rule: &Rule, k: usize, batch: usize, mut gradient: Weights, gap: f64) {
        let damping = rule.damping.filter(|_| rule.staleness(k) > 0);
        if let Some(damping) = damping.filter(|_| self.mean_step > 0.0) {
            let factor = damping.factor(gap, self.mean_step);
            gradient = gradient.map(|value| value * factor as f32);
        }
        let before = self.weights[batch];
        let (mut weights, mut velocity) = (before, self.velocity[batch]);
        let momentum = rule.momentum(k);
        momentum.step(&mut weights, &mut velocity, &gradient, rule.rate(k, batch));
        let mut drift = self.drift[batch];
        if let Backward::Corrected(discrepancy) = rule.backward {
            toy::follow(
                &mut drift,
                discrepancy.keep(rule.staleness(k)),
                &before,
                &weights,
            );
        }
        // The mean over the last hundred updates, give or take.
        let length = toy::distance(&weights, &before).0;
        self.mean_step += (length - self.mean_step) / (batch + 1).min(100) as f64;
        self.weights.push(weights);
        self.velocity.push(velocity);
        self.drift.push(drift);
    }
}

/// Trains on batches `0..batches`.
pub fn train(rule: &Rule, batches: usize, evaluate_at: &[usize]) -> Reference {
    let stages = rule.delays.len();
    let mut history: Vec<History> = (0..stages)
        .map(|k| History {
            weights: vec![toy::initial_weights(k)],
            velocity: vec![ZERO],
            drift: vec![ZERO],
            mean_step: 0.0,
        })
        .collect();
    let mut losses = Vec::new();
    for j in 0..batches {
        let (rows, labels) = (toy::batch_inputs(j), toy::batch_labels(j));
        let (samples, of) = (rows.len(), rule.micro_batches);
        let (mut gradients, mut gaps) = (vec![ZERO; stages], vec![0.0_f64; stages]);
        let mut loss_sum = 0.0;
        for i in 0..of {
            let range = i * samples / of..(i + 1) * samples / of;
            let versions: Vec<usize> = (0..stages)
                .map(|k| rule.forward_version(k, j * of + i, j))
                .collect();
            let mut inputs: Vec<Rows> = vec![rows[range.clone()].to_vec()];
            for k in 0..stages {
                let weights = history[k].forward_weights(rule, k, versions[k], j);
                inputs.push(toy::forward(&weights, &inputs[k]));
            }
            let (value, grad) = toy::loss(&inputs[stages], &labels[range.clone()]);
            loss_sum += f64::from(value) * range.len() as f64;
            let share = range.len() as f64 / samples as f64;
            let mut grad = toy::scaled(grad, share);
            for k in (0..stages).rev() {
                let weights = history[k].backward_weights(rule, k, versions[k], j);
                let (input_grad, weight_grad) = toy::pull_back(&weights, &inputs[k], &grad);
                for (sum, grad) in gradients[k].iter_mut().zip(weight_grad) {
                    *sum += grad;
                }
                let then = history[k].forward_weights(rule, k, versions[k], j);
                gaps[k] = gaps[k].max(toy::distance(&history[k].weights[j], &then).0);
                grad = toy::scaled(input_grad, rule.shrinking);
            }
        }
        losses.push((loss_sum / samples as f64) as f32);
        for (k, history) in history.iter_mut().enumerate() {
            history.update(rule, k, j, gradients[k], gaps[k]);
        }
    }
    let evaluations = evaluate_at.iter().map(|&n| evaluate(&history, n)).collect();
    Reference {
        losses,
        weights: history.iter().map(|h| h.weights[batches]).collect(),
        evaluations,
    }
}

fn evaluate(history: &[History], version: usize) -> f64 {
    let (mut sum, mut samples) = (0.0, 0);
    for batch in EVALUATION_OFFSET..EVALUATION_OFFSET + EVALUATION_BATCHES {
        let labels = toy::batch_labels(batch);
        let outputs = history
            .iter()
            .fold(toy::batch_inputs(batch), |rows, stage| {
                toy::forward(&stage.weights[version], &rows)
            });
        sum += f64::from(toy::loss(&outputs, &labels).0) * labels.len() as f64;
        samples += labels.len();
    }
    sum / samples as f64
}

/// `K−1−k` times a factor, for every stage.
fn delays(stages: usize, factor: usize) -> Vec<usize> {
    (0..stages).rev().map(|above| factor * above).collect()
}

/// Every method on `stages` stages with `m` micro-batches where it has any, and what it is by definition.
pub fn methods(stages: usize, m: usize) -> Vec<(String, Rule)> {
    let dsp = |factor| Rule::dsp(&delays(stages, factor));
    let stashed = |factor| Rule {
        backward: Backward::Stashed,
        ..dsp(factor)
    };
    let flushed = Rule {
        micro_batches: m,
        ..Rule::dsp(&vec![0; stages])
    };
    let buffers = m.max(stages);
    vec![
        (format!("gpipe({m})"), flushed.clone()),
        (format!("1f1b({m})"), flushed.clone()),
        (format!("zb({m})"), flushed.clone()),
        (format!("bp + accumulate({m})"), flushed),
        ("pipedream".into(), stashed(1)),
        ("ddg".into(), stashed(1)),
        ("fr".into(), dsp(1)),
        ("fdg(beta=1)".into(), stashed(2)),
        (
            "fdg(beta=0.5)".into(),
            Rule {
                shrinking: 0.5,
                ..stashed(2)
            },
        ),
        (
            format!("adl({m}, beta=0.75)"),
            Rule {
                micro_batches: m,
                shrinking: 0.75,
                ..stashed(2)
            },
        ),
        (
            format!("2bw({buffers})"),
            Rule {
                micro_batches: buffers,
                previous: true,
                ..stashed(1)
            },
        ),
        (
            "pipemare(anneal=7, decay=0.25, sync=3)".into(),
            Rule {
                synchronous_batches: 3,
                backward: Backward::Corrected(Discrepancy { decay: 0.25 }),
                rescheduling: Some(Rescheduling {
                    anneal_batches: 7,
                    first_batch: 3,
                }),
                ..dsp(1)
            },
        ),
        (
            format!("dsp + accumulate({m})"),
            Rule {
                micro_batches: m,
                ..dsp(2)
            },
        ),
        (
            "dsp + predict".into(),
            Rule {
                prediction: Some(Prediction::Linear),
                ..dsp(2)
            },
        ),
        (
            "ddg + predict(geometric)".into(),
            Rule {
                prediction: Some(Prediction::Geometric),
                ..stashed(1)
            },
        ),
        (
            format!("dsp + accumulate({m}) + predict + shrink(0.5)"),
            Rule {
                micro_batches: m,
                shrinking: 0.5,
                prediction: Some(Prediction::Linear),
                ..dsp(2)
            },
        ),
        (
            "dsp + reschedule(9)".into(),
            Rule {
                rescheduling: Some(Rescheduling {
                    anneal_batches: 9,
                    first_batch: 0,
                }),
                ..dsp(2)
            },
        ),
        (
            "dsp + gap-aware".into(),
            Rule {
                damping: Some(Damping),
                ..dsp(2)
            },
        ),
        (
            "dsp + predict + gap-aware".into(),
            Rule {
                prediction: Some(Prediction::Linear),
                damping: Some(Damping),
                ..dsp(2)
            },
        ),
        (
            "dsp + look-ahead(0.97)".into(),
            Rule {
                largest_momentum: Some(0.97),
                ..dsp(2)
            },
        ),
        (
            "pipedream + look-ahead(0.95)".into(),
            Rule {
                largest_momentum: Some(0.95),
                ..stashed(1)
            },
        ),
        (
            "pipemare(anneal=7, decay=0.25, sync=3) + look-ahead(0.95)".into(),
            Rule {
                synchronous_batches: 3,
                backward: Backward::Corrected(Discrepancy { decay: 0.25 }),
                rescheduling: Some(Rescheduling {
                    anneal_batches: 7,
                    first_batch: 3,
                }),
                largest_momentum: Some(0.95),
                ..dsp(1)
            },
        ),
        (
            format!("2bw({buffers}) + gap-aware"),
            Rule {
                micro_batches: buffers,
                previous: true,
                damping: Some(Damping),
                ..stashed(1)
            },
        ),
    ]
}
