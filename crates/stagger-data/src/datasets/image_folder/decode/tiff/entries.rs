//! The entries of a file's first directory, which decoders believe.

/// Numbers of a file, in its order of bytes.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a> {
    bytes: &'a [u8],
    pub is_little: bool,
}

impl<'a> Numbers<'a> {
    pub fn of(bytes: &'a [u8]) -> Self {
        let is_little = bytes.starts_with(b"II");
        Self { bytes, is_little }
    }

    pub fn short(self, at: usize) -> Option<u16> {
        let bytes = self.bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(match self.is_little {
            true => u16::from_le_bytes(bytes),
            false => u16::from_be_bytes(bytes),
        })
    }

    fn long(self, at: usize) -> Option<usize> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        let number = match self.is_little {
            true => u32::from_le_bytes(bytes),
            false => u32::from_be_bytes(bytes),
        };
        usize::try_from(number).ok()
    }

    /// Where the whole entries of the first directory are; each has 12 bytes.
    pub fn entries(self) -> impl Iterator<Item = usize> {
        let directory = self.long(4).unwrap_or(usize::MAX);
        let count = self.short(directory).map_or(0, usize::from);
        let places = (0..count).map(move |entry| directory + 2 + 12 * entry);
        places.take_while(move |place| place + 12 <= self.bytes.len())
    }
}

/// Refuses entries that claim more values than the file has bytes for: decoders make room for them before they look.
pub(super) fn refuse_long_values(file: &[u8]) -> Result<(), String> {
    let numbers = Numbers::of(file);
    for place in numbers.entries() {
        let bytes_each = match numbers.short(place + 2) {
            Some(3 | 8) => 2,
            Some(4 | 9 | 11 | 13) => 4,
            Some(5 | 10 | 12 | 16..=18) => 8,
            _ => 1,
        };
        let count = numbers.long(place + 4).unwrap_or(usize::MAX);
        if count.saturating_mul(bytes_each) > file.len() {
            let tag = numbers.short(place).unwrap_or_default();
            return Err(format!(
                "entry {tag} of its directory claims {count} values, more than its {} bytes can hold",
                file.len()
            ));
        }
    }
    Ok(())
}
