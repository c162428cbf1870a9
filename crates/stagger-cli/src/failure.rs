//! How a command ends when it does not succeed.

use std::process::ExitCode;

use anyhow::Error;
use stagger::data::shown_sentence;
use stagger::{ReportError, Spelling};

/// Why a command ended early, which decides the exit status.
#[derive(Debug)]
pub enum Failure {
    /// The request cannot be fulfilled: a flag, config, file, data set or model is wrong.
    Request(Error),
    /// A run started and failed.
    Run(Error),
    /// A run was interrupted.
    Interrupted,
}

impl Failure {
    /// What went wrong after the work of a right request, such as writing its result to a full disk.
    pub fn of_run(error: impl Into<Error>) -> Self {
        Failure::Run(error.into())
    }

    /// What to tell the user, as one sentence.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Failure::Request(error) | Failure::Run(error) => Some(sentence(error)),
            Failure::Interrupted => None,
        }
    }

    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Run(_) => ExitCode::from(1),
            Failure::Request(_) => ExitCode::from(2),
            Failure::Interrupted => ExitCode::from(130),
        }
    }
}

/// The library says whether a run had started; everything else goes wrong before.
impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        let error = error.into();
        let is_of_output =
            |error: Option<&ReportError>| matches!(error, Some(ReportError::Output { .. }));
        match error.downcast_ref::<stagger::Error>() {
            Some(found) if !found.is_refusal() => Failure::Run(error),
            Some(stagger::Error::Report(found)) if is_of_output(Some(found)) => Failure::Run(error),
            // The request was right, and is answered in part.
            None if is_of_output(error.downcast_ref()) => Failure::Run(error),
            _ => Failure::Request(error),
        }
    }
}

/// The chain of causes, joined by colons; a cause that its context already quotes is left out.
fn sentence(error: &Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain() {
        let cause = match cause.downcast_ref::<stagger::Error>() {
            Some(error) => error.sentence(Spelling::Flags),
            None => cause.to_string(),
        };
        // As its context quotes it.
        let cause = shown_sentence(&cause);
        if sentence.contains(&cause) {
            continue;
        }
        if !sentence.is_empty() {
            sentence.push_str(": ");
        }
        sentence.push_str(&cause);
    }
    sentence
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let quoted = anyhow!("disk full").context("cannot write a.txt: disk full");
        assert_eq!(sentence(&quoted), "cannot write a.txt: disk full");
        let foreign = anyhow!("no `a\n\u{1b}b`").context(r"--x: no `a\n\u{1b}b`");
        assert_eq!(sentence(&foreign), r"--x: no `a\n\u{1b}b`");
        let added = anyhow!("disk full").context("cannot write a.txt");
        assert_eq!(sentence(&added), "cannot write a.txt: disk full");
    }
}
