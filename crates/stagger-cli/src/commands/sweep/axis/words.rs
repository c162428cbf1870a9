//! How the values of an option are written: split at their commas, and read as a config file and the flags of `stagger train` have them.

use anyhow::{Result, bail};
use clap::Parser;
use stagger::TrainingOptions;
use toml::{Table, Value};

use super::{Choice, Values, choice, options_of, settled};
use crate::flags::train::TrainFlags;

/// `uniform(A,B)` and `log(A,B)`.
pub fn range(text: &str) -> Option<Result<Values, String>> {
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
        (_, Some((low, high))) if low == high => Err(format!(
            "{text} begins where it ends; name the one value, as in {low}"
        )),
        (_, Some((low, high))) if low > high => Err(format!(
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

/// The values of a list.
///
/// # Errors
/// One sentence on the first that the option does not have, and where commas may be part of a value or between values.
pub fn choices(option: &str, text: &str) -> Result<Vec<Choice>> {
    let parts = list(text);
    if text.trim().is_empty() {
        bail!("--over {option}= names no values; write it as in --over lr=0.03,0.1");
    }
    if parts.contains(&"") {
        bail!(
            "--over {option}={text} has a comma without a value beside it; write it as in --over lr=0.03,0.1"
        );
    }
    refuse_ambiguous(option, &parts)?;
    parts.into_iter().map(|part| read(option, part)).collect()
}

/// A value that may have commas in it is told from several only by what is around it.
fn refuse_ambiguous(option: &str, parts: &[&str]) -> Result<()> {
    if !is_ambiguous(option, parts) {
        return Ok(());
    }
    let several = parts.iter().map(|part| quoted(part)).collect::<Vec<_>>();
    let (whole, several) = (parts.join(","), several.join(","));
    let is_one = parts.iter().all(|part| is_bare(part))
        && (option != "balance" || parts.iter().all(|part| is_count(part)));
    if !is_one {
        bail!(
            "--over {option}={whole}: commas may be part of such values; put each into quotes, as in --over '{option}={several}'"
        );
    }
    bail!(
        "--over {option}={whole} may be one value or several, as commas may be part of it; write --over '{option}=\"{whole}\"' for one, \
         or --over '{option}={several}' for {}",
        parts.len()
    )
}

/// Whether commas between these may be part of a value. Once one is in quotes or brackets, so are all that could be misread.
fn is_ambiguous(option: &str, parts: &[&str]) -> bool {
    let may_belong = match option {
        "balance" => parts
            .windows(2)
            .any(|pair| is_count(pair[0]) && is_count(pair[1])),
        _ => parts.iter().any(|part| is_bare(part)) && has_lists(option),
    };
    parts.len() > 1 && may_belong
}

/// Blocks of a stage, in `balance`.
fn is_count(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit())
}

/// Without brackets or quotes around it.
fn is_bare(part: &str) -> bool {
    !part.starts_with(['[', '"', '\''])
}

/// The same in quotes, if it has none.
fn quoted(part: &str) -> String {
    match is_bare(part) {
        true => Value::String(part.to_owned()).to_string(),
        false => part.to_owned(),
    }
}

/// Whether the values of an option are lists.
fn has_lists(option: &str) -> bool {
    let entries = [Value::Integer(1), Value::String("x".to_owned())];
    entries.into_iter().any(|entry| {
        let list = Value::Array(vec![entry]);
        options_of(&Table::from_iter([(option.to_owned(), list)])).is_ok()
    })
}

/// A value as a config file has it, or else as the flag of `stagger train` takes it.
fn read(option: &str, text: &str) -> Result<Choice> {
    let said = value(text);
    choice(option, said.clone()).or_else(|error| {
        let text = said.as_str().unwrap_or(text);
        let of_flag = by_flag(option, text);
        let said = Value::String(text.to_owned());
        let settled = of_flag.and_then(|options| settled(option, said, options).ok());
        settled.ok_or(error)
    })
}

/// The flags of a run alone.
#[derive(Parser)]
#[command(no_binary_name = true)]
struct Flags {
    #[command(flatten)]
    flags: TrainFlags,
}

/// What the flag of an option makes of a text.
fn by_flag(option: &str, text: &str) -> Option<TrainingOptions> {
    let read = Flags::try_parse_from([format!("--{option}={text}")]).ok()?;
    Some(read.flags.options())
}

/// Splits a text at its commas, but not within parentheses, brackets and quotes.
fn list(text: &str) -> Vec<&str> {
    let (mut depth, mut begin) = (0_usize, 0);
    // The quotation mark that a part begins with, until it comes again.
    let mut quote = None;
    let mut is_escaped = false;
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if is_escaped => is_escaped = false,
            (Some('"'), '\\') => is_escaped = true,
            (Some(mark), _) if mark == c => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') if text[begin..at].trim().is_empty() => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, ',') if depth == 0 => {
                parts.push(text[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(text[begin..].trim());
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

/// Values so that they are read as the same again.
pub fn joined(option: &str, choices: &[Choice]) -> String {
    let written = |choice: &Choice| match &choice.said {
        Value::String(text) if list(text).len() > 1 => choice.said.to_string(),
        said => shown(said),
    };
    let mut parts: Vec<String> = choices.iter().map(written).collect();
    let bare: Vec<&str> = parts.iter().map(String::as_str).collect();
    if is_ambiguous(option, &bare) {
        parts = bare.into_iter().map(quoted).collect();
    }
    parts.join(",")
}

/// A value as people write it.
pub fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Float(number) if number.abs() >= 1e5 || (number.abs() < 1e-3 && *number != 0.0) => {
            format!("{number:e}")
        }
        Value::Float(number) => number.to_string(),
        other => other.to_string(),
    }
}
