//! docs/theory.md in numbers: the largest rate that its theorems allow, and the bound that they give.
//!
//! Pure functions of the constants of a run, which may be proven, measured or assumed. Numbers in brackets are those of the lines
//! of docs/theory.md, and rates are `η̂ = η / (1 − β)` as there, `η` being the learning rate of the optimizer; for SGD both are the
//! same.

use std::f64::consts::SQRT_2;

/// What the descent argument knows of a loss and of the method that trains on it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Constants {
    /// `L`: a Lipschitz constant of the gradient, at least 0.
    pub smoothness: f64,
    /// `S`: the bias of a gradient, per distance of the stale weights from the newest ones; at least 0.
    pub spread: f64,
    /// `D`: the same with each stage's distance multiplied by its staleness; at least 0, and 0 where nothing is stale.
    pub drift: f64,
}

/// Momentum as in (4): SGD, heavy ball, Nesterov's method, and what lies between them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Momentum {
    /// `β`, at least 0 and below 1.
    pub beta: f64,
    /// `s`, from 0 to `1 / (1 − β)`: 0 is the heavy ball, 1 Nesterov's method.
    pub nesterov: f64,
}

/// What of a run the bound depends on, besides its rate and its constants.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// `F(w⁰) − F_*`, or more.
    pub height: f64,
    /// `T`, at least 1.
    pub updates: usize,
    /// `m_k` of each stage.
    pub staleness: &'a [usize],
    /// `σ_k²` of each stage: the variance of the gradient of a batch.
    pub noise: &'a [f64],
}

/// The right side of (23) and (25), by its terms: above the mean of `‖∇F‖²` over the updates of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bound {
    /// `2 (F(w⁰) − F_*) / (η̂ T)`: how far the run has to come.
    pub start: f64,
    /// `L η̂ σ²`.
    pub noise: f64,
    /// `2 η̂² S² Σ χ_i m_i σ_i²`: the noise in stale weights.
    pub staleness: f64,
    /// `2 L² η̂² β² θ² σ² / (κ (1 − β²))`: the noise in the velocity.
    pub momentum: f64,
}

impl Bound {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.start + self.noise + self.staleness + self.momentum
    }
}

impl Momentum {
    /// `θ`: the share of the velocity in an update. 0 for `s = 1 / (1 − β)`, also where that is rounded.
    #[must_use]
    pub fn of_velocity(self) -> f64 {
        let share = 1.0 - self.nesterov * (1.0 - self.beta);
        match share > 1e-12 {
            true => share,
            false => 0.0,
        }
    }

    /// `h_j` of (12): the share in an update of the gradient `age` updates before.
    #[must_use]
    pub fn share(self, age: usize) -> f64 {
        let of_velocity = self.of_velocity() * power(self.beta, age);
        match age {
            0 => self.nesterov + of_velocity,
            _ => of_velocity,
        }
    }

    /// `χ` of (14) for a stage of staleness `m`: what is left of the noise in its stale weights.
    #[must_use]
    pub fn damping(self, m: usize) -> f64 {
        1.0 - self.of_velocity() * power(self.beta, m)
    }
}

impl Constants {
    /// Those of a run in which `‖e‖ ≤ S ‖Δ‖` is known: `D = S max m_i`, as remarked behind (21).
    #[must_use]
    pub fn with_spread(smoothness: f64, spread: f64, staleness: &[usize]) -> Self {
        let largest = staleness.iter().max().copied().unwrap_or_default();
        Self {
            smoothness,
            spread,
            drift: spread * largest as f64,
        }
    }

    /// `L β θ / (1 − β)`: by how much the gradient turns between `w` and `z` of (16), per length of the velocity and rate.
    #[must_use]
    pub fn lag(&self, momentum: Momentum) -> f64 {
        self.smoothness * momentum.beta * momentum.of_velocity() / (1.0 - momentum.beta)
    }

    /// The left side of (24), which for SGD and `κ = 0` is that of (22). The theorems hold where it is at most 1.
    #[must_use]
    pub fn condition(&self, momentum: Momentum, rate: f64, kappa: f64) -> f64 {
        let lag = per_kappa(kappa, 2.0 * (self.lag(momentum) * rate).powi(2));
        self.smoothness * rate + 2.0 * (self.drift * rate).powi(2) + kappa + lag
    }

    /// The rate at which (24) holds with equality for this `κ`, which is below 1; infinite where no rate is too large.
    #[must_use]
    pub fn largest_rate_for(&self, momentum: Momentum, kappa: f64) -> f64 {
        let lag = per_kappa(kappa, 2.0 * self.lag(momentum).powi(2));
        largest_root(self.smoothness, 2.0 * self.drift.powi(2) + lag, 1.0 - kappa)
    }

    /// The largest rate that (24) allows for any `κ`, and (22) for SGD; infinite where no rate is too large.
    ///
    /// The left side of (24) is smallest for `κ = √2 L η̂ β θ / (1 − β)`, where its terms in `κ` add up to twice that. So the
    /// condition is `(L + 2√2 L β θ / (1 − β)) η̂ + 2 D² η̂² ≤ 1`; then `κ` is at most one half.
    #[must_use]
    pub fn largest_rate(&self, momentum: Momentum) -> f64 {
        let linear = self.smoothness + 2.0 * SQRT_2 * self.lag(momentum);
        largest_root(linear, 2.0 * self.drift.powi(2), 1.0)
    }

    /// The largest `κ` that (24) allows at a rate, for which the bound is smallest; 0 where no term is divided by it. `None` where
    /// no `κ` is allowed: the rate is too large.
    #[must_use]
    pub fn kappa(&self, momentum: Momentum, rate: f64) -> Option<f64> {
        // At the largest rate itself, room for its rounding.
        let slack = 1e-12;
        let room = 1.0 - self.condition(Momentum::default(), rate, 0.0);
        let lag = self.lag(momentum) * rate;
        if lag == 0.0 {
            return (room >= -slack).then_some(0.0);
        }
        let under_root = room * room - 8.0 * lag * lag;
        (room > 0.0 && under_root >= -slack)
            .then(|| f64::midpoint(room, under_root.max(0.0).sqrt()))
    }

    /// The right side of (25), which for SGD and `κ = 0` is that of (23), at a rate that (24) allows with this `κ`.
    #[must_use]
    pub fn bound(&self, momentum: Momentum, run: &Run<'_>, rate: f64, kappa: f64) -> Bound {
        let beta = momentum.beta;
        let noise: f64 = run.noise.iter().sum();
        let stages = run.staleness.iter().zip(run.noise);
        let stale: f64 = stages
            .map(|(&m, noise)| momentum.damping(m) * m as f64 * noise)
            .sum();
        let lag = self.lag(momentum) * (1.0 - beta);
        let momentum = 2.0 * lag.powi(2) * noise / (1.0 - beta * beta);
        Bound {
            start: 2.0 * run.height / (rate * run.updates as f64),
            noise: self.smoothness * rate * noise,
            staleness: 2.0 * rate.powi(2) * self.spread.powi(2) * stale,
            momentum: rate.powi(2) * per_kappa(kappa, momentum),
        }
    }
}

/// The largest rate that (22) allows at a staleness, as a share of `1 / L`, which it allows without any: a function of the largest
/// `m_k` and of `S / L`. 1 where nothing is stale; for large staleness about `1 / (√2 m S / L)`.
///
/// `S / L` is not known before a run: `stagger theory` measures it. As proven, `S` is at most `L`, as `B ≤ M` in Lemma 2, for stashed
/// weights as well ((28) with `M` in the place of `B`). So 1 is the choice for comparing plans, and on the safe side.
#[must_use]
pub fn rate_share(largest_staleness: usize, spread_per_smoothness: f64) -> f64 {
    let constants = Constants::with_spread(1.0, spread_per_smoothness, &[largest_staleness]);
    constants.largest_rate(Momentum::default())
}

/// A term that is divided by `κ`, and is not there for `κ = 0`.
#[must_use]
pub fn per_kappa(kappa: f64, term: f64) -> f64 {
    match kappa > 0.0 {
        true => term / kappa,
        false => 0.0,
    }
}

/// The largest `x` with `linear · x + square · x² ≤ room`, in a form without cancellation.
fn largest_root(linear: f64, square: f64, room: f64) -> f64 {
    2.0 * room / (linear + (linear * linear + 4.0 * square * room).sqrt())
}

fn power(base: f64, exponent: usize) -> f64 {
    base.powi(i32::try_from(exponent).unwrap_or(i32::MAX))
}

#[cfg(test)]
mod tests;
