//! What commands have in common that make several training runs, each a process of its own, into one folder that they can take up
//! again.

pub mod child;
pub mod folder;
mod inputs;
mod kept;

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use stagger::data::{quoted_for_shell, shown_text};
use stagger::job::Job;
use stagger::model::Balance;
use stagger::report::compare::RunResult;
use stagger::{TrainingOptions, config_file};

pub use child::{ChildRun, End, Interrupts};
pub use folder::SeriesFolder;

/// What such a command was asked for: the content of a file in its folder.
pub trait Request: Serialize + DeserializeOwned {
    /// The file's name.
    const FILE: &str;
    /// What the command makes: `comparison`.
    const NOUN: &str;

    /// How `other` asks for something else, in words; `None` when it is the same.
    ///
    /// # Errors
    /// When it cannot be written as TOML.
    fn difference(&self, other: &Self) -> Result<Option<String>> {
        Ok(difference(&table(self)?, &table(other)?))
    }
}

/// What a run is asked for, in the form that the run itself gives it.
#[derive(Clone, Debug)]
pub struct Means {
    /// Its options.
    pub options: TrainingOptions,
    /// Of the images to train on and to evaluate on; `None` where that is not known before the run.
    pub fingerprints: Option<[String; 2]>,
}

impl From<Job> for Means {
    fn from(job: Job) -> Self {
        Self {
            fingerprints: Some(job.fingerprints()),
            options: job.options,
        }
    }
}

/// As TOML has it.
///
/// # Errors
/// When it has no form there.
pub fn table(what: &impl Serialize) -> Result<toml::Table> {
    toml::Table::try_from(what).context("the request cannot be written as TOML")
}

/// The first value that differs, in words.
pub fn difference(here: &toml::Table, there: &toml::Table) -> Option<String> {
    let keys = here.keys().chain(there.keys());
    for key in keys {
        let pair = (here.get(key), there.get(key));
        if let (Some(toml::Value::Table(here)), Some(toml::Value::Table(there))) = pair {
            if let Some(found) = difference(here, there) {
                return Some(found);
            }
        } else if pair.0 != pair.1 {
            return Some(differing(key, pair.0, pair.1));
        }
    }
    None
}

/// How a value differs. The text of a model file is not quoted as a whole.
fn differing(key: &str, here: Option<&toml::Value>, there: Option<&toml::Value>) -> String {
    const MOST_CHARACTERS: usize = 200;
    let words = |value: Option<&toml::Value>| {
        value.map_or("not set".to_owned(), |value| shown_text(&value.to_string()))
    };
    let (here, there) = (words(here), words(there));
    match here.len().max(there.len()) <= MOST_CHARACTERS {
        true => format!("`{key}` is {there} there and {here} here"),
        false => format!("`{key}` is another one there than here"),
    }
}

/// Adds the values of a config file to those of the flags.
///
/// # Errors
/// When it cannot be read.
pub fn with_config(said: TrainingOptions, config: Option<&Path>) -> Result<TrainingOptions> {
    let Some(path) = config else { return Ok(said) };
    stagger::check_path("config", path).map_err(stagger::Error::from)?;
    Ok(said.or(config_file::read(path)?))
}

/// Makes paths mean the same from everywhere, and takes a model file's text; and refuses what no run of a series may have.
///
/// # Errors
/// When a path or a file is wrong, and as [`validate`](stagger::series::validate).
pub fn settle_paths(values: &mut TrainingOptions) -> Result<()> {
    stagger::take_network(values).map_err(stagger::Error::from)?;
    for (path, flag) in [
        (&mut values.data_dir, "--data-dir"),
        (&mut values.resume_weights, "--resume-weights"),
        (&mut values.pretrained, "--pretrained"),
    ] {
        if let Some(path) = path {
            *path = std::path::absolute(&*path).context(flag)?;
        }
    }
    if let Some(said) = &mut values.emulate
        && !said.is_empty()
        && !said.starts_with("equal:")
        && let Ok(path) = std::path::absolute(&*said)
        && let Some(text) = path.to_str()
    {
        *said = text.to_owned();
    }
    if let Some(balance) = &mut values.balance
        && let Ok(Balance::File(path)) = balance.parse()
    {
        stagger::check_path("balance", &path).map_err(stagger::Error::from)?;
        let path = std::path::absolute(path).context("--balance")?;
        let path = path.into_os_string().into_string();
        *balance = path.map_err(|_| {
            anyhow::anyhow!("--balance: the path of the current folder is not UTF-8")
        })?;
    }
    stagger::series::validate(values).map_err(stagger::Error::from)?;
    Ok(())
}

/// A finished run in one line, `emulated` where its stages slept instead of computing.
pub fn line(result: &RunResult, emulated: bool) -> String {
    let mut parts = Vec::new();
    if let Some(rate) = result.progress.images_per_second {
        let emulated = if emulated { " (emulated)" } else { "" };
        parts.push(format!("{rate:.0} images/s{emulated}"));
    }
    if let Some(top1) = result.final_top1() {
        parts.push(format!("test {top1:.1} %"));
    }
    parts.push(format!("{} batches", result.progress.batches.len()));
    parts.push(format!("{:.1} s", result.wall_seconds));
    parts.join(" · ")
}

/// The command line with its folder, so that it continues there.
pub fn command(words: &[OsString], output: Option<&Path>, folder: &Path) -> String {
    let mut words: Vec<OsString> = words.to_vec();
    if let Some(program) = words.first_mut() {
        *program = "stagger".into();
    }
    if output.is_none() {
        words.extend(["--output".into(), folder.into()]);
    }
    quoted(&words)
}

/// A flag and its path in one word, so that no path looks like a flag.
pub fn flag(name: &str, path: &Path) -> OsString {
    let mut word = OsString::from(name);
    word.push("=");
    word.push(path);
    word
}

/// As a shell takes it.
pub fn quoted(words: &[OsString]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:%+@".contains(c);
    let quote = |word: &OsString| match word.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        _ => quoted_for_shell(word),
    };
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_pasted_into_a_shell() {
        let words = ["/bin/stagger", "compare", "bp", "gpipe(4)", "it's"].map(OsString::from);
        assert_eq!(
            command(&words, None, Path::new("runs/a b")),
            r"stagger compare bp 'gpipe(4)' 'it'\''s' --output 'runs/a b'"
        );
        assert_eq!(
            command(&words[..3], Some(Path::new("x")), Path::new("x")),
            "stagger compare bp"
        );
    }
}
