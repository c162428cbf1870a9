//! What a case of the theory consists of, and the quantities along its runs.

use std::ops::Range;

use proptest::prelude::*;
use stagger_plan::theory::{Momentum, per_kappa};
use stagger_schedule::Schedule;

use super::constants::Constants;
use super::network::{self, Batch, SIZE, Weights, any_batches, any_weights};
use super::run::{History, train};

/// How much larger norms of weights may be than at the start. Runs that leave that region are no cases of the theory.
const SLACK: f64 = 0.5;

/// The numbers that the descent argument uses: proven ones, or the smallest ones with which its lines hold along some runs.
pub use stagger_plan::theory::Constants as Bounds;

/// A network, its data, and how it is trained.
#[derive(Clone, Debug)]
pub struct Setting {
    pub staleness: Vec<usize>,
    pub momentum: Momentum,
    /// `λ` of the weight decay.
    pub decay: f64,
    pub batches: Vec<Batch>,
    pub initial: Weights,
    pub constants: Constants,
    /// `κ`: one half, or 0 where no term is divided by it.
    pub kappa: f64,
    /// `η̂`.
    pub rate: f64,
}

impl Setting {
    /// Trained at this share of the largest rate that (24) allows.
    pub fn new(
        staleness: Vec<usize>,
        momentum: Momentum,
        batches: Vec<Batch>,
        initial: Weights,
        share: f64,
    ) -> Self {
        let mut setting = Self {
            constants: Constants::around(&initial, SLACK),
            kappa: match momentum.beta * momentum.of_velocity() == 0.0 {
                true => 0.0,
                false => 0.5,
            },
            rate: 0.0,
            staleness,
            momentum,
            decay: 0.0,
            batches,
            initial,
        };
        setting.rate = share * setting.largest_rate();
        setting
    }

    /// Proven on the region.
    pub fn bounds(&self) -> Bounds {
        let Constants {
            bias, smoothness, ..
        } = &self.constants;
        let factors: Vec<f64> = self.staleness.iter().map(|&m| m as f64).collect();
        Bounds {
            smoothness: *smoothness,
            spread: bias.norm_bound(),
            drift: bias.scaled(&factors).norm_bound(),
        }
    }

    /// `η_max`: where (24) holds with equality.
    pub fn largest_rate(&self) -> f64 {
        self.bounds().largest_rate_for(self.momentum, self.kappa)
    }

    /// The left side of (24).
    pub fn condition(&self, rate: f64, bounds: &Bounds) -> f64 {
        bounds.condition(self.momentum, rate, self.kappa)
    }

    /// A term that is divided by κ, and is not there for κ = 0.
    pub fn per_kappa(&self, term: f64) -> f64 {
        per_kappa(self.kappa, term)
    }

    /// `L β θ / (1 − β)`.
    pub fn lag(&self, bounds: &Bounds) -> f64 {
        bounds.lag(self.momentum)
    }

    /// A2: whether the proven constants hold at a version, and at what may follow from it.
    pub fn covers(&self, at: &At) -> bool {
        let mut visited = [&at.weights, &at.auxiliary].into_iter().chain(&at.next);
        visited.all(|weights| self.constants.cover(weights))
    }

    /// `η`.
    pub fn learning_rate(&self) -> f64 {
        self.rate * (1.0 - self.momentum.beta)
    }

    pub fn train(&self, sequence: &[usize]) -> History {
        let list: Vec<String> = self.staleness.iter().map(usize::to_string).collect();
        self.train_by(&format!("dsp(m={})", list.join(",")), sequence)
    }

    /// Trains by another method.
    pub fn train_by(&self, notation: &str, sequence: &[usize]) -> History {
        let stages = self.staleness.len();
        let schedule = Schedule::parse(notation, Some(stages)).expect("a valid schedule");
        let rate = self.learning_rate();
        let (initial, batches) = (&self.initial, &self.batches);
        train(
            schedule,
            self.momentum,
            self.decay,
            rate,
            initial,
            batches,
            sequence,
        )
    }

    /// `w̃^n`.
    pub fn stale(&self, history: &History, n: usize) -> Weights {
        let stages = self.staleness.iter().enumerate();
        stages
            .map(|(k, m)| history.weights[n.saturating_sub(*m)][k])
            .collect()
    }

    /// What holds at version n of a run.
    pub fn at(&self, history: &History, n: usize) -> At {
        let weights = history.weights[n].clone();
        let stale = self.stale(history, n);
        let batches = self.batches.iter();
        let grads: Vec<Weights> = batches
            .map(|batch| network::gradient(&weights, &stale, batch))
            .collect();
        let mean = network::mean(grads.iter().cloned());
        let mut noise = vec![0.0; self.staleness.len()];
        for grad in &grads {
            for (sum, distance) in noise.iter_mut().zip(network::distances(grad, &mean)) {
                *sum += distance.powi(2) / grads.len() as f64;
            }
        }
        let full = self.gradient(&weights);
        let auxiliary = self.auxiliary(history, n);
        let next = grads
            .iter()
            .map(|grad| network::moved(&auxiliary, -self.rate, grad));
        At {
            next: next.collect(),
            gradient: self.gradient(&auxiliary),
            value: self.objective(&auxiliary),
            moves: network::distances(&weights, &stale),
            bias: network::distances(&mean, &full),
            auxiliary,
            weights,
            stale,
            grads,
            mean,
            noise,
            full,
        }
    }

    /// `z^n = w^n − η̂ β θ v^n`.
    pub fn auxiliary(&self, history: &History, n: usize) -> Weights {
        let factor = -self.rate * self.momentum.beta * self.momentum.of_velocity();
        network::moved(&history.weights[n], factor, &history.velocity[n])
    }

    /// `∇F`.
    pub fn gradient(&self, weights: &Weights) -> Weights {
        network::full_gradient(weights, &self.batches)
    }

    pub fn objective(&self, weights: &Weights) -> f64 {
        network::objective(weights, &self.batches)
    }

    /// `w_i^n − w̃_i^n = −η Σ c_r g_i^r`: `c_0, …, c_{n−1}` of (14).
    pub fn path_weights(&self, i: usize, n: usize) -> Vec<f64> {
        let window = n.saturating_sub(self.staleness[i])..n;
        let of = |r| {
            let later = window.clone().filter(|&t| t >= r);
            later.map(|t| self.momentum.share(t - r)).sum()
        };
        (0..n).map(of).collect()
    }
}

/// Quantities at one version.
pub struct At {
    pub weights: Weights,
    pub stale: Weights,
    /// `Δ`.
    pub moves: Vec<f64>,
    /// `g(w, w̃; ξ)` of every batch.
    pub grads: Vec<Weights>,
    /// `ḡ`.
    pub mean: Weights,
    /// `E‖ζ_k‖²`.
    pub noise: Vec<f64>,
    /// `∇F(w)`.
    pub full: Weights,
    /// `‖e_k‖`.
    pub bias: Vec<f64>,
    /// `z`.
    pub auxiliary: Weights,
    /// `∇F(z)`.
    pub gradient: Weights,
    /// `F(z)`.
    pub value: f64,
    /// `z − η̂ g(w, w̃; ξ)` of every batch.
    pub next: Vec<Weights>,
}

impl At {
    /// `‖r‖`, and `‖z − w‖`.
    pub fn lag(&self) -> (f64, f64) {
        let lag = network::distances(&self.gradient, &self.full);
        let distance = network::distances(&self.auxiliary, &self.weights);
        (network::norm(&lag), network::norm(&distance))
    }

    /// Both sides of (19) for every batch, less its first two terms and for `L = 1`.
    pub fn curves(&self, setting: &Setting) -> Vec<(f64, f64)> {
        let steps = self.grads.iter().zip(&self.next);
        steps
            .map(|(grad, next)| {
                let line = self.value - setting.rate * network::inner(&self.gradient, grad);
                let curve = 0.5 * setting.rate.powi(2) * squared(grad);
                (setting.objective(next) - line, curve)
            })
            .collect()
    }

    /// Both sides of (20), with its negative terms brought to the other side.
    pub fn descent(&self, setting: &Setting, bounds: &Bounds) -> (f64, f64) {
        let next = self.next.iter().map(|next| setting.objective(next));
        let mean = next.sum::<f64>() / self.next.len() as f64;
        let (half, curved) = (0.5 * setting.rate, bounds.smoothness * setting.rate);
        let gain = squared(&self.full) + (1.0 - setting.kappa) * squared(&self.mean);
        let bias = self.bias.iter().map(|bias| bias * bias).sum::<f64>();
        let spread = squared(&self.mean) + self.noise.iter().sum::<f64>();
        let loss = bias + setting.per_kappa(self.lag().0.powi(2)) + curved * spread;
        (mean - self.value + half * gain, half * loss)
    }
}

/// `Σ values²`.
pub fn squared(weights: &Weights) -> f64 {
    network::inner(weights, weights)
}

/// A linear combination of gradients.
pub fn combined(factors: &[f64], grads: &[Weights]) -> Weights {
    let zero = vec![[0.0; SIZE]; grads.first().map_or(0, Vec::len)];
    let terms = factors.iter().zip(grads);
    terms.fold(zero, |sum, (&factor, grad)| {
        network::moved(&sum, factor, grad)
    })
}

/// Random settings of this many batches, at this share of the largest rate.
pub fn any_setting(batches: usize, rates: Range<f64>) -> impl Strategy<Value = Setting> {
    let hops = proptest::collection::vec(0_usize..4, 1..4);
    let beta = prop_oneof![Just(0.0), 0.3..0.9_f64];
    let share_of_nesterov = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64];
    let rate = prop_oneof![Just(rates.end), rates];
    (hops, beta, share_of_nesterov, rate).prop_flat_map(
        move |(hops, beta, share_of_nesterov, rate)| {
            let mut staleness = vec![0];
            for hop in hops {
                staleness.insert(0, staleness[0] + hop);
            }
            let nesterov = share_of_nesterov / (1.0 - beta);
            let momentum = Momentum { beta, nesterov };
            let data = (any_batches(batches), any_weights(staleness.len()));
            data.prop_map(move |(batches, initial)| {
                Setting::new(staleness.clone(), momentum, batches, initial, rate)
            })
        },
    )
}
