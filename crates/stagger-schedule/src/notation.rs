//! Reading a schedule's notation: a method and, behind plus signs, mitigations; each a name and, in
//! parentheses, groups of numbers.
//!
//! ```text
//! schedule := call { "+" call }
//! call     := name [ "(" [ entry { ("," | ";") entry } ] ")" ]
//! entry    := [ key "=" ] value
//! name, key, value := letters, digits, "_", "-", "+", "."
//! ```
//!
//! A `+` outside of parentheses always separates. A `;` or a `key=` starts a new group, so
//! `dsp(1,1,0;4,2,0)` has two groups, `dsp(m=4,2,0)` one called `m`, and `adl(4, beta=0.5)` one
//! without and one with a name. White space may stand between any two of these. What the groups mean
//! is up to the method or the mitigation.

mod arguments;
mod error;
mod token;

pub(crate) use arguments::{Arguments, Group, Number, Word};
pub(crate) use error::Fault;
pub use error::{NotationError, NotationProblem};

use token::{Token, Tokens};

/// The longest notation that is read, in characters; the longest canonical one is shorter.
pub(crate) const MAX_LENGTH: usize = 8192;

/// A name and its arguments, not yet checked against any method.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: Word,
    pub(crate) arguments: Arguments,
}

/// Reads the form of the notation, the method first; knows no methods.
pub(crate) fn read(text: &str) -> Result<(Call, Vec<Call>), Fault> {
    if text.chars().nth(MAX_LENGTH).is_some() {
        let problem = NotationProblem::TooLong { limit: MAX_LENGTH };
        return Err(Fault::at(MAX_LENGTH + 1, problem));
    }
    let (method, mut rest) = split_at_plus(text);
    let end = |rest: Option<&str>| rest.map_or(Token::End, |_| Token::Symbol('+'));
    let mut column = 1;
    let mut call = |part: &str, end: Token, what| {
        let call = read_call(Tokens::new(part, column, end.clone()), &end, what);
        column += part.chars().count() + 1;
        call
    };
    let method = call(method, end(rest), "the name of a method")?;
    let mut added = Vec::new();
    while let Some(text) = rest {
        let (part, more) = split_at_plus(text);
        added.push(call(part, end(more), "the name of a mitigation")?);
        rest = more;
    }
    Ok((method, added))
}

/// The text before the first plus sign that is not in parentheses, and the text behind it.
fn split_at_plus(text: &str) -> (&str, Option<&str>) {
    let mut depth = 0_usize;
    let plus = text.find(|character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == '+' && depth == 0
    });
    match plus {
        Some(plus) => (&text[..plus], Some(&text[plus + 1..])),
        None => (text, None),
    }
}

/// Reads a name and its arguments, up to `end`.
fn read_call(mut tokens: Tokens<'_>, end: &Token, what: &'static str) -> Result<Call, Fault> {
    let name = tokens.word(what)?;
    let mut arguments = Arguments {
        column: name.column,
        groups: Vec::new(),
    };
    if tokens.take('(') {
        arguments.groups = read_groups(&mut tokens)?;
    }
    match tokens.next() {
        (token, _) if token == *end => Ok(Call { name, arguments }),
        unexpected => {
            let expected = if arguments.groups.is_empty() {
                "`(`, `+` or the end"
            } else {
                "`+` or the end"
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
