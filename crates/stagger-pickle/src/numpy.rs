//! Arrays of numpy, as its versions 1 and 2 pickle them.

use std::borrow::Cow;

use crate::error::PickleError;
use crate::value::{Id, Pickle, Value};

/// An array of numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Array<'a> {
    /// `u` for whole numbers from 0 up, `i` for whole numbers, `f` for others, `b` for true and false; other letters for what
    /// is not numbers.
    pub kind: u8,
    /// Bytes of each number.
    pub item_bytes: usize,
    /// Whether their first byte is the highest.
    pub is_big_endian: bool,
    /// Its sides.
    pub shape: Vec<usize>,
    /// Whether the first index is the fastest, instead of the last.
    pub is_fortran: bool,
    /// Its numbers, as many as the shape says.
    pub data: Cow<'a, [u8]>,
}

/// Most sides of an array.
const MOST_SIDES: usize = 8;

/// Whether numpy's arrays and numbers, or bytes as Python 3 writes them for Python 2, need this name; it is also that of an
/// ordered dictionary.
#[must_use]
pub fn is_of_numpy(name: &str) -> bool {
    matches!(
        name,
        "numpy.ndarray"
            | "numpy.dtype"
            | "_codecs.encode"
            | "builtins.bytes"
            | "builtins.bytearray"
            | "__builtin__.bytes"
            | "__builtin__.bytearray"
            | "collections.OrderedDict"
    ) || core(name).is_some()
}

/// What is in a module that moved from version 1 to version 2.
fn core(name: &str) -> Option<&str> {
    let inner = name
        .strip_prefix("numpy.core.")
        .or_else(|| name.strip_prefix("numpy._core."))?;
    let known = [
        "multiarray._reconstruct",
        "multiarray.scalar",
        "numeric._frombuffer",
    ];
    known.contains(&inner).then_some(inner)
}

impl<'a> Pickle<'a> {
    /// Reads an array; nothing is copied where the pickle has its bytes as they are.
    ///
    /// # Errors
    /// [`PickleError::Kind`] for what is no array of numbers, or has other bytes than its shape asks for.
    pub fn array(&self, id: Id) -> Result<Array<'_>, PickleError> {
        const WRONG: PickleError = PickleError::Kind("an array of numbers");
        let (name, arguments) = self.call(id).ok_or(WRONG)?;
        let (data, number, shape, is_fortran) = match core(name) {
            Some("multiarray._reconstruct") => {
                let Value::Object(object) = self.value(id) else {
                    return Err(WRONG);
                };
                let state = object.state.and_then(|state| self.items(state));
                // Before them stands the version of the state.
                let [.., shape, number, order, data] = state.ok_or(WRONG)? else {
                    return Err(WRONG);
                };
                let is_fortran = matches!(self.value(*order), Value::Int(order) if *order != 0);
                (*data, *number, *shape, is_fortran)
            }
            Some("numeric._frombuffer") => {
                let [data, number, shape, order] = arguments else {
                    return Err(WRONG);
                };
                (
                    *data,
                    *number,
                    *shape,
                    self.text(*order).as_deref() == Some("F"),
                )
            }
            _ => return Err(WRONG),
        };
        let (kind, item_bytes, is_big_endian) = self.number_kind(number).ok_or(WRONG)?;
        let side = |id: &Id| match self.value(*id) {
            Value::Int(side) => usize::try_from(*side).map_err(|_| WRONG),
            _ => Err(WRONG),
        };
        let sides = self.items(shape).filter(|sides| sides.len() <= MOST_SIDES);
        let shape: Vec<usize> = sides
            .ok_or(WRONG)?
            .iter()
            .map(side)
            .collect::<Result<_, _>>()?;
        let data = self.bytes(data).ok_or(WRONG)?;
        let mut sides = shape.iter();
        let bytes = sides.try_fold(item_bytes, |bytes, side| bytes.checked_mul(*side));
        if bytes != Some(data.len()) {
            return Err(PickleError::Kind(
                "an array with as many bytes as its shape says",
            ));
        }
        Ok(Array {
            kind,
            item_bytes,
            is_big_endian,
            shape,
            is_fortran,
            data,
        })
    }

    /// Whole numbers: of a list or tuple, or of an array with one side.
    ///
    /// # Errors
    /// [`PickleError::Kind`] for anything else.
    pub fn integers(&self, id: Id) -> Result<Vec<i64>, PickleError> {
        const WRONG: PickleError = PickleError::Kind("a list of whole numbers");
        let Some(items) = self.items(id) else {
            let array = self.array(id).map_err(|_| WRONG)?;
            return match array.shape.len() {
                1 => array.integers().ok_or(WRONG),
                _ => Err(WRONG),
            };
        };
        let number = |id: &Id| match self.value(*id) {
            Value::Int(number) => Ok(*number),
            _ => self.scalar(*id).ok_or(WRONG),
        };
        items.iter().map(number).collect()
    }

    /// A whole number of numpy's.
    fn scalar(&self, id: Id) -> Option<i64> {
        let (name, arguments) = self.call(id)?;
        let ("multiarray.scalar", [number, data]) = (core(name)?, arguments) else {
            return None;
        };
        let (kind, item_bytes, is_big_endian) = self.number_kind(*number)?;
        let array = Array {
            kind,
            item_bytes,
            is_big_endian,
            shape: Vec::new(),
            is_fortran: false,
            data: self.bytes(*data)?,
        };
        array.integers()?.first().copied()
    }

    /// Letter, bytes and order of a `numpy.dtype`.
    fn number_kind(&self, id: Id) -> Option<(u8, usize, bool)> {
        let ("numpy.dtype", [code, ..]) = self.call(id)? else {
            return None;
        };
        let code = self.text(*code)?;
        let code = code.trim_start_matches(['<', '>', '|', '=']);
        let (kind, size) = code.split_at_checked(1)?;
        let item_bytes: usize = size.parse().ok().filter(|bytes| (1..=8).contains(bytes))?;
        let Value::Object(object) = self.value(id) else {
            return None;
        };
        let state = object.state.and_then(|state| self.items(state));
        let order = state.and_then(|state| self.text(*state.get(1)?));
        Some((
            kind.as_bytes()[0],
            item_bytes,
            order.as_deref() == Some(">"),
        ))
    }
}

impl Array<'_> {
    /// Its numbers in the order of its bytes, where they are whole.
    fn integers(&self) -> Option<Vec<i64>> {
        let is_signed = match self.kind {
            b'i' => true,
            b'u' | b'b' => false,
            _ => return None,
        };
        let number = |bytes: &[u8]| {
            let high_to_low = |i: usize| match self.is_big_endian {
                true => bytes[i],
                false => bytes[bytes.len() - 1 - i],
            };
            let is_negative = is_signed && high_to_low(0) >> 7 == 1;
            let start = if is_negative { u64::MAX } else { 0 };
            let places = 0..bytes.len();
            let number = places.fold(start, |number, i| number << 8 | u64::from(high_to_low(i)));
            number as i64
        };
        Some(
            self.data
                .chunks_exact(self.item_bytes)
                .map(number)
                .collect(),
        )
    }
}
