//! Zip archives of entries that are stored, not compressed: what torch.save writes.

use std::collections::BTreeMap;

/// The last record of an archive has 22 bytes and a comment.
pub(crate) const MOST_ENDING_BYTES: u64 = 22 + 0xffff;

/// Whether the end of a file may be that of an archive.
pub(crate) fn is_ending(ending: &[u8]) -> bool {
    last_record(ending).is_some()
}

fn last_record(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).rposition(|found| found == b"PK\x05\x06")
}

/// The entries by the part of their names behind the first `/`, as slices of the archive.
pub fn entries(bytes: &[u8]) -> Result<BTreeMap<String, &[u8]>, String> {
    let cut_short = || "it is a zip archive that is cut short or damaged".to_owned();
    let earliest = bytes.len().saturating_sub(MOST_ENDING_BYTES as usize);
    let at = last_record(&bytes[earliest..]).ok_or_else(cut_short)? + earliest;
    number(bytes, at + 20, 2).ok_or_else(cut_short)?;
    let mut count = number(bytes, at + 10, 2).ok_or_else(cut_short)?;
    let mut at_entry = number(bytes, at + 16, 4).ok_or_else(cut_short)?;
    if count == 0xffff || at_entry == 0xffff_ffff {
        let locator = at.checked_sub(20).ok_or_else(cut_short)?;
        let record = number(bytes, locator + 8, 8).ok_or_else(cut_short)?;
        count = number(bytes, record.saturating_add(32), 8).ok_or_else(cut_short)?;
        at_entry = number(bytes, record.saturating_add(48), 8).ok_or_else(cut_short)?;
    }
    let mut found = BTreeMap::new();
    for _ in 0..count {
        let (name, data, next) = entry(bytes, at_entry).ok_or_else(cut_short)?;
        let name = name.split_once('/').map_or(name.as_str(), |(_, rest)| rest);
        let data = data.ok_or_else(|| format!("its entry {name} is compressed"))?;
        found.insert(name.to_owned(), data);
        at_entry = next;
    }
    Ok(found)
}

type Entry<'a> = (String, Option<&'a [u8]>, usize);

fn entry(bytes: &[u8], at: usize) -> Option<Entry<'_>> {
    if bytes.get(at..at.checked_add(46)?)?[..4] != *b"PK\x01\x02" {
        return None;
    }
    let field = |offset, size| number(bytes, at + offset, size);
    let (name, extra, comment) = (field(28, 2)?, field(30, 2)?, field(32, 2)?);
    let (mut size, mut local) = (field(24, 4)?, field(42, 4)?);
    let mut wide = at + 46 + name;
    let end = wide + extra;
    while wide + 4 <= end {
        let (kind, length) = (number(bytes, wide, 2)?, number(bytes, wide + 2, 2)?);
        let mut value = wide + 4;
        if kind == 1 {
            for (narrow, skip) in [
                (&mut size, false),
                (&mut local, field(20, 4)? == 0xffff_ffff),
            ] {
                if *narrow == 0xffff_ffff {
                    value += if skip { 8 } else { 0 };
                    *narrow = number(bytes, value, 8)?;
                    value += 8;
                }
            }
        }
        wide += 4 + length;
    }
    let text = String::from_utf8_lossy(bytes.get(at + 46..at + 46 + name)?).into_owned();
    let is_stored = field(10, 2)? == 0;
    let from = local
        .checked_add(30)?
        .checked_add(number(bytes, local.checked_add(26)?, 2)?)?
        .checked_add(number(bytes, local.checked_add(28)?, 2)?)?;
    let data = bytes.get(from..from.checked_add(size)?);
    match is_stored {
        true => Some((text, Some(data?), end + comment)),
        false => Some((text, None, end + comment)),
    }
}

/// A little-endian number of so many bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let found = bytes.get(at..at.checked_add(size)?)?;
    let value = found
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    usize::try_from(value).ok()
}
