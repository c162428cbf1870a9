//! The sums over versions, (15), (18), and the theorems: expectations over all runs there are, each as likely as the others.

use super::Book;
use super::network::norm;
use super::setting::{Setting, squared};

/// Expectations of sums over the versions of a run, or of a value at its end.
#[derive(Default)]
struct Sums {
    /// `Σ ‖∇F(w^n)‖²`.
    full: f64,
    /// `Σ ‖ḡ^n‖²`.
    mean: f64,
    /// `Σ ‖e^n‖²`.
    bias: f64,
    /// `Σ ‖v^n‖²`.
    velocity: f64,
}

/// Trains on every sequence of this many batches and checks the means over all of them.
pub fn check(setting: &Setting, length: usize, book: &mut Book) {
    let stages = setting.staleness.len();
    let kinds = setting.batches.len();
    let runs = kinds.pow(length as u32);
    let (mut sums, mut noise) = (Sums::default(), vec![0.0_f64; stages]);
    let mut smallest = vec![0.0; length];
    for number in 0..runs {
        let sequence: Vec<usize> = (0..length)
            .map(|n| number / kinds.pow(n as u32) % kinds)
            .collect();
        let history = setting.train(&sequence);
        for n in 0..length {
            let at = setting.at(&history, n);
            assert!(
                setting.constants.cover(&at.weights) && setting.constants.cover(&at.auxiliary),
                "a run that leaves the region of its constants"
            );
            let share = 1.0 / runs as f64;
            sums.full += share * squared(&at.full);
            sums.mean += share * squared(&at.mean);
            sums.bias += share * norm(&at.bias).powi(2);
            sums.velocity += share * squared(&history.velocity[n]);
            smallest[n] += share * squared(&at.full);
            // A4, with the smallest σ_k that holds at all of these versions.
            for (largest, noise) in noise.iter_mut().zip(&at.noise) {
                *largest = largest.max(*noise);
            }
        }
    }
    check_sums(setting, length as f64, &sums, &noise, book);
    let smallest = smallest.into_iter().fold(f64::INFINITY, f64::min);
    check_theorems(setting, length as f64, smallest, &sums, &noise, book);
}

/// `Σ m_i σ_i²`.
fn stale_noise(setting: &Setting, noise: &[f64]) -> f64 {
    let stages = setting.staleness.iter().zip(noise);
    stages.map(|(&m, noise)| m as f64 * noise).sum()
}

fn check_sums(setting: &Setting, length: f64, sums: &Sums, noise: &[f64], book: &mut Book) {
    let (drift, spread) = (setting.drift(), setting.constants.bias.norm_bound());
    let stale = length * spread.powi(2) * stale_noise(setting, noise);
    let bound = 2.0 * setting.rate.powi(2) * (drift.powi(2) * sums.mean + stale);
    book.at_most(15, sums.bias, bound);
    let (beta, noise) = (setting.momentum.beta, noise.iter().sum::<f64>());
    let bound = 2.0 * (sums.mean / (1.0 - beta).powi(2) + length * noise / (1.0 - beta * beta));
    book.at_most(18, sums.velocity, bound);
}

fn check_theorems(
    setting: &Setting,
    length: f64,
    smallest: f64,
    sums: &Sums,
    noise: &[f64],
    book: &mut Book,
) {
    let (rate, constants) = (setting.rate, &setting.constants);
    let (smoothness, spread) = (constants.smoothness, constants.bias.norm_bound());
    let (beta, total) = (setting.momentum.beta, noise.iter().sum::<f64>());
    // A cross-entropy is never below 0.
    let height = setting.objective(&setting.initial);
    let found = sums.full / length;
    assert!(setting.condition(rate) <= 1.0 + 1e-9);

    let stale = 2.0 * spread.powi(2) * stale_noise(setting, noise);
    let lag = (smoothness * beta * setting.momentum.of_velocity()).powi(2);
    let lagging = setting.per_kappa(2.0 * lag * total / (1.0 - beta * beta));
    let of_height = 2.0 * height / (rate * length);
    let common = of_height + smoothness * rate * total;
    let bound = common + rate.powi(2) * (stale + lagging);
    book.at_most(24, found, bound);
    if setting.kappa == 0.0 {
        // At the rate η̂, which is η for β = 0.
        book.at_most(22, found, common + rate.powi(2) * stale);
    }

    let largest = setting.largest_rate();
    let scale = rate * length.sqrt();
    let slow = 2.0 * height / scale + smoothness * scale * total;
    let fast = 2.0 * height / largest + (stale + lagging) * scale.powi(2);
    book.at_most(25, smallest, found);
    book.at_most(25, found, slow / length.sqrt() + fast / length);

    let gradients = constants.largest_gradients();
    let stages = setting.staleness.iter().zip(&gradients);
    let path: Vec<f64> = stages.map(|(&m, gradient)| m as f64 * gradient).collect();
    let straying = (rate * norm(&constants.bias.times(&path))).powi(2);
    let lag = setting.per_kappa((setting.lag() * rate * norm(&gradients)).powi(2));
    book.at_most(26, found, common + straying + lag);
}
