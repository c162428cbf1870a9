//! The arguments of a method: groups of values, by order or by name.

use std::ops::RangeInclusive;

use super::{Fault, NotationProblem};

/// The arguments in the parentheses.
#[derive(Debug)]
pub(crate) struct Arguments {
    /// 1-based column of the name before the parentheses, for what is missing in them.
    pub(crate) column: usize,
    pub(super) groups: Vec<Group>,
}

/// Values separated by commas, perhaps named: `4,2,0` or `m=4,2,0`. Never empty.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) key: Option<Word>,
    pub(super) values: Vec<Word>,
}

/// A name or a value.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) text: String,
    /// 1-based column of its first character.
    pub(crate) column: usize,
}

/// A whole number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Number {
    pub(crate) value: usize,
    /// 1-based column of its first digit.
    pub(crate) column: usize,
}

impl Arguments {
    /// A problem with the arguments as a whole: at the first one, or at the name before them.
    pub(crate) fn fault(&self, problem: NotationProblem) -> Fault {
        match self.groups.first() {
            Some(group) => group.fault(problem),
            None => Fault::at(self.column, problem),
        }
    }

    /// Makes sure that there are no arguments.
    pub(crate) fn none(&self, method: &'static str) -> Result<(), Fault> {
        match self.groups.first() {
            Some(group) => Err(group.fault(NotationProblem::NoArguments { method })),
            None => Ok(()),
        }
    }

    /// Sorts the groups by name; groups without a name take the names in order.
    pub(crate) fn lists<const N: usize>(
        &self,
        names: [&'static str; N],
    ) -> Result<[Option<&Group>; N], Fault> {
        let mut lists = [None; N];
        for (position, group) in self.groups.iter().enumerate() {
            let index = match &group.key {
                None if position < N => position,
                None => {
                    let problem = NotationProblem::TooManyLists {
                        known: listed(&names),
                    };
                    return Err(group.fault(problem));
                }
                Some(key) => {
                    let known = names
                        .iter()
                        .position(|name| key.text.eq_ignore_ascii_case(name));
                    known.ok_or_else(|| {
                        let (found, known) = (key.text.clone(), listed(&names));
                        key.fault(NotationProblem::UnknownKey { found, known })
                    })?
                }
            };
            if lists[index].replace(group).is_some() {
                return Err(group.fault(NotationProblem::Twice { name: names[index] }));
            }
        }
        Ok(lists)
    }
}

impl Group {
    /// The one value as a whole number of a range; `name` says in an error what it is.
    pub(crate) fn whole(
        &self,
        name: &'static str,
        range: RangeInclusive<usize>,
    ) -> Result<Number, Fault> {
        let number = self.single(name)?.whole_number(*range.end())?;
        if number.value < *range.start() {
            let range = format!("at least {}", range.start());
            let found = number.value.to_string();
            return Err(number.fault(NotationProblem::OutOfRange { name, range, found }));
        }
        Ok(number)
    }

    /// The one value as a number of a range; `name` says in an error what it is.
    pub(crate) fn real(
        &self,
        name: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<f64, Fault> {
        let word = self.single(name)?;
        let found = word.text.clone();
        match word.text.parse::<f64>() {
            Ok(value) if range.contains(&value) => Ok(value),
            Ok(value) if value.is_finite() => {
                let range = format!("from {} to {}", range.start(), range.end());
                Err(word.fault(NotationProblem::OutOfRange { name, range, found }))
            }
            _ => Err(word.fault(NotationProblem::NotANumber { found })),
        }
    }

    /// The one value, as it stands there.
    pub(crate) fn single(&self, name: &'static str) -> Result<&Word, Fault> {
        match self.values.as_slice() {
            [value] => Ok(value),
            [_, second, ..] => Err(second.fault(NotationProblem::SecondNumber {
                name,
                found: second.text.clone(),
            })),
            [] => Err(self.fault(NotationProblem::MissingList { name })),
        }
    }

    /// The values as whole numbers up to `limit`.
    pub(crate) fn whole_numbers(&self, limit: usize) -> Result<Vec<Number>, Fault> {
        self.values
            .iter()
            .map(|value| value.whole_number(limit))
            .collect()
    }

    /// A problem with the group as a whole, at its first character.
    pub(crate) fn fault(&self, problem: NotationProblem) -> Fault {
        let column = self
            .key
            .as_ref()
            .or(self.values.first())
            .map_or(1, |word| word.column);
        Fault::at(column, problem)
    }
}

impl Word {
    /// This word as a whole number up to `limit`.
    fn whole_number(&self, limit: usize) -> Result<Number, Fault> {
        let found = || self.text.clone();
        if self.text.is_empty() || !self.text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(self.fault(NotationProblem::NotWhole { found: found() }));
        }
        // Digits only, so a failure to parse means too large for `usize`.
        match self.text.parse() {
            Ok(value) if value <= limit => Ok(Number {
                value,
                column: self.column,
            }),
            _ => Err(self.fault(NotationProblem::TooLarge {
                found: found(),
                limit,
            })),
        }
    }

    /// A problem with this word.
    pub(crate) fn fault(&self, problem: NotationProblem) -> Fault {
        Fault::at(self.column, problem)
    }
}

impl Number {
    /// A problem with this number.
    pub(crate) fn fault(&self, problem: NotationProblem) -> Fault {
        Fault::at(self.column, problem)
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(names: &[&str]) -> String {
    match names {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
