//! Turns the bytes of a JPEG or PNG file into RGB, distrusting them.

use std::io::Cursor;
use std::panic;

use image::{ImageFormat, ImageReader, Limits, RgbImage};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

/// Largest width and height in pixels.
const MOST_SIDE: usize = 1 << 15;
/// Most pixels of one image: 192 MiB of RGB.
const MOST_PIXELS: usize = 1 << 26;
/// Most that a PNG decoder may allocate.
const MOST_BYTES: u64 = 1 << 29;
/// Most pixels that a byte of a JPEG file can hold: a scan spends a bit or more on a block of 8×8, and sampling factors can
/// make one component wide and another high, so that each has half of the blocks of the image.
const MOST_JPEG_PIXELS_PER_BYTE: usize = 8 * 64 * 2;
/// Most pixels that a byte of a PNG file can hold: 8 of one bit each, which deflate compresses by 1 : 1032 at best.
const MOST_PNG_PIXELS_PER_BYTE: usize = 8 * 1032;

enum Format {
    Jpeg,
    Png,
}

/// Height and width that the header in `bytes` (a file, or its beginning) declares.
///
/// # Errors
/// One sentence without the file's name.
pub(super) fn dimensions(bytes: &[u8]) -> Result<[usize; 2], String> {
    guarded(|| match format(bytes)? {
        Format::Jpeg => {
            let mut decoder = jpeg(bytes);
            decoder
                .decode_headers()
                .map_err(|error| error.to_string())?;
            let info = decoder.info().ok_or("its header is incomplete")?;
            check([usize::from(info.height), usize::from(info.width)])
        }
        Format::Png => {
            let (width, height) = png(bytes)
                .into_dimensions()
                .map_err(|error| error.to_string())?;
            check([height as usize, width as usize])
        }
    })
}

/// Decodes a whole file to 8-bit RGB: grey is expanded, palettes are looked up, alpha is dropped,
/// 16 bits are rounded to 8, EXIF rotation is ignored. A file that ends early is an error, and so is a file that declares more
/// pixels than its bytes can hold, before anything is allocated for them.
///
/// # Errors
/// One sentence without the file's name.
pub(super) fn decode(bytes: &[u8]) -> Result<RgbImage, String> {
    let [height, width] = dimensions(bytes)?;
    check_length([height, width], bytes)?;
    guarded(|| match format(bytes)? {
        Format::Jpeg => {
            // Decoders paint what is missing at the end of a file grey and call it a success.
            if !bytes.windows(2).any(|pair| pair == [0xff, 0xd9]) {
                return Err("the end marker is missing, the file is truncated".to_string());
            }
            let pixels = jpeg(bytes).decode().map_err(|error| error.to_string())?;
            RgbImage::from_raw(width as u32, height as u32, pixels)
                .ok_or_else(|| "its colours cannot be converted to RGB".to_string())
        }
        Format::Png => Ok(png(bytes)
            .decode()
            .map_err(|error| error.to_string())?
            .into_rgb8()),
    })
}

/// Whether a file that begins with `head`, its first 16 bytes or all if it has fewer, is of a format that can be decoded.
pub(super) fn is_picture(head: &[u8]) -> bool {
    head.starts_with(&[0xff, 0xd8]) // JPEG
        || head.starts_with(b"\x89PNG")
}

fn format(bytes: &[u8]) -> Result<Format, String> {
    match bytes {
        [] => Err("the file is empty".to_string()),
        [0xff, 0xd8, ..] => Ok(Format::Jpeg),
        [0x89, b'P', b'N', b'G', ..] => Ok(Format::Png),
        _ => Err("it starts neither like a JPEG nor like a PNG file".to_string()),
    }
}

fn check([height, width]: [usize; 2]) -> Result<[usize; 2], String> {
    if height == 0 || width == 0 {
        return Err(format!("it declares {height}×{width} pixels"));
    }
    if height.max(width) > MOST_SIDE || height * width > MOST_PIXELS {
        return Err(format!(
            "it declares {height}×{width} pixels, more than the {MOST_PIXELS} in all or \
             {MOST_SIDE} on a side that are read"
        ));
    }
    Ok([height, width])
}

/// Checks that a file of this length can hold so many pixels.
fn check_length([height, width]: [usize; 2], bytes: &[u8]) -> Result<(), String> {
    let pixels_per_byte = match format(bytes)? {
        Format::Jpeg => MOST_JPEG_PIXELS_PER_BYTE,
        Format::Png => MOST_PNG_PIXELS_PER_BYTE,
    };
    let (pixels, length) = (height * width, bytes.len());
    if pixels > length.saturating_mul(pixels_per_byte) {
        return Err(format!(
            "it declares {height}×{width} pixels, more than its {length} bytes can hold"
        ));
    }
    Ok(())
}

fn jpeg(bytes: &[u8]) -> JpegDecoder<ZCursor<&[u8]>> {
    let options = DecoderOptions::default()
        .set_max_width(MOST_SIDE)
        .set_max_height(MOST_SIDE)
        .set_strict_mode(true)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    JpegDecoder::new_with_options(ZCursor::new(bytes), options)
}

fn png(bytes: &[u8]) -> ImageReader<Cursor<&[u8]>> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_SIDE as u32);
    limits.max_image_height = Some(MOST_SIDE as u32);
    limits.max_alloc = Some(MOST_BYTES);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    reader
}

/// Makes a panic of a decoder, which no bytes should cause, an error like the others.
fn guarded<T>(work: impl FnOnce() -> Result<T, String> + panic::UnwindSafe) -> Result<T, String> {
    panic::catch_unwind(work).unwrap_or_else(|_| Err("the decoder panicked on it".to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, GrayAlphaImage, GrayImage, Luma, LumaA, Rgb, Rgba, RgbaImage};
    use proptest::prelude::*;

    fn encoded(image: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Vec::new();
        image
            .into()
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Png)
            .unwrap();
        bytes
    }

    #[test]
    fn every_kind_of_png_becomes_rgb() {
        let grey = encoded(GrayImage::from_pixel(3, 2, Luma([9])));
        let grey_alpha = encoded(GrayAlphaImage::from_pixel(3, 2, LumaA([9, 100])));
        let alpha = encoded(RgbaImage::from_pixel(3, 2, Rgba([9, 9, 9, 0])));
        let colour = encoded(RgbImage::from_pixel(3, 2, Rgb([9, 9, 9])));
        for bytes in [grey, grey_alpha, alpha, colour] {
            assert_eq!(dimensions(&bytes).unwrap(), [2, 3]);
            assert_eq!(
                decode(&bytes).unwrap(),
                RgbImage::from_pixel(3, 2, Rgb([9, 9, 9]))
            );
        }
    }

    #[test]
    fn declared_size_is_bounded() {
        let mut bytes = encoded(RgbImage::new(3, 2));
        // Width and height of a PNG are at 16 and 20; its checksum is not looked at before them.
        bytes[16..24].copy_from_slice(&[0, 0, 0x70, 0, 0, 0, 0x70, 0]);
        assert!(decode(&bytes).is_err());
        assert!(
            check([1 << 14, 1 << 14])
                .unwrap_err()
                .contains("16384×16384")
        );
        assert!(check([1, MOST_SIDE]).is_ok());
        assert!(check([0, 5]).is_err());
    }

    #[test]
    fn declared_size_is_bounded_by_the_length_of_the_file() {
        // Of one colour, it is compressed about as well as a file can be.
        let dense = encoded(GrayImage::new(4096, 4096));
        assert_eq!(decode(&dense).unwrap().dimensions(), (4096, 4096));
        let mut bytes = encoded(RgbImage::new(3, 2));
        bytes[16..24].copy_from_slice(&[0, 0, 0x10, 0, 0, 0, 0x10, 0]);
        let length = bytes.len();
        let expected =
            format!("it declares 4096×4096 pixels, more than its {length} bytes can hold");
        // The checksum of the header is wrong now, so only the check itself can say this.
        assert_eq!(check_length([4096, 4096], &bytes).unwrap_err(), expected);
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(decode(b"").unwrap_err(), "the file is empty");
        assert!(decode(b"GIF89a").unwrap_err().contains("neither"));
        assert!(decode(&[0xff, 0xd8]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), jpeg: bool,
        ) {
            let start: &[u8] = if jpeg { &[0xff, 0xd8, 0xff] } else { b"\x89PNG\r\n\x1a\n" };
            if let Err(reason) = decode(&[start, &bytes].concat()) {
                prop_assert!(!reason.contains("panicked"), "{}", reason);
            }
        }

        #[test]
        fn damaged_pngs_never_panic(at in 8usize..80, value: u8) {
            let mut bytes = encoded(RgbImage::from_fn(5, 5, |x, y| Rgb([x as u8, y as u8, 7])));
            let at = at % bytes.len();
            bytes[at] = value;
            if let Err(reason) = decode(&bytes) {
                prop_assert!(!reason.contains("panicked"), "{}", reason);
            }
        }
    }
}
