//! Values that protocol 0 writes as lines of text.

use std::borrow::Cow;

use crate::error::PickleError;
use crate::value::Value;

/// A whole number in decimal, `00` and `01` for false and true, an `L` behind long ones.
pub(crate) fn integer(line: &[u8]) -> Result<Value<'static>, PickleError> {
    let line = line.strip_suffix(b"L").unwrap_or(line);
    let is_number = |digits: &[u8]| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    if !is_number(line.strip_prefix(b"-").unwrap_or(line)) {
        return Err(PickleError::Damaged);
    }
    let value = str(line)?.parse();
    Ok(value.map_or(Value::Other, Value::Int))
}

/// A number with a fraction.
pub(crate) fn float(line: &[u8]) -> Result<Value<'static>, PickleError> {
    let value = str(line)?.trim().parse();
    value.map(Value::Float).map_err(|_| PickleError::Damaged)
}

/// A number of the memo.
pub(crate) fn number(line: &[u8]) -> Result<usize, PickleError> {
    str(line)?.parse().map_err(|_| PickleError::Damaged)
}

/// A text of Python 2 in quotes, with escapes.
pub(crate) fn string(line: &[u8]) -> Result<Vec<u8>, PickleError> {
    let line = line.trim_ascii_end();
    let (quote, inner) = line.split_first().ok_or(PickleError::Damaged)?;
    let inner = inner.strip_suffix(&[*quote]);
    let mut rest = inner
        .filter(|_| b"'\"".contains(quote))
        .ok_or(PickleError::Damaged)?;
    let mut bytes = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let (&escape, behind) = rest.split_first().ok_or(PickleError::Damaged)?;
        rest = behind;
        let (value, digits) = match escape {
            b'n' => (b'\n', 0),
            b'r' => (b'\r', 0),
            b't' => (b'\t', 0),
            b'a' => (7, 0),
            b'b' => (8, 0),
            b'v' => (11, 0),
            b'f' => (12, 0),
            b'\\' | b'\'' | b'"' => (escape, 0),
            b'x' => (code(rest, 2, 16)? as u8, 2),
            b'0'..=b'7' => {
                let count = rest
                    .iter()
                    .take(2)
                    .take_while(|digit| (b'0'..=b'7').contains(digit))
                    .count();
                let high = u32::from(escape - b'0') << (3 * count);
                (
                    (high + if count == 0 { 0 } else { code(rest, count, 8)? }) as u8,
                    count,
                )
            }
            // Python keeps both.
            _ => {
                bytes.push(b'\\');
                (escape, 0)
            }
        };
        bytes.push(value);
        rest = &rest[digits..];
    }
    Ok(bytes)
}

/// A text with `\uXXXX` and `\UXXXXXXXX`, else bytes that are code points.
pub(crate) fn unicode(line: &[u8]) -> Result<Cow<'static, str>, PickleError> {
    let (mut text, mut rest) = (String::with_capacity(line.len()), line);
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let digits = match (byte, rest.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(byte));
                continue;
            }
        };
        let found = char::from_u32(code(&rest[1..], digits, 16)?);
        text.push(found.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &rest[1 + digits..];
    }
    Ok(text.into())
}

fn code(bytes: &[u8], digits: usize, radix: u32) -> Result<u32, PickleError> {
    let digits = bytes.get(..digits).ok_or(PickleError::Damaged)?;
    let is_digit = |byte: &u8| char::from(*byte).is_digit(radix);
    match digits.iter().all(is_digit) {
        true => u32::from_str_radix(str(digits)?, radix).map_err(|_| PickleError::Damaged),
        false => Err(PickleError::Damaged),
    }
}

fn str(bytes: &[u8]) -> Result<&str, PickleError> {
    std::str::from_utf8(bytes).map_err(|_| PickleError::Damaged)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_those_of_python() {
        let bytes = string(br#"'a\n\\\'\x00\xff\377\0\08"\q'"#).unwrap();
        assert_eq!(bytes, b"a\n\\'\0\xff\xff\0\08\"\\q");
        for wrong in [&b"'a"[..], b"a", b"", b"'", b"'\\x1'", b"'\\'"] {
            assert_eq!(string(wrong), Err(PickleError::Damaged), "{wrong:?}");
        }
        assert_eq!(
            unicode(br"a\u00e9\U0001f600\ud800\n").unwrap(),
            "aé😀\u{fffd}\\n"
        );
        assert_eq!(unicode(&[0xe9]).unwrap(), "é");
        assert!(unicode(br"\u00").is_err());
    }

    #[test]
    fn numbers_are_those_of_python() {
        assert_eq!(integer(b"-12L"), Ok(Value::Int(-12)));
        assert_eq!(integer(b"01"), Ok(Value::Int(1)));
        assert_eq!(integer(b"99999999999999999999L"), Ok(Value::Other));
        assert!(integer(b"1x").is_err() && integer(b"").is_err());
        assert_eq!(float(b"1e-2"), Ok(Value::Float(0.01)));
    }
}
