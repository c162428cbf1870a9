//! What can be wrong with a notation, where, and what a right one looks like.

use thiserror::Error;

use crate::MAX_STAGES;

/// Characters that a message shows of a text that is too long.
const SHOWN_OF_TOO_LONG: usize = 80;

/// A text that is not a schedule.
///
/// Its [`Display`](std::fmt::Display) is one sentence; [`caret`](NotationError::caret) points at
/// the place, for a terminal.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("schedule `{text}`, column {column}: {problem}; a right one is `{example}`")]
pub struct NotationError {
    text: String,
    column: usize,
    problem: NotationProblem,
    example: String,
}

impl NotationError {
    /// What is wrong.
    pub fn problem(&self) -> &NotationProblem {
        &self.problem
    }

    /// Where it is wrong: the 1-based column in characters. One past the end if something is
    /// missing there; 1 if the text is right but does not fit the number of stages beside it.
    pub fn column(&self) -> usize {
        self.column
    }

    /// A schedule that parses, of the same method where one was named.
    pub fn example(&self) -> &str {
        &self.example
    }

    /// Two lines: the text and, below it, a caret at [`column`](NotationError::column).
    ///
    /// ```
    /// # use stagger_schedule::Schedule;
    /// let error = Schedule::parse("dsp(1,1,0;4,8,0)", None).unwrap_err();
    /// assert_eq!(error.caret(), "dsp(1,1,0;4,8,0)\n            ^");
    /// ```
    pub fn caret(&self) -> String {
        let end = self.text.chars().count() + 1;
        format!(
            "{}\n{:>width$}",
            self.text,
            "^",
            width = self.column.min(end)
        )
    }
}

/// The kinds of [`NotationError`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotationProblem {
    /// Something else was expected here.
    #[error("expected {expected}, found {found}")]
    Unexpected {
        /// What was expected.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// The text is too long to be a schedule.
    #[error("longer than {limit} characters")]
    TooLong {
        /// The longest text that is read, in characters.
        limit: usize,
    },
    /// There is no method of this name.
    #[error("there is no method `{found}`; known are {known}")]
    UnknownMethod {
        /// The name found.
        found: String,
        /// The known names.
        known: String,
    },
    /// The number of stages is neither in the notation nor given beside it.
    #[error(
        "`{method}` fits any number of stages, so that number has to be given, as in `--stages 2`"
    )]
    StagesUnknown {
        /// The name of the method.
        method: &'static str,
    },
    /// There are no stages, or too many.
    #[error("expected 1 to {MAX_STAGES} stages, found {found}")]
    StageCount {
        /// The number of stages.
        found: usize,
    },
    /// The notation is for another number of stages than the one given beside it.
    #[error("m has {found} numbers, one per stage, but the number of stages is {expected}")]
    StageMismatch {
        /// The number of stages in the notation.
        found: usize,
        /// The number of stages given beside it.
        expected: usize,
    },
    /// The method takes no arguments.
    #[error("`{method}` takes no arguments")]
    NoArguments {
        /// The name of the method.
        method: &'static str,
    },
    /// The method has no list of this name.
    #[error("there is no list called `{found}`; known are {known}")]
    UnknownKey {
        /// The name found.
        found: String,
        /// The known names.
        known: String,
    },
    /// The method has fewer lists.
    #[error("one list too many; there are only {known}")]
    TooManyLists {
        /// The known names.
        known: String,
    },
    /// A list is given twice.
    #[error("{name} is given twice")]
    Twice {
        /// The name of the list.
        name: &'static str,
    },
    /// A list is missing.
    #[error("{name} is missing; a list that is alone or comes first needs its name, `{name}=…`")]
    MissingList {
        /// The name of the list.
        name: &'static str,
    },
    /// A method needs a number that is not there.
    #[error("`{method}` needs {what}, as in `{method}({example})`")]
    MissingNumber {
        /// The name of the method.
        method: &'static str,
        /// What the number says.
        what: &'static str,
        /// A right one.
        example: usize,
    },
    /// A method of one stage on several.
    #[error(
        "`{method}` runs on one stage, not on {found}: each of its replicas holds the whole network"
    )]
    OneStage {
        /// The name of the method.
        method: &'static str,
        /// The number of stages asked for.
        found: usize,
    },
    /// More than one number where there is one.
    #[error(
        "{name} is one number; to continue with {found}, give it a name or put a `;` before it"
    )]
    SecondNumber {
        /// What the number is called.
        name: &'static str,
        /// The second one.
        found: String,
    },
    /// Not a number.
    #[error("expected a number, found `{found}`")]
    NotANumber {
        /// What is there.
        found: String,
    },
    /// A number that is not in its range.
    #[error("{name} has to be {range}, found {found}")]
    OutOfRange {
        /// What the number is called.
        name: &'static str,
        /// The range in words.
        range: String,
        /// The number found.
        found: String,
    },
    /// There is no mitigation of this name.
    #[error("there is no mitigation `{found}`; known are {known}")]
    UnknownMitigation {
        /// The name found.
        found: String,
        /// The known names.
        known: String,
    },
    /// The mitigation makes no sense here.
    #[error("{reason}")]
    Senseless {
        /// Why not, in one sentence.
        reason: String,
    },
    /// Not a whole number.
    #[error("expected a whole number, found `{found}`")]
    NotWhole {
        /// What is there.
        found: String,
    },
    /// A number above the limit.
    #[error("expected a number up to {limit}, found {found}")]
    TooLarge {
        /// The number found.
        found: String,
        /// The largest one allowed.
        limit: usize,
    },
    /// The lists `c` and `m` differ in length.
    #[error("c has {c} numbers and m has {m}, but both need one per stage")]
    Lengths {
        /// Numbers in `c`.
        c: usize,
        /// Numbers in `m`.
        m: usize,
    },
    /// A list does not end with 0.
    #[error("{name} of the last stage must be 0, as no stage is above it; found {found}")]
    LastNotZero {
        /// The name of the list.
        name: &'static str,
        /// The number found.
        found: usize,
    },
    /// `m` grows from one stage to the next.
    #[error("m must not increase, but stage {stage} has {found} above a stage with {below}")]
    Increasing {
        /// The upper of the two stages.
        stage: usize,
        /// Its staleness.
        found: usize,
        /// The staleness of the stage below.
        below: usize,
    },
    /// A forward queue takes more than the staleness leaves.
    #[error(
        "c of stage {stage} is {found}, but c + b = m_{stage} − m_{above} = {gap} there",
        above = stage + 1
    )]
    QueueTooLong {
        /// The stage below the queue.
        stage: usize,
        /// Its forward queue.
        found: usize,
        /// What the forward and the backward queue have together.
        gap: usize,
    },
}

/// A problem and its place, before text and example are added.
#[derive(Debug)]
pub(crate) struct Fault {
    column: usize,
    problem: NotationProblem,
}

impl Fault {
    /// A problem at a 1-based column.
    pub(crate) fn at(column: usize, problem: NotationProblem) -> Self {
        Fault { column, problem }
    }

    /// The error that a caller sees. Long texts are cut and control characters replaced, each by
    /// one character, so that columns stay right.
    pub(crate) fn in_text(self, text: &str, example: &str) -> NotationError {
        let shown = |character: char| {
            if character.is_control() {
                '\u{fffd}'
            } else {
                character
            }
        };
        // The beginning says which text it is.
        let shown_characters = match self.problem {
            NotationProblem::TooLong { .. } => SHOWN_OF_TOO_LONG,
            _ => super::MAX_LENGTH,
        };
        NotationError {
            text: text.chars().take(shown_characters).map(shown).collect(),
            column: self.column,
            problem: self.problem,
            example: example.to_owned(),
        }
    }
}
