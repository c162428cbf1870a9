//! What a pickle holds.

use std::borrow::Cow;

use crate::error::PickleError;
use crate::machine::Machine;

/// A value, by its number among all values of its pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(pub(crate) usize);

/// A value. Parts of it are values of the same pickle; one value may be part of several, or of itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `None`, or a whole number that 64 bits do not hold.
    Other,
    /// A whole number; 0 and 1 are also false and true.
    Int(i64),
    /// A number with a fraction.
    Float(f64),
    /// Bytes, or a text of Python 2.
    Bytes(Cow<'a, [u8]>),
    /// Text.
    Text(Cow<'a, str>),
    /// A list, tuple or set.
    Items(Vec<Id>),
    /// A dictionary, in order.
    Dict(Vec<(Id, Id)>),
    /// `module.name`, not looked up.
    Name(String),
    /// What is not in the pickle, by what the pickle calls it.
    Persistent(Id),
    /// What a call would give.
    Object(Box<Object>),
}

/// A call that has not been made, and what was done with its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// The function or class: a [`Value::Name`], if the pickle is sound.
    pub function: Id,
    /// Its arguments: a [`Value::Items`], if the pickle is sound.
    pub arguments: Id,
    /// What is given to the outcome's `__setstate__`.
    pub state: Option<Id>,
    /// What is put into the outcome by key.
    pub entries: Vec<(Id, Id)>,
}

/// A pickle that has been read.
#[derive(Clone, Debug)]
pub struct Pickle<'a> {
    pub(crate) values: Vec<Value<'a>>,
    pub(crate) root: Id,
}

impl<'a> Pickle<'a> {
    /// Reads a pickle. `expects` says of `module.name` whether the pickle may name it; nothing is looked up or called.
    ///
    /// # Errors
    /// [`PickleError::Damaged`], [`PickleError::Instruction`], [`PickleError::Name`].
    pub fn read(bytes: &'a [u8], expects: impl Fn(&str) -> bool) -> Result<Self, PickleError> {
        let mut machine = Machine::new(bytes);
        let root = machine.run(&expects)?;
        Ok(Self {
            values: machine.values,
            root,
        })
    }

    /// What the pickle is of.
    #[must_use]
    pub fn root(&self) -> Id {
        self.root
    }

    /// A value.
    ///
    /// # Panics
    /// If `id` is of another pickle, which has more values.
    #[must_use]
    pub fn value(&self, id: Id) -> &Value<'a> {
        &self.values[id.0]
    }

    /// A text, or bytes that are one: what Python 2 calls a string.
    #[must_use]
    pub fn text(&self, id: Id) -> Option<Cow<'_, str>> {
        if let Value::Text(text) = self.value(id) {
            return Some(Cow::Borrowed(text));
        }
        match self.bytes(id)? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).ok().map(Cow::Borrowed),
            Cow::Owned(bytes) => String::from_utf8(bytes).ok().map(Cow::Owned),
        }
    }

    /// Whether a value is this text; bytes too. Nothing is copied.
    fn is_text(&self, id: Id, text: &str) -> bool {
        match self.value(id) {
            Value::Text(found) => found == text,
            Value::Bytes(found) => **found == *text.as_bytes(),
            _ => match self.encoded(id) {
                Some(found) => found.chars().map(u32::from).eq(text.bytes().map(u32::from)),
                None => false,
            },
        }
    }

    /// Bytes, also where Python 3 has written them for Python 2: as a text whose characters they are.
    pub(crate) fn bytes(&self, id: Id) -> Option<Cow<'_, [u8]>> {
        if let Value::Bytes(bytes) = self.value(id) {
            return Some(Cow::Borrowed(bytes));
        }
        if let Some(text) = self.encoded(id) {
            let bytes = text.chars().map(|c| u8::try_from(u32::from(c)).ok());
            return bytes.collect::<Option<Vec<u8>>>().map(Cow::Owned);
        }
        match self.call(id)? {
            (
                "builtins.bytes"
                | "builtins.bytearray"
                | "__builtin__.bytes"
                | "__builtin__.bytearray",
                [],
            ) => Some(Cow::Borrowed(&[])),
            _ => None,
        }
    }

    /// What is to be encoded as Latin 1, which keeps code points.
    fn encoded(&self, id: Id) -> Option<&str> {
        let ("_codecs.encode", [text, ..]) = self.call(id)? else {
            return None;
        };
        match self.value(*text) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The items of a list or tuple.
    #[must_use]
    pub fn items(&self, id: Id) -> Option<&[Id]> {
        match self.value(id) {
            Value::Items(items) => Some(items),
            _ => None,
        }
    }

    /// The entries of a dictionary; also of an ordered one.
    #[must_use]
    pub fn entries(&self, id: Id) -> Option<&[(Id, Id)]> {
        match self.value(id) {
            Value::Dict(entries) => Some(entries),
            Value::Object(object) => Some(&object.entries),
            _ => None,
        }
    }

    /// The value of a dictionary under a text; the last, where there are several.
    #[must_use]
    pub fn entry(&self, id: Id, key: &str) -> Option<Id> {
        let entries = self.entries(id)?.iter().rev();
        let mut found = entries.filter(|(found, _)| self.is_text(*found, key));
        found.next().map(|(_, value)| *value)
    }

    /// The name of the function of an object, and its arguments.
    #[must_use]
    pub fn call(&self, id: Id) -> Option<(&str, &[Id])> {
        let Value::Object(object) = self.value(id) else {
            return None;
        };
        let Value::Name(name) = self.value(object.function) else {
            return None;
        };
        Some((name, self.items(object.arguments)?))
    }
}
