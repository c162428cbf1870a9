//! Pictures of an image folder: JPEG, PNG, WebP, BMP, GIF and TIFF files.
//!
//! The parser turns a panic of a decoder into an error; here it ends the process, so that it is found.

use std::io::Cursor;

use image::{ImageFormat, RgbImage};
use stagger::data::image_folder::{decode_image, image_size};

use crate::bounded;

/// Larger images are left out, to keep the fuzzer fast.
const MOST_PIXELS: usize = 1 << 17;
/// A byte of a PNG file can hold 8 · 1032 pixels. They are there as the file has them, as RGB, and as planes.
const FACTOR: usize = 8 * 1032 * (8 + 3 + 3);
/// A size that images are brought to.
const SMALL: [usize; 2] = [7, 5];

/// Checks one input.
pub fn check(data: &[u8]) {
    let Ok(size @ [height, width]) = bounded(data, 32, || image_size(data)) else {
        return;
    };
    if height * width > MOST_PIXELS {
        return;
    }
    let decode = |bytes: &[u8], [height, width]: [usize; 2]| {
        bounded(bytes, FACTOR, || {
            let mut pixels = vec![0; 3 * height * width];
            decode_image(bytes, [height, width], &mut pixels).map(|()| pixels)
        })
    };
    if let Ok(planes) = decode(data, size) {
        let plane = height * width;
        let pixels = (0..plane).flat_map(|i| [0, 1, 2].map(|channel| planes[channel * plane + i]));
        let image = RgbImage::from_raw(width as u32, height as u32, pixels.collect()).unwrap();
        let mut png = Vec::new();
        image
            .write_to(&mut Cursor::new(&mut png), ImageFormat::Png)
            .unwrap();
        assert_eq!(
            decode(&png, size),
            Ok(planes),
            "what is decoded survives a PNG file"
        );
        assert!(decode(data, SMALL).is_ok());
    }
}
