//! Options from a TOML file.

use std::io;
use std::path::{Path, PathBuf};

use stagger_data::foreign::{self, Unfit};
use stagger_data::{shown_path, shown_text};
use stagger_report::{CONFIG_FILE, checksum};

use crate::options::TrainingOptions;

/// Far above any real config; a wrong path to a large file is refused instead of read.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Flags of `stagger train` that are no keys of a config file, in the order of the alphabet: they say where options are from, or how
/// one process shows a run.
pub const FLAGS_ONLY: [&str; 9] = [
    "accept-changed-data",
    "config",
    "metrics-listen",
    "profile-ops",
    "rank-timeout",
    "resume",
    "tensorboard",
    "trace",
    "tui",
];

/// Why a config file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The operating system refuses.
    #[error("cannot read the config file {}: {source}", shown_path(path))]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The config is not in the folder of its run any more.
    #[error(
        "{} is gone, and without it the run cannot be read; put back a copy of it, or move the folder of the run elsewhere",
        shown_path(path)
    )]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The file is too large to be a config.
    #[error(
        "the config file {} has {found} bytes, more than the {MAX_CONFIG_BYTES} that any config needs; is it the right file?",
        shown_path(path)
    )]
    Size {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
    },
    /// The text is not TOML, or has an unknown key or a value of a wrong kind.
    #[error("{}: {}", shown_path(path), shown_text(sentence))]
    Text {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        sentence: String,
    },
    /// The options have no form in TOML.
    #[error("the config cannot be written as TOML: {0}")]
    Encode(#[from] toml::ser::Error),
}

/// Reads a config file. Its keys are the names of [`TrainingOptions`] in kebab case.
///
/// # Errors
/// When the file cannot be read, is not TOML, or has an unknown key or a value of the wrong kind; the message names
/// file and line.
pub fn read(path: &Path) -> Result<TrainingOptions, ConfigError> {
    // The config of a run, changed by hand, is as good as any.
    of_text(path, foreign::text(path, MAX_CONFIG_BYTES), |_| Ok(()))
}

fn of_text(
    path: &Path,
    text: io::Result<String>,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<TrainingOptions, ConfigError> {
    let refused = |source: io::Error| {
        let path = path.to_owned();
        match source.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(&Unfit::TooLarge { found, .. }) => ConfigError::Size { path, found },
            _ => ConfigError::Io { path, source },
        }
    };
    let text = text.map_err(refused)?;
    let checked = check(&text).and_then(|()| parse(&text));
    checked.map_err(|sentence| ConfigError::Text {
        path: path.to_owned(),
        sentence,
    })
}

/// Reads the config of the run in this folder, as far as it has not been damaged.
///
/// # Errors
/// As [`read`]; [`ConfigError::Gone`]; when the file is empty or its checksum is another, and for a link that leads out of the folder.
pub fn of_run(folder: &Path) -> Result<TrainingOptions, ConfigError> {
    read_of_run(&folder.join(CONFIG_FILE))
}

/// Reads the config of a run from its folder, whose last line is its checksum. Without that line, which older runs do not have
/// either, it may have been changed by hand.
///
/// # Errors
/// As [`read`]; [`ConfigError::Gone`]; when it is empty or the checksum is another, and for a link that leads out of the folder.
pub(crate) fn read_of_run(path: &Path) -> Result<TrainingOptions, ConfigError> {
    let text = foreign::text_inside(path, MAX_CONFIG_BYTES);
    if let Err(error) = &text
        && error.kind() == io::ErrorKind::NotFound
    {
        return Err(ConfigError::Gone {
            path: path.to_owned(),
        });
    }
    of_text(path, text, |text| {
        if text.trim().is_empty() {
            return Err("it is empty, and the config of a run is not: put back a copy of it".to_owned());
        }
        checksum::check_lines(text)
            .map_err(|what| format!("{what}: it is damaged, or was changed by hand; remove that line if the change is meant"))
    })
    .map(TrainingOptions::or_as_it_ran)
}

/// Parses the text of a config file.
///
/// # Errors
/// One sentence that names the line.
pub fn parse(text: &str) -> Result<TrainingOptions, String> {
    toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        let said = text.lines().nth(line - 1).unwrap_or_default().trim();
        format!("line {line}: {}", sentence(error.message(), said))
    })
}

/// What the parser says, in one sentence and without the names of Rust's types. `line` is the text of the line at fault.
fn sentence(message: &str, line: &str) -> String {
    let message = message.trim().replace('\n', ", ");
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let name = rest.split('`').next().unwrap_or_default();
        return unknown(name);
    }
    // Anything else in the place of a number is refused by its type.
    let is_number = line.split_once('=').is_some_and(|(_, value)| {
        let value = value.trim();
        value.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
    });
    let plain = message.starts_with("invalid type") || message.starts_with("invalid value");
    let hint = match (plain, is_number) {
        (false, true) => format!(
            ": `{line}` has no value that TOML knows; numbers are written as 64, 0.1 or 1e-3"
        ),
        _ => String::new(),
    };
    let mut said = format!("{message}{hint}");
    for (kind, name) in [
        ("expected f64", "expected a number"),
        ("expected usize", "expected a whole number"),
        ("expected u64", "expected a whole number"),
        (
            "expected a boolean",
            "expected true or false, without quotes",
        ),
        ("expected path string", "expected a path in quotes"),
        ("expected a string", "expected a text in quotes"),
        ("expected a sequence", "expected a list in brackets"),
    ] {
        said = said.replace(kind, name);
    }
    said
}

/// A key that no option has.
fn unknown(name: &str) -> String {
    let flag = name.replace('_', "-");
    if FLAGS_ONLY.contains(&flag.as_str()) {
        return format!("unknown field `{name}`; --{flag} of `stagger train` is a flag only");
    }
    let names = TrainingOptions::NAMES
        .iter()
        .map(|name| name.replace('_', "-"));
    let far = name.len().max(3) / 3;
    let near = names
        .map(|known| (strsim::osa_distance(&known, &flag), known))
        .min()
        .filter(|(distance, _)| *distance <= far);
    let hint = match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None => "the keys are the long flags of `stagger train`, without their dashes".to_owned(),
    };
    format!("unknown field `{name}`; {hint}")
}

/// The options as text of a config file.
///
/// # Errors
/// [`ConfigError::Encode`] when a value has no form in TOML, such as a seed above 2^63.
pub fn write(options: &TrainingOptions) -> Result<String, ConfigError> {
    Ok(toml::to_string(options)?)
}

/// The same with its checksum in the last line, for the folder of a run.
///
/// # Errors
/// As [`write`].
pub(crate) fn write_of_run(options: &TrainingOptions) -> Result<String, ConfigError> {
    Ok(checksum::seal_lines(&write(options)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_flag_names_and_merge_under_flags() {
        let file = parse("model = \"resnet20\"\nbatch-size = 128\nwd = 1e-4\n").unwrap();
        assert_eq!(file.batch_size, Some(128));
        assert_eq!(file.weight_decay, Some(1e-4));
        let flags = TrainingOptions {
            batch_size: Some(32),
            ..TrainingOptions::default()
        };
        let merged = flags.or(file);
        assert_eq!(merged.batch_size, Some(32));
        assert_eq!(merged.model.as_deref(), Some("resnet20"));
    }

    #[test]
    fn errors_name_the_line() {
        let unknown = parse("model = \"resnet20\"\nbatchsize = 128\n").unwrap_err();
        assert!(
            unknown.starts_with("line 2: unknown field `batchsize`"),
            "{unknown}"
        );
        let flag = parse("rank-timeout = 5").unwrap_err();
        assert_eq!(
            flag,
            "line 1: unknown field `rank-timeout`; --rank-timeout of `stagger train` is a flag only"
        );
        let kind = parse("\n\nepochs = \"many\"\n").unwrap_err();
        assert!(kind.starts_with("line 3: invalid type"), "{kind}");
        let syntax = parse("epochs = = 3").unwrap_err();
        assert!(syntax.starts_with("line 1: "), "{syntax}");
    }
}
