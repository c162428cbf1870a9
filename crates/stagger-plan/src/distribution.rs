//! How long something takes: a number, what was measured, or a distribution by name.

use std::f64::consts::TAU;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How long something takes, in seconds, where it may take another time each time.
///
/// In JSON a number is a constant, a list is what was measured, and a text is a distribution by name, as [`FromStr`] reads it:
///
/// ```
/// use stagger_plan::Distribution;
///
/// let spread: Distribution = "lognormal(10ms,0.3)".parse()?;
/// assert!((spread.mean() - 0.010).abs() < 1e-12);
/// assert_eq!("12ms".parse::<Distribution>()?.draw(7), 0.012);
/// # Ok::<(), stagger_plan::DistributionError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum Distribution {
    /// Always the same.
    Constant(f64),
    /// Each of these as often as the others. Not empty.
    Samples(Vec<f64>),
    /// Uniform between two times: `uniform(8ms,12ms)`.
    Uniform {
        /// The shortest, in seconds.
        low: f64,
        /// The longest, in seconds.
        high: f64,
    },
    /// Exponential: `exponential(10ms)`.
    Exponential {
        /// Its mean, in seconds.
        mean: f64,
    },
    /// The logarithm is normal: `lognormal(10ms,0.3)`. Computations on a shared machine look like this.
    LogNormal {
        /// Its mean, in seconds.
        mean: f64,
        /// Standard deviation over mean.
        variation: f64,
    },
    /// A heavy tail, as delays on the internet have: `pareto(50ms,2.5)`. P(X > x) falls with x to the power of −shape.
    Pareto {
        /// The shortest, in seconds.
        low: f64,
        /// Above 1, so that there is a mean.
        shape: f64,
    },
    /// One after the other, each drawn for itself. Has no form in a file.
    Sum(Vec<Self>),
}

/// Why a text or a number is no [`Distribution`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "`{text}` is no time: {problem}; right ones are `10ms`, `uniform(8ms,12ms)`, `exponential(10ms)`, `lognormal(10ms,0.3)` \
     and `pareto(50ms,2.5)`"
)]
pub struct DistributionError {
    text: String,
    problem: String,
}

impl Distribution {
    /// Takes no time.
    pub const ZERO: Self = Self::Constant(0.0);

    /// The mean, in seconds.
    #[must_use]
    pub fn mean(&self) -> f64 {
        match self {
            Self::Constant(seconds) => *seconds,
            Self::Samples(samples) => samples.iter().sum::<f64>() / samples.len().max(1) as f64,
            Self::Uniform { low, high } => (low + high) / 2.0,
            Self::Exponential { mean } | Self::LogNormal { mean, .. } => *mean,
            Self::Pareto { low, shape } => low * shape / (shape - 1.0),
            Self::Sum(parts) => parts.iter().map(Self::mean).sum(),
        }
    }

    /// The middle one of what was measured, which a few disturbed measurements do not move; the mean of everything else. In
    /// seconds.
    #[must_use]
    pub fn center(&self) -> f64 {
        match self {
            Self::Samples(samples) => {
                let mut sorted = samples.clone();
                sorted.sort_by(f64::total_cmp);
                let middle = sorted.len() / 2;
                let upper = sorted.get(middle).copied().unwrap_or_default();
                match sorted.len() % 2 {
                    0 if middle > 0 => (sorted[middle - 1] + upper) / 2.0,
                    _ => upper,
                }
            }
            Self::Sum(parts) => parts.iter().map(Self::center).sum(),
            other => other.mean(),
        }
    }

    /// The time in seconds that belongs to a key: the same for the same key, and independent for different ones.
    #[must_use]
    pub fn draw(&self, key: u64) -> f64 {
        match self {
            Self::Constant(seconds) => *seconds,
            Self::Samples(samples) => {
                let at = (unit(key) * samples.len() as f64) as usize;
                samples.get(at).copied().unwrap_or_default()
            }
            Self::Uniform { low, high } => low + (high - low) * unit(key),
            // The logarithm of 1 − u is finite: u is below 1.
            Self::Exponential { mean } => -mean * (1.0 - unit(key)).ln(),
            Self::LogNormal { mean, variation } => {
                let variance = (variation * variation).ln_1p();
                let normal = (-2.0 * (1.0 - unit(key)).ln()).sqrt() * (TAU * unit(mix(!key))).cos();
                mean * (variance.sqrt() * normal - variance / 2.0).exp()
            }
            Self::Pareto { low, shape } => low * (1.0 - unit(key)).powf(-1.0 / shape),
            Self::Sum(parts) => {
                let parts = parts.iter().zip(1_u64..);
                parts.map(|(part, n)| part.draw(mix(key ^ mix(n)))).sum()
            }
        }
    }

    /// The same, so many times as long.
    #[must_use]
    pub fn times(&self, factor: f64) -> Self {
        match self {
            Self::Constant(seconds) => Self::Constant(seconds * factor),
            Self::Samples(samples) => {
                Self::Samples(samples.iter().map(|seconds| seconds * factor).collect())
            }
            Self::Uniform { low, high } => Self::Uniform {
                low: low * factor,
                high: high * factor,
            },
            Self::Exponential { mean } => Self::Exponential {
                mean: mean * factor,
            },
            Self::LogNormal { mean, variation } => Self::LogNormal {
                mean: mean * factor,
                variation: *variation,
            },
            Self::Pareto { low, shape } => Self::Pareto {
                low: low * factor,
                shape: *shape,
            },
            Self::Sum(parts) => Self::Sum(parts.iter().map(|part| part.times(factor)).collect()),
        }
    }

    /// The time of all of these one after the other. What was measured as often is added in its order, as it was measured in
    /// rounds; everything else varies for itself.
    #[must_use]
    pub fn sum<'a>(parts: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut constant = None;
        let mut others: Vec<Self> = Vec::new();
        for part in parts {
            match part {
                Self::Constant(seconds) => *constant.get_or_insert(0.0) += seconds,
                Self::Samples(samples) => {
                    let rounds = others.iter_mut().find_map(|other| match other {
                        Self::Samples(sums) if sums.len() == samples.len() => Some(sums),
                        _ => None,
                    });
                    match rounds {
                        Some(sums) => sums.iter_mut().zip(samples).for_each(|(a, b)| *a += b),
                        None => others.push(part.clone()),
                    }
                }
                Self::Sum(more) => others.extend(more.iter().cloned()),
                named => others.push(named.clone()),
            }
        }
        match (constant, others.as_slice()) {
            (constant, []) => Self::Constant(constant.unwrap_or(0.0)),
            (None, [one]) => one.clone(),
            (constant, _) => {
                others.extend(constant.map(Self::Constant));
                Self::Sum(others)
            }
        }
    }

    /// Whether a file can say it: what is longer than a day, and a sum, is none that can be read again.
    #[must_use]
    pub fn can_be_written(&self) -> bool {
        self.clone().check("").is_ok()
    }

    fn check(self, text: &str) -> Result<Self, DistributionError> {
        let fault = |problem: &str| DistributionError {
            text: text.to_owned(),
            problem: problem.to_owned(),
        };
        let is_time = |seconds: f64| seconds.is_finite() && (0.0..=MOST_SECONDS).contains(&seconds);
        let times = match &self {
            Self::Samples(samples) if samples.is_empty() => {
                return Err(fault("the list is empty"));
            }
            Self::Sum(_) => return Err(fault("a sum has no form in a file")),
            Self::Samples(samples) => samples.clone(),
            Self::Uniform { low, high } if low > high => {
                return Err(fault("the first time is longer than the second"));
            }
            Self::Uniform { low, high } => vec![*low, *high],
            Self::LogNormal { variation, .. } if !(0.0..=100.0).contains(variation) => {
                return Err(fault("the variation is not between 0 and 100"));
            }
            Self::Pareto { shape, .. } if !(shape.is_finite() && *shape > 1.0) => {
                return Err(fault("the shape is not above 1"));
            }
            Self::Constant(seconds)
            | Self::Exponential { mean: seconds }
            | Self::LogNormal { mean: seconds, .. }
            | Self::Pareto { low: seconds, .. } => vec![*seconds],
        };
        match times.into_iter().all(is_time) {
            true => Ok(self),
            false => Err(fault("a time is not between 0 s and a day")),
        }
    }
}

/// The longest time that anything takes here.
const MOST_SECONDS: f64 = 86_400.0;

/// A number from `[0, 1)` that belongs to a key.
fn unit(key: u64) -> f64 {
    (mix(key) >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
}

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): bits that look independent for different keys.
pub(crate) fn mix(key: u64) -> u64 {
    let key = key.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let key = (key ^ (key >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let key = (key ^ (key >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    key ^ (key >> 31)
}

impl FromStr for Distribution {
    type Err = DistributionError;

    fn from_str(text: &str) -> Result<Self, DistributionError> {
        let fault = |problem: String| DistributionError {
            text: text.to_owned(),
            problem,
        };
        let time = |text: &str| {
            let text = text.trim();
            if text == "0" {
                return Ok(0.0);
            }
            let read = humantime::parse_duration(text);
            read.map(|time| Duration::as_secs_f64(&time))
                .map_err(|error| fault(format!("`{text}`: {error}")))
        };
        let number = |text: &str| {
            let read = text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
            read.ok_or_else(|| fault(format!("`{}` is no number", text.trim())))
        };
        let trimmed = text.trim();
        let Some((name, rest)) = trimmed.split_once('(') else {
            return Self::Constant(time(trimmed)?).check(text);
        };
        let inner = rest.strip_suffix(')');
        let inner = inner.ok_or_else(|| fault("the closing parenthesis is missing".into()))?;
        let arguments: Vec<&str> = inner.split(',').collect();
        let read = match (name.trim(), arguments.as_slice()) {
            ("uniform", [low, high]) => Self::Uniform {
                low: time(low)?,
                high: time(high)?,
            },
            ("exponential", [mean]) => Self::Exponential { mean: time(mean)? },
            ("lognormal", [mean, variation]) => Self::LogNormal {
                mean: time(mean)?,
                variation: number(variation)?,
            },
            ("pareto", [low, shape]) => Self::Pareto {
                low: time(low)?,
                shape: number(shape)?,
            },
            ("uniform" | "exponential" | "lognormal" | "pareto", _) => {
                return Err(fault(format!("it has {} arguments", arguments.len())));
            }
            (name, _) => return Err(fault(format!("there is no `{name}`"))),
        };
        read.check(text)
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Constant(seconds) => write!(f, "{}", Time(*seconds)),
            Self::Samples(samples) => {
                write!(f, "{} in the mean of {}", Time(self.mean()), samples.len())
            }
            Self::Uniform { low, high } => write!(f, "uniform({},{})", Time(*low), Time(*high)),
            Self::Exponential { mean } => write!(f, "exponential({})", Time(*mean)),
            Self::LogNormal { mean, variation } => {
                write!(f, "lognormal({},{variation})", Time(*mean))
            }
            Self::Pareto { low, shape } => write!(f, "pareto({},{shape})", Time(*low)),
            Self::Sum(parts) => {
                write!(
                    f,
                    "{} in the mean of a sum of {}",
                    Time(self.mean()),
                    parts.len()
                )
            }
        }
    }
}

/// Seconds as `12ms 500us`, to the nanosecond.
struct Time(f64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Duration::from_nanos((self.0 * 1e9).round() as u64);
        humantime::format_duration(time).fmt(f)
    }
}

/// What stands in JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
#[serde(expecting = "a time is a number of seconds, a list of these, or a text such as 10ms")]
enum Written {
    Constant(f64),
    Samples(Vec<f64>),
    Named(String),
}

impl Serialize for Distribution {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Self::Constant(seconds) => Written::Constant(*seconds),
            Self::Samples(samples) => Written::Samples(samples.clone()),
            Self::Sum(_) => {
                return Err(serde::ser::Error::custom("a sum has no form in a file"));
            }
            named => Written::Named(named.to_string()),
        };
        written.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Distribution {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = match Written::deserialize(deserializer)? {
            Written::Constant(seconds) => Self::Constant(seconds).check(&seconds.to_string()),
            Written::Samples(samples) => Self::Samples(samples).check("[…]"),
            Written::Named(text) => text.parse(),
        };
        read.map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
