//! Which format a file has, by its first bytes; names of files are not looked at.

use image::ImageFormat;

/// A format that is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Jpeg,
    /// By the decoders of crate `image`.
    Other(ImageFormat),
}

impl Format {
    /// The format of a file that begins like this.
    ///
    /// # Errors
    /// One sentence without the file's name.
    pub fn of(bytes: &[u8]) -> Result<Self, String> {
        if bytes.is_empty() {
            return Err("the file is empty".to_owned());
        }
        Self::find(bytes).ok_or_else(|| match foreign(bytes) {
            Some(name) => format!(
                "it is {name}, which is not read; convert it to JPEG, PNG, WebP, BMP, GIF or TIFF"
            ),
            None => {
                "it does not start like a picture (JPEG, PNG, WebP, BMP, GIF or TIFF)".to_owned()
            }
        })
    }

    /// The same without a reason.
    pub fn find(bytes: &[u8]) -> Option<Self> {
        Some(match bytes {
            [0xff, 0xd8, ..] => Self::Jpeg,
            [0x89, b'P', b'N', b'G', ..] => Self::Other(ImageFormat::Png),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Self::Other(ImageFormat::Gif),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Self::Other(ImageFormat::WebP),
            [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => Self::Other(ImageFormat::Tiff),
            // Two letters alone start many a text: the length of the header after the first 14 bytes has to be one of those that
            // there are.
            [b'B', b'M', ..] if bytes.get(14..18).is_some_and(is_bmp_header) => {
                Self::Other(ImageFormat::Bmp)
            }
            _ => return None,
        })
    }

    /// Most pixels that a byte of the file can hold, where that is known.
    pub fn pixels_per_byte(self) -> Option<usize> {
        match self {
            // A scan spends a bit or more on a block of 8×8, and sampling factors can make one component wide and another high,
            // so that each has half of the blocks of the image.
            Self::Jpeg => Some(8 * 64 * 2),
            // 8 of one bit each, which deflate compresses by 1 : 1032 at best.
            Self::Other(ImageFormat::Png) => Some(8 * 1032),
            // Pictures of one colour have no bound.
            Self::Other(_) => None,
        }
    }

    /// Whether a file's beginning may lack what says how its picture lies.
    pub fn says_its_size_late(self) -> bool {
        matches!(self, Self::Other(ImageFormat::WebP | ImageFormat::Tiff))
    }
}

fn is_bmp_header(length: &[u8]) -> bool {
    matches!(length, [12 | 16 | 40 | 52 | 56 | 64 | 108 | 124, 0, 0, 0])
}

/// The name of a format of pictures that is not read.
fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let brand = (bytes.get(4..8) == Some(b"ftyp")).then(|| bytes.get(8..12))??;
    Some(match brand {
        b"heic" | b"heix" | b"hevc" | b"mif1" | b"msf1" => "HEIC (as phones write it)",
        b"avif" | b"avis" => "AVIF",
        _ => "a film or another file of its family",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_what_is_not_read_are_told() {
        let sentence = |bytes: &[u8]| Format::of(bytes).unwrap_err();
        assert_eq!(sentence(b""), "the file is empty");
        assert!(sentence(b"\0\0\0\x18ftypheic\0\0\0\0").starts_with("it is HEIC"));
        assert!(sentence(b"\0\0\0\x18ftypavif\0\0\0\0").starts_with("it is AVIF"));
        assert!(sentence(b"BMW is a car, and this a text").starts_with("it does not start"));
        assert!(sentence(b"BM").starts_with("it does not start"));
    }
}
