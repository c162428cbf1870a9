//! What holds at every version of a run: all of docs/theory.md but its sums over versions.

use super::Book;
use super::network::{self, Weights, distances, moved, norm, norms, passes};
use super::run::History;
use super::setting::{At, Setting, combined};

/// Trains on these batches and checks every version. Gives up, with `false`, where the run leaves the region of its constants.
#[must_use]
pub fn check(setting: &Setting, sequence: &[usize], book: &mut Book) -> bool {
    let history = setting.train(sequence);
    for (n, &batch) in sequence.iter().enumerate() {
        let at = setting.at(&history, n);
        if !setting.covers(&at) {
            return false;
        }
        // (1) and (2): what the runtime has computed.
        let expected = &at.grads[batch];
        book.equal(1, &history.grads[n], expected);
        book.equal(2, &history.grads[n], expected);
        check_bias(setting, &at, book);
        check_path(setting, &history, n, &at, book);
        check_descent(setting, &history, n, &at, book);
    }
    true
}

/// (6) to (10): how far the points have moved, and what comes of it.
fn check_bias(setting: &Setting, at: &At, book: &mut Book) {
    let constants = &setting.constants;
    let (points, pulled, gradients) = constants.right_sides(&at.moves, 0.0);
    let largest = constants.largest_gradients();
    let linear = constants.bias.times(&at.moves);
    let stages = setting.staleness.len();
    for batch in &setting.batches {
        for sample in batch {
            let stale = passes(&at.weights, &at.stale, sample);
            let fresh = passes(&at.weights, &at.weights, sample);
            let apart = |one: &[f64], other: &[f64]| {
                let pairs = one.iter().zip(other);
                norm(&pairs.map(|(one, other)| one - other).collect::<Vec<_>>())
            };
            for k in 0..=stages {
                book.at_most(6, apart(&stale.points[k], &fresh.points[k]), points[k]);
                book.at_most(7, norm(&stale.upstream[k]), constants.upstream[k]);
                book.at_most(8, apart(&stale.upstream[k], &fresh.upstream[k]), pulled[k]);
            }
            for k in 0..stages {
                book.at_most(7, norm(&stale.grads[k]), largest[k]);
                let bias = apart(&stale.grads[k], &fresh.grads[k]);
                book.at_most(9, bias, gradients[k]);
                let rest = (gradients[k] - linear[k]).abs();
                assert!(rest <= 1e-9 * (1.0 + linear[k]), "B is linear in Δ");
            }
        }
    }
    for (bias, bound) in at.bias.iter().zip(&linear) {
        book.at_most(10, *bias, *bound);
    }
    book.at_most(10, norm(&at.bias), norm(&linear));
}

/// (4), and (12) to (14): how the weights have moved.
fn check_path(setting: &Setting, history: &History, n: usize, at: &At, book: &mut Book) {
    let rate = setting.learning_rate();
    let step = |t: usize| distances(&history.weights[t + 1], &history.weights[t]);
    let momentum = setting.momentum;
    let velocity = moved(&history.grads[n], momentum.beta, &history.velocity[n]);
    book.equal(4, &history.velocity[n + 1], &velocity);
    let along = moved(
        &scaled(&history.grads[n], momentum.nesterov),
        momentum.of_velocity(),
        &velocity,
    );
    let next = moved(&history.weights[n], -rate, &along);
    book.equal(4, &history.weights[n + 1], &next);
    let shares: Vec<f64> = (0..=n).map(|r| momentum.share(n - r)).collect();
    book.equal(12, &along, &combined(&shares, &history.grads[..=n]));
    let total: f64 = (0..2000).map(|age| momentum.share(age)).sum();
    book.at_most(12, total, 1.0 / (1.0 - momentum.beta));

    let largest = setting.constants.largest_gradients();
    for (i, &m) in setting.staleness.iter().enumerate() {
        let path: f64 = (n.saturating_sub(m)..n).map(|t| step(t)[i]).sum();
        book.at_most(13, at.moves[i], path);
        book.at_most(13, step(n)[i], setting.rate * largest[i]);
        let bound = setting.rate * m.min(n) as f64 * largest[i];
        book.at_most(13, at.moves[i], bound);

        let factors = setting.path_weights(i, n);
        let of_stage = |weights: &Weights| vec![weights[i]];
        let grads: Vec<Weights> = history.grads[..n].iter().map(of_stage).collect();
        let back = match n {
            0 => vec![[0.0; network::SIZE]],
            _ => scaled(&combined(&factors, &grads), -rate),
        };
        let expected = moved(&[at.weights[i]], -1.0, &[at.stale[i]]);
        book.equal(14, &back, &expected);
        let most = 1.0 / (1.0 - momentum.beta);
        for factor in &factors {
            assert!(*factor >= 0.0, "docs/theory.md (14): {factor} is below 0");
            book.at_most(14, *factor, setting.momentum.damping(m) * most);
        }
        book.at_most(14, factors.iter().sum(), m as f64 * most);
        // The third part: what gradient n weighs in all later versions, far into the future.
        let later = (n + 1..n + m + 60).map(|later| setting.path_weights(i, later)[n]);
        book.at_most(14, later.sum(), m as f64 * most);
    }
}

/// (16), (17), (19) and (20).
fn check_descent(setting: &Setting, history: &History, n: usize, at: &At, book: &mut Book) {
    let bounds = setting.bounds();
    let to = moved(&at.auxiliary, -setting.rate, &history.grads[n]);
    book.equal(16, &setting.auxiliary(history, n + 1), &to);
    let (lag, distance) = at.lag();
    book.at_most(17, lag, bounds.smoothness * distance);
    let momentum = setting.momentum;
    let factor = setting.rate * momentum.beta * momentum.of_velocity();
    let velocity = norm(&norms(&history.velocity[n]));
    let rest = (distance - factor * velocity).abs();
    assert!(rest < 1e-12 * (1.0 + distance), "docs/theory.md (17)");
    for (found, curve) in at.curves(setting) {
        book.at_most(19, found, bounds.smoothness * curve);
    }
    let (found, bound) = at.descent(setting, &bounds);
    book.at_most(20, found, bound);
}

fn scaled(weights: &Weights, factor: f64) -> Weights {
    let zero = vec![[0.0; network::SIZE]; weights.len()];
    moved(&zero, factor, weights)
}
