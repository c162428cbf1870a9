//! The sums over versions, (15), (18) and (21), and the theorems: expectations over all runs there are, each as likely as the
//! others.

use stagger_plan::theory::{Bound, Run};

use super::Book;
use super::network::norm;
use super::setting::{At, Bounds, Setting, squared};

/// Expectations over runs, and what holds at all of their versions.
pub struct Means<'a> {
    setting: &'a Setting,
    /// `T`.
    length: f64,
    /// `E ‖∇F(w^n)‖²` of every version.
    full: Vec<f64>,
    /// `Σ E ‖ḡ^n‖²`.
    mean: f64,
    /// `Σ E ‖e^n‖²`.
    bias: f64,
    /// `Σ E ‖v^n‖²`.
    velocity: f64,
    /// `E F(z^T)`.
    end: f64,
    /// The smallest `σ_k²` with which A4 holds.
    noise: Vec<f64>,
    versions: Vec<At>,
}

impl<'a> Means<'a> {
    /// Trains on every sequence of this many batches.
    pub fn of(setting: &'a Setting, length: usize) -> Self {
        let kinds = setting.batches.len();
        let runs = kinds.pow(length as u32);
        let mut means = Self {
            setting,
            length: length as f64,
            full: vec![0.0; length],
            mean: 0.0,
            bias: 0.0,
            velocity: 0.0,
            end: 0.0,
            noise: vec![0.0; setting.staleness.len()],
            versions: Vec::new(),
        };
        let share = 1.0 / runs as f64;
        for number in 0..runs {
            let digit = |n: usize| number / kinds.pow(n as u32) % kinds;
            let sequence: Vec<usize> = (0..length).map(digit).collect();
            let history = setting.train(&sequence);
            for n in 0..length {
                let at = setting.at(&history, n);
                means.full[n] += share * squared(&at.full);
                means.mean += share * squared(&at.mean);
                means.bias += share * norm(&at.bias).powi(2);
                means.velocity += share * squared(&history.velocity[n]);
                for (largest, noise) in means.noise.iter_mut().zip(&at.noise) {
                    *largest = largest.max(*noise);
                }
                means.versions.push(at);
            }
            let end = setting.auxiliary(&history, length);
            means.end += share * setting.objective(&end);
        }
        means
    }

    /// The smallest numbers with which (10) without its matrix, (17) and (19) hold at all versions.
    pub fn smallest_bounds(&self) -> Bounds {
        let mut bounds = Bounds::default();
        let raise = |bound: &mut f64, found: f64, per: f64| {
            // Below that, both are rounding.
            if per > 1e-12 {
                *bound = bound.max(found / per);
            }
        };
        for at in &self.versions {
            raise(&mut bounds.spread, norm(&at.bias), norm(&at.moves));
            let (lag, distance) = at.lag();
            raise(&mut bounds.smoothness, lag, distance);
            for (found, curve) in at.curves(self.setting) {
                raise(&mut bounds.smoothness, found, curve);
            }
        }
        let most = self.setting.staleness.iter().max().copied();
        bounds.drift = bounds.spread * most.unwrap_or(0) as f64;
        bounds
    }

    /// The lines that hold at any rate: (15), (18), (20) and (21).
    pub fn check_sums(&self, bounds: &Bounds, book: &mut Book) {
        let (setting, rate) = (self.setting, self.setting.rate);
        for at in &self.versions {
            let (found, bound) = at.descent(setting, bounds);
            book.at_most(20, found, bound);
        }
        let stale = self.length * bounds.spread.powi(2) * self.stale_noise();
        let bound = 2.0 * rate.powi(2) * (bounds.drift.powi(2) * self.mean + stale);
        book.at_most(15, self.bias, bound);
        let (beta, noise) = (setting.momentum.beta, self.total_noise());
        let all = self.mean / (1.0 - beta).powi(2) + self.length * noise / (1.0 - beta * beta);
        book.at_most(18, self.velocity, 2.0 * all);

        let room = 1.0 - setting.condition(rate, bounds);
        let height = setting.objective(&setting.initial) - self.end;
        let found = self.mean_of_full() + room * self.mean / self.length;
        book.at_most(21, found, self.bound(height, bounds));
    }

    /// A2: whether all runs stay where the proven constants hold.
    pub fn stay_in_region(&self) -> bool {
        let mut versions = self.versions.iter();
        versions.all(|at| self.setting.covers(at))
    }

    /// The theorems, at a rate that is small enough for them, for runs that stay in the region.
    pub fn check_theorems(&self, book: &mut Book) {
        let (setting, rate, bounds) = (self.setting, self.setting.rate, self.setting.bounds());
        assert!(setting.condition(rate, &bounds) <= 1.0 + 1e-9);
        // A cross-entropy is never below 0.
        let height = setting.objective(&setting.initial);
        let found = self.mean_of_full();
        book.at_most(25, found, self.bound(height, &bounds));
        if setting.kappa == 0.0 {
            // At the rate η̂, which is η for β = 0.
            book.at_most(23, found, self.bound(height, &bounds));
        }

        let scale = rate * self.length.sqrt();
        let slow = 2.0 * height / scale + bounds.smoothness * scale * self.total_noise();
        let of_square = self.of_square(&bounds);
        let fast = 2.0 * height / setting.largest_rate() + of_square * scale.powi(2);
        let smallest = self.full.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(smallest <= found, "docs/theory.md (26)");
        book.at_most(26, found, slow / self.length.sqrt() + fast / self.length);

        let gradients = setting.constants.largest_gradients();
        let stages = setting.staleness.iter().zip(&gradients);
        let path: Vec<f64> = stages.map(|(&m, gradient)| m as f64 * gradient).collect();
        let astray = (rate * norm(&setting.constants.bias.times(&path))).powi(2);
        let lag = (setting.lag(&bounds) * rate * norm(&gradients)).powi(2);
        let common = 2.0 * height / (rate * self.length);
        let common = common + bounds.smoothness * rate * self.total_noise();
        book.at_most(27, found, common + astray + setting.per_kappa(lag));
    }

    fn mean_of_full(&self) -> f64 {
        self.full.iter().sum::<f64>() / self.length
    }

    /// `σ²`.
    fn total_noise(&self) -> f64 {
        self.noise.iter().sum()
    }

    /// `Σ χ_i m_i σ_i²`.
    fn stale_noise(&self) -> f64 {
        let stages = self.setting.staleness.iter().zip(&self.noise);
        let of_stage =
            |(&m, noise): (&usize, &f64)| self.setting.momentum.damping(m) * m as f64 * noise;
        stages.map(of_stage).sum()
    }

    /// `Q`.
    fn of_square(&self, bounds: &Bounds) -> f64 {
        let bound = self.terms(0.0, bounds, 1.0);
        bound.staleness + bound.momentum
    }

    /// The right side of (21) and (25), for a descent from `height`.
    fn bound(&self, height: f64, bounds: &Bounds) -> f64 {
        self.terms(height, bounds, self.setting.rate).total()
    }

    fn terms(&self, height: f64, bounds: &Bounds, rate: f64) -> Bound {
        let run = Run {
            height,
            updates: self.full.len(),
            staleness: &self.setting.staleness,
            noise: &self.noise,
        };
        let Setting {
            momentum, kappa, ..
        } = *self.setting;
        bounds.bound(momentum, &run, rate, kappa)
    }
}
