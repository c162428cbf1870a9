use proptest::prelude::*;

use super::*;

fn any_momentum() -> impl Strategy<Value = Momentum> {
    let beta = prop_oneof![Just(0.0), 0.01..0.99_f64];
    let share = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64];
    (beta, share).prop_map(|(beta, share)| Momentum {
        beta,
        nesterov: share / (1.0 - beta),
    })
}

fn any_constants() -> impl Strategy<Value = Constants> {
    let drift = prop_oneof![Just(0.0), 0.01..100.0_f64];
    (0.01..100.0_f64, drift).prop_map(|(smoothness, drift)| Constants {
        smoothness,
        spread: drift / 4.0,
        drift,
    })
}

fn any_run() -> impl Strategy<Value = (f64, usize, Vec<usize>, Vec<f64>)> {
    let stages = 1..5_usize;
    stages.prop_flat_map(|stages| {
        (
            0.01..10.0_f64,
            1..10_000_usize,
            prop::collection::vec(0..9_usize, stages),
            prop::collection::vec(0.0..4.0_f64, stages),
        )
    })
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-9 * (1.0 + expected.abs())
}

const SGD: Momentum = Momentum {
    beta: 0.0,
    nesterov: 0.0,
};

#[test]
fn by_hand() {
    let fresh = Constants::with_spread(4.0, 3.0, &[0, 0]);
    assert_eq!(fresh.largest_rate(SGD), 0.25);
    // L = 1 and D = 1: x + 2x² = 1 at one half.
    let stale = Constants::with_spread(1.0, 0.25, &[4, 2, 0]);
    assert_eq!(stale.drift, 1.0);
    assert_eq!(stale.largest_rate(SGD), 0.5);
    let run = Run {
        height: 3.0,
        updates: 60,
        staleness: &[4, 2, 0],
        noise: &[1.0, 2.0, 5.0],
    };
    let bound = stale.bound(SGD, &run, 0.5, 0.0);
    // 2·3/(0.5·60), 1·0.5·8, 2·0.25·(1/16)·(4·1 + 2·2).
    assert_eq!(
        (bound.start, bound.noise, bound.staleness, bound.momentum),
        (0.2, 4.0, 0.25, 0.0)
    );
    assert_eq!(bound.total(), 4.45);
    // Heavy ball with β = 1/2: θ = 1, χ = 1 − β^m, and 2·L²η̂²β²σ²/(κ(1 − β²)) at η̂ = 1/4.
    let heavy = Momentum {
        beta: 0.5,
        nesterov: 0.0,
    };
    let bound = stale.bound(heavy, &run, 0.25, 0.5);
    assert!(close(
        bound.staleness,
        2.0 * 0.0625 * 0.0625 * (4.0 * 0.9375 + 4.0 * 0.75)
    ));
    assert!(close(
        bound.momentum,
        2.0 / 0.5 * 0.0625 * 0.25 * 8.0 / 0.75
    ));
    assert_eq!(rate_share(0, 1.0), 1.0);
    // As docs/theory.md has them.
    for (m, expected) in [(1, 0.5), (2, 0.30), (3, 0.21), (6, 0.11)] {
        let found = rate_share(m, 1.0);
        assert!((found - expected).abs() < 0.005, "{m}: {found}");
        let formula = 2.0 / (1.0 + (1.0 + 8.0 * (m * m) as f64 * 0.25).sqrt());
        assert!(close(rate_share(m, 0.5), formula));
    }
}

proptest! {
    #[test]
    fn without_staleness_sgd_may_step_by_one_over_l(smoothness in 0.001..1000.0_f64) {
        let constants = Constants::with_spread(smoothness, 7.0, &[0, 0, 0]);
        prop_assert!(close(constants.largest_rate(SGD) * smoothness, 1.0));
    }

    /// (24) holds with equality at the largest rate for a κ, and (22) for SGD.
    #[test]
    fn the_largest_rate_for_a_kappa_meets_the_condition(
        constants in any_constants(), momentum in any_momentum(), kappa in 0.01..0.99_f64,
    ) {
        let rate = constants.largest_rate_for(momentum, kappa);
        prop_assert!(close(constants.condition(momentum, rate, kappa), 1.0));
        let rate = constants.largest_rate(SGD);
        prop_assert!(close(constants.smoothness * rate + 2.0 * (constants.drift * rate).powi(2), 1.0));
    }

    /// The largest rate of all meets (24) with equality for its own κ, and no κ allows more.
    #[test]
    fn the_largest_rate_is_that_of_the_best_kappa(
        constants in any_constants(), momentum in any_momentum(), kappa in 0.01..0.99_f64,
    ) {
        let rate = constants.largest_rate(momentum);
        prop_assert!(constants.largest_rate_for(momentum, kappa) <= rate * (1.0 + 1e-9));
        let best = SQRT_2 * constants.lag(momentum) * rate;
        prop_assert!((0.0..0.5 + 1e-9).contains(&best));
        prop_assert!(close(constants.condition(momentum, rate, best), 1.0));
        prop_assert!(close(constants.largest_rate_for(momentum, best), rate));
    }

    /// The simpler conditions of the theorems allow less.
    #[test]
    fn the_simpler_conditions_are_enough(constants in any_constants(), momentum in any_momentum()) {
        let Constants { smoothness, drift, .. } = constants;
        prop_assert!(1.0 / (smoothness + SQRT_2 * drift) <= constants.largest_rate(SGD) * (1.0 + 1e-9));
        let simple = 1.0 / (2.0 * smoothness + 2.0 * drift + 2.0 * SQRT_2 * constants.lag(momentum));
        prop_assert!(simple <= constants.largest_rate_for(momentum, 0.5) * (1.0 + 1e-9));
    }

    #[test]
    fn more_staleness_and_more_momentum_allow_less(
        smoothness in 0.01..100.0_f64, spread in 0.01..100.0_f64, beta in 0.0..0.98_f64, m in 0..40_usize,
    ) {
        let rate = |m: usize, beta: f64, nesterov: f64| {
            let constants = Constants::with_spread(smoothness, spread, &[m, 0]);
            constants.largest_rate(Momentum { beta, nesterov })
        };
        for nesterov in [0.0, 1.0] {
            prop_assert!(rate(m + 1, beta, nesterov) < rate(m, beta, nesterov));
        }
        prop_assert!(rate(m, beta + 0.01, 0.0) < rate(m, beta, 0.0));
        prop_assert!(rate_share(m + 1, spread) < rate_share(m, spread));
    }

    /// θ = 0 is SGD at the rate η̂.
    #[test]
    fn all_of_nesterov_is_sgd(
        constants in any_constants(), beta in 0.01..0.99_f64, (height, updates, staleness, noise) in any_run(),
    ) {
        let momentum = Momentum { beta, nesterov: 1.0 / (1.0 - beta) };
        let rate = constants.largest_rate(momentum);
        prop_assert!(close(rate, constants.largest_rate(SGD)));
        let run = Run { height, updates, staleness: &staleness, noise: &noise };
        let (found, expected) =
            (constants.bound(momentum, &run, rate, 0.0), constants.bound(SGD, &run, rate, 0.0));
        prop_assert!(close(found.total(), expected.total()), "{:?} {:?}", found, expected);
    }

    /// κ is there exactly at the rates that are allowed, and as large as (24) lets it be.
    #[test]
    fn kappa_is_the_largest_one(
        constants in any_constants(), momentum in any_momentum(), share in 0.01..0.999_f64,
    ) {
        let largest = constants.largest_rate(momentum);
        prop_assert!(constants.kappa(momentum, largest).is_some());
        prop_assert_eq!(constants.kappa(momentum, largest / share), None);
        let rate = share * largest;
        let kappa = constants.kappa(momentum, rate).expect("an allowed rate");
        if constants.lag(momentum) == 0.0 {
            prop_assert_eq!(kappa, 0.0);
        } else {
            prop_assert!(kappa > 0.0 && kappa < 1.0);
            prop_assert!(close(constants.condition(momentum, rate, kappa), 1.0));
            prop_assert!(constants.condition(momentum, rate, kappa * 1.01) > 1.0);
        }
    }

    /// (26): at η̂ = min(η_max, ρ/√T) the bound is at most its two terms.
    #[test]
    fn the_corollary_follows(
        constants in any_constants(), momentum in any_momentum(), scale in 0.001..10.0_f64,
        (height, updates, staleness, noise) in any_run(),
    ) {
        let largest = constants.largest_rate(momentum);
        let root = (updates as f64).sqrt();
        let rate = largest.min(scale / root);
        // One for all rates up to the largest.
        let kappa = constants.kappa(momentum, largest).expect("an allowed rate");
        let run = Run { height, updates, staleness: &staleness, noise: &noise };
        let bound = constants.bound(momentum, &run, rate, kappa);
        let of_one = constants.bound(momentum, &run, 1.0, kappa);
        let of_square = of_one.staleness + of_one.momentum;
        let slow = 2.0 * height / scale + constants.smoothness * scale * noise.iter().sum::<f64>();
        let fast = 2.0 * height / largest + of_square * scale * scale;
        prop_assert!(bound.total() <= (slow / root + fast / updates as f64) * (1.0 + 1e-9));
    }
}
