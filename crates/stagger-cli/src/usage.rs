//! What is wrong with a command line, in one sentence: clap says it in several lines.

mod numbers;

use std::error::Error as _;
use std::ffi::OsString;

use clap::CommandFactory;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::commands::quoted;
use crate::flags::Cli;

/// What was asked for, where it is no error: the text of `--help` or `--version`, or the help where nothing was said.
pub fn is_request(error: &clap::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    )
}

/// One sentence: which flag, what is wrong with it, and what to write. `words` is the command line.
pub fn sentence(error: &clap::Error, words: &[OsString]) -> String {
    let command = command(words);
    let found = Found { error };
    let flag = found.flag();
    match error.kind() {
        ErrorKind::ValueValidation => {
            let value = found.text(ContextKind::InvalidValue).unwrap_or_default();
            if value.is_empty() {
                return format!("{flag} needs a value behind it; {}", see(&command));
            }
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            numbers::sentence(&flag, &value, &source)
        }
        ErrorKind::InvalidValue => {
            let value = found.text(ContextKind::InvalidValue).unwrap_or_default();
            let choices = found.all(ContextKind::ValidValue);
            match (value.is_empty(), choices.is_empty()) {
                (true, true) => format!("{flag} needs a value behind it; {}", see(&command)),
                (true, false) => format!("{flag} needs a value behind it: {}", either(&choices)),
                (false, _) => {
                    format!("{flag} `{value}` is no choice; use {}", either(&choices))
                }
            }
        }
        ErrorKind::UnknownArgument => unknown(&found, &command, words),
        ErrorKind::InvalidSubcommand => {
            let name = found.text(ContextKind::InvalidSubcommand);
            let name = name.unwrap_or_default();
            let near = found.all(ContextKind::SuggestedSubcommand);
            let known: Vec<String> = (Cli::command().get_subcommands())
                .map(|known| known.get_name().to_owned())
                .collect();
            match near.first() {
                Some(near) => {
                    format!("there is no command `{name}`; did you mean `stagger {near}`?")
                }
                None => format!("there is no command `{name}`; use {}", either(&known)),
            }
        }
        ErrorKind::ArgumentConflict => {
            let others = found.all(ContextKind::PriorArg);
            match others.first().map(|other| name(other)) {
                Some(other) if other != flag => {
                    format!("{flag} and {other} exclude each other; use one of them")
                }
                _ => format!("{flag} is given more than once; give it once"),
            }
        }
        ErrorKind::MissingRequiredArgument => {
            let missing = found.all(ContextKind::InvalidArg);
            format!(
                "{command} needs {}; {}",
                missing.join(" and "),
                see(&command)
            )
        }
        ErrorKind::TooManyValues | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues => {
            format!(
                "{flag} has another number of values than it takes; {}",
                see(&command)
            )
        }
        ErrorKind::InvalidUtf8 => {
            "a word of the command line is not UTF-8; write it in UTF-8, or leave it out".to_owned()
        }
        _ => first_sentence(error),
    }
}

/// A flag or a word that the command does not have.
fn unknown(found: &Found<'_>, command: &str, words: &[OsString]) -> String {
    let said = found.text(ContextKind::InvalidArg).unwrap_or_default();
    let whole = whole_word(&said, words);
    if let Some(near) = found.text(ContextKind::SuggestedArg) {
        return format!(
            "{command} has no flag {said}; did you mean {}?",
            name(&near)
        );
    }
    if let Some(other) = found.all(ContextKind::SuggestedSubcommand).first() {
        return format!("{command} has no flag {said}; stagger {other} has it");
    }
    if !said.starts_with('-') {
        return format!(
            "`{said}` is one word too many for {command}; leave it out, or put what belongs to one flag into quotes"
        );
    }
    let before = whole.and_then(|at| words.get(at.checked_sub(1)?));
    let before = before.map(|word| word.to_string_lossy());
    match (
        whole,
        before.filter(|word| word.starts_with("--") && !word.contains('=')),
    ) {
        (Some(at), Some(flag)) if !said.starts_with("--") => {
            let value = words[at].to_string_lossy();
            let joined = quoted(&[format!("{flag}={value}").into()]);
            format!("{command} has no flag {value}; if it is the value of {flag}, write {joined}")
        }
        _ => format!("{command} has no flag {said}; {}", see(command)),
    }
}

/// Where the word is that clap has cut a short flag off.
fn whole_word(said: &str, words: &[OsString]) -> Option<usize> {
    let begins = |word: &OsString| word.to_string_lossy().starts_with(said);
    words.iter().position(begins)
}

/// What an error of clap knows.
struct Found<'a> {
    error: &'a clap::Error,
}

impl Found<'_> {
    fn text(&self, kind: ContextKind) -> Option<String> {
        match self.error.get(kind)? {
            ContextValue::String(text) => Some(text.clone()),
            ContextValue::Strings(texts) => texts.first().cloned(),
            _ => None,
        }
    }

    fn all(&self, kind: ContextKind) -> Vec<String> {
        match self.error.get(kind) {
            Some(ContextValue::String(text)) => vec![text.clone()],
            Some(ContextValue::Strings(texts)) => texts.clone(),
            _ => Vec::new(),
        }
    }

    /// The flag at fault, without the name of its value.
    fn flag(&self) -> String {
        name(&self.text(ContextKind::InvalidArg).unwrap_or_default())
    }
}

/// `--lr` of `--lr <RATE>`; what has no dashes stays.
fn name(argument: &str) -> String {
    match argument.split_once([' ', '=', '[']) {
        Some((flag, _)) if flag.starts_with('-') => flag.to_owned(),
        _ => argument.to_owned(),
    }
}

/// `stagger train`, as far as the words say it.
fn command(words: &[OsString]) -> String {
    let mut known = Cli::command();
    let mut said = "stagger".to_owned();
    for word in words.iter().skip(1).filter_map(|word| word.to_str()) {
        if let Some(found) = known.find_subcommand(word) {
            said = format!("{said} {}", found.get_name());
            known = found.clone();
        }
    }
    said
}

fn see(command: &str) -> String {
    format!("see {command} --help")
}

/// `a, b or c`.
fn either(choices: &[String]) -> String {
    match choices {
        [] => "what --help lists".to_owned(),
        [one] => one.clone(),
        [rest @ .., last] => format!("{} or {last}", rest.join(", ")),
    }
}

/// The first paragraph of what clap says, in one line.
fn first_sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}
