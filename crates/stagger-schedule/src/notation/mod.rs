//! Reading a schedule's notation: a name and, in parentheses, groups of numbers.
//!
//! ```text
//! schedule := name [ "(" [ entry { ("," | ";") entry } ] ")" ]
//! entry    := [ key "=" ] value
//! name, key, value := letters, digits, "_", "-", "+", "."
//! ```
//!
//! A `;` or a `key=` starts a new group, so `dsp(1,1,0;4,2,0)` has two groups, `dsp(m=4,2,0)` one
//! called `m`, and `adl(4, beta=0.5)` one without and one with a name. White space may stand
//! between any two of these. What the groups mean is up to the method.

mod arguments;
mod error;
mod token;

pub(crate) use arguments::{Arguments, Number, Word};
pub(crate) use error::Fault;
pub use error::{NotationError, NotationProblem};

use arguments::Group;
use token::{Token, Tokens};

/// The longest notation that is read, in characters; the longest canonical one is shorter.
pub(crate) const MAX_LENGTH: usize = 1024;

/// A name and its arguments, not yet checked against any method.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: Word,
    pub(crate) arguments: Arguments,
}

/// Reads the form of the notation; knows no methods.
pub(crate) fn read(text: &str) -> Result<Call, Fault> {
    if text.chars().nth(MAX_LENGTH).is_some() {
        let problem = NotationProblem::TooLong { limit: MAX_LENGTH };
        return Err(Fault::at(MAX_LENGTH + 1, problem));
    }
    let mut tokens = Tokens::new(text);
    let name = tokens.word("the name of a method")?;
    let mut arguments = Arguments::default();
    if tokens.take('(') {
        arguments.groups = read_groups(&mut tokens)?;
    }
    match tokens.next() {
        (Token::End, _) => Ok(Call { name, arguments }),
        unexpected => {
            let expected = if arguments.groups.is_empty() {
                "`(` or the end"
            } else {
                "the end"
            };
            Err(Tokens::fault(unexpected, expected))
        }
    }
}

/// Reads up to and including the closing parenthesis.
fn read_groups(tokens: &mut Tokens<'_>) -> Result<Vec<Group>, Fault> {
    let mut groups: Vec<Group> = Vec::new();
    if tokens.take(')') {
        return Ok(groups);
    }
    let mut starts_group = true;
    loop {
        let mut value = tokens.word("a number")?;
        let key = if tokens.take('=') {
            let key = std::mem::replace(&mut value, tokens.word("a number")?);
            Some(key)
        } else {
            None
        };
        match groups.last_mut() {
            Some(group) if !starts_group && key.is_none() => group.values.push(value),
            _ => groups.push(Group {
                key,
                values: vec![value],
            }),
        }
        starts_group = match tokens.next() {
            (Token::Symbol(','), _) => false,
            (Token::Symbol(';'), _) => true,
            (Token::Symbol(')'), _) => return Ok(groups),
            unexpected => return Err(Tokens::fault(unexpected, "`,`, `;` or `)`")),
        };
    }
}
