//! Files of a run that end with the checksum of what comes before: damage is noticed before it is taken for what the run was.

/// What the line of the checksum in JSON begins with.
const KEY: &[u8] = b"  \"crc32\": \"";

/// What comes after it.
const END: &[u8] = b"\"\n}\n";

/// What the line of the checksum in a text begins with.
const COMMENT: &str = "# crc32 ";

/// What comes after it.
const COMMENT_END: &str = " of the lines above; remove this line after a change by hand\n";

/// CRC-32 (that of zip and zlib), 8 hexadecimal digits.
pub fn crc32(bytes: &[u8]) -> String {
    hex(crc32fast::hash(bytes))
}

/// The same of a checksum that is known.
pub(crate) fn hex(checksum: u32) -> String {
    format!("{checksum:08x}")
}

/// An object in JSON, as `serde_json::to_vec_pretty` writes it, with one more field: `crc32`, the checksum of all lines before it.
///
/// # Panics
/// When there is no field.
pub fn seal_json(mut object: Vec<u8>) -> Vec<u8> {
    assert!(
        object.ends_with(b"\n}"),
        "an object with fields, over lines"
    );
    object.truncate(object.len() - b"\n}".len());
    object.extend(b",\n");
    let checksum = crc32(&object);
    object.extend(KEY);
    object.extend(checksum.as_bytes());
    object.extend(END);
    object
}

/// Compares an object with the checksum at its end, and says whether it has one.
///
/// # Errors
/// A sentence with both, where they differ.
pub fn check_json(bytes: &[u8]) -> Result<bool, String> {
    let end = bytes
        .strip_suffix(END)
        .and_then(|rest| rest.split_last_chunk::<8>())
        .and_then(|(rest, digits)| Some((rest.strip_suffix(KEY)?, digits)));
    let Some((checked, expected)) = end else {
        return Ok(false);
    };
    compare(&crc32(checked), &String::from_utf8_lossy(expected))?;
    Ok(true)
}

/// Lines of a format in which `#` begins a comment, and a comment with their checksum.
pub fn seal_lines(text: &str) -> String {
    format!("{text}{COMMENT}{}{COMMENT_END}", crc32(text.as_bytes()))
}

/// Compares lines with the checksum in the last one, if there is one.
///
/// # Errors
/// A sentence with both, where they differ.
pub fn check_lines(text: &str) -> Result<(), String> {
    let end = text
        .strip_suffix(COMMENT_END)
        .and_then(|rest| rest.rsplit_once(COMMENT));
    match end {
        Some((checked, expected)) => compare(&crc32(checked.as_bytes()), expected),
        None => Ok(()),
    }
}

fn compare(found: &str, expected: &str) -> Result<(), String> {
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "its checksum is {found} and its last line says {}",
            expected.escape_debug()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sealed_objects_are_objects() {
        let text = serde_json::to_vec_pretty(&serde_json::json!({ "a": [1, 2] })).unwrap();
        let sealed = seal_json(text.clone());
        assert!(check_json(&sealed).unwrap());
        let value: serde_json::Value = serde_json::from_slice(&sealed).unwrap();
        assert_eq!(value["a"][1], 2);
        assert!(!check_json(&text).unwrap());
        let damaged = String::from_utf8(sealed).unwrap().replace("    2", "    3");
        let error = check_json(damaged.as_bytes()).unwrap_err();
        assert!(error.starts_with("its checksum is "), "{error}");
    }

    #[test]
    fn sealed_lines_end_with_a_comment() {
        let sealed = seal_lines("seed = 1\n");
        assert_eq!(sealed.lines().count(), 2);
        assert!(check_lines(&sealed).is_ok());
        assert!(check_lines(&sealed.replace('1', "2")).is_err());
        assert!(check_lines("seed = 2\n").is_ok());
        // A value that looks like one.
        assert!(check_lines(&seal_lines(&sealed)).is_ok());
    }
}
