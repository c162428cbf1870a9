//! What a sweep asks for, complete and checked.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{Context, Result, bail};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use stagger::TrainingOptions;
use stagger::series::{SeriesCheck, usual_options};

use super::axis::{self, Axis, Choice, shown};
use crate::commands::series::{self, Means};
use crate::flags::SweepArgs;

/// More runs than a machine comes to in a year.
const MOST_RUNS: usize = 10_000;

/// Draws for each combination, as some come up again.
const MOST_DRAWS: usize = 100;

/// Everything that decides what is run: the content of `sweep.toml`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Request {
    /// Combinations that are drawn; without it, all are run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draw_seed: Option<u64>,
    pub over: Vec<Axis>,
    /// What all runs have in common.
    pub train: TrainingOptions,
}

impl series::Request for Request {
    const FILE: &str = "sweep.toml";
    const NOUN: &str = "sweep";

    fn difference(&self, other: &Self) -> Result<Option<String>> {
        let of_values = axis::difference(&self.over, &other.over);
        let rest = || {
            Ok(series::difference(
                &series::table(self)?,
                &series::table(other)?,
            ))
        };
        of_values.map_or_else(rest, |found| Ok(Some(found)))
    }
}

/// One value for each option.
#[derive(Clone, Debug, PartialEq)]
pub struct Point(pub Vec<(String, Choice)>);

impl Point {
    /// The options of its run.
    ///
    /// # Errors
    /// When an option has no such value.
    pub fn values(&self, common: &TrainingOptions) -> Result<TrainingOptions> {
        let mut values = common.clone();
        for (_, choice) in &self.0 {
            values = choice.options()?.or(values);
        }
        Ok(values)
    }
}

/// `lr 0.1, momentum 0.9`
impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.iter();
        let parts = parts.map(|(option, choice)| format!("{option} {}", shown(&choice.said)));
        f.write_str(&parts.collect::<Vec<_>>().join(", "))
    }
}

impl Request {
    /// Merges flags, config file and defaults.
    ///
    /// # Errors
    /// One sentence on the first flag that makes no sense.
    pub fn new(arguments: &SweepArgs) -> Result<Self> {
        let said = arguments.flags.options();
        said.check_numbers().map_err(stagger::Error::from)?;
        let over = arguments.over.iter().map(|text| Axis::parse(text));
        let over = over.collect::<Result<Vec<_>>>()?;
        let flags = toml::Table::try_from(&said).context("the flags cannot be written as TOML")?;
        for (at, axis) in over.iter().enumerate() {
            let option = &axis.option;
            if over[..at].iter().any(|other| other.option == *option) {
                bail!("--over names {option} twice; list all of its values in one");
            }
            if flags.contains_key(option) {
                bail!("--{option} and --over {option} both say what it is; give one of them");
            }
            if axis.len().is_none() && arguments.draw.is_none() {
                bail!(
                    "--over {option} is a range, of which all values cannot be run; say how many to draw, as in --draw 20"
                );
            }
        }
        match (arguments.draw, arguments.draw_seed) {
            (Some(0), _) => bail!("--draw is 0; give a whole number of at least 1"),
            (None, Some(_)) => {
                bail!("--draw-seed does nothing without --draw; add it, or leave the seed out")
            }
            (_, Some(seed)) if i64::try_from(seed).is_err() => {
                bail!(
                    "--draw-seed {seed} is too large; use numbers up to {}",
                    i64::MAX
                )
            }
            _ => {}
        }
        let mut values = series::with_config(said, arguments.config.as_deref())?;
        series::settle_paths(&mut values)?;
        values.output = None;
        let takes_snapshots = stagger::job::needs_snapshots(&values)
            || (over.iter())
                .any(|axis| ["snapshot-every", "on-nan"].contains(&axis.option.as_str()));
        Ok(Self {
            draw: arguments.draw,
            draw_seed: arguments.draw.map(|_| arguments.draw_seed.unwrap_or(1)),
            over,
            train: values.or(usual_options(takes_snapshots)),
        })
    }

    /// The combinations, in the order in which they are run: of all of them, the last option changes fastest.
    ///
    /// # Errors
    /// When there are too many, or not as many as are to be drawn.
    pub fn points(&self) -> Result<Vec<Point>> {
        let mut counts = self.over.iter().map(Axis::len);
        let all = counts.try_fold(1_usize, |product, count| {
            Some(product.saturating_mul(count?))
        });
        let wanted = self.draw.or(all).unwrap_or_default();
        if wanted > MOST_RUNS {
            let instead = match self.draw {
                Some(_) => "draw fewer",
                None => "name fewer values, or draw some with --draw",
            };
            bail!("{wanted} runs are more than the {MOST_RUNS} of a sweep; {instead}");
        }
        match (self.draw, all) {
            (Some(draw), Some(all)) if draw > all => bail!(
                "--draw {draw} is more than the {all} combinations that there are; leave --draw out to run all of them"
            ),
            (Some(draw), _) => self.drawn(draw),
            (None, _) => (0..wanted).map(|number| self.numbered(number)).collect(),
        }
    }

    /// A combination by its number among all.
    fn numbered(&self, number: usize) -> Result<Point> {
        let mut left = number;
        let mut point = Vec::new();
        for axis in self.over.iter().rev() {
            let count = axis.len().unwrap_or(1);
            let share = (left % count) as f64 / count as f64;
            // The middle, so that rounding cannot reach its neighbour.
            point.push((axis.option.clone(), axis.at(share + 0.5 / count as f64)?));
            left /= count;
        }
        point.reverse();
        Ok(Point(point))
    }

    fn drawn(&self, count: usize) -> Result<Vec<Point>> {
        let mut random = ChaCha8Rng::seed_from_u64(self.draw_seed.unwrap_or(1));
        let mut points: Vec<Point> = Vec::with_capacity(count);
        let mut drawn = BTreeSet::new();
        for _ in 0..MOST_DRAWS.saturating_mul(count) {
            let draw = self.over.iter().map(|axis| {
                // 53 random bits: as many as a number has.
                let share = (random.next_u64() >> 11) as f64 / (1_u64 << 53) as f64;
                Ok((axis.option.clone(), axis.at(share)?))
            });
            let point = Point(draw.collect::<Result<_>>()?);
            if drawn.insert(point.to_string()) {
                points.push(point);
            }
            if points.len() == count {
                return Ok(points);
            }
        }
        bail!(
            "only {} of {count} different combinations have come up; draw fewer, or widen the ranges",
            points.len()
        )
    }

    /// Builds the job of every combination, so that whatever is wrong is told before the first run. Gives what each means, and lines for people.
    ///
    /// # Errors
    /// One sentence on the first that is wrong.
    pub fn check(&self, points: &[Point]) -> Result<(Vec<Means>, Vec<String>)> {
        let mut series = SeriesCheck::default();
        let mut all = Vec::with_capacity(points.len());
        let mut lines = Vec::new();
        for point in points {
            let values = point.values(&self.train)?;
            let checked = series.check(values);
            let mut job = checked.with_context(|| format!("with {point}"))?;
            lines.extend(job.cut_misfit.take().filter(|line| !lines.contains(line)));
            all.push(job.into());
        }
        Ok((all, lines))
    }
}
