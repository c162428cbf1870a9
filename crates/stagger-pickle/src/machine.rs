//! The machine that a pickle is a program for. It builds values and never calls anything.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::error::PickleError;
use crate::line;
use crate::value::{Id, Object, Value};

type Outcome<T> = Result<T, PickleError>;

pub(crate) struct Machine<'a> {
    rest: &'a [u8],
    pub(crate) values: Vec<Value<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: BTreeMap<usize, Id>,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            values: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: BTreeMap::new(),
        }
    }

    /// Runs the program, and gives its outcome.
    pub(crate) fn run(&mut self, expects: &dyn Fn(&str) -> bool) -> Outcome<Id> {
        loop {
            let code = self.byte()?;
            match code {
                b'.' => return self.pop(),
                // The protocol, and the length of what follows: nothing depends on them.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'(' => self.marks.push(self.stack.len()),
                b'0' => drop(self.pop()?),
                b'1' => drop(self.pop_to_mark()?),
                b'2' => self.stack.push(self.top()?),
                b'p' | b'q' | b'r' | 0x94 => self.remember(code)?,
                b'g' | b'h' | b'j' => self.recall(code)?,
                b'N' => self.push(Value::Other),
                b'I' | b'L' | b'J' | b'K' | b'M' | 0x88..=0x8b => self.integer(code)?,
                b'F' | b'G' => self.float(code)?,
                b'S' | b'T' | b'U' | b'B' | b'C' | 0x8e | 0x96 => self.bytes(code)?,
                b'V' | b'X' | 0x8c | 0x8d => self.text(code)?,
                b'}' => self.push(Value::Dict(Vec::new())),
                b']' | b')' | 0x8f => self.push(Value::Items(Vec::new())),
                b't' | b'l' | 0x91 => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Items(items));
                }
                0x85..=0x87 => {
                    let from = self.stack.len().checked_sub(usize::from(code) - 0x84);
                    let items = self.stack.split_off(from.ok_or(PickleError::Damaged)?);
                    self.push(Value::Items(items));
                }
                b'd' => {
                    let entries = self.pop_to_mark()?;
                    self.push(Value::Dict(pairs(&entries).collect()));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(&[key, value])?;
                }
                b'u' => {
                    let entries = self.pop_to_mark()?;
                    self.insert(&entries)?;
                }
                b'c' | 0x93 => self.name(code, expects)?,
                b'P' => {
                    let name = String::from_utf8_lossy(self.line()?);
                    self.push(Value::Text(name));
                    let id = self.pop()?;
                    self.push(Value::Persistent(id));
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Value::Persistent(id));
                }
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    self.object(function, arguments)?;
                }
                0x92 => {
                    let (_by_name, arguments, function) = (self.pop()?, self.pop()?, self.pop()?);
                    self.object(function, arguments)?;
                }
                b'b' => {
                    let state = self.pop()?;
                    let outcome = self.top()?;
                    // Attributes of others, such as a dictionary's, are left out.
                    if let Value::Object(object) = &mut self.values[outcome.0] {
                        object.state = Some(state);
                    }
                }
                _ => return Err(PickleError::Instruction(code)),
            }
        }
    }

    fn take(&mut self, count: usize) -> Outcome<&'a [u8]> {
        let (found, behind) = self
            .rest
            .split_at_checked(count)
            .ok_or(PickleError::Damaged)?;
        self.rest = behind;
        Ok(found)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| PickleError::Damaged)
    }

    fn byte(&mut self) -> Outcome<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A length of so many bytes, which have to be there.
    fn measured(&mut self, length_bytes: usize) -> Outcome<&'a [u8]> {
        let found = self.take(length_bytes)?.iter().rev();
        let length = found.fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
        self.take(usize::try_from(length).map_err(|_| PickleError::Damaged)?)
    }

    /// A line, without its end.
    fn line(&mut self) -> Outcome<&'a [u8]> {
        let end = self.rest.iter().position(|byte| *byte == b'\n');
        let end = end.ok_or(PickleError::Damaged)?;
        let found = self.take(end + 1)?;
        Ok(&found[..end])
    }

    fn push(&mut self, value: Value<'a>) {
        self.stack.push(Id(self.values.len()));
        self.values.push(value);
    }

    fn pop(&mut self) -> Outcome<Id> {
        self.stack.pop().ok_or(PickleError::Damaged)
    }

    fn top(&self) -> Outcome<Id> {
        self.stack.last().copied().ok_or(PickleError::Damaged)
    }

    fn pop_to_mark(&mut self) -> Outcome<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or(PickleError::Damaged)?))
    }

    fn remember(&mut self, code: u8) -> Outcome<()> {
        let at = match code {
            0x94 => self.memo.len(),
            _ => self.place(code == b'p', code == b'q')?,
        };
        self.memo.insert(at, self.top()?);
        Ok(())
    }

    fn recall(&mut self, code: u8) -> Outcome<()> {
        let at = self.place(code == b'g', code == b'h')?;
        let id = *self.memo.get(&at).ok_or(PickleError::Damaged)?;
        self.stack.push(id);
        Ok(())
    }

    /// A place in the memo: a line, a byte, or four.
    fn place(&mut self, is_line: bool, is_byte: bool) -> Outcome<usize> {
        Ok(match (is_line, is_byte) {
            (true, _) => line::number(self.line()?)?,
            (_, true) => self.byte()?.into(),
            _ => u32::from_le_bytes(self.array()?) as usize,
        })
    }

    fn integer(&mut self, code: u8) -> Outcome<()> {
        let value = match code {
            b'I' | b'L' => line::integer(self.line()?)?,
            b'J' => Value::Int(i32::from_le_bytes(self.array()?).into()),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            0x88 => Value::Int(1),
            0x89 => Value::Int(0),
            _ => {
                let found = self.measured(if code == 0x8a { 1 } else { 4 })?;
                let negative = found.last().is_some_and(|last| last >> 7 == 1);
                let mut whole = [if negative { 255 } else { 0 }; 8];
                match whole.get_mut(..found.len()) {
                    Some(low) => {
                        low.copy_from_slice(found);
                        Value::Int(i64::from_le_bytes(whole))
                    }
                    None => Value::Other,
                }
            }
        };
        self.push(value);
        Ok(())
    }

    fn float(&mut self, code: u8) -> Outcome<()> {
        let value = match code {
            b'F' => line::float(self.line()?)?,
            _ => Value::Float(f64::from_be_bytes(self.array()?)),
        };
        self.push(value);
        Ok(())
    }

    fn bytes(&mut self, code: u8) -> Outcome<()> {
        let found = match code {
            b'S' => Cow::Owned(line::string(self.line()?)?),
            b'U' | b'C' => Cow::Borrowed(self.measured(1)?),
            b'T' | b'B' => Cow::Borrowed(self.measured(4)?),
            _ => Cow::Borrowed(self.measured(8)?),
        };
        self.push(Value::Bytes(found));
        Ok(())
    }

    fn text(&mut self, code: u8) -> Outcome<()> {
        let found = match code {
            b'V' => line::unicode(self.line()?)?,
            0x8c => String::from_utf8_lossy(self.measured(1)?),
            b'X' => String::from_utf8_lossy(self.measured(4)?),
            _ => String::from_utf8_lossy(self.measured(8)?),
        };
        self.push(Value::Text(found));
        Ok(())
    }

    fn append(&mut self, more: Vec<Id>) -> Outcome<()> {
        let list = self.top()?;
        match &mut self.values[list.0] {
            Value::Items(items) => items.extend(more),
            // Of no interest, whatever it is.
            Value::Object(_) | Value::Other => {}
            _ => return Err(PickleError::Damaged),
        }
        Ok(())
    }

    fn insert(&mut self, more: &[Id]) -> Outcome<()> {
        let dict = self.top()?;
        match &mut self.values[dict.0] {
            Value::Dict(entries) => entries.extend(pairs(more)),
            Value::Object(object) => object.entries.extend(pairs(more)),
            Value::Other => {}
            _ => return Err(PickleError::Damaged),
        }
        Ok(())
    }

    fn name(&mut self, code: u8, expects: &dyn Fn(&str) -> bool) -> Outcome<()> {
        let name = match code {
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                let text = String::from_utf8_lossy;
                format!("{}.{}", text(module), text(name))
            }
            _ => {
                let (name, module) = (self.pop()?, self.pop()?);
                match (&self.values[module.0], &self.values[name.0]) {
                    (Value::Text(module), Value::Text(name)) => format!("{module}.{name}"),
                    _ => return Err(PickleError::Damaged),
                }
            }
        };
        // Two long texts could be put together many times.
        match name.len() <= MOST_NAME_BYTES && expects(&name) {
            true => self.push(Value::Name(name)),
            false => return Err(PickleError::Name(name)),
        }
        Ok(())
    }

    fn object(&mut self, function: Id, arguments: Id) -> Outcome<()> {
        if !matches!(self.values[function.0], Value::Name(_)) {
            return Err(PickleError::Damaged);
        }
        self.push(Value::Object(Box::new(Object {
            function,
            arguments,
            state: None,
            entries: Vec::new(),
        })));
        Ok(())
    }
}

/// Longest `module.name`.
const MOST_NAME_BYTES: usize = 128;

fn pairs(ids: &[Id]) -> impl Iterator<Item = (Id, Id)> {
    ids.chunks_exact(2).map(|pair| (pair[0], pair[1]))
}
