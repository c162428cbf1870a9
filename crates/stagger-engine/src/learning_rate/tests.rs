use proptest::prelude::*;

use super::*;

fn rates(schedule: &LearningRate, batches: usize) -> Vec<f64> {
    (0..batches).map(|batch| schedule.at(batch)).collect()
}

#[test]
fn literals() {
    assert_eq!(rates(&LearningRate::constant(0.1), 3), [0.1, 0.1, 0.1]);
    let mut schedule = LearningRate::constant(1.0);
    schedule.decay = Decay::Step {
        at: vec![2, 4],
        factor: 0.5,
    };
    assert_eq!(rates(&schedule, 6), [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]);
    schedule.decay = Decay::Cosine {
        from: 0,
        batches: 2,
        last: 0.0,
    };
    let found = rates(&schedule, 4);
    for (found, expected) in found.iter().zip([1.0, 0.5, 0.0, 0.0]) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }
    schedule.decay = Decay::Constant;
    schedule.warmup = Warmup {
        batches: 3,
        first: 0.0,
    };
    assert_eq!(rates(&schedule, 5), [0.25, 0.5, 0.75, 1.0, 1.0]);
    // The rate is reached, and the cosine begins there.
    schedule.decay = Decay::Cosine {
        from: 3,
        batches: 5,
        last: 0.0,
    };
    let found = rates(&schedule, 7);
    for (found, expected) in found.iter().zip([0.25, 0.5, 0.75, 1.0, 0.5, 0.0, 0.0]) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }
}

/// What PyTorch's `OneCycleLR(max_lr=1, total_steps=10, pct_start=0.4)`, `CosineAnnealingWarmRestarts(T_0=2, T_mult=2,
/// eta_min=0.1)` and `PolynomialLR(total_iters=4, power=2)` give.
#[test]
fn pytorchs_rates() {
    let one_cycle = Decay::OneCycle {
        rise: 4,
        batches: 10,
    };
    let restarts = Decay::Restarts {
        from: 0,
        period: 2,
        growth: 2,
        last: 0.1,
    };
    let polynomial = Decay::Polynomial {
        from: 0,
        batches: 4,
        power: 2.0,
        last: 0.0,
    };
    let expected: [(Decay, &[f64]); 3] = [
        (
            one_cycle,
            &[
                0.04,
                0.28,
                0.76,
                1.0,
                0.933_012_969_841_411_8,
                0.750_001,
                0.500_002,
                0.250_003,
                0.066_991_030_158_588_22,
                4e-6,
            ],
        ),
        (
            restarts,
            &[
                1.0,
                0.55,
                1.0,
                0.868_198_051_533_946_4,
                0.55,
                0.231_801_948_466_053_65,
                1.0,
                0.965_745_789_630_079_1,
                0.868_198_051_533_946_4,
            ],
        ),
        (polynomial, &[1.0, 0.5625, 0.25, 0.0625, 0.0, 0.0]),
    ];
    for (decay, expected) in expected {
        let mut schedule = LearningRate::constant(1.0);
        schedule.decay = decay;
        let found = rates(&schedule, expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(
                (found - expected).abs() < 1e-12,
                "{found} is not {expected}"
            );
        }
    }
}

/// Where warm-up takes all batches of a decay, its end is reached all the same, and a way up as long as the cycle ends at the peak.
#[test]
fn ways_without_length_are_at_their_end() {
    let mut schedule = LearningRate::constant(1.0);
    for from in [3, 4] {
        for decay in [
            Decay::Cosine {
                from,
                batches: 3,
                last: 0.125,
            },
            Decay::Polynomial {
                from,
                batches: 3,
                power: 2.0,
                last: 0.125,
            },
        ] {
            schedule.decay = decay;
            assert_eq!(rates(&schedule, 5), [1.0, 1.0, 1.0, 0.125, 0.125]);
        }
    }
    schedule.decay = Decay::OneCycle {
        rise: 3,
        batches: 3,
    };
    assert_eq!(schedule.at(2), 1.0);
}

#[test]
fn ends_of_ranges_have_rates() {
    let decays = [
        Decay::OneCycle {
            rise: 1,
            batches: 1,
        },
        Decay::OneCycle {
            rise: usize::MAX,
            batches: 3,
        },
        Decay::Restarts {
            from: 0,
            period: usize::MAX,
            growth: 2,
            last: 0.0,
        },
        Decay::Restarts {
            from: 0,
            period: 1,
            growth: usize::MAX,
            last: 0.0,
        },
        Decay::Restarts {
            from: 5,
            period: 0,
            growth: 0,
            last: 0.0,
        },
    ];
    for decay in decays {
        let mut schedule = LearningRate::constant(1.0);
        schedule.decay = decay;
        for batch in [0, 1, 2, 10, usize::MAX] {
            let rate = schedule.at(batch);
            assert!((0.0..=1.0).contains(&rate), "{schedule:?}, {batch}: {rate}");
        }
    }
}

proptest! {
    /// Each cosine begins at the rate itself, and is as much longer than the one before as it should be.
    #[test]
    fn restarts_begin_at_the_full_rate(
        from in 0..50_usize,
        period in 1..50_usize,
        growth in 1..4_usize,
        cycles in 1..5_u32,
    ) {
        let schedule = LearningRate {
            decay: Decay::Restarts { from, period, growth, last: 0.0 },
            ..LearningRate::constant(2.0)
        };
        let lengths = (0..cycles).map(|cycle| period * growth.pow(cycle));
        let start = from + lengths.sum::<usize>();
        prop_assert_eq!(schedule.at(start), 2.0);
        prop_assert_eq!(schedule.at(start.saturating_sub(1)) < 2.0, period > 1 || growth > 1 && cycles > 1);
    }

    #[test]
    fn stays_between_the_ends(
        base in 1e-4..10.0_f64,
        batches in 1..1000_usize,
        from in 0..1000_usize,
        warmup in 0..100_usize,
        first in 0.0..1.0_f64,
        share in 0.0..1.0_f64,
        batch in 0..2000_usize,
    ) {
        let last = base * share;
        let schedule = LearningRate {
            base,
            decay: Decay::Cosine { from: from.min(batches), batches, last },
            warmup: Warmup { batches: warmup, first },
        };
        let rate = schedule.at(batch);
        prop_assert!(rate > 0.0 || share == 0.0 || batch >= batches);
        prop_assert!(rate <= base * (1.0 + 1e-12));
        if batch >= warmup {
            prop_assert!(rate >= last * (1.0 - 1e-12));
            prop_assert!(schedule.at(batch + 1) <= rate * (1.0 + 1e-12));
        }
        if batch >= batches.max(warmup) {
            prop_assert!((rate - last).abs() <= 1e-12 * base);
        }
    }

    #[test]
    fn reads_what_it_writes(base in 1..100_u32, at in prop::collection::vec(0..99_usize, 0..4)) {
        let decay = Decay::Step { at, factor: 0.5 };
        let warmup = Warmup { batches: 5, first: 0.125 };
        let schedule = LearningRate { base: f64::from(base) / 16.0, decay, warmup };
        let text = serde_json::to_string(&schedule).unwrap();
        prop_assert_eq!(serde_json::from_str::<LearningRate>(&text).unwrap(), schedule);
    }
}

#[test]
fn settings_outside_their_ranges_are_named() {
    let rate = |base, decay, first| LearningRate {
        base,
        decay,
        warmup: Warmup { batches: 1, first },
    };
    let cosine = |batches, last| Decay::Cosine {
        from: 0,
        batches,
        last,
    };
    let polynomial = |batches, power, last| Decay::Polynomial {
        from: 0,
        batches,
        power,
        last,
    };
    let restarts = |period, growth, last| Decay::Restarts {
        from: 0,
        period,
        growth,
        last,
    };
    let step = |at: &[usize], factor| Decay::Step {
        at: at.to_vec(),
        factor,
    };
    let cycle = |rise, batches| Decay::OneCycle { rise, batches };
    let found = |decay| rate(0.1, decay, 0.0).validate();
    for fine in [
        Decay::Constant,
        cosine(1, 0.0),
        polynomial(1, 2.0, 0.0),
        restarts(1, 1, 0.0),
        step(&[1, 2], 0.1),
        cycle(1, 1),
    ] {
        assert_eq!(found(fine), Ok(()));
    }
    for base in [0.0, -0.1, f64::NAN, f64::INFINITY] {
        let error = rate(base, Decay::Constant, 0.0).validate().unwrap_err();
        assert_eq!((error.setting, error.found), ("base", base.to_string()));
    }
    for first in [-0.1, 1.5, f64::NAN] {
        let error = rate(0.1, Decay::Constant, first).validate().unwrap_err();
        assert_eq!(error.setting, "warmup.first");
    }
    for (decay, setting) in [
        (cosine(0, 0.0), "batches"),
        (cosine(1, -1.0), "last"),
        (polynomial(0, 1.0, 0.0), "batches"),
        (polynomial(1, 0.0, 0.0), "power"),
        (polynomial(1, 1.0, f64::NAN), "last"),
        (restarts(0, 1, 0.0), "period"),
        (restarts(1, 0, 0.0), "growth"),
        (restarts(1, 1, -1.0), "last"),
        (step(&[2, 2], 0.1), "at"),
        (step(&[1, 2], 0.0), "factor"),
        (cycle(0, 4), "rise"),
        (cycle(5, 4), "batches"),
    ] {
        assert_eq!(found(decay).unwrap_err().setting, setting);
    }
}
