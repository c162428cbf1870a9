//! The learning rate as a function of the batch index.

use serde::{Deserialize, Serialize};

/// The learning rate of every batch: a pure function of the batch index, the same for all stages
/// (docs/algorithm.md, "Semantics that are easy to get wrong"), which therefore does not depend on
/// staleness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LearningRate {
    /// The rate that decay starts from and warm-up leads to; above 0.
    pub base: f64,
    /// What becomes of it.
    #[serde(default)]
    pub decay: Decay,
    /// How it is reached.
    #[serde(default)]
    pub warmup: Warmup,
}

/// How the learning rate falls over the batches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
#[non_exhaustive]
pub enum Decay {
    /// It stays.
    #[default]
    Constant,
    /// It is multiplied by `factor` at each of these batches.
    Step {
        /// Batch indices, rising.
        at: Vec<usize>,
        /// The factor, above 0.
        factor: f64,
    },
    /// Half a cosine (Loshchilov and Hutter 2017, eq. 5, one cycle):
    /// `last + (base − last)·(1 + cos(π·t))/2`, with `t` from 0 at batch `from` to 1 at batch `batches`: before them 0, behind
    /// them 1.
    Cosine {
        /// The batch at which it begins, usually the first one after warm-up.
        #[serde(default)]
        from: usize,
        /// The batch at which `last` is reached, at least 1.
        batches: usize,
        /// The rate at the end, at least 0.
        #[serde(default)]
        last: f64,
    },
    /// Cosines one after another (Loshchilov and Hutter 2017, eq. 5, with warm restarts): the first takes `period` batches, and each
    /// later one `growth` times as many as the one before. As PyTorch's `CosineAnnealingWarmRestarts`.
    Restarts {
        /// The batch at which the first begins, usually the first one after warm-up.
        #[serde(default)]
        from: usize,
        /// Batches of the first, at least 1.
        period: usize,
        /// What each length is multiplied by, at least 1.
        #[serde(default = "one")]
        growth: usize,
        /// The rate that each ends at, at least 0.
        #[serde(default)]
        last: f64,
    },
    /// `last + (base − last)·(1 − t)^power`, with the `t` of [`Decay::Cosine`]. `power` 1 is a line.
    Polynomial {
        /// The batch at which it begins, usually the first one after warm-up.
        #[serde(default)]
        from: usize,
        /// The batch at which `last` is reached, at least 1.
        batches: usize,
        /// The exponent, above 0.
        #[serde(default = "line")]
        power: f64,
        /// The rate at the end, at least 0.
        #[serde(default)]
        last: f64,
    },
    /// Half a cosine up and half a cosine down (Smith and Topin 2019, "Super-Convergence"; the curve and the shares of PyTorch's
    /// `OneCycleLR`): from `base / 25` at batch 0 to `base` at batch `rise − 1`, and from there to `base / 250000` at batch
    /// `batches − 1`. It is its own warm-up.
    #[serde(rename = "one-cycle")]
    OneCycle {
        /// Batches of the way up, at least 1.
        rise: usize,
        /// Batches of both ways.
        batches: usize,
    },
}

fn one() -> usize {
    1
}

fn line() -> f64 {
    1.0
}

/// Shares of the peak that [`Decay::OneCycle`] begins and ends with: PyTorch's `div_factor` of 25, and below that its
/// `final_div_factor` of 10⁴.
const ONE_CYCLE_ENDS: [f64; 2] = [1.0 / 25.0, 1.0 / 25e4];

/// From 1 at time 0 or before to 0 at time 1 or after.
fn half_cosine(time: f64) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * time.clamp(0.0, 1.0)).cos())
}

/// How much of the way from batch `from` to batch `until` is behind a batch, in `[0, 1]`; from `until` on it is 1, also where the
/// way has no length.
fn share_of_way(batch: usize, from: usize, until: usize) -> f64 {
    if batch >= until {
        return 1.0;
    }
    let (past, whole) = (batch.saturating_sub(from), until.saturating_sub(from));
    past as f64 / whole.max(1) as f64
}

/// A linear start: batch `j` of the first `batches` is scaled by
/// `first + (1 − first)·(j + 1)/(batches + 1)`, so that no batch has rate 0 and batch `batches` is the first at the
/// full rate, `base`, where decay has not begun by then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Batches of warm-up; 0 for none.
    pub batches: usize,
    /// Share of the rate that the line starts from, in `[0, 1]`.
    #[serde(default)]
    pub first: f64,
}

impl LearningRate {
    /// The same rate for every batch.
    pub fn constant(base: f64) -> Self {
        Self {
            base,
            decay: Decay::Constant,
            warmup: Warmup::default(),
        }
    }

    /// The learning rate of batch `batch`, counted from 0 over the whole run.
    pub fn at(&self, batch: usize) -> f64 {
        self.decayed(batch) * self.warmup.share(batch)
    }

    fn decayed(&self, batch: usize) -> f64 {
        match &self.decay {
            Decay::Constant => self.base,
            Decay::Step { at, factor } => {
                let passed = at.iter().filter(|&&from| batch >= from).count();
                self.base * factor.powf(passed as f64)
            }
            Decay::Cosine {
                from,
                batches,
                last,
            } => {
                let time = share_of_way(batch, *from, *batches);
                last + (self.base - last) * half_cosine(time)
            }
            Decay::Restarts {
                from,
                period,
                growth,
                last,
            } => {
                let (mut past, mut length) = (batch.saturating_sub(*from), (*period).max(1));
                if *growth <= 1 {
                    past %= length;
                }
                while past >= length {
                    past -= length;
                    length = length.saturating_mul(*growth);
                }
                let time = past as f64 / length as f64;
                last + (self.base - last) * half_cosine(time)
            }
            Decay::Polynomial {
                from,
                batches,
                power,
                last,
            } => {
                let rest = 1.0 - share_of_way(batch, *from, *batches);
                last + (self.base - last) * rest.powf(*power)
            }
            Decay::OneCycle { rise, batches } => {
                let [first, last] = ONE_CYCLE_ENDS;
                let (peak, end) = (rise.saturating_sub(1), batches.saturating_sub(1));
                let share = if batch == peak {
                    1.0
                } else if batch < peak {
                    first + (1.0 - first) * (1.0 - half_cosine(share_of_way(batch, 0, peak)))
                } else {
                    last + (1.0 - last) * half_cosine(share_of_way(batch, peak, end))
                };
                self.base * share
            }
        }
    }
}

impl Warmup {
    fn share(&self, batch: usize) -> f64 {
        if batch >= self.batches {
            return 1.0;
        }
        let time = (batch as f64 + 1.0) / (self.batches as f64 + 1.0);
        self.first + (1.0 - self.first) * time
    }
}

#[cfg(test)]
mod tests {
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
}
