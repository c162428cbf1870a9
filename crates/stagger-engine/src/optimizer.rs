//! Optimizers as data, and their formulas in plain numbers.

use serde::{Deserialize, Serialize};

/// How a stage turns gradients into updates. `w` is a parameter, `g` its gradient, `η` the learning rate of the
/// batch; state starts at 0. Only data: engines run it on their tensors, [`Optimizer::reference_step`] says in plain
/// numbers what they have to compute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent: `g ← g + λ·w`, `w ← w − η·g`.
    Sgd {
        /// Weight decay `λ`, coupled: it enters through the gradient.
        #[serde(default)]
        weight_decay: WeightDecay,
    },
    /// Momentum in the unified form of Yan et al. 2018 ("A Unified Analysis of Stochastic Momentum Methods for Deep
    /// Learning"): `y' = w − η·g`, `z' = w − s·η·g`, `w ← y' + β·(z' − z)`, with `z` the previous step's `z'`.
    /// For constant `η` that is the same as
    ///
    /// ```text
    /// g ← g + λ·w;   v ← β·v + g;   w ← w − η·( s·g + (1 − s·(1 − β))·v )
    /// ```
    ///
    /// which is what runs here, so that `v` stays what PyTorch calls `momentum_buffer` when `η` changes.
    /// `s = 0` is the heavy ball (PyTorch's `SGD(momentum=β)`), `s = 1` Nesterov's method (`nesterov=True`), and
    /// `s = 1 / (1 − β)` plain SGD at the rate `η / (1 − β)`.
    Momentum {
        /// `β`, at least 0 and below 1.
        beta: f64,
        /// `s`, at least 0 and at most `1 / (1 − β)`.
        #[serde(default)]
        nesterov: f64,
        /// Weight decay `λ`, coupled: it enters through the gradient.
        #[serde(default)]
        weight_decay: WeightDecay,
    },
    /// AdamW (Loshchilov and Hutter 2019, as in PyTorch), at step `t = 1, 2, …`:
    ///
    /// ```text
    /// w ← w − η·λ·w;   m ← β₁·m + (1 − β₁)·g;   v ← β₂·v + (1 − β₂)·g²
    /// w ← w − η · (m / (1 − β₁ᵗ)) / ( √(v / (1 − β₂ᵗ)) + ε )
    /// ```
    AdamW {
        /// `β₁`, at least 0 and below 1.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// `β₂`, at least 0 and below 1.
        #[serde(default = "default_beta2")]
        beta2: f64,
        /// `ε`, above 0.
        #[serde(default = "default_epsilon")]
        epsilon: f64,
        /// Weight decay `λ`, decoupled: it acts on the weight, not on the gradient.
        #[serde(default)]
        weight_decay: WeightDecay,
    },
    /// LARS (You, Gitman, Ginsburg 2017, "Large Batch Training of Convolutional Networks", [arXiv
    /// 1708.03888](https://arxiv.org/abs/1708.03888)): the heavy ball, with every parameter's gradient brought to a length in
    /// proportion to the parameter's own:
    ///
    /// ```text
    /// q = trust · ‖w‖ / (‖g‖ + λ·‖w‖);   g ← q·(g + λ·w);   v ← β·v + g;   w ← w − η·v
    /// ```
    ///
    /// `q` is [`Optimizer::trust_ratio`]. The rate is outside of `v`, as in PyTorch's SGD and unlike in the paper, which differs
    /// where the rate changes.
    Lars {
        /// `β`, at least 0 and below 1.
        #[serde(default = "default_beta1")]
        beta: f64,
        /// How far a parameter moves at rate 1 as a share of its length, above 0.
        #[serde(default = "default_trust")]
        trust: f64,
        /// Weight decay `λ`, coupled: it enters through the gradient.
        #[serde(default)]
        weight_decay: WeightDecay,
    },
    /// Lion (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms", [arXiv
    /// 2302.06675](https://arxiv.org/abs/2302.06675), algorithm 2), with `sign(0) = 0`:
    ///
    /// ```text
    /// w ← w − η·λ·w − η·sign( β₁·m + (1 − β₁)·g );   m ← β₂·m + (1 − β₂)·g
    /// ```
    Lion {
        /// `β₁`, at least 0 and below 1.
        #[serde(default = "default_beta1")]
        beta1: f64,
        /// `β₂`, at least 0 and below 1.
        #[serde(default = "default_lion_beta2")]
        beta2: f64,
        /// Weight decay `λ`, decoupled: it acts on the weight, not on the gradient.
        #[serde(default)]
        weight_decay: WeightDecay,
    },
}

/// What a step on a value depends on besides the value, its gradient and its state.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepOf {
    /// Which step it is, from 1.
    pub number: u64,
    /// `η`.
    pub learning_rate: f64,
    /// The number of dimensions of the parameter.
    pub dimensions: usize,
    /// The parameter's [`Optimizer::trust_ratio`] in this step.
    pub trust_ratio: f64,
}

/// How much weights are pulled towards 0, and which.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightDecay {
    /// `λ`, at least 0.
    pub rate: f64,
    /// Leaves parameters of one dimension (biases, scales and shifts) alone.
    #[serde(default)]
    pub matrices_only: bool,
}

impl WeightDecay {
    /// Decay at this rate for every parameter, as PyTorch does it.
    pub fn everywhere(rate: f64) -> Self {
        Self {
            rate,
            matrices_only: false,
        }
    }

    /// Decay at this rate, except for parameters of one dimension.
    pub fn matrices(rate: f64) -> Self {
        Self {
            rate,
            matrices_only: true,
        }
    }

    /// `λ` for a parameter of this many dimensions.
    pub fn rate_for(&self, dimensions: usize) -> f64 {
        if self.matrices_only && dimensions <= 1 {
            0.0
        } else {
            self.rate
        }
    }
}

fn default_beta1() -> f64 {
    0.9
}

fn default_beta2() -> f64 {
    0.999
}

fn default_epsilon() -> f64 {
    1e-8
}

fn default_lion_beta2() -> f64 {
    0.99
}

fn default_trust() -> f64 {
    0.01
}

/// A setting of an optimizer outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("optimizer `{optimizer}` expects {setting} to be {expected} but it is {found}")]
pub struct OptimizerError {
    /// The optimizer.
    pub optimizer: &'static str,
    /// The setting.
    pub setting: &'static str,
    /// The range.
    pub expected: String,
    /// The value.
    pub found: f64,
}

impl Optimizer {
    /// Adam with its usual settings (Kingma and Ba 2015): AdamW without decay.
    pub fn adam() -> Self {
        Self::AdamW {
            beta1: default_beta1(),
            beta2: default_beta2(),
            epsilon: default_epsilon(),
            weight_decay: WeightDecay::default(),
        }
    }

    /// LARS with a trust of 0.01, ten times the paper's: parameters of one dimension, which it does not hold for, then have a rate that suits
    /// them.
    pub fn lars(beta: f64, weight_decay: WeightDecay) -> Self {
        Self::Lars {
            beta,
            trust: default_trust(),
            weight_decay,
        }
    }

    /// Lion with the settings of the paper.
    pub fn lion(weight_decay: WeightDecay) -> Self {
        Self::Lion {
            beta1: default_beta1(),
            beta2: default_lion_beta2(),
            weight_decay,
        }
    }

    /// The names of all.
    pub const NAMES: [&str; 5] = ["sgd", "momentum", "adamw", "lars", "lion"];

    /// Its name, one of [`Optimizer::NAMES`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sgd { .. } => "sgd",
            Self::Momentum { .. } => "momentum",
            Self::AdamW { .. } => "adamw",
            Self::Lars { .. } => "lars",
            Self::Lion { .. } => "lion",
        }
    }

    /// The weight decay.
    pub fn weight_decay(&self) -> WeightDecay {
        match *self {
            Self::Sgd { weight_decay }
            | Self::Momentum { weight_decay, .. }
            | Self::AdamW { weight_decay, .. }
            | Self::Lars { weight_decay, .. }
            | Self::Lion { weight_decay, .. } => weight_decay,
        }
    }

    /// The state kept per parameter, each of the parameter's shape, by PyTorch's names.
    pub fn slots(&self) -> &'static [&'static str] {
        match self {
            Self::Sgd { .. } => &[],
            Self::Momentum { .. } | Self::Lars { .. } => &["momentum_buffer"],
            Self::AdamW { .. } => &["exp_avg", "exp_avg_sq"],
            Self::Lion { .. } => &["exp_avg"],
        }
    }

    /// Whether the formulas contain the number of the step, which then is part of the state.
    pub fn counts_steps(&self) -> bool {
        matches!(self, Self::AdamW { .. })
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// The [`OptimizerError`] of the first setting outside its range.
    pub fn validate(&self) -> Result<(), OptimizerError> {
        let check = |holds: bool, setting, expected: &str, found| {
            let error = OptimizerError {
                optimizer: self.name(),
                setting,
                expected: expected.into(),
                found,
            };
            if holds { Ok(()) } else { Err(error) }
        };
        let fraction = |setting, beta: f64| {
            let holds = (0.0..1.0).contains(&beta);
            check(holds, setting, "at least 0 and below 1", beta)
        };
        let rate = self.weight_decay().rate;
        let holds = rate.is_finite() && rate >= 0.0;
        check(holds, "weight decay", "finite and at least 0", rate)?;
        match *self {
            Self::Sgd { .. } => Ok(()),
            Self::Momentum { beta, nesterov, .. } => {
                fraction("beta", beta)?;
                let most = 1.0 / (1.0 - beta);
                // One part in 10¹² for those who write 1/(1 − β) in decimals.
                let holds = (0.0..=most * (1.0 + 1e-12)).contains(&nesterov);
                let range = format!("between 0 and 1/(1-beta) = {most}");
                check(holds, "nesterov", &range, nesterov)
            }
            Self::AdamW {
                beta1,
                beta2,
                epsilon,
                ..
            } => {
                fraction("beta1", beta1)?;
                fraction("beta2", beta2)?;
                let holds = epsilon.is_finite() && epsilon > 0.0;
                check(holds, "epsilon", "finite and above 0", epsilon)
            }
            Self::Lars { beta, trust, .. } => {
                fraction("beta", beta)?;
                let holds = trust.is_finite() && trust > 0.0;
                check(holds, "trust", "finite and above 0", trust)
            }
            Self::Lion { beta1, beta2, .. } => {
                fraction("beta1", beta1)?;
                fraction("beta2", beta2)
            }
        }
    }

    /// Whether [`Optimizer::trust_ratio`] reads the norms of a parameter with this many dimensions and of its gradient.
    pub fn reads_norms(&self, dimensions: usize) -> bool {
        matches!(self, Self::Lars { .. }) && dimensions > 1
    }

    /// What LARS multiplies a parameter's gradient by, decay included, from the Euclidean norms of both. 1 where one of them is 0, for parameters
    /// of one dimension (biases, scales and shifts, whose lengths say little), and with all other optimizers.
    pub fn trust_ratio(&self, weight_norm: f64, gradient_norm: f64, dimensions: usize) -> f64 {
        match *self {
            Self::Lars {
                trust,
                weight_decay,
                ..
            } if dimensions > 1 && weight_norm > 0.0 && gradient_norm > 0.0 => {
                let decay = weight_decay.rate_for(dimensions);
                trust * weight_norm / (gradient_norm + decay * weight_norm)
            }
            _ => 1.0,
        }
    }

    /// One step on one value, in `f64`: the specification that engines are tested against.
    ///
    /// `slots` holds the value's state in the order of [`Optimizer::slots`].
    ///
    /// # Panics
    /// When `slots` is shorter than [`Optimizer::slots`].
    pub fn reference_step(&self, weight: &mut f64, gradient: f64, slots: &mut [f64], of: StepOf) {
        let (rate, decay) = (
            of.learning_rate,
            self.weight_decay().rate_for(of.dimensions),
        );
        match *self {
            Self::Sgd { .. } => *weight -= rate * (gradient + decay * *weight),
            Self::Momentum { beta, nesterov, .. } => {
                let gradient = gradient + decay * *weight;
                slots[0] = beta * slots[0] + gradient;
                let velocity_share = 1.0 - nesterov * (1.0 - beta);
                *weight -= rate * (nesterov * gradient + velocity_share * slots[0]);
            }
            Self::AdamW {
                beta1,
                beta2,
                epsilon,
                ..
            } => {
                *weight -= rate * decay * *weight;
                slots[0] = beta1 * slots[0] + (1.0 - beta1) * gradient;
                slots[1] = beta2 * slots[1] + (1.0 - beta2) * gradient * gradient;
                let mean = slots[0] / (1.0 - beta1.powf(of.number as f64));
                let square = slots[1] / (1.0 - beta2.powf(of.number as f64));
                *weight -= rate * mean / (square.sqrt() + epsilon);
            }
            Self::Lars { beta, .. } => {
                slots[0] = beta * slots[0] + of.trust_ratio * (gradient + decay * *weight);
                *weight -= rate * slots[0];
            }
            Self::Lion { beta1, beta2, .. } => {
                let direction = beta1 * slots[0] + (1.0 - beta1) * gradient;
                let sign = if direction == 0.0 {
                    0.0
                } else {
                    direction.signum()
                };
                *weight -= rate * decay * *weight + rate * sign;
                slots[0] = beta2 * slots[0] + (1.0 - beta2) * gradient;
            }
        }
    }
}

#[cfg(test)]
mod tests;
