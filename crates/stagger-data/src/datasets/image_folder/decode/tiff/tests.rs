use image::Rgb;
use proptest::prelude::*;

use super::super::{decode, dimensions};
use super::*;
use crate::place::Colour;

/// 24×16 pixels, the left half red and the right half blue, with luma and chroma.
const COLOUR_JPEG: &[u8] = include_bytes!("../../../../../tests/it/jpeg/colour.jpg");

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PLACES: u16 = 273;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const ROWS_PER_PART: u16 = 278;
const LENGTHS: u16 = 279;
const COLOUR_MAP: u16 = 320;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;

/// A file of one directory, whose pixels are one part.
#[derive(Clone)]
struct File {
    is_little: bool,
    entries: Vec<(u16, Vec<u16>)>,
    pixels: Vec<u8>,
}

impl File {
    fn new(photometric: u16, [height, width]: [u16; 2], bits: &[u16], pixels: &[u8]) -> Self {
        Self {
            is_little: true,
            entries: vec![
                (WIDTH, vec![width]),
                (HEIGHT, vec![height]),
                (BITS, bits.to_vec()),
                (COMPRESSION, vec![1]),
                (PHOTOMETRIC_INTERPRETATION, vec![photometric]),
                (SAMPLES, vec![bits.len() as u16]),
                (ROWS_PER_PART, vec![height]),
            ],
            pixels: pixels.to_vec(),
        }
    }

    fn with(mut self, tag: u16, values: &[u16]) -> Self {
        self.entries.retain(|(other, _)| *other != tag);
        self.entries.push((tag, values.to_vec()));
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let short = |value: u16| match self.is_little {
            true => value.to_le_bytes(),
            false => value.to_be_bytes(),
        };
        let long = |value: u32| match self.is_little {
            true => value.to_le_bytes(),
            false => value.to_be_bytes(),
        };
        let mut entries = self.entries.clone();
        entries.push((PLACES, vec![8]));
        entries.push((LENGTHS, vec![self.pixels.len() as u16]));
        entries.sort();
        let directory = (8 + self.pixels.len()).next_multiple_of(2);
        let mut values_at = directory + 2 + 12 * entries.len() + 4;
        let mut bytes = match self.is_little {
            true => b"II*\0".to_vec(),
            false => b"MM\0*".to_vec(),
        };
        bytes.extend(long(directory as u32));
        bytes.extend(&self.pixels);
        bytes.resize(directory, 0);
        bytes.extend(short(entries.len() as u16));
        let mut values_behind = Vec::new();
        for (tag, values) in &entries {
            bytes.extend(short(*tag));
            bytes.extend(short(3));
            bytes.extend(long(values.len() as u32));
            let mut values: Vec<u8> = values.iter().flat_map(|&value| short(value)).collect();
            if values.len() > 4 {
                bytes.extend(long(values_at as u32));
                values_at += values.len();
                values_behind.extend(values);
            } else {
                values.resize(4, 0);
                bytes.extend(values);
            }
        }
        bytes.extend(long(0));
        bytes.extend(values_behind);
        bytes
    }
}

fn levels(file: &File) -> Vec<u8> {
    let picture = decode(&file.bytes(), Colour::WHITE).unwrap();
    let pixels = picture.pixels();
    pixels
        .map(|Rgb([red, green, blue])| {
            assert_eq!((red, green), (green, blue));
            *red
        })
        .collect()
}

#[test]
fn palettes_are_looked_up() {
    // 3 pixels a row, so that rows of few bits end inside a byte: colours 1, 0, 1 and 0, 1, 1.
    for (bits, pixels) in [
        (1, vec![0b1010_0000, 0b0110_0000]),
        (2, vec![0b0100_0100, 0b0001_0100]),
        (4, vec![0x10, 0x10, 0x01, 0x10]),
        (8, vec![1, 0, 1, 0, 1, 1]),
    ] {
        let count = 1 << bits;
        let mut wide = vec![0; 3 * count];
        for (channel, [first, second]) in [[10, 200], [20, 210], [30, 220]].into_iter().enumerate()
        {
            wide[channel * count] = first * 257;
            wide[channel * count + 1] = second * 257;
        }
        let narrow: Vec<u16> = wide.iter().map(|level| level / 257).collect();
        let file = File::new(3, [2, 3], &[bits], &pixels);
        let (a, b) = ([10, 20, 30], [200, 210, 220]);
        for map in [wide, narrow] {
            for is_little in [true, false] {
                let mut file = file.clone().with(COLOUR_MAP, &map);
                file.is_little = is_little;
                let bytes = file.bytes();
                assert_eq!(dimensions(&bytes).unwrap(), [2, 3]);
                let picture = decode(&bytes, Colour::WHITE).unwrap();
                assert_eq!(
                    picture.as_raw(),
                    &[b, a, b, a, b, b].concat(),
                    "{bits} bits, {is_little}"
                );
            }
        }
        let short = file.with(COLOUR_MAP, &[7; 3]);
        let error = decode(&short.bytes(), Colour::WHITE).unwrap_err();
        assert!(
            error.contains(&format!(
                "palette has 3 numbers, where {bits} bits need {}",
                3 * count
            )),
            "{error}"
        );
    }
}

#[test]
fn few_levels_of_grey_reach_white() {
    let two = File::new(1, [1, 4], &[2], &[0b0001_1011]);
    assert_eq!(levels(&two), [0, 85, 170, 255]);
    let four = File::new(1, [2, 1], &[4], &[0x30, 0xf0]);
    assert_eq!(levels(&four), [51, 255]);
    let from_white = File::new(0, [1, 4], &[2], &[0b0001_1011]);
    assert_eq!(levels(&from_white), [255, 170, 85, 0]);
}

#[test]
fn grey_lies_over_the_background() {
    let pixels = [0, 0, 0, 255, 100, 255, 100, 51];
    // 100 · 51/255 + 255 · 204/255 = 224.
    let file = File::new(1, [2, 2], &[8, 8], &pixels).with(EXTRA_SAMPLES, &[2]);
    assert_eq!(levels(&file), [255, 0, 100, 224]);
    let from_white = File::new(0, [2, 2], &[8, 8], &pixels).with(EXTRA_SAMPLES, &[2]);
    assert_eq!(levels(&from_white), [255, 255, 155, 235]);
    let mut deep = File::new(1, [1, 1], &[16, 16], &[100, 100, 255, 255]).with(EXTRA_SAMPLES, &[2]);
    assert_eq!(levels(&deep), [100]);
    deep.is_little = false;
    assert_eq!(levels(&deep), [100]);
}

#[test]
fn what_is_multiplied_by_its_opacity_is_divided_again() {
    // White that lets half through, and nothing.
    let file = File::new(1, [1, 2], &[8, 8], &[128, 128, 0, 0]).with(EXTRA_SAMPLES, &[1]);
    assert_eq!(levels(&file), [255, 255]);
    let file = file.with(EXTRA_SAMPLES, &[2]);
    assert_eq!(levels(&file), [191, 255]);
    let pixels = [100, 50, 0, 200, 255, 255, 255, 0];
    let file = File::new(2, [1, 2], &[8; 4], &pixels).with(EXTRA_SAMPLES, &[1]);
    let picture = decode(&file.bytes(), Colour::WHITE).unwrap();
    // 128, 64 and 0 at 200/255 over white.
    assert_eq!(picture.as_raw(), &[155, 105, 55, 255, 255, 255]);
    let deep: Vec<u8> = [0x8080_u16; 2]
        .iter()
        .flat_map(|level| level.to_le_bytes())
        .collect();
    let file = File::new(1, [1, 1], &[16, 16], &deep).with(EXTRA_SAMPLES, &[1]);
    assert_eq!(levels(&file), [255]);
}

#[test]
fn data_about_a_picture_do_not_spoil_it() {
    let mut file = File::new(3, [1, 1], &[8], &[0]).with(COLOUR_MAP, &[9; 3 << 8]);
    file.entries.push((ORIENTATION, vec![70, 80, 90]));
    assert_eq!(levels(&file), [9]);
}

#[test]
fn luma_and_chroma_become_colours() {
    let plain = File::new(
        6,
        [1, 3],
        &[8; 3],
        &[76, 85, 255, 29, 255, 107, 128, 128, 128],
    );
    let picture = decode(&plain.with(530, &[1, 1]).bytes(), Colour::WHITE).unwrap();
    assert_eq!(
        picture.as_raw(),
        &[[254, 0, 0], [0, 0, 254], [128; 3]].concat()
    );
    let scan = File::new(6, [16, 24], &[8; 3], COLOUR_JPEG).with(COMPRESSION, &[JPEG]);
    let bytes = scan.bytes();
    let picture = decode(&bytes, Colour::WHITE).unwrap();
    let same = decode(COLOUR_JPEG, Colour::WHITE).unwrap();
    for (one, other) in picture.pixels().zip(same.pixels()) {
        for (one, other) in one.0.into_iter().zip(other.0) {
            assert!(one.abs_diff(other) <= 2);
        }
    }
    let turned = scan.with(ORIENTATION, &[6]).bytes();
    assert_eq!(dimensions(&turned).unwrap(), [24, 16]);
    let upright = decode(&turned, Colour::WHITE).unwrap();
    assert_eq!(upright.get_pixel(15, 0), picture.get_pixel(0, 0));
}

#[test]
fn a_part_does_not_declare_more_than_its_place() {
    // The height and width of the frame are behind the marker ff c0, a length and a byte.
    let mut large = COLOUR_JPEG.to_vec();
    let frame = large
        .windows(2)
        .position(|two| two == [0xff, 0xc0])
        .unwrap();
    large[frame + 5..frame + 9].copy_from_slice(&[0x30, 0, 0x30, 0]);
    for photometric in [2, 6] {
        let file = File::new(photometric, [16, 24], &[8; 3], &large).with(COMPRESSION, &[JPEG]);
        let error = dimensions(&file.bytes()).unwrap_err();
        assert_eq!(
            error,
            "a part of it declares 12288×12288 pixels, where 16×24 have room"
        );
    }
}

#[test]
fn an_entry_does_not_claim_more_than_the_file_has() {
    for (kind, count) in [
        (3_u16, 1_000_000_u32),
        (4, 7_208_961),
        (12, u32::MAX),
        (1, 5000),
    ] {
        let mut bytes = File::new(1, [1, 1], &[8], &[0]).bytes();
        // The first entry, behind the pixel and the number of entries.
        bytes[10 + 2 + 2..10 + 2 + 4].copy_from_slice(&kind.to_le_bytes());
        bytes[10 + 2 + 4..10 + 2 + 8].copy_from_slice(&count.to_le_bytes());
        let error = dimensions(&bytes).unwrap_err();
        let expected = format!("entry 256 of its directory claims {count} values");
        assert!(error.contains(&expected), "{error}");
    }
}

#[test]
fn what_is_not_read_says_what_to_do() {
    let plain = File::new(1, [1, 1], &[8], &[0]);
    let error = |file: File| dimensions(&file.bytes()).unwrap_err();
    assert_eq!(
        error(plain.clone().with(COMPRESSION, &[34925])),
        "it is compressed by LZMA, which is not read; save it with LZW, Deflate or no compression, or as PNG"
    );
    assert!(error(File::new(8, [1, 1], &[8; 3], &[0; 3])).contains("L*a*b*"));
    let float = File::new(1, [1, 1], &[32], &[0; 4]).with(SAMPLE_FORMAT, &[3]);
    assert!(error(float).contains("what is white"));
    // Colours of 32 bits that are whole numbers, as without a word they are.
    let whole = File::new(2, [1, 1], &[32; 3], &[0; 12]);
    assert!(error(whole.clone()).contains("what is white"));
    assert!(dimensions(&whole.with(SAMPLE_FORMAT, &[3; 3]).bytes()).is_ok());
    for other in [
        File::new(1, [1, 1], &[12], &[0; 2]),
        File::new(1, [1, 1], &[8, 8], &[0; 2]),
        File::new(3, [1, 1], &[16], &[0; 2]),
        File::new(6, [2, 2], &[8; 3], &[0; 12]).with(530, &[2, 2]),
    ] {
        let result = decode(&other.bytes(), Colour::WHITE).unwrap_err();
        assert!(
            result.contains("a picture of its kind is not read ("),
            "{result}"
        );
    }
    assert!(dimensions(&plain.bytes()).is_ok());
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        photometric in prop::sample::select(vec![0_u16, 1, 3, 6]),
        bits in prop::sample::select(vec![1_u16, 2, 4, 8, 16]),
        samples in 1..4_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let map = vec![9; 3 << bits.min(8)];
        let mut bytes = File::new(photometric, [3, 5], &vec![bits; samples], &[77; 90])
            .with(COLOUR_MAP, &map)
            .with(EXTRA_SAMPLES, &[2])
            .bytes();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(bytes.len() - cut.index(bytes.len()) / 4);
        for result in [dimensions(&bytes).map(drop), decode(&bytes, Colour::WHITE).map(drop)] {
            if let Err(reason) = result {
                prop_assert!(!reason.contains("panicked"), "{}", reason);
            }
        }
    }
}
