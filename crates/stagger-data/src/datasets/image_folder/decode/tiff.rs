//! TIFF files of the kinds that crate `image` leaves out: palettes, grey of 2 and 4 bits, grey with alpha, and luma with chroma, which is
//! what scanners and cameras compress as JPEG. Their samples come from crate `tiff`; here they become colours (TIFF 6.0, 1992,
//! sections 4, 5, 18, 20 and 21).

mod entries;

use std::borrow::Cow;
use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, GrayImage, ImageBuffer, LumaA, RgbImage, Rgba, RgbaImage};
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;
use zune_core::bytestream::ZCursor;
use zune_jpeg::JpegDecoder;

use self::entries::{Numbers, refuse_long_values};
use super::MOST_BYTES;

const PHOTOMETRIC_INTERPRETATION: u16 = 262;
const JPEG: u16 = 7;

/// A file, of which a copy is changed where the decoder has to be told something else than it says.
type Reader<'a> = Decoder<Cursor<Cow<'a, [u8]>>>;

/// What the samples of a picture mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Levels of grey, of 2 or 4 bits.
    Grey { bits: u16 },
    /// Grey and opacity, of 8 or 16 bits each.
    GreyAlpha {
        is_black_first: bool,
        is_multiplied: bool,
    },
    /// Colours that are multiplied by their opacity, of 8 or 16 bits each.
    MultipliedColours,
    /// Numbers of colours, of 1, 2, 4 or 8 bits.
    Palette { bits: u16 },
    /// Luma and two of chroma, of 8 bits each, where the chroma has the resolution of the luma once it is decompressed.
    LumaChroma,
}

/// A picture of a kind that is read here.
pub(super) struct Tiff<'a> {
    decoder: Reader<'a>,
    kind: Kind,
    width: u32,
    height: u32,
    orientation: Orientation,
}

impl<'a> Tiff<'a> {
    /// Reads the header; `None` for a kind that is left to crate `image`.
    ///
    /// # Errors
    /// One sentence without the file's name.
    pub fn open(file: &'a [u8]) -> Result<Option<Self>, String> {
        refuse_long_values(file)?;
        let mut decoder = reader(Cow::Borrowed(file))?;
        refuse_unread(&mut decoder)?;
        refuse_large_segments(&mut decoder, file)?;
        let Some(kind) = kind(&mut decoder)? else {
            return Ok(None);
        };
        let (width, height) = decoder.dimensions().map_err(sentence)?;
        // Data about a picture that cannot be read do not spoil it.
        let orientation = number(&mut decoder, Tag::Orientation, 1).unwrap_or(1);
        let orientation = u8::try_from(orientation)
            .ok()
            .and_then(Orientation::from_exif);
        Ok(Some(Self {
            decoder,
            kind,
            width,
            height,
            orientation: orientation.unwrap_or(Orientation::NoTransforms),
        }))
    }

    /// Height and width as they are stored.
    pub fn size(&self) -> [usize; 2] {
        [self.height as usize, self.width as usize]
    }

    /// How the picture is to be turned.
    pub fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// The picture as it is stored.
    ///
    /// # Errors
    /// One sentence without the file's name.
    pub fn decode(mut self) -> Result<DynamicImage, String> {
        let (width, height) = (self.width, self.height);
        let image = match self.kind {
            Kind::Grey { bits } => {
                let levels = self.unpacked(bits)?;
                // 15 becomes 255, and so does 3.
                let scale = 255 / ((1_u16 << bits) - 1) as u8;
                let grey = levels.into_iter().map(|level| level * scale).collect();
                GrayImage::from_raw(width, height, grey).map(DynamicImage::from)
            }
            Kind::GreyAlpha {
                is_black_first,
                is_multiplied,
            } => match self.samples()? {
                DecodingResult::U8(mut samples) => {
                    for pixel in samples.chunks_exact_mut(2) {
                        if is_multiplied {
                            divide(pixel, u8::MAX);
                        }
                        if !is_black_first {
                            pixel[0] = u8::MAX - pixel[0];
                        }
                    }
                    ImageBuffer::<LumaA<u8>, _>::from_raw(width, height, samples)
                        .map(DynamicImage::from)
                }
                DecodingResult::U16(mut samples) => {
                    for pixel in samples.chunks_exact_mut(2) {
                        if is_multiplied {
                            divide(pixel, u16::MAX);
                        }
                        if !is_black_first {
                            pixel[0] = u16::MAX - pixel[0];
                        }
                    }
                    ImageBuffer::<LumaA<u16>, _>::from_raw(width, height, samples)
                        .map(DynamicImage::from)
                }
                _ => None,
            },
            Kind::MultipliedColours => match self.samples()? {
                DecodingResult::U8(mut samples) => {
                    let pixels = samples.chunks_exact_mut(4);
                    pixels.for_each(|pixel| divide(pixel, u8::MAX));
                    RgbaImage::from_raw(width, height, samples).map(DynamicImage::from)
                }
                DecodingResult::U16(mut samples) => {
                    let pixels = samples.chunks_exact_mut(4);
                    pixels.for_each(|pixel| divide(pixel, u16::MAX));
                    ImageBuffer::<Rgba<u16>, _>::from_raw(width, height, samples)
                        .map(DynamicImage::from)
                }
                _ => None,
            },
            Kind::Palette { bits } => {
                let colours = self.colours(bits)?;
                let numbers = self.unpacked(bits)?;
                let rgb = numbers
                    .into_iter()
                    .flat_map(|number| colours[usize::from(number)]);
                RgbImage::from_raw(width, height, rgb.collect()).map(DynamicImage::from)
            }
            Kind::LumaChroma => match self.samples()? {
                DecodingResult::U8(samples) => {
                    let rgb = samples.chunks_exact(3).flat_map(rgb_of_luma_and_chroma);
                    RgbImage::from_raw(width, height, rgb.collect()).map(DynamicImage::from)
                }
                _ => None,
            },
        };
        image.ok_or_else(|| "its pixels are fewer than it declares".to_owned())
    }

    /// All samples, as the file has them.
    fn samples(&mut self) -> Result<DecodingResult, String> {
        self.decoder.read_image().map_err(sentence)
    }

    /// Samples of so many bits, 8 at most, a byte for each. A row begins with a byte of its own.
    fn unpacked(&mut self, bits: u16) -> Result<Vec<u8>, String> {
        let DecodingResult::U8(packed) = self.samples()? else {
            return Err(format!("its samples are not of {bits} bits"));
        };
        let width = self.width as usize;
        let per_byte = usize::from(8 / bits);
        let mask = ((1_u16 << bits) - 1) as u8;
        let row = |row: &[u8]| -> Vec<u8> {
            let sample = |x: usize| {
                let place = (per_byte - 1 - x % per_byte) * usize::from(bits);
                (row[x / per_byte] >> place) & mask
            };
            (0..width).map(sample).collect()
        };
        Ok(packed
            .chunks_exact(width.div_ceil(per_byte))
            .flat_map(row)
            .collect())
    }

    /// The colours of a palette: as many as numbers of so many bits.
    fn colours(&mut self, bits: u16) -> Result<Vec<[u8; 3]>, String> {
        let map = self
            .decoder
            .get_tag_u16_vec(Tag::ColorMap)
            .map_err(sentence)?;
        let count = 1 << bits;
        if map.len() != 3 * count {
            return Err(format!(
                "its palette has {} numbers, where {bits} bits need {}",
                map.len(),
                3 * count
            ));
        }
        // All reds come first, of 16 bits. Some programs write 8 bits there, and viewers look out for that.
        let is_narrow = map.iter().all(|&level| level < 256);
        let level = |level: u16| match is_narrow {
            true => level as u8,
            false => (level >> 8) as u8,
        };
        Ok((0..count)
            .map(|number| [0, 1, 2].map(|channel| level(map[channel * count + number])))
            .collect())
    }
}

fn reader(bytes: Cow<'_, [u8]>) -> Result<Reader<'_>, String> {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = MOST_BYTES as usize;
    limits.intermediate_buffer_size = MOST_BYTES as usize;
    let opened = Decoder::new(Cursor::new(bytes)).map_err(sentence)?;
    Ok(opened.with_limits(limits))
}

/// Refuses what neither decoder reads, in words that say what to do.
fn refuse_unread(decoder: &mut Reader<'_>) -> Result<(), String> {
    let compression = match number(decoder, Tag::Compression, 1)? {
        2 => "CCITT Huffman coding",
        3 => "CCITT Group 3 (fax)",
        6 => "the JPEG of TIFF 6.0",
        34661 => "JBIG",
        34712 => "JPEG 2000",
        34925 => "LZMA",
        50000 => "Zstandard",
        50001 => "WebP",
        _ => "",
    };
    if !compression.is_empty() {
        return Err(format!(
            "it is compressed by {compression}, which is not read; save it with LZW, Deflate or no compression, or as PNG"
        ));
    }
    if let 8..=10 = number(decoder, Tag::PhotometricInterpretation, 1)? {
        return Err("its colours are L*a*b*, which are not read; save it as RGB".to_owned());
    }
    let bits = numbers(decoder, Tag::BitsPerSample)?;
    let formats = numbers(decoder, Tag::SampleFormat)?;
    // Of colours as floats, 1 is white in all programs; of grey ones it may be anything.
    let is_float = !formats.is_empty() && formats.iter().all(|&format| format == 3);
    if number(decoder, Tag::SamplesPerPixel, 1)? >= 3 && is_float {
        return Ok(());
    }
    let is_whole = |&format: &u16| format == 1 || format == 4;
    if !formats.iter().all(is_whole) || bits.iter().any(|&bits| bits > 16) {
        return Err(
            "its samples are no whole numbers of up to 16 bits, so that it does not say what is white; \
             save it with 8 or 16 bits per channel"
                .to_owned(),
        );
    }
    Ok(())
}

/// Finds out what the samples mean. The decoder gives neither those of a palette nor pairs where 0 is white: it is told that 0 is black.
fn kind(decoder: &mut Reader<'_>) -> Result<Option<Kind>, String> {
    let photometric = number(decoder, Tag::PhotometricInterpretation, 1)?;
    let samples = number(decoder, Tag::SamplesPerPixel, 1)?;
    let is_chunky = samples == 1 || number(decoder, Tag::PlanarConfiguration, 1)? == 1;
    let formats = numbers(decoder, Tag::SampleFormat)?;
    let is_whole = formats.iter().all(|&format| format == 1);
    let bits = numbers(decoder, Tag::BitsPerSample)?;
    let bits = match bits.as_slice() {
        [] => 1,
        [first, others @ ..] if others.iter().all(|other| other == first) => *first,
        _ => return Ok(None),
    };
    if !is_chunky || !is_whole {
        return Ok(None);
    }
    Ok(match (photometric, samples, bits) {
        (0 | 1, 1, 2 | 4) => Some(Kind::Grey { bits }),
        (0 | 1, 2, 8 | 16) if matches!(numbers(decoder, Tag::ExtraSamples)?[..], [1 | 2]) => {
            let is_multiplied = numbers(decoder, Tag::ExtraSamples)? == [1];
            let is_black_first = photometric == 1;
            if !is_black_first {
                show_as_grey(decoder)?;
            }
            Some(Kind::GreyAlpha {
                is_black_first,
                is_multiplied,
            })
        }
        (2, 4, 8 | 16) if numbers(decoder, Tag::ExtraSamples)? == [1] => {
            Some(Kind::MultipliedColours)
        }
        (3, 1, 1 | 2 | 4 | 8) => {
            show_as_grey(decoder)?;
            Some(Kind::Palette { bits })
        }
        (6, 3, 8) => Some(Kind::LumaChroma),
        _ => None,
    })
}

/// Opens the file again with another word for what its samples mean.
fn show_as_grey(decoder: &mut Reader<'_>) -> Result<(), String> {
    let mut bytes = std::mem::take(decoder.inner().get_mut()).into_owned();
    let numbers = Numbers::of(&bytes);
    let is_little = numbers.is_little;
    let is_wanted = |&entry: &usize| numbers.short(entry) == Some(PHOTOMETRIC_INTERPRETATION);
    let entry = numbers.entries().find(is_wanted);
    let entry = entry.ok_or("its directory is incomplete")?;
    let grey = match is_little {
        true => 1_u16.to_le_bytes(),
        false => 1_u16.to_be_bytes(),
    };
    bytes[entry + 8..entry + 10].copy_from_slice(&grey);
    *decoder = reader(Cow::Owned(bytes))?;
    Ok(())
}

/// Refuses compressed parts that declare more pixels than their part of the picture has, before anything is allocated for them.
fn refuse_large_segments(decoder: &mut Reader<'_>, file: &[u8]) -> Result<(), String> {
    if number(decoder, Tag::Compression, 1)? != JPEG {
        return Ok(());
    }
    let (width, height) = decoder.chunk_dimensions();
    let (places, lengths) = match numbers_u64(decoder, Tag::StripOffsets)? {
        places if places.is_empty() => (
            numbers_u64(decoder, Tag::TileOffsets)?,
            numbers_u64(decoder, Tag::TileByteCounts)?,
        ),
        places => (places, numbers_u64(decoder, Tag::StripByteCounts)?),
    };
    for (place, length) in places.into_iter().zip(lengths) {
        let end = place.saturating_add(length).min(file.len() as u64) as usize;
        let part = file.get(place as usize..end).unwrap_or_default();
        let mut header = JpegDecoder::new(ZCursor::new(part));
        // Where it has no tables of its own, the decoder stops at what lacks, with the size known.
        let _ = header.decode_headers();
        let declared = header
            .info()
            .map(|info| (u32::from(info.width), u32::from(info.height)));
        // Some programs write whole blocks of 16 pixels at the edges.
        if let Some((wide, high)) = declared
            && (wide > width.saturating_add(15) || high > height.saturating_add(15))
        {
            return Err(format!(
                "a part of it declares {high}×{wide} pixels, where {height}×{width} have room"
            ));
        }
    }
    Ok(())
}

/// Colours from what is multiplied by the opacity, the last sample, of which `most` is all.
fn divide<T: Copy + TryFrom<u32> + Into<u32>>(pixel: &mut [T], most: T) {
    let Some((opacity, colours)) = pixel.split_last_mut() else {
        return;
    };
    let (opacity, most_level): (u32, u32) = ((*opacity).into(), most.into());
    for colour in colours {
        let multiplied: u32 = (*colour).into();
        let level = (multiplied * most_level + opacity / 2).checked_div(opacity);
        *colour = T::try_from(level.unwrap_or(0)).unwrap_or(most);
    }
}

/// The formula of JFIF, which is that of TIFF's default coefficients.
fn rgb_of_luma_and_chroma(pixel: &[u8]) -> [u8; 3] {
    let [luma, blue, red] = [pixel[0], pixel[1], pixel[2]].map(f32::from);
    let (blue, red) = (blue - 128.0, red - 128.0);
    [
        luma + 1.402 * red,
        luma - 0.344_136 * blue - 0.714_136 * red,
        luma + 1.772 * blue,
    ]
    .map(|level| level.round().clamp(0.0, 255.0) as u8)
}

fn number(decoder: &mut Reader<'_>, tag: Tag, otherwise: u16) -> Result<u16, String> {
    let found = decoder.find_tag_unsigned(tag).map_err(sentence)?;
    Ok(found.unwrap_or(otherwise))
}

fn numbers(decoder: &mut Reader<'_>, tag: Tag) -> Result<Vec<u16>, String> {
    let found = decoder.find_tag_unsigned_vec(tag).map_err(sentence)?;
    Ok(found.unwrap_or_default())
}

fn numbers_u64(decoder: &mut Reader<'_>, tag: Tag) -> Result<Vec<u64>, String> {
    let found = decoder.find_tag_unsigned_vec(tag).map_err(sentence)?;
    Ok(found.unwrap_or_default())
}

#[allow(clippy::needless_pass_by_value, reason = "it is mapped over results")]
fn sentence(error: tiff::TiffError) -> String {
    match error {
        tiff::TiffError::UnsupportedError(error) => super::unread(&error),
        error => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
