//! An option with the values that it is to have: `lr=0.03,0.1`, `lr=log(1e-3,1)`.

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use stagger::{TrainingOptions, config_file};
use toml::{Table, Value};

use crate::commands::series;

/// An option and its values.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Axis {
    /// The option, as a config file spells it.
    pub option: String,
    pub values: Values,
}

/// What an option may be.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Values {
    List(Vec<Choice>),
    /// Any number from the first to the second.
    Uniform(f64, f64),
    /// The same, of which the logarithms are spread evenly.
    Log(f64, f64),
}

/// A value of an option.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// As it was written.
    pub said: Value,
    /// What it means from everywhere: with absolute paths, and with the text of a model file.
    pub means: Table,
}

impl Choice {
    /// The options that it is.
    ///
    /// # Errors
    /// When there is no such option, or it has no such values.
    pub fn options(&self) -> Result<TrainingOptions> {
        options_of(&self.means)
    }
}

/// Whole numbers up to here are told apart by the numbers that are drawn.
const LARGEST_WHOLE: f64 = (1_u64 << 53) as f64;

impl Axis {
    /// Reads one.
    ///
    /// # Errors
    /// One sentence on what is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let Some((option, values)) = text.split_once('=') else {
            bail!("--over {text} names no values; write it as in --over lr=0.03,0.1");
        };
        let option = option.trim().trim_start_matches("--").replace('_', "-");
        if ["output", "config"].contains(&option.as_str()) {
            bail!("--over {option}: the runs of a sweep have folders of their own; leave it out");
        }
        if option == "network" {
            bail!("--over network: name model files instead, as in --over model=./a.toml,./b.toml");
        }
        let option = match option.as_str() {
            "wd" => "weight-decay".to_owned(),
            "opt" => "optimizer".to_owned(),
            "seconds" => "max-seconds".to_owned(),
            _ => option,
        };
        let values = match range(values) {
            Some(range) => range.map_err(|what| anyhow::anyhow!("--over {option}: {what}"))?,
            None => {
                let values = list(values).into_iter().map(value);
                let choices = values.map(|value| choice(&option, value));
                Values::List(choices.collect::<Result<_>>()?)
            }
        };
        let axis = Self { option, values };
        axis.check()?;
        Ok(axis)
    }

    fn check(&self) -> Result<()> {
        let option = &self.option;
        match &self.values {
            Values::List(choices) => {
                if choices.is_empty() {
                    bail!("--over {option}= names no values; write it as in --over lr=0.03,0.1");
                }
                for (at, choice) in choices.iter().enumerate() {
                    if choices[..at].iter().any(|other| other.said == choice.said) {
                        bail!("--over {option} names {} twice", choice.said);
                    }
                }
            }
            &Values::Uniform(low, high) | &Values::Log(low, high) => {
                let is_in = |end: f64| end.abs() <= LARGEST_WHOLE;
                if self.is_whole() && !(is_in(low) && is_in(high) && low.ceil() <= high.floor()) {
                    bail!(
                        "--over {option}: there is no whole number in that range, or it reaches beyond 2^53"
                    );
                }
                // The numbers in between are of the same kind.
                drop(self.at(0.0)?);
            }
        }
        Ok(())
    }

    /// Whether the option has whole numbers only.
    fn is_whole(&self) -> bool {
        let has = |value| choice(&self.option, value).is_ok();
        !has(Value::Float(0.5)) && has(Value::Integer(1))
    }

    /// How many values it lists; `None` for a range.
    pub fn len(&self) -> Option<usize> {
        match &self.values {
            Values::List(values) => Some(values.len()),
            Values::Uniform(..) | Values::Log(..) => None,
        }
    }

    /// The value for a number from 0 to below 1: the lower end of a range is that of 0.
    ///
    /// # Errors
    /// When the option has no such values.
    pub fn at(&self, share: f64) -> Result<Choice> {
        let logarithmic = |low: f64, high: f64| (low.ln() + share * (high / low).ln()).exp();
        let number = match &self.values {
            Values::List(choices) => {
                let at = (share * choices.len() as f64) as usize;
                return Ok(choices[at.min(choices.len() - 1)].clone());
            }
            &Values::Uniform(low, high) | &Values::Log(low, high) if self.is_whole() => {
                // Each whole number has the room up to the next.
                let (low, high) = (low.ceil(), high.floor());
                let number = match self.values {
                    Values::Log(..) => logarithmic(low, high + 1.0),
                    _ => low + share * (high - low + 1.0),
                };
                let whole = number.floor().clamp(low, high) as i64;
                return choice(&self.option, Value::Integer(whole));
            }
            Values::Uniform(low, high) => low + share * (high - low),
            Values::Log(low, high) => logarithmic(*low, *high),
        };
        // Few enough digits to be read and typed again.
        let rounded = format!("{number:.3e}").parse().unwrap_or(number);
        choice(&self.option, Value::Float(rounded))
    }
}

/// The option with a value, settled.
fn choice(option: &str, said: Value) -> Result<Choice> {
    let table = Table::from_iter([(option.to_owned(), said.clone())]);
    let mut options = options_of(&table)?;
    series::settle_paths(&mut options).with_context(|| format!("--over {option}"))?;
    let means = Table::try_from(&options).context("the value cannot be written as TOML")?;
    Ok(Choice { said, means })
}

fn options_of(table: &Table) -> Result<TrainingOptions> {
    config_file::parse(&table.to_string()).map_err(|sentence| {
        let what = sentence
            .split_once(": ")
            .map_or(&*sentence, |(_, what)| what);
        let option = table.keys().next().map_or("", String::as_str);
        anyhow::anyhow!("--over {option}: {what}")
    })
}

/// `uniform(A,B)` and `log(A,B)`.
fn range(text: &str) -> Option<Result<Values, String>> {
    let (name, rest) = text.trim().split_once('(')?;
    if !matches!(name, "uniform" | "log") {
        return None;
    }
    let ends = rest.strip_suffix(')').and_then(|ends| ends.split_once(','));
    let number = |text: &str| {
        text.trim()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
    };
    let ends = ends.and_then(|(low, high)| Some((number(low)?, number(high)?)));
    Some(match (name, ends) {
        (_, Some((low, high))) if !(high - low).is_finite() => {
            Err(format!("{text} is too wide a range"))
        }
        (_, Some((low, high))) if low >= high => Err(format!(
            "{text} goes from the larger number to the smaller; turn them round"
        )),
        ("log", Some((low, _))) if low <= 0.0 => Err(format!(
            "{text} begins at a number without a logarithm; begin above 0"
        )),
        ("log", Some((low, high))) => Ok(Values::Log(low, high)),
        (_, Some((low, high))) => Ok(Values::Uniform(low, high)),
        (_, None) => Err(format!("{text} is no range; write it as in {name}(0.01,1)")),
    })
}

/// Splits a text at its commas, but not within parentheses and brackets.
fn list(text: &str) -> Vec<&str> {
    let (mut depth, mut begin) = (0_usize, 0);
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[begin..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

/// As a config file has it; what is no number and the like is a text.
fn value(text: &str) -> Value {
    let table = format!("value = {text}").parse::<Table>();
    let parsed = table.ok().and_then(|mut table| table.remove("value"));
    parsed
        .filter(|value| !matches!(value, Value::Datetime(_) | Value::Table(_)))
        .unwrap_or_else(|| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        Axis::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn values_are_those_of_a_config_file() {
        let axis = Axis::parse("schedule=bp, dsp(1,0;2,0),dsp + shrink(0.9)").unwrap();
        let texts = ["bp", "dsp(1,0;2,0)", "dsp + shrink(0.9)"];
        let Values::List(choices) = &axis.values else {
            panic!("{axis:?}")
        };
        let said = choices.iter().map(|choice| choice.said.as_str().unwrap());
        assert!(said.eq(texts));
        let axis = Axis::parse("--lr_steps=[1,2],[3]").unwrap();
        assert_eq!((axis.option.as_str(), axis.len()), ("lr-steps", Some(2)));
        let options = axis.at(0.6).unwrap().options().unwrap();
        assert_eq!(options.lr_steps, Some(vec![3]));
        let axis = Axis::parse("wd=1e-4,0").unwrap();
        let options = axis.at(0.9).unwrap().options().unwrap();
        assert_eq!(options.weight_decay, Some(0.0));
    }

    #[test]
    fn ranges_have_readable_numbers() {
        let axis = Axis::parse("lr=log(1e-3,1)").unwrap();
        assert_eq!(axis.len(), None);
        let at = |axis: &Axis, share| axis.at(share).unwrap().said;
        assert_eq!(at(&axis, 0.0), Value::Float(1e-3));
        assert_eq!(at(&axis, 0.5), Value::Float(0.03162));
        // Each whole number is drawn as often.
        let axis = Axis::parse("epochs=uniform(1,3)").unwrap();
        let shares = [0.0, 0.33, 0.34, 0.66, 0.67, 0.999];
        assert_eq!(
            shares.map(|share| at(&axis, share)),
            [1, 1, 2, 2, 3, 3].map(Value::Integer)
        );
        let axis = Axis::parse("batch-size=log(16,128)").unwrap();
        assert_eq!(at(&axis, 0.0), Value::Integer(16));
        assert_eq!(at(&axis, 1.0 - f64::EPSILON), Value::Integer(128));
    }

    #[test]
    fn what_is_no_axis_is_told() {
        for (text, expected) in [
            (
                "lr",
                "--over lr names no values; write it as in --over lr=0.03,0.1",
            ),
            (
                "lr=",
                "--over lr= names no values; write it as in --over lr=0.03,0.1",
            ),
            ("lr=0.1,0.1", "--over lr names 0.1 twice"),
            (
                "lrr=0.1",
                "--over lrr: unknown field `lrr`; did you mean `lr`?",
            ),
            (
                "lr=high",
                "--over lr: invalid type: string \"high\", expected a number",
            ),
            (
                "epochs=1.5",
                "--over epochs: invalid type: floating point `1.5`, expected a whole number",
            ),
            (
                "output=a,b",
                "--over output: the runs of a sweep have folders of their own; leave it out",
            ),
            (
                "lr=log(0,1)",
                "--over lr: log(0,1) begins at a number without a logarithm; begin above 0",
            ),
            (
                "lr=log(2,1)",
                "--over lr: log(2,1) goes from the larger number to the smaller; turn them round",
            ),
            (
                "lr=uniform(-1e308,1e308)",
                "--over lr: uniform(-1e308,1e308) is too wide a range",
            ),
            (
                "seed=uniform(1,1e19)",
                "--over seed: there is no whole number in that range, or it reaches beyond 2^53",
            ),
            (
                "epochs=uniform(1.2,1.8)",
                "--over epochs: there is no whole number in that range, or it reaches beyond 2^53",
            ),
            (
                "network=a",
                "--over network: name model files instead, as in --over model=./a.toml,./b.toml",
            ),
            (
                "lr=log(2)",
                "--over lr: log(2) is no range; write it as in log(0.01,1)",
            ),
            (
                "schedule=uniform(1,2)",
                "--over schedule: invalid type: floating point `1.0`, expected a text in quotes",
            ),
        ] {
            assert_eq!(refused(text), expected, "{text}");
        }
    }
}
