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
                let (past, whole) = (batch.saturating_sub(*from), batches.saturating_sub(*from));
                let time = (past as f64 / whole.max(1) as f64).min(1.0);
                last + (self.base - last) * 0.5 * (1.0 + (std::f64::consts::PI * time).cos())
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

    proptest! {
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
