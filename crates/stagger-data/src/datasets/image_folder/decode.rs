//! Turns the bytes of a picture's file into RGB as a viewer shows it, distrusting them.

mod format;
mod jpeg;
mod tiff;

use std::io::Cursor;
use std::panic;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, RgbImage};

use crate::place::Colour;
use crate::shown;
use format::Format;
use tiff::Tiff;

/// Largest width and height in pixels.
const MOST_SIDE: usize = 1 << 15;
/// Most pixels of one image: 192 MiB of RGB.
const MOST_PIXELS: usize = 1 << 26;
/// Most that a decoder may allocate, and most bytes of a decoded image.
const MOST_BYTES: u64 = 1 << 29;
/// Pixels of an image that a file of a few bytes may hold, where its format has no bound.
const PIXELS_OF_ANY_FILE: usize = 1 << 22;
/// Most pixels that a byte of a larger image can hold.
const MOST_PIXELS_PER_BYTE: usize = 8 * 1032;

/// Enough of a file to know its format.
pub(super) const SIGNATURE_BYTES: u64 = 18;

/// Whether a file with these first [`SIGNATURE_BYTES`] is of a format that is read.
pub(super) fn is_picture(head: &[u8]) -> bool {
    Format::find(head).is_some()
}

/// Whether the beginning of a file may lack what [`dimensions`] needs, and yet be read without an error.
pub(super) fn needs_whole_file(head: &[u8]) -> bool {
    Format::find(head).is_some_and(Format::says_its_size_late)
}

/// Height and width of the picture in `bytes` (a file, or its beginning) as a viewer shows it.
///
/// # Errors
/// One sentence without the file's name.
pub(super) fn dimensions(bytes: &[u8]) -> Result<[usize; 2], String> {
    let ([height, width], orientation) = header(bytes)?;
    Ok(match swaps_sides(orientation) {
        true => [width, height],
        false => [height, width],
    })
}

/// Height and width as they are stored, and how the picture is to be turned.
fn header(bytes: &[u8]) -> Result<([usize; 2], Orientation), String> {
    let (size, orientation) = guarded(|| match Format::of(bytes)? {
        Format::Jpeg => jpeg::header(bytes),
        Format::Other(format) => {
            if format == ImageFormat::Tiff
                && let Some(tiff) = Tiff::open(bytes)?
            {
                return Ok((tiff.size(), tiff.orientation()));
            }
            let mut decoder = decoder(bytes, format)?;
            let (width, height) = decoder.dimensions();
            Ok(([height as usize, width as usize], orientation(&mut decoder)))
        }
    })?;
    Ok((check(size)?, orientation))
}

/// Decodes a whole file to 8-bit RGB, as a viewer shows it: turned as its EXIF data say, transparent parts over the background, grey
/// expanded, palettes looked up, 16 bits scaled to 8; of several pictures the first. A file that ends early is an error, and so is a file
/// that declares more pixels than its bytes can hold, before anything is allocated for them.
///
/// # Errors
/// One sentence without the file's name.
pub(super) fn decode(bytes: &[u8], background: Colour) -> Result<RgbImage, String> {
    let (size, orientation) = header(bytes)?;
    let format = Format::of(bytes)?;
    check_length(size, format, bytes.len())?;
    let mut image = guarded(|| match format {
        Format::Jpeg => jpeg::decode(bytes, size),
        Format::Other(format) => {
            if format == ImageFormat::Tiff
                && let Some(tiff) = Tiff::open(bytes)?
            {
                return tiff.decode();
            }
            let decoder = decoder(bytes, format)?;
            if decoder.total_bytes() > MOST_BYTES {
                return Err(format!(
                    "it takes more than {MOST_BYTES} bytes when it is decoded"
                ));
            }
            DynamicImage::from_decoder(decoder).map_err(sentence)
        }
    })?;
    image.apply_orientation(orientation);
    Ok(opaque(image, background))
}

/// Lays a picture over the background.
fn opaque(image: DynamicImage, Colour(background): Colour) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let image = image.into_rgba8();
    let (width, height) = image.dimensions();
    let mut rgb = RgbImage::new(width, height);
    for (to, from) in rgb.pixels_mut().zip(image.pixels()) {
        let [.., alpha] = from.0.map(u32::from);
        for (to, (from, behind)) in to.0.iter_mut().zip(from.0.into_iter().zip(background)) {
            let sum = u32::from(from) * alpha + u32::from(behind) * (255 - alpha);
            *to = ((sum + 127) / 255) as u8;
        }
    }
    rgb
}

fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{
        FlipHorizontal, FlipVertical, NoTransforms, Rotate90, Rotate90FlipH, Rotate180, Rotate270,
        Rotate270FlipH,
    };
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => true,
        NoTransforms | Rotate180 | FlipHorizontal | FlipVertical => false,
    }
}

/// How the picture is to be turned. Data about a picture that cannot be read do not spoil the picture.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    let orientation = decoder.orientation();
    orientation.unwrap_or(Orientation::NoTransforms)
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
fn check_length([height, width]: [usize; 2], format: Format, length: usize) -> Result<(), String> {
    let pixels = height * width;
    let most = match format.pixels_per_byte() {
        Some(pixels_per_byte) => length.saturating_mul(pixels_per_byte),
        None => length
            .saturating_mul(MOST_PIXELS_PER_BYTE)
            .max(PIXELS_OF_ANY_FILE),
    };
    if pixels > most {
        return Err(format!(
            "it declares {height}×{width} pixels, more than its {length} bytes can hold"
        ));
    }
    Ok(())
}

fn decoder(bytes: &[u8], format: ImageFormat) -> Result<impl ImageDecoder + '_, String> {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_SIDE as u32);
    limits.max_image_height = Some(MOST_SIDE as u32);
    limits.max_alloc = Some(match format {
        // A frame may be larger than the picture, and is decoded beside it.
        ImageFormat::Gif => most_frame_bytes(bytes.len()),
        _ => MOST_BYTES,
    });
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    reader.into_decoder().map_err(sentence)
}

/// Bytes of the largest frame, in RGBA, that a GIF file of this length can hold.
fn most_frame_bytes(length: usize) -> u64 {
    let pixels = length.saturating_mul(MOST_PIXELS_PER_BYTE);
    (pixels.saturating_mul(4) as u64).min(MOST_BYTES)
}

#[allow(clippy::needless_pass_by_value, reason = "it is mapped over results")]
fn sentence(error: ImageError) -> String {
    match error {
        ImageError::Limits(_) => {
            "it asks for more memory than a picture of its length can need".to_owned()
        }
        ImageError::Unsupported(error) => unread(&error),
        error => error.to_string(),
    }
}

/// What is said of a kind of picture that no decoder reads.
fn unread(error: &impl std::fmt::Display) -> String {
    format!(
        "a picture of its kind is not read ({error}); save it with 8 bits per channel, or as PNG"
    )
}

/// Makes a panic of a decoder, which no bytes should cause, an error like the others, and of what decoders say one line.
fn guarded<T>(work: impl FnOnce() -> Result<T, String> + panic::UnwindSafe) -> Result<T, String> {
    panic::catch_unwind(work)
        .unwrap_or_else(|_| Err("the decoder panicked on it".to_string()))
        .map_err(|reason| shown::one_line(&reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{GrayAlphaImage, GrayImage, ImageBuffer, Luma, LumaA, Rgb, Rgba, RgbaImage};
    use proptest::prelude::*;

    fn decode_white(bytes: &[u8]) -> Result<RgbImage, String> {
        decode(bytes, Colour::WHITE)
    }

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
        let hidden = encoded(RgbaImage::from_pixel(3, 2, Rgba([9, 9, 9, 0])));
        let colour = encoded(RgbImage::from_pixel(3, 2, Rgb([9, 9, 9])));
        let deep = encoded(ImageBuffer::from_pixel(3, 2, Luma([9 * 257_u16])));
        // 9 · 100/255 + 255 · 155/255 = 158.5 as a viewer shows it on white.
        for (bytes, seen) in [
            (grey, 9),
            (grey_alpha, 159),
            (hidden, 255),
            (colour, 9),
            (deep, 9),
        ] {
            assert_eq!(dimensions(&bytes).unwrap(), [2, 3]);
            assert_eq!(
                decode_white(&bytes).unwrap(),
                RgbImage::from_pixel(3, 2, Rgb([seen; 3]))
            );
        }
    }

    #[test]
    fn what_is_behind_a_picture_may_be_chosen() {
        let half = encoded(RgbaImage::from_pixel(1, 1, Rgba([100, 100, 100, 51])));
        let seen = decode(&half, "#0a6400".parse().unwrap()).unwrap();
        assert_eq!(seen.get_pixel(0, 0), &Rgb([28, 100, 20]));
        for wrong in ["", "white", "12345", "#1234567", "+12345", "ééé"] {
            assert!(wrong.parse::<Colour>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn other_formats_are_read() {
        let picture = RgbImage::from_fn(5, 4, |x, y| Rgb([40 * x as u8, 50 * y as u8, 7]));
        for format in [
            ImageFormat::Bmp,
            ImageFormat::WebP,
            ImageFormat::Tiff,
            ImageFormat::Gif,
        ] {
            let mut bytes = Vec::new();
            DynamicImage::from(picture.clone())
                .write_to(&mut Cursor::new(&mut bytes), format)
                .unwrap();
            assert!(is_picture(&bytes[..SIGNATURE_BYTES as usize]), "{format:?}");
            assert_eq!(dimensions(&bytes).unwrap(), [4, 5], "{format:?}");
            assert_eq!(decode_white(&bytes).unwrap(), picture, "{format:?}");
            assert!(
                decode_white(&bytes[..bytes.len() / 2]).is_err(),
                "{format:?}"
            );
        }
    }

    #[test]
    fn a_small_file_holds_no_large_picture() {
        let webp = Format::Other(ImageFormat::WebP);
        assert!(check_length([2048, 2048], webp, 60).is_ok());
        assert!(check_length([8192, 8192], webp, 60).is_err());
        assert!(check_length([8192, 8192], webp, 1 << 14).is_ok());
    }

    /// A PNG with an orientation in its EXIF data.
    fn turned(image: &RgbImage, orientation: u8) -> Vec<u8> {
        let mut exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
        exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
        let mut bytes = Vec::new();
        let mut encoder = image::codecs::png::PngEncoder::new(&mut bytes);
        image::ImageEncoder::set_exif_metadata(&mut encoder, exif).unwrap();
        image.write_with_encoder(encoder).unwrap();
        bytes
    }

    #[test]
    fn pictures_are_turned_as_a_viewer_does() {
        // 2 rows of 3: letters as they lie in the file, and as they are seen for each orientation.
        let stored = b"abcdef";
        let image = RgbImage::from_fn(3, 2, |x, y| Rgb([stored[(y * 3 + x) as usize]; 3]));
        for (orientation, rows) in [
            (1, ["abc", "def"].as_slice()),
            (2, &["cba", "fed"]),
            (3, &["fed", "cba"]),
            (4, &["def", "abc"]),
            (5, &["ad", "be", "cf"]),
            (6, &["da", "eb", "fc"]),
            (7, &["fc", "eb", "da"]),
            (8, &["cf", "be", "ad"]),
            // Not an orientation: as it lies.
            (9, &["abc", "def"]),
        ] {
            let bytes = turned(&image, orientation);
            let size = [rows.len(), rows[0].len()];
            assert_eq!(dimensions(&bytes).unwrap(), size, "{orientation}");
            let seen = decode_white(&bytes).unwrap();
            assert_eq!(seen.dimensions(), (size[1] as u32, size[0] as u32));
            let letters: Vec<u8> = seen.pixels().map(|pixel| pixel.0[0]).collect();
            assert_eq!(letters, rows.concat().as_bytes(), "{orientation}");
        }
    }

    #[test]
    fn declared_size_is_bounded() {
        let mut bytes = encoded(RgbImage::new(3, 2));
        // Width and height of a PNG are at 16 and 20; its checksum is not looked at before them.
        bytes[16..24].copy_from_slice(&[0, 0, 0x70, 0, 0, 0, 0x70, 0]);
        assert!(decode_white(&bytes).is_err());
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
        assert_eq!(decode_white(&dense).unwrap().dimensions(), (4096, 4096));
        let mut bytes = encoded(RgbImage::new(3, 2));
        bytes[16..24].copy_from_slice(&[0, 0, 0x10, 0, 0, 0, 0x10, 0]);
        let length = bytes.len();
        let expected =
            format!("it declares 4096×4096 pixels, more than its {length} bytes can hold");
        // The checksum of the header is wrong now, so only the check itself can say this.
        let format = Format::of(&bytes).unwrap();
        let error = check_length([4096, 4096], format, length).unwrap_err();
        assert_eq!(error, expected);
    }

    /// A frame may lie beside the picture, and be far larger than it.
    #[test]
    fn a_small_file_holds_no_large_frame() {
        let picture = RgbImage::from_pixel(5, 4, Rgb([7; 3]));
        let mut bytes = Vec::new();
        DynamicImage::from(picture)
            .write_to(&mut Cursor::new(&mut bytes), ImageFormat::Gif)
            .unwrap();
        let frame = bytes
            .windows(9)
            .position(|at| at == [0x2c, 0, 0, 0, 0, 5, 0, 4, 0]);
        let frame = frame.unwrap();
        bytes[frame + 5..frame + 9].copy_from_slice(&[0, 8, 0, 8]);
        assert_eq!(dimensions(&bytes).unwrap(), [4, 5]);
        let refused = decode_white(&bytes).unwrap_err();
        assert!(refused.starts_with("it asks for more memory"), "{refused}");
        // One that such a file can hold is no reason.
        bytes[frame + 5..frame + 9].copy_from_slice(&[100, 0, 100, 0]);
        let refused = decode_white(&bytes).unwrap_err();
        assert!(!refused.starts_with("it asks for more memory"), "{refused}");
    }

    #[test]
    fn other_files_are_refused() {
        assert_eq!(decode_white(b"").unwrap_err(), "the file is empty");
        assert!(
            decode_white(b"%PDF-1.7")
                .unwrap_err()
                .contains("like a picture")
        );
        assert!(decode_white(b"GIF89a").is_err());
        assert!(decode_white(&[0xff, 0xd8]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..300), jpeg: bool,
        ) {
            let start: &[u8] = if jpeg { &[0xff, 0xd8, 0xff] } else { b"\x89PNG\r\n\x1a\n" };
            if let Err(reason) = decode_white(&[start, &bytes].concat()) {
                prop_assert!(!reason.contains("panicked"), "{}", reason);
            }
        }

        #[test]
        fn damaged_pngs_never_panic(at in 8usize..80, value: u8) {
            let mut bytes = encoded(RgbImage::from_fn(5, 5, |x, y| Rgb([x as u8, y as u8, 7])));
            let at = at % bytes.len();
            bytes[at] = value;
            if let Err(reason) = decode_white(&bytes) {
                prop_assert!(!reason.contains("panicked"), "{}", reason);
            }
        }
    }
}
