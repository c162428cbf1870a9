//! Why a pickle cannot be read.

/// What is wrong with a pickle; each message goes on from the name of its file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickleError {
    /// It ends too soon, or takes from a stack what is not there.
    #[error("its pickle is damaged or cut short")]
    Damaged,
    /// An instruction that tables do not need.
    #[error("its pickle has the instruction {0:#04x}, which plain tables do not need")]
    Instruction(u8),
    /// A class or function that is not expected.
    #[error(
        "its pickle names `{0}`, which is no plain table, so that it is refused; nothing of it has been run"
    )]
    Name(String),
    /// A value is not what was asked for.
    #[error("its pickle holds something else where {0} was expected")]
    Kind(&'static str),
}
