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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Weights of a parameter of one value, which is 1 at the start, after each step.
    fn run(optimizer: &Optimizer, gradients: &[f64], rate: f64) -> Vec<f64> {
        let (mut weight, mut slots) = (1.0_f64, [0.0; 2]);
        let steps = gradients.iter().zip(1..);
        steps
            .map(|(&gradient, number)| {
                let of = StepOf {
                    number,
                    learning_rate: rate,
                    dimensions: 2,
                    trust_ratio: optimizer.trust_ratio(weight.abs(), gradient.abs(), 2),
                };
                optimizer.reference_step(&mut weight, gradient, &mut slots, of);
                weight
            })
            .collect()
    }

    fn momentum(beta: f64, nesterov: f64) -> Optimizer {
        Optimizer::Momentum {
            beta,
            nesterov,
            weight_decay: WeightDecay::default(),
        }
    }

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} is not {expected}"
            );
        }
    }

    #[test]
    fn by_hand() {
        // Heavy ball: v = 1, 1.5; w = 1 − 0.1·1, 0.9 − 0.1·1.5.
        close(&run(&momentum(0.5, 0.0), &[1.0, 1.0], 0.1), &[0.9, 0.75]);
        // Nesterov: steps g + β·v = 1.5, 1.75.
        close(&run(&momentum(0.5, 1.0), &[1.0, 1.0], 0.1), &[0.85, 0.675]);
        let decaying = Optimizer::Sgd {
            weight_decay: WeightDecay::everywhere(0.5),
        };
        close(&run(&decaying, &[1.0, 0.0], 0.1), &[0.85, 0.8075]);
        // The first step of Adam is −η·sign(g), up to ε, after the decoupled decay of 0.1·0.5.
        let adamw = Optimizer::AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-12,
            weight_decay: WeightDecay::everywhere(0.5),
        };
        let found = run(&adamw, &[3.0], 0.1)[0];
        assert!((found - 0.85).abs() < 1e-9, "{found}");
        // A step of trust · η in the direction of the gradient, however long that is: q = 0.5·1/(4 + 1·1) = 0.1 makes 0.1·(4 + 1)
        // of it; then v = 0.5·0.5 + (0.5·0.95/(9.5 + 0.95))·(9.5 + 0.95).
        let lars = Optimizer::Lars {
            beta: 0.5,
            trust: 0.5,
            weight_decay: WeightDecay::everywhere(1.0),
        };
        close(&run(&lars, &[4.0, 9.5], 0.1), &[0.95, 0.95 - 0.1 * 0.725]);
        // Signs of 0.1·3, of 0.9·0.03 − 0.1·0.2 and of 0.9·0.0277 − 0.1·1, after a decay of a twentieth each.
        let lion = Optimizer::lion(WeightDecay::everywhere(0.5));
        close(
            &run(&lion, &[3.0, -0.2, -1.0], 0.1),
            &[0.85, 0.85 * 0.95 - 0.1, (0.85 * 0.95 - 0.1) * 0.95 + 0.1],
        );
        close(
            &run(&Optimizer::lion(WeightDecay::default()), &[0.0], 0.1),
            &[1.0],
        );
    }

    #[test]
    fn trust_is_for_gradients_and_weights_that_have_a_length() {
        let lars = Optimizer::lars(0.9, WeightDecay::everywhere(1.0));
        assert_eq!(lars.trust_ratio(2.0, 6.0, 4), 0.01 * 2.0 / 8.0);
        for (weight, gradient, dimensions) in [(0.0, 1.0, 4), (1.0, 0.0, 4), (2.0, 6.0, 1)] {
            assert_eq!(lars.trust_ratio(weight, gradient, dimensions), 1.0);
        }
        assert_eq!(momentum(0.9, 0.0).trust_ratio(2.0, 6.0, 4), 1.0);
    }

    #[test]
    fn one_dimensional_parameters_can_be_exempt_from_decay() {
        let optimizer = Optimizer::Sgd {
            weight_decay: WeightDecay::matrices(0.5),
        };
        let mut bias = 1.0;
        let of = |dimensions| StepOf {
            number: 1,
            learning_rate: 0.1,
            dimensions,
            trust_ratio: 1.0,
        };
        optimizer.reference_step(&mut bias, 0.0, &mut [], of(1));
        assert_eq!(bias, 1.0);
        optimizer.reference_step(&mut bias, 0.0, &mut [], of(2));
        assert_eq!(bias, 0.95);
    }

    proptest! {
        /// The velocity form is Yan et al.'s two-sequence form, for a constant learning rate.
        #[test]
        fn unified_form(
            beta in 0.0..0.99_f64,
            share in 0.0..1.0_f64,
            gradients in prop::collection::vec(-2.0..2.0_f64, 1..20),
        ) {
            let (rate, nesterov) = (0.1, share / (1.0 - beta));
            let found = run(&momentum(beta, nesterov), &gradients, rate);
            let (mut weight, mut previous) = (1.0_f64, 1.0_f64);
            for (gradient, found) in gradients.iter().zip(found) {
                let y = weight - rate * gradient;
                let z = weight - nesterov * rate * gradient;
                weight = y + beta * (z - previous);
                previous = z;
                prop_assert!((weight - found).abs() < 1e-8 * (1.0 + weight.abs()));
            }
        }
    }

    #[test]
    fn settings_are_checked() {
        let message = |optimizer: Optimizer| optimizer.validate().unwrap_err().to_string();
        assert_eq!(
            message(momentum(1.0, 0.0)),
            "optimizer `momentum` expects beta to be at least 0 and below 1 but it is 1"
        );
        assert_eq!(
            message(momentum(0.5, 3.0)),
            "optimizer `momentum` expects nesterov to be between 0 and 1/(1-beta) = 2 but it is 3"
        );
        assert!(momentum(0.9, 1.0 / (1.0 - 0.9)).validate().is_ok());
        assert_eq!(
            message(Optimizer::Sgd {
                weight_decay: WeightDecay::everywhere(f64::NAN)
            }),
            "optimizer `sgd` expects weight decay to be finite and at least 0 but it is NaN"
        );
    }

    #[test]
    fn reads_what_it_writes() {
        let optimizer = momentum(0.9, 1.0);
        let text = serde_json::to_string(&optimizer).unwrap();
        assert_eq!(
            text,
            r#"{"kind":"momentum","beta":0.9,"nesterov":1.0,"weight_decay":{"rate":0.0,"matrices_only":false}}"#
        );
        assert_eq!(serde_json::from_str::<Optimizer>(&text).unwrap(), optimizer);
    }
}
