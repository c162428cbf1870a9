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

/// A setting of a learning rate outside its range.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the learning rate expects {setting} to be {expected} but it is {found}")]
pub struct LearningRateError {
    /// The setting, by the name of its field.
    pub setting: &'static str,
    /// The range.
    pub expected: &'static str,
    /// The value.
    pub found: String,
}

impl LearningRate {
    /// Checks every setting.
    ///
    /// # Errors
    /// The [`LearningRateError`] of the first setting outside its range.
    pub fn validate(&self) -> Result<(), LearningRateError> {
        let error = |setting, expected, found| LearningRateError {
            setting,
            expected,
            found,
        };
        let positive = |setting, found: f64| match found.is_finite() && found > 0.0 {
            true => Ok(()),
            false => Err(error(setting, "finite and above 0", found.to_string())),
        };
        let not_negative = |setting, found: f64| match found.is_finite() && found >= 0.0 {
            true => Ok(()),
            false => Err(error(setting, "finite and at least 0", found.to_string())),
        };
        let at_least_one = |setting, found: usize| match found {
            0 => Err(error(setting, "at least 1", found.to_string())),
            _ => Ok(()),
        };
        positive("base", self.base)?;
        if !(0.0..=1.0).contains(&self.warmup.first) {
            let found = self.warmup.first.to_string();
            return Err(error("warmup.first", "between 0 and 1", found));
        }
        match &self.decay {
            Decay::Constant => Ok(()),
            Decay::Step { at, factor } => {
                if !at.is_sorted_by(|one, next| one < next) {
                    return Err(error("at", "rising", format!("{at:?}")));
                }
                positive("factor", *factor)
            }
            Decay::Cosine { batches, last, .. } => {
                at_least_one("batches", *batches)?;
                not_negative("last", *last)
            }
            Decay::Restarts {
                period,
                growth,
                last,
                ..
            } => {
                at_least_one("period", *period)?;
                at_least_one("growth", *growth)?;
                not_negative("last", *last)
            }
            Decay::Polynomial {
                batches,
                power,
                last,
                ..
            } => {
                at_least_one("batches", *batches)?;
                positive("power", *power)?;
                not_negative("last", *last)
            }
            Decay::OneCycle { rise, batches } => {
                at_least_one("rise", *rise)?;
                match batches >= rise {
                    true => Ok(()),
                    false => Err(error("batches", "at least `rise`", batches.to_string())),
                }
            }
        }
    }

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
mod tests;
