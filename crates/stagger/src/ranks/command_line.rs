//! How the command lines of two ranks differ.

use std::fmt;

/// The first words in which the command line of a rank and that of rank 0 differ. Each is shown with the flag before it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandDifference {
    /// The command itself.
    Command {
        /// What rank 0 runs.
        expected: String,
        /// What the rank runs.
        found: String,
    },
    /// A word after it.
    Word {
        /// What rank 0 has there.
        expected: String,
        /// What the rank has there.
        found: String,
    },
    /// The rank has fewer words.
    Missing {
        /// What follows on rank 0.
        expected: String,
    },
    /// The rank has more words.
    TooMuch {
        /// What follows there.
        found: String,
    },
}

impl CommandDifference {
    /// Of another rank, `there`, from rank 0.
    pub(super) fn first(here: &[String], there: &[String]) -> Option<Self> {
        let alike = here.iter().zip(there).take_while(|(a, b)| a == b).count();
        // A value says little without its flag.
        let flag = here[..alike].last().filter(|word| word.starts_with("--"));
        let shown = |word: &String| match flag {
            Some(flag) if !is_flag(word) => format!("{flag} {word}"),
            _ => word.clone(),
        };
        let words = (here.get(alike).map(shown), there.get(alike).map(shown));
        Some(match words {
            (Some(expected), Some(found)) if alike == 0 => Self::Command { expected, found },
            (Some(expected), Some(found)) => Self::Word { expected, found },
            (Some(expected), None) => Self::Missing { expected },
            (None, Some(found)) => Self::TooMuch { found },
            (None, None) => return None,
        })
    }
}

/// Whether a word is no value, such as a negative number.
fn is_flag(word: &str) -> bool {
    let behind = word.strip_prefix('-').and_then(|rest| rest.chars().next());
    behind.is_some_and(|first| !first.is_ascii_digit() && first != '.')
}

impl fmt::Display for CommandDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command { expected, found } => {
                write!(f, "runs stagger {found}, and rank 0 stagger {expected}")
            }
            Self::Word { expected, found } => {
                write!(f, "was started with {found} where rank 0 has {expected}")
            }
            Self::Missing { expected } => {
                write!(f, "was started without {expected}, which rank 0 has")
            }
            Self::TooMuch { found } => {
                write!(f, "was started with {found}, which rank 0 does not have")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(here: &str, there: &str) -> Option<String> {
        let words =
            |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        CommandDifference::first(&words(here), &words(there)).map(|found| found.to_string())
    }

    #[test]
    fn the_first_word_that_differs_is_named() {
        let line = "train --lr 0.1 --nesterov";
        for (there, expected) in [
            (line, None),
            (
                "profile --lr 0.1",
                Some("runs stagger profile, and rank 0 stagger train"),
            ),
            (
                "train --lr -3",
                Some("was started with --lr -3 where rank 0 has --lr 0.1"),
            ),
            (
                "train --lr 0.2 --config x.toml",
                Some("was started with --lr 0.2 where rank 0 has --lr 0.1"),
            ),
            (
                "train --lr 0.1",
                Some("was started without --nesterov, which rank 0 has"),
            ),
            (
                "train --lr 0.1 --nesterov --output other",
                Some("was started with --output, which rank 0 does not have"),
            ),
        ] {
            assert_eq!(of(line, there).as_deref(), expected, "{there}");
        }
    }
}
