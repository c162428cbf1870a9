//! An option with the values that it is to have: `lr=0.03,0.1`, `lr=log(1e-3,1)`.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use stagger::{TrainingOptions, config_file};
use toml::{Table, Value};

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
    List(Vec<Value>),
    /// Between two numbers, by a number from 0 to 1.
    Uniform(f64, f64),
    /// The same of their logarithms.
    Log(f64, f64),
}

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
        let option = match option.as_str() {
            "wd" => "weight-decay".to_owned(),
            "opt" => "optimizer".to_owned(),
            "seconds" => "max-seconds".to_owned(),
            _ => option,
        };
        let values = match range(values) {
            Some(range) => range.map_err(|what| anyhow::anyhow!("--over {option}: {what}"))?,
            None => Values::List(list(values).into_iter().map(value).collect()),
        };
        let axis = Self { option, values };
        axis.check()?;
        Ok(axis)
    }

    fn check(&self) -> Result<()> {
        let option = &self.option;
        match &self.values {
            Values::List(values) => {
                if values.is_empty() {
                    bail!("--over {option}= names no values; write it as in --over lr=0.03,0.1");
                }
                for (at, value) in values.iter().enumerate() {
                    if values[..at].contains(value) {
                        bail!("--over {option} names {value} twice");
                    }
                    self.options(value.clone())?;
                }
            }
            // The numbers in between are of the same kind.
            Values::Uniform(..) | Values::Log(..) => drop(self.at(0.0)?),
        }
        Ok(())
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
    pub fn at(&self, share: f64) -> Result<Value> {
        let number = match &self.values {
            Values::List(values) => {
                let at = (share * values.len() as f64) as usize;
                return Ok(values[at.min(values.len() - 1)].clone());
            }
            Values::Uniform(low, high) => low + share * (high - low),
            Values::Log(low, high) => (low.ln() + share * (high / low).ln()).exp(),
        };
        // Few enough digits to be read and typed again.
        let text = format!("{number:.3e}");
        let rounded: f64 = text.parse().unwrap_or(number);
        let value = Value::Float(rounded);
        if self.options(value.clone()).is_ok() {
            return Ok(value);
        }
        // Options that are whole numbers.
        let whole = Value::Integer(number.round() as i64);
        self.options(whole.clone())?;
        Ok(whole)
    }

    /// The option with a value.
    ///
    /// # Errors
    /// When there is no such option, or it has no such values.
    pub fn options(&self, value: Value) -> Result<TrainingOptions> {
        let table = Table::from_iter([(self.option.clone(), value)]);
        let text = table.to_string();
        config_file::parse(&text).map_err(|sentence| {
            let sentence = sentence
                .split_once(": ")
                .map_or(&*sentence, |(_, what)| what);
            anyhow::anyhow!("--over {}: {sentence}", self.option)
        })
    }
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
        let texts = texts.map(|text| Value::String(text.to_owned()));
        assert_eq!(axis.values, Values::List(texts.to_vec()));
        let axis = Axis::parse("--lr_steps=[1,2],[3]").unwrap();
        assert_eq!((axis.option.as_str(), axis.len()), ("lr-steps", Some(2)));
        let options = axis.options(axis.at(0.6).unwrap()).unwrap();
        assert_eq!(options.lr_steps, Some(vec![3]));
        let axis = Axis::parse("wd=1e-4,0").unwrap();
        let options = axis.options(axis.at(0.9).unwrap()).unwrap();
        assert_eq!(options.weight_decay, Some(0.0));
    }

    #[test]
    fn ranges_have_readable_numbers() {
        let axis = Axis::parse("lr=log(1e-3,1)").unwrap();
        assert_eq!(axis.len(), None);
        assert_eq!(axis.at(0.0).unwrap(), Value::Float(1e-3));
        assert_eq!(axis.at(0.5).unwrap(), Value::Float(0.03162));
        let axis = Axis::parse("batch-size=uniform(16,128)").unwrap();
        assert_eq!(axis.at(0.5).unwrap(), Value::Integer(72));
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
                "lr=log(2)",
                "--over lr: log(2) is no range; write it as in log(0.01,1)",
            ),
            (
                "schedule=uniform(1,2)",
                "--over schedule: invalid type: integer `1`, expected a text in quotes",
            ),
        ] {
            assert_eq!(refused(text), expected, "{text}");
        }
    }
}
