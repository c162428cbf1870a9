//! The checksum of a weights file, in its own metadata.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::checksum;

/// Name of the checksum: CRC-32 of the file in which it is [`NONE`].
pub(crate) const KEY: &str = "stagger_crc32";

const NONE: &str = "00000000";

/// Makes room for it.
pub(crate) fn reserve(metadata: &mut BTreeMap<String, String>) {
    metadata.insert(KEY.to_owned(), NONE.to_owned());
}

/// Fills it in.
pub(crate) fn seal(bytes: &mut [u8]) {
    if let Some(place) = place(bytes) {
        let checksum = checksum(bytes, &place);
        bytes[place].copy_from_slice(checksum.as_bytes());
    }
}

/// Compares a file with its checksum, which those of other programs do not have.
///
/// # Errors
/// A sentence with both, where they differ.
pub(crate) fn check(bytes: &[u8]) -> Result<(), String> {
    let Some(place) = place(bytes) else {
        return Ok(());
    };
    let found = checksum(bytes, &place);
    let expected = String::from_utf8_lossy(&bytes[place]);
    match found == expected {
        true => Ok(()),
        false => Err(format!(
            "its checksum is {found} and its metadata say {}; it is damaged, or was changed: then remove {KEY} from its \
             metadata",
            expected.escape_debug()
        )),
    }
}

/// Where the digits are, in a file that has them.
fn place(bytes: &[u8]) -> Option<Range<usize>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let header = rest.get(..usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let holds = |part: &[u8]| header.windows(part.len()).any(|window| window == part);
    // Other programs keep metadata of files that they change, and write the fields of a tensor in the order of the library.
    if holds(b":{\"dtype\":") {
        return None;
    }
    // Quotes within a text are escaped, so that none holds this.
    let key = format!("\"{KEY}\":\"");
    let found = (header.windows(key.len())).position(|window| window == key.as_bytes())?;
    let from = length.len() + found + key.len();
    let place = from..from + NONE.len();
    (bytes.get(place.end) == Some(&b'"')).then_some(place)
}

fn checksum(bytes: &[u8], place: &Range<usize>) -> String {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[..place.start]);
    hasher.update(NONE.as_bytes());
    hasher.update(&bytes[place.end..]);
    checksum::hex(hasher.finalize())
}
