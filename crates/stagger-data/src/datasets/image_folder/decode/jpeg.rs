//! JPEG as viewers read it: what lies between segments or after the first picture is passed over, and a missing end marker is
//! forgiven where all pixels are there.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::MOST_SIDE;

const START: u8 = 0xd8;
const END: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

/// Height and width that the header declares, as they are stored, and how the picture is to be turned.
pub(super) fn header(bytes: &[u8]) -> Result<([usize; 2], Orientation), String> {
    let tidy = Tidy::of(bytes);
    let mut decoder = decoder(&tidy.bytes);
    let headers = decoder.decode_headers();
    headers.map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("its header is incomplete")?;
    let size = [usize::from(info.height), usize::from(info.width)];
    let exif = decoder.exif();
    let orientation = exif.and_then(|exif| Orientation::from_exif_chunk(exif));
    Ok((size, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// The picture as it is stored.
pub(super) fn decode(bytes: &[u8], [height, width]: [usize; 2]) -> Result<DynamicImage, String> {
    let tidy = Tidy::of(bytes);
    let pixels = match tidy.has_end {
        true => pixels(&tidy.bytes)?,
        false => tidy.pixels_without_end()?,
    };
    RgbImage::from_raw(width as u32, height as u32, pixels)
        .map(DynamicImage::from)
        .ok_or_else(|| "its colours cannot be converted to RGB".to_owned())
}

fn pixels(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let decoded = decoder(bytes).decode();
    decoded.map_err(|error| error.to_string())
}

fn decoder(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default()
        .set_max_width(MOST_SIDE)
        .set_max_height(MOST_SIDE)
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

/// The segments and scans of the first picture in a file, and nothing else.
struct Tidy {
    bytes: Vec<u8>,
    /// Whether its end marker is there.
    has_end: bool,
    progress: Progress,
}

/// Which bits of which coefficients the scans have brought: a progressive picture is there long before its last scan.
#[derive(Default)]
struct Progress {
    /// Per component its identifier, and the lowest bit that is there of each coefficient.
    components: Vec<(u8, [Option<u8>; 64])>,
}

impl Progress {
    /// Reads the segment of a frame: what comes after its length.
    fn begin(&mut self, segment: &[u8]) {
        let components = segment.get(6..).unwrap_or_default().chunks_exact(3);
        self.components = components.map(|one| (one[0], [None; 64])).collect();
    }

    /// Reads the segment of a scan.
    fn add(&mut self, segment: &[u8]) {
        let [count, rest @ ..] = segment else { return };
        let split = rest.split_at_checked(2 * usize::from(*count));
        let Some((components, &[first, last, bits])) = split else {
            return;
        };
        let range = usize::from(first)..=usize::from(last);
        for component in components.chunks_exact(2) {
            let known = self
                .components
                .iter_mut()
                .find(|known| known.0 == component[0]);
            if let Some((_, lowest)) = known {
                lowest
                    .get_mut(range.clone())
                    .unwrap_or_default()
                    .fill(Some(bits & 15));
            }
        }
    }

    fn is_complete(&self) -> bool {
        let is_there = |lowest: &Option<u8>| *lowest == Some(0);
        let mut components = self.components.iter();
        components.all(|(_, lowest)| lowest.iter().all(is_there))
    }
}

impl Tidy {
    fn of(file: &[u8]) -> Self {
        let mut tidy = Self {
            bytes: vec![0xff, START],
            has_end: false,
            progress: Progress::default(),
        };
        let mut at = 2;
        while let Some((marker, after)) = next_marker(file, at) {
            at = after;
            match marker {
                END => {
                    tidy.has_end = true;
                    tidy.bytes.extend([0xff, END]);
                    break;
                }
                // These have no segment, and mean nothing here.
                START | 0x01 | 0xd0..=0xd7 => continue,
                _ => {}
            }
            let length = match file.get(at..at + 2) {
                Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
                _ => 0,
            };
            let end = file.len().min(at + length);
            tidy.bytes.extend([0xff, marker]);
            tidy.bytes.extend_from_slice(&file[at..end]);
            let segment = file.get(at + 2..end).unwrap_or_default();
            at = end;
            if is_start_of_frame(marker) {
                tidy.progress.begin(segment);
            }
            if marker == START_OF_SCAN {
                tidy.progress.add(segment);
                let end = end_of_scan(file, at);
                tidy.bytes.extend_from_slice(&file[at..end]);
                at = end;
            }
        }
        tidy
    }

    /// The pixels of a file that ends without its end marker. The decoder would take anything for the bits that are missing. If
    /// none is, it does not matter what follows the last one; so what may follow is tried both ways.
    fn pixels_without_end(self) -> Result<Vec<u8>, String> {
        let followed_by = |byte: u8| {
            let mut bytes = self.bytes.clone();
            bytes.extend([byte; 64]);
            bytes.extend([0xff, END]);
            pixels(&bytes)
        };
        match (followed_by(0x00), followed_by(0x55)) {
            (Ok(one), Ok(other)) if one == other && self.progress.is_complete() => Ok(one),
            _ => Err("the end marker is missing, the file is truncated".to_owned()),
        }
    }
}

fn is_start_of_frame(marker: u8) -> bool {
    // Those left out are tables and an extension.
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// The next marker from `at` on, and where what follows it begins. Anything before it is passed over, as other decoders do.
fn next_marker(file: &[u8], at: usize) -> Option<(u8, usize)> {
    let mut after_ff = false;
    for (index, &byte) in file.iter().enumerate().skip(at) {
        match byte {
            0xff => after_ff = true,
            0x00 => after_ff = false,
            marker if after_ff => return Some((marker, index + 1)),
            _ => {}
        }
    }
    None
}

/// Where the entropy-coded bytes that begin at `at` end: before a marker that does not belong to them, or half of one at the end.
fn end_of_scan(file: &[u8], at: usize) -> usize {
    let mut end = at;
    while let Some(found) = file[end..].iter().position(|&byte| byte == 0xff) {
        end += found;
        match file.get(end + 1) {
            Some(0x00 | 0xd0..=0xd7) => end += 2,
            Some(_) | None => return end,
        }
    }
    file.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_belong_to_the_picture_is_left_out() {
        let comment: &[u8] = &[0xff, 0xfe, 0, 6, 0xff, END, 1, 2];
        let scan: &[u8] = &[0xff, START_OF_SCAN, 0, 3, 9, 1, 0xff, 0, 2, 0xff, 0xd1, 3];
        let start: &[u8] = &[0xff, START];
        let end: &[u8] = &[0xff, END];
        let whole = [start, comment, scan, end].concat();
        let untidy = [
            start,
            &[0xff, 0xff],
            &comment[1..],
            &[0, 7, 0],
            scan,
            &[0xff],
            end,
            start,
            scan,
            b"text",
        ]
        .concat();
        for file in [&whole, &untidy] {
            let tidy = Tidy::of(file);
            assert!(tidy.has_end);
            assert_eq!(tidy.bytes, whole);
        }
        let cut = Tidy::of(&whole[..whole.len() - 1]);
        assert!(!cut.has_end);
        assert_eq!(cut.bytes, [start, comment, scan].concat());
    }
}
