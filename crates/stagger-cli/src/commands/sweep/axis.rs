//! An option with the values that it is to have: `lr=0.03,0.1`, `lr=log(1e-3,1)`.

mod words;

use std::fmt;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use stagger::{TrainingOptions, config_file};
use toml::{Table, Value};

use crate::commands::series;
pub use words::shown;

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

/// As it is said to `--over`.
impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |end: f64| shown(&Value::Float(end));
        let values = match &self.values {
            Values::List(choices) => words::joined(&self.option, choices),
            &Values::Uniform(low, high) => format!("uniform({},{})", end(low), end(high)),
            &Values::Log(low, high) => format!("log({},{})", end(low), end(high)),
        };
        write!(f, "{}={values}", self.option)
    }
}

/// How `there` has other values than `here`, in the words of the command line.
pub fn difference(here: &[Axis], there: &[Axis]) -> Option<String> {
    const MOST_CHARACTERS: usize = 300;
    let words = |axes: &[Axis]| {
        let flags = axes.iter().map(|axis| format!("--over {axis}"));
        flags.collect::<Vec<_>>().join(" ")
    };
    let mut options = here.iter().zip(there);
    let has_same_options =
        here.len() == there.len() && options.all(|(here, there)| here.option == there.option);
    let mut pairs = here.iter().zip(there).filter(|(here, there)| here != there);
    let (option, here, there) = match pairs.next() {
        None if has_same_options => return None,
        Some((here, there)) if has_same_options => {
            (&*here.option, here.to_string(), format!("--over {there}"))
        }
        _ => ("", words(here), words(there)),
    };
    let is_same_text = !option.is_empty() && there.ends_with(&*format!("--over {here}"));
    Some(match here.len().max(there.len()) {
        _ if is_same_text => format!(
            "--over {option} means something else there: one of its files has changed, or is of another folder"
        ),
        ..=MOST_CHARACTERS => format!("{there} there and {here} here"),
        _ if option.is_empty() => "it is over other options".to_owned(),
        _ => format!("--over {option} has other values there than here"),
    })
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
        if option == "config" {
            bail!(
                "--over config: a sweep has one config file, by --config; name the options that differ instead"
            );
        }
        if option == "output" {
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
        let values = match words::range(values) {
            Some(range) => range.map_err(|what| anyhow::anyhow!("--over {option}: {what}"))?,
            None => Values::List(words::choices(&option, values)?),
        };
        let axis = Self { option, values };
        axis.check()?;
        Ok(axis)
    }

    fn check(&self) -> Result<()> {
        let option = &self.option;
        match &self.values {
            Values::List(choices) => {
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
    settled(option, said, options_of(&table)?)
}

/// The same of a value that has been read.
fn settled(option: &str, said: Value, mut options: TrainingOptions) -> Result<Choice> {
    series::settle_paths(&mut options).with_context(|| format!("--over {option}"))?;
    let means = Table::try_from(&options).context("the value cannot be written as TOML")?;
    // A number has many spellings, such as `.5`.
    let is_number = |value: &&Value| matches!(value, Value::Integer(_) | Value::Float(_));
    let said = match (&said, means.get(option).filter(is_number)) {
        (Value::String(_), Some(number)) => number.clone(),
        _ => said,
    };
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

    /// What the flag of `train` takes is a value, whatever its kind would be in a config file.
    #[test]
    fn values_are_those_of_the_flags() {
        let read = |text: &str| {
            let axis = Axis::parse(text).unwrap();
            let Values::List(choices) = &axis.values else {
                panic!("{axis:?}")
            };
            let options = choices.iter().map(|choice| choice.options().unwrap());
            let written = axis.to_string();
            assert_eq!(Axis::parse(&written).unwrap(), axis, "{written}");
            options.collect::<Vec<_>>()
        };
        let texts = |texts: &[&str]| Some(texts.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(read("snapshot-every=5")[0].snapshot_every, texts(&["5"]));
        let both = &read("snapshot-every='5,10min',[\"7\"]");
        assert_eq!(both[0].snapshot_every, texts(&["5", "10min"]));
        assert_eq!(both[1].snapshot_every, texts(&["7"]));
        let straggler = "stage=1,probability=0.5,slowdown=100%";
        let of = |text: &str| read(&format!("straggler={text}"))[0].straggler.clone();
        assert_eq!(of(&format!("\"{straggler}\"")), texts(&[straggler]));
        assert_eq!(of("stage=1"), texts(&["stage=1"]));
        let several = read("snapshot-every=\"5\",'10'");
        assert_eq!(several[1].snapshot_every, texts(&["10"]));
        let balances = read("balance=\"2,3\",'3,2','5',auto");
        let found = balances.iter().map(|one| one.balance.as_deref().unwrap());
        assert!(found.eq(["2,3", "3,2", "5", "auto"]));
        assert_eq!(read("lr-steps=\"1,2\"")[0].lr_steps, Some(vec![1, 2]));
        assert_eq!(
            read("background=123456")[0].background.as_deref(),
            Some("123456")
        );
        assert_eq!(read("lr=.5,1")[0].lr, Some(0.5));
        assert_eq!(refused("lr=.5,0.5"), "--over lr names 0.5 twice");
        assert_eq!(
            refused("balance='5',\"5\""),
            "--over balance names \"5\" twice"
        );
    }

    #[test]
    fn a_difference_is_told_in_the_words_of_the_command_line() {
        let axes = |texts: &[&str]| {
            let axes = texts.iter().map(|text| Axis::parse(text).unwrap());
            axes.collect::<Vec<_>>()
        };
        let told = |here: &[&str], there: &[&str]| difference(&axes(here), &axes(there));
        let both = ["lr=0.1,1e-5", "balance=\"2,3\",auto"];
        assert_eq!(told(&both, &both), None);
        assert_eq!(
            told(&["lr=0.1,0.02"], &["lr=0.1,0.01"]).unwrap(),
            "--over lr=0.1,0.01 there and lr=0.1,0.02 here"
        );
        assert_eq!(
            told(&both, &["lr=log(1e-5,1)"]).unwrap(),
            "--over lr=log(1e-5,1) there and --over lr=0.1,1e-5 --over balance=\"2,3\",auto here"
        );
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
                "lr=0.1,,0.2",
                "--over lr=0.1,,0.2 has a comma without a value beside it; write it as in --over lr=0.03,0.1",
            ),
            (
                "lr=0.1,",
                "--over lr=0.1, has a comma without a value beside it; write it as in --over lr=0.03,0.1",
            ),
            (
                "lr=uniform(0.1,0.1)",
                "--over lr: uniform(0.1,0.1) begins where it ends; name the one value, as in 0.1",
            ),
            (
                "balance=2,3",
                "--over balance=2,3 may be one value or several, as commas may be part of it; write --over 'balance=\"2,3\"' for one, or --over 'balance=\"2\",\"3\"' for 2",
            ),
            (
                "straggler=stage=1,probability=0.5",
                "--over straggler=stage=1,probability=0.5 may be one value or several, as commas may be part of it; write --over 'straggler=\"stage=1,probability=0.5\"' for one, or --over 'straggler=\"stage=1\",\"probability=0.5\"' for 2",
            ),
            (
                "replicas=[1,2],2",
                "--over replicas=[1,2],2: commas may be part of such values; put each into quotes, as in --over 'replicas=[1,2],\"2\"'",
            ),
            (
                "resume=auto",
                "--over resume: unknown field `resume`; --resume of `stagger train` is a flag only",
            ),
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
                "config=a",
                "--over config: a sweep has one config file, by --config; name the options that differ instead",
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
