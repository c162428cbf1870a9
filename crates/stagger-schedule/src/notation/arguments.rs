//! The arguments of a method: groups of values, by order or by name.

use super::{Fault, NotationProblem};

/// What stands in the parentheses.
#[derive(Debug, Default)]
pub(crate) struct Arguments {
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
                        known: names.join(" and "),
                    };
                    return Err(group.fault(problem));
                }
                Some(key) => {
                    let known = names
                        .iter()
                        .position(|name| key.text.eq_ignore_ascii_case(name));
                    known.ok_or_else(|| {
                        let (found, known) = (key.text.clone(), names.join(" and "));
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
