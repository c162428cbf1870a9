//! Brings an image of any size to the size of the data set.

use image::RgbImage;
use image::imageops::{self, FilterType};

/// Writes `image` to `pixels` (C, H, W) of `size` = [height, width]: the largest centred part of
/// the target's shape, resized by a triangle filter (bilinear, antialiased when it shrinks).
///
/// For a square target this is the usual "resize the shorter side, crop the centre", done in the
/// other order, so that a very long image costs no more than its pixels.
///
/// # Panics
/// If `pixels` has another length than three planes of `size`.
pub(super) fn fit(image: &RgbImage, size: [usize; 2], pixels: &mut [u8]) {
    let [height, width] = size;
    assert_eq!(
        pixels.len(),
        3 * height * width,
        "three planes of the target"
    );
    let (source_width, source_height) = image.dimensions();
    if [source_height as usize, source_width as usize] == size {
        return planes(image, pixels);
    }
    let (part_height, part_width) =
        largest_part([u64::from(source_height), u64::from(source_width)], size);
    let (top, left) = (
        (source_height - part_height) / 2,
        (source_width - part_width) / 2,
    );
    let part = imageops::crop_imm(image, left, top, part_width, part_height);
    let resized = imageops::resize(&*part, width as u32, height as u32, FilterType::Triangle);
    planes(&resized, pixels);
}

/// Height and width of the largest part of `source` that has the shape of `target`.
fn largest_part(source: [u64; 2], target: [usize; 2]) -> (u32, u32) {
    let [source_height, source_width] = source;
    let [height, width] = target.map(|side| side as u64);
    let rounded = |product: u64, divisor: u64, most: u64| {
        ((product + divisor / 2) / divisor).clamp(1, most) as u32
    };
    if source_width * height > source_height * width {
        (
            source_height as u32,
            rounded(source_height * width, height, source_width),
        )
    } else {
        (
            rounded(source_width * height, width, source_height),
            source_width as u32,
        )
    }
}

fn planes(image: &RgbImage, pixels: &mut [u8]) {
    let plane = pixels.len() / 3;
    for (i, pixel) in image.pixels().enumerate() {
        for (channel, &value) in pixel.0.iter().enumerate() {
            pixels[channel * plane + i] = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn an_image_of_the_right_size_is_only_reordered() {
        let image = RgbImage::from_fn(3, 2, |x, y| Rgb([x as u8, y as u8, 9]));
        let mut pixels = [0; 18];
        fit(&image, [2, 3], &mut pixels);
        assert_eq!(
            pixels,
            [0, 1, 2, 0, 1, 2, 0, 0, 0, 1, 1, 1, 9, 9, 9, 9, 9, 9]
        );
    }

    #[test]
    fn the_centre_is_kept_and_shrunk() {
        // Columns 0..2 and 6..8 are cut off; 2..6 are averaged in pairs.
        let image = RgbImage::from_fn(8, 4, |x, _| {
            Rgb([if (2..4).contains(&x) {
                40
            } else if (4..6).contains(&x) {
                200
            } else {
                0
            }; 3])
        });
        let mut pixels = [0; 12];
        fit(&image, [2, 2], &mut pixels);
        assert!(pixels[0] < 90 && pixels[1] > 150, "{pixels:?}");
        assert_eq!(pixels[..2], pixels[2..4]);
    }

    #[test]
    fn extreme_shapes_are_fitted() {
        assert_eq!(largest_part([1, 30_000], [224, 224]), (1, 1));
        assert_eq!(largest_part([30_000, 1], [224, 224]), (1, 1));
        assert_eq!(largest_part([100, 100], [10, 20]), (50, 100));
        assert_eq!(largest_part([375, 500], [224, 224]), (375, 375));
        let mut pixels = [0; 3 * 16];
        fit(
            &RgbImage::from_pixel(1, 5000, Rgb([7; 3])),
            [4, 4],
            &mut pixels,
        );
        assert_eq!(pixels, [7; 48]);
    }
}
