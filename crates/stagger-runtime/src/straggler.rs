//! Stragglers on demand: stages that are slowed down by a share of their own compute time.
//!
//! A slow stage computes as before and then sleeps before it passes its result on, so the numbers of a run stay what
//! they are and only its timing changes. Which batches are slow is a function of (seed, stage, batch) alone: every
//! method of a comparison meets the same delays.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Batches of a burst when the specification does not say how many.
const BURST_BATCHES: usize = 20;

/// Which batches of a stage are slow, and by how much.
///
/// Reads `stage=1,probability=0.33,slowdown=100%`, with `stage=*` for all stages, `kind=constant`, `random` or `burst`,
/// and `length=20` for the batches of a burst. Only `slowdown` has to be there; without a probability the kind is
/// `constant`, with one it is `random`.
///
/// ```
/// use stagger_runtime::Straggler;
///
/// let straggler: Straggler = "stage=1,slowdown=50%".parse()?;
/// assert_eq!(straggler.to_string(), "stage=1,kind=constant,slowdown=50%");
/// assert_eq!(straggler.slowdown(7, 1, 3), 0.5);
/// assert_eq!(straggler.slowdown(7, 0, 3), 0.0);
/// # Ok::<(), stagger_runtime::StragglerError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Straggler {
    /// The stage; `None` for every stage.
    stage: Option<usize>,
    kind: Kind,
    /// What is added to the compute time of a slow batch, as a share of it: 1 doubles it.
    slowdown: f64,
}

/// How slow batches are spread over the run.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// All of them.
    Constant,
    /// Each by itself with this probability.
    Random { probability: f64 },
    /// Stretches of `length` batches, each stretch with this probability.
    Burst { probability: f64, length: usize },
}

/// Why a text is no [`Straggler`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "straggler `{text}`: {problem}; a right one is `stage=1,probability=0.33,slowdown=100%`, or with `stage=*` and \
     `kind=constant`, `random` or `burst`"
)]
pub struct StragglerError {
    text: String,
    problem: String,
}

impl Straggler {
    /// What is added to the compute time of this batch on this stage, as a share of it.
    pub fn slowdown(&self, seed: u64, stage: usize, batch: usize) -> f64 {
        if self.stage.is_some_and(|only| only != stage) {
            return 0.0;
        }
        let hit = match self.kind {
            Kind::Constant => true,
            Kind::Random { probability } => draw(seed, stage, batch) < probability,
            Kind::Burst {
                probability,
                length,
            } => draw(seed, stage, batch / length) < probability,
        };
        if hit { self.slowdown } else { 0.0 }
    }

    /// The stage that it names, if it names one.
    pub fn stage(&self) -> Option<usize> {
        self.stage
    }
}

/// A number from `[0, 1)` by its key.
fn draw(seed: u64, stage: usize, index: usize) -> f64 {
    let mut key = [0_u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(b"straggle");
    key[16..24].copy_from_slice(&(stage as u64).to_le_bytes());
    key[24..].copy_from_slice(&(index as u64).to_le_bytes());
    let bits = ChaCha8Rng::from_seed(key).next_u64() >> 11;
    bits as f64 * (1.0 / (1_u64 << 53) as f64)
}

impl FromStr for Straggler {
    type Err = StragglerError;

    fn from_str(text: &str) -> Result<Self, StragglerError> {
        Fields::read(text)
            .and_then(Fields::build)
            .map_err(|problem| StragglerError {
                text: text.to_owned(),
                problem,
            })
    }
}

/// What a specification says, field by field.
#[derive(Default)]
struct Fields<'a> {
    stage: Option<&'a str>,
    kind: Option<&'a str>,
    probability: Option<&'a str>,
    slowdown: Option<&'a str>,
    length: Option<&'a str>,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str) -> Result<Self, String> {
        let mut fields = Self::default();
        for part in text.split(',') {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| format!("`{}` is no `key=value`", part.trim()))?;
            let (key, value) = (key.trim(), value.trim());
            let field = match key {
                "stage" => &mut fields.stage,
                "kind" => &mut fields.kind,
                "probability" => &mut fields.probability,
                "slowdown" => &mut fields.slowdown,
                "length" => &mut fields.length,
                _ => return Err(format!("there is no `{key}`")),
            };
            if field.replace(value).is_some() {
                return Err(format!("`{key}` is given twice"));
            }
        }
        Ok(fields)
    }

    fn build(self) -> Result<Straggler, String> {
        let slowdown = self.slowdown.ok_or("`slowdown` is missing")?;
        let slowdown = share(slowdown)
            .filter(|share| *share <= 100.0)
            .ok_or_else(|| format!("slowdown is `{slowdown}`, expected 0% to 10000%"))?;
        let stage = match self.stage {
            None | Some("*") => None,
            Some(stage) => {
                let number = stage.parse().ok();
                Some(
                    number
                        .ok_or_else(|| format!("stage is `{stage}`, expected a number or `*`"))?,
                )
            }
        };
        let probability = self
            .probability
            .map(|text| {
                share(text)
                    .filter(|probability| *probability <= 1.0)
                    .ok_or_else(|| format!("probability is `{text}`, expected 0 to 1"))
            })
            .transpose()?;
        let kind = match (self.kind, probability) {
            (None | Some("constant"), None) => Kind::Constant,
            (None | Some("random"), Some(probability)) => Kind::Random { probability },
            (Some("burst"), Some(probability)) => Kind::Burst {
                probability,
                length: self.length.map_or(Ok(BURST_BATCHES), burst_length)?,
            },
            (Some("constant"), Some(_)) => {
                return Err("kind `constant` has no probability".to_owned());
            }
            (Some(kind @ ("random" | "burst")), None) => {
                return Err(format!("kind `{kind}` needs a probability"));
            }
            (Some(kind), _) => return Err(format!("there is no kind `{kind}`")),
        };
        if self.length.is_some() && !matches!(kind, Kind::Burst { .. }) {
            return Err("only kind `burst` has a length".to_owned());
        }
        Ok(Straggler {
            stage,
            kind,
            slowdown,
        })
    }
}

fn burst_length(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|length| *length > 0)
        .ok_or_else(|| format!("length is `{text}`, expected a number of batches above 0"))
}

/// A share at least 0, as `0.5` or `50%`.
fn share(text: &str) -> Option<f64> {
    let number: f64 = match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse::<f64>().ok()? / 100.0,
        None => text.parse().ok()?,
    };
    (number.is_finite() && number >= 0.0).then_some(number)
}

impl fmt::Display for Straggler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            Some(stage) => write!(f, "stage={stage}")?,
            None => f.write_str("stage=*")?,
        }
        match self.kind {
            Kind::Constant => f.write_str(",kind=constant")?,
            Kind::Random { probability } => write!(f, ",kind=random,probability={probability}")?,
            Kind::Burst {
                probability,
                length,
            } => write!(f, ",kind=burst,probability={probability},length={length}")?,
        }
        // Percent of a share such as 0.07 are not exact; a hundredth of a percent is enough to read.
        let percent = (self.slowdown * 1e4).round() / 1e2;
        write!(f, ",slowdown={percent}%")
    }
}

/// The stragglers of one stage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disturbance {
    stragglers: Vec<Straggler>,
    seed: u64,
    stage: usize,
    /// How much longer than it should the stage has slept so far: timers are late, and the next sleep makes up for that.
    overslept: Duration,
}

impl Disturbance {
    pub(crate) fn new(stragglers: &[Straggler], seed: u64, stage: usize) -> Self {
        let of_stage = |straggler: &&Straggler| straggler.stage.is_none_or(|only| only == stage);
        Self {
            stragglers: stragglers.iter().filter(of_stage).cloned().collect(),
            seed,
            stage,
            overslept: Duration::ZERO,
        }
    }

    /// What is left to sleep of a delay, after what the stage has slept too long.
    pub(crate) fn due(&mut self, delay: Duration) -> Duration {
        let due = delay.saturating_sub(self.overslept);
        self.overslept = self.overslept.saturating_sub(delay);
        due
    }

    /// Takes down how long a sleep of `due` took.
    pub(crate) fn has_slept(&mut self, due: Duration, slept: Duration) {
        self.overslept += slept.saturating_sub(due);
    }

    /// How long the stage is delayed after a computation for this batch.
    pub(crate) fn delay(&self, batch: usize, computed: Duration) -> Duration {
        let shares = self.stragglers.iter();
        let share: f64 = shares
            .map(|straggler| straggler.slowdown(self.seed, self.stage, batch))
            .sum();
        computed.mul_f64(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Straggler {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_it_writes() {
        for text in [
            "stage=*,kind=constant,slowdown=20%",
            "stage=3,kind=random,probability=0.33,slowdown=150%",
            "stage=*,kind=burst,probability=0.1,length=5,slowdown=12.5%",
        ] {
            assert_eq!(read(text).to_string(), text);
        }
        assert_eq!(
            read("slowdown = 1, probability = 25%"),
            read("stage=*,kind=random,probability=0.25,slowdown=100%")
        );
    }

    #[test]
    fn wrong_ones_are_explained() {
        for (text, problem) in [
            ("", "`` is no `key=value`"),
            ("stage=1", "`slowdown` is missing"),
            ("slowdown=-1", "slowdown is `-1`, expected 0% to 10000%"),
            ("slowdown=NaN", "slowdown is `NaN`, expected 0% to 10000%"),
            (
                "slowdown=1,stage=x",
                "stage is `x`, expected a number or `*`",
            ),
            (
                "slowdown=1,probability=2",
                "probability is `2`, expected 0 to 1",
            ),
            ("slowdown=1,kind=sometimes", "there is no kind `sometimes`"),
            (
                "slowdown=1,kind=random",
                "kind `random` needs a probability",
            ),
            (
                "slowdown=1,kind=constant,probability=0.5",
                "kind `constant` has no probability",
            ),
            ("slowdown=1,length=3", "only kind `burst` has a length"),
            (
                "slowdown=1,kind=burst,probability=0.5,length=0",
                "length is `0`, expected a number of batches above 0",
            ),
            ("slowdown=1,slowdown=2", "`slowdown` is given twice"),
            ("slowdown=1,speed=2", "there is no `speed`"),
        ] {
            let error = text.parse::<Straggler>().unwrap_err();
            assert_eq!(error.problem, problem, "{text}");
        }
    }

    /// Share of the first 3,000 batches that are slow.
    fn frequency(straggler: &Straggler, seed: u64, stage: usize) -> f64 {
        let slow = (0..3000).filter(|&batch| straggler.slowdown(seed, stage, batch) > 0.0);
        slow.count() as f64 / 3000.0
    }

    #[test]
    fn random_ones_hit_as_often_as_they_say_and_differ_by_seed_and_stage() {
        let straggler = read("probability=0.3333,slowdown=1");
        let found = frequency(&straggler, 1, 0);
        assert!((found - 1.0 / 3.0).abs() < 0.03, "{found}");
        let pattern = |seed, stage| -> Vec<bool> {
            (0..100)
                .map(|batch| straggler.slowdown(seed, stage, batch) > 0.0)
                .collect()
        };
        assert_eq!(pattern(1, 0), pattern(1, 0));
        assert_ne!(pattern(1, 0), pattern(2, 0));
        assert_ne!(pattern(1, 0), pattern(1, 1));
    }

    #[test]
    fn bursts_hit_whole_stretches() {
        let straggler = read("kind=burst,probability=0.5,length=10,slowdown=1");
        for stretch in 0..50 {
            let slow: Vec<f64> = (0..10)
                .map(|batch| straggler.slowdown(5, 0, stretch * 10 + batch))
                .collect();
            assert!(slow.iter().all(|share| *share == slow[0]), "{stretch}");
        }
        let found = frequency(&straggler, 5, 0);
        assert!((found - 0.5).abs() < 0.1, "{found}");
    }

    #[test]
    fn a_late_timer_is_made_up_for() {
        let ms = Duration::from_millis;
        let mut disturbance = Disturbance::default();
        assert_eq!(disturbance.due(ms(10)), ms(10));
        disturbance.has_slept(ms(10), ms(13));
        // Two short delays are over already, and of the third a millisecond is.
        assert_eq!(disturbance.due(ms(2)), ms(0));
        assert_eq!(disturbance.due(ms(0)), ms(0));
        assert_eq!(disturbance.due(ms(5)), ms(4));
        assert_eq!(disturbance.due(ms(5)), ms(5));
    }

    #[test]
    fn several_add_up_and_others_stages_are_left_alone() {
        let all = [
            read("slowdown=50%"),
            read("stage=1,slowdown=100%"),
            read("stage=2,slowdown=900%"),
        ];
        let second = Duration::from_secs(1);
        let delay = |stage| Disturbance::new(&all, 0, stage).delay(3, second);
        assert_eq!(delay(0), Duration::from_millis(500));
        assert_eq!(delay(1), Duration::from_millis(1500));
        assert_eq!(Disturbance::default().delay(0, second), Duration::ZERO);
    }
}
