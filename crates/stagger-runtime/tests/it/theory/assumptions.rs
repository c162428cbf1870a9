//! The constants: (3), (5), (11), the closed form of B, and the simpler conditions on the rate.

use super::Book;
use super::network::{self, Vector, Weights, distances, norm};
use super::setting::Setting;

fn difference(one: &[f64], other: &[f64]) -> f64 {
    let pairs = one.iter().zip(other);
    norm(&pairs.map(|(one, other)| one - other).collect::<Vec<_>>())
}

/// Compares the network at its initial weights and one point with itself at other weights and another point. Jacobians are
/// compared in the direction `along`.
pub fn check(
    setting: &Setting,
    other: &Weights,
    points: [Vector; 2],
    along: &Vector,
    book: &mut Book,
) {
    let Setting {
        constants, initial, ..
    } = setting;
    assert!(constants.cover(other), "a region without the other weights");
    let (length, moved) = (norm(along), difference(&points[0], &points[1]));
    for (k, of_stage) in constants.stages.iter().enumerate() {
        let (one, two) = (&initial[k], &other[k]);
        let shifted = difference(one, two);
        let (to_input, to_weights) = network::pull_back(one, &points[0], along);
        let (other_input, other_weights) = network::pull_back(two, &points[1], along);
        book.at_most(5, norm(&to_input), length * of_stage.a);
        book.at_most(5, norm(&to_weights), length * of_stage.b);
        let bound = of_stage.p * moved + of_stage.q * shifted;
        book.at_most(5, difference(&to_input, &other_input), length * bound);
        let bound = of_stage.q * moved + of_stage.t * shifted;
        book.at_most(5, difference(&to_weights, &other_weights), length * bound);
    }
    let (one, two) = (
        network::loss(&points[0], 1).1,
        network::loss(&points[1], 1).1,
    );
    book.at_most(5, norm(&one), constants.upstream[initial.len()]);
    book.at_most(5, difference(&one, &two), constants.curvature * moved);

    let (one, two) = (setting.gradient(initial), setting.gradient(other));
    let bound = constants.smoothness * norm(&distances(initial, other));
    book.at_most(11, norm(&distances(&one, &two)), bound);

    let error = norm(&distances(&central_differences(setting), &one));
    assert!(error < 1e-8, "docs/theory.md (3): off by {error}");
    book.equal(3, &one, &one);
    for k in 0..initial.len() {
        for i in 0..initial.len() - 1 {
            let (found, expected) = (constants.bias.0[k][i], constants.closed_form(k, i));
            assert!((found - expected).abs() < 1e-9 * expected, "B of {k}, {i}");
        }
    }
    check_rates(setting, book);
}

fn central_differences(setting: &Setting) -> Weights {
    let step = 1e-6;
    let mut differences = setting.initial.clone();
    for (k, stage) in differences.iter_mut().enumerate() {
        for (i, value) in stage.iter_mut().enumerate() {
            let at = |step: f64| {
                let mut weights = setting.initial.clone();
                weights[k][i] += step;
                setting.objective(&weights)
            };
            *value = (at(step) - at(-step)) / (2.0 * step);
        }
    }
    differences
}

/// The rates that the page calls small enough are, and the largest one meets the condition with equality.
fn check_rates(setting: &Setting, book: &mut Book) {
    let bounds = setting.bounds();
    match setting.kappa > 0.0 {
        true => {
            let lag = 2.0_f64.sqrt() * setting.lag(&bounds);
            let slow = 2.0 * (bounds.smoothness + bounds.drift + lag);
            book.at_most(24, setting.condition(1.0 / slow, &bounds), 1.0);
        }
        false => {
            let rate = 1.0 / (bounds.smoothness + 2.0_f64.sqrt() * bounds.drift);
            book.at_most(22, setting.condition(rate, &bounds), 1.0);
        }
    }
    let largest = setting.condition(setting.largest_rate(), &bounds);
    assert!(
        (largest - 1.0).abs() < 1e-9,
        "{largest} at the largest rate"
    );
}
