//! How a command ends when it does not succeed.

use std::process::ExitCode;

use anyhow::Error;

/// Why a command ended early, which decides the exit status.
#[derive(Debug)]
pub enum Failure {
    /// What was asked for cannot be done: a flag, config, file, data set or model is wrong.
    Request(Error),
    /// A run started and failed.
    Run(Error),
    /// A run was interrupted. If it had started to train, it has halted and left its weights.
    Interrupted {
        /// Whether it had started to train.
        trained: bool,
    },
}

impl Failure {
    /// What to tell the user, as one sentence.
    pub fn sentence(&self) -> Option<String> {
        match self {
            Failure::Request(error) | Failure::Run(error) => Some(sentence(error)),
            Failure::Interrupted { .. } => None,
        }
    }

    /// The same of a run that had begun: whatever it was, it is no longer the request that is wrong.
    pub fn of_run(self) -> Self {
        match self {
            Failure::Request(error) => Failure::Run(error),
            other => other,
        }
    }

    /// The exit status.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Failure::Run(_) => ExitCode::from(1),
            Failure::Request(_) => ExitCode::from(2),
            Failure::Interrupted { .. } => ExitCode::from(130),
        }
    }
}

/// Until a run starts, whatever goes wrong lies in the request.
impl<E: Into<Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::Request(error.into())
    }
}

/// The chain of causes, joined by colons; a cause that its context already quotes is left out.
fn sentence(error: &Error) -> String {
    let mut sentence = String::new();
    for cause in error.chain().map(ToString::to_string) {
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
        let added = anyhow!("disk full").context("cannot write a.txt");
        assert_eq!(sentence(&added), "cannot write a.txt: disk full");
    }
}
