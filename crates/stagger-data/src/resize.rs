//! Resizing by a triangle filter (bilinear, antialiased where it shrinks), as Pillow and torchvision do it, with fixed-point weights:
//! every processor gives the same bytes.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeError, ResizeOptions, Resizer};

use crate::augmentation::Region;
use crate::picture::{Picture, planes};

/// What [`Framing::CentreCrop`](crate::Framing::CentreCrop) brings the shorter side to, for each pixel of the target.
const MARGIN: (usize, usize) = (256, 224);

/// Resizes pictures, with buffers that are used again.
#[derive(Default)]
pub(crate) struct Resize {
    resizer: Resizer,
    rgb: Vec<u8>,
}

impl Resize {
    /// Cuts `region` out and brings it to `size`: `pixels` (C, H, W). Nothing outside the region counts.
    ///
    /// # Errors
    /// A sentence if the region is not within the picture.
    pub fn part(
        &mut self,
        picture: &Picture,
        region: Region,
        size: [usize; 2],
        pixels: &mut [u8],
    ) -> Result<(), String> {
        let whole = view(picture)?;
        let [left, top, width, height] =
            [region.left, region.top, region.width, region.height].map(|side| side as u32);
        let part = TypedCroppedImage::from_ref(&whole, left, top, width, height)
            .map_err(|error| error.to_string())?;
        let options = options();
        self.make(size, pixels, |resizer, target| {
            resizer.resize_typed(&part, target, &options)
        })
    }

    /// Brings the shorter side to a little more than that of `size` and cuts the centre out. Only the pixels that the centre
    /// needs are made, so that a very long picture costs no more than others.
    ///
    /// # Errors
    /// A sentence if the picture has no pixels.
    pub fn centre(
        &mut self,
        picture: &Picture,
        size: [usize; 2],
        pixels: &mut [u8],
    ) -> Result<(), String> {
        let resized = resized(picture.size, shorter_side(size));
        let [top, height] = seen(picture.size[0], resized[0], size[0]);
        let [left, width] = seen(picture.size[1], resized[1], size[1]);
        let whole = view(picture)?;
        let options = options().crop(left, top, width, height);
        self.make(size, pixels, |resizer, target| {
            resizer.resize_typed(&whole, target, &options)
        })
    }

    fn make(
        &mut self,
        [height, width]: [usize; 2],
        pixels: &mut [u8],
        resize: impl FnOnce(&mut Resizer, &mut TypedImage<'_, U8x3>) -> Result<(), ResizeError>,
    ) -> Result<(), String> {
        self.rgb.resize(3 * height * width, 0);
        let target = TypedImage::from_buffer(width as u32, height as u32, &mut self.rgb);
        let mut target = target.map_err(|error| error.to_string())?;
        resize(&mut self.resizer, &mut target).map_err(|error| error.to_string())?;
        planes(&self.rgb, pixels);
        Ok(())
    }
}

fn options() -> ResizeOptions {
    ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear))
}

fn view(picture: &Picture) -> Result<TypedImageRef<'_, U8x3>, String> {
    let [height, width] = picture.size;
    TypedImageRef::from_buffer(width as u32, height as u32, &picture.rgb)
        .map_err(|error| error.to_string())
}

/// What the shorter side becomes for a crop of `size`: 256 for 224.
pub(crate) fn shorter_side([height, width]: [usize; 2]) -> usize {
    let side = height.max(width);
    (side * MARGIN.0 + MARGIN.1 / 2) / MARGIN.1
}

/// Height and width of a picture whose shorter side becomes `shorter`. The longer one is rounded down.
pub(crate) fn resized([height, width]: [usize; 2], shorter: usize) -> [usize; 2] {
    match height < width {
        true => [shorter, shorter * width / height.max(1)],
        false => [shorter * height / width.max(1), shorter],
    }
}

/// Where the crop begins, of a side of `whole` pixels: half pixels are rounded to the even one.
pub(crate) fn offset(whole: usize, crop: usize) -> usize {
    let twice = whole.saturating_sub(crop);
    twice / 2 + usize::from(twice % 4 == 3)
}

/// The first pixel of the source, and how many from there, that a centred crop of a resized side shows.
fn seen(source: usize, resized: usize, crop: usize) -> [f64; 2] {
    let scale = source as f64 / resized as f64;
    let first = offset(resized, crop) as f64 * scale;
    let mut length = crop as f64 * scale;
    // By a rounding error it may end behind the last pixel, which would be refused.
    while length > 0.0 && first + length > source as f64 {
        length = length.next_down();
    }
    [first, length]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ramp([height, width]: [usize; 2]) -> Picture {
        let pixel = |at: usize| [at % width, at / width, 7].map(|value| value as u8);
        Picture::new(
            [height, width],
            (0..height * width).flat_map(pixel).collect(),
        )
        .unwrap()
    }

    #[test]
    fn sizes_are_those_of_torchvision() {
        // Resize(256) and CenterCrop(224).
        assert_eq!(shorter_side([224, 224]), 256);
        assert_eq!(shorter_side([160, 160]), 183);
        assert_eq!(resized([375, 500], 256), [256, 341]);
        assert_eq!(resized([500, 375], 256), [341, 256]);
        assert_eq!(resized([224, 224], 256), [256, 256]);
        assert_eq!(offset(256, 224), 16);
        // 117 / 2 = 58.5 and 119 / 2 = 59.5 in Python: round(58.5) is 58, round(59.5) is 60.
        assert_eq!((offset(341, 224), offset(343, 224)), (58, 60));
    }

    #[test]
    fn a_part_of_the_right_size_is_only_cut_out() {
        let region = Region {
            top: 1,
            left: 2,
            height: 2,
            width: 3,
        };
        let mut pixels = [0; 18];
        Resize::default()
            .part(&ramp([4, 6]), region, [2, 3], &mut pixels)
            .unwrap();
        assert_eq!(
            pixels,
            [2, 3, 4, 2, 3, 4, 1, 1, 1, 2, 2, 2, 7, 7, 7, 7, 7, 7]
        );
    }

    #[test]
    fn nothing_beside_a_part_counts() {
        // Two columns of 40 and two of 200 between black ones.
        let row = [0, 0, 40, 40, 200, 200, 0, 0]
            .map(|value| [value; 3])
            .concat();
        let picture = Picture::new([2, 8], row.repeat(2)).unwrap();
        let region = Region {
            top: 0,
            left: 2,
            height: 2,
            width: 4,
        };
        let mut pixels = [0; 6];
        Resize::default()
            .part(&picture, region, [1, 2], &mut pixels)
            .unwrap();
        // A triangle over four pixels at ½, 3/2, 3/2, of which the first lies outside: (3·40 + 3·40 + 200)/7.
        assert_eq!(pixels, [63, 177, 63, 177, 63, 177]);
    }

    #[test]
    fn the_centre_is_that_of_the_resized_picture() {
        // Twice the size of 8 × 16, of which 7 × 7 from row 0 and column 4 are seen: offsets of 1/2 and 9/2, to the even ones.
        let picture = ramp([16, 32]);
        let mut pixels = [0; 3 * 49];
        let mut resize = Resize::default();
        resize.centre(&picture, [7, 7], &mut pixels).unwrap();
        let mut whole = vec![0; 3 * 8 * 16];
        let region = Region {
            top: 0,
            left: 0,
            height: 16,
            width: 32,
        };
        resize.part(&picture, region, [8, 16], &mut whole).unwrap();
        for channel in 0..3 {
            for row in 0..7 {
                let from = channel * 128 + row * 16 + 4;
                let at = channel * 49 + row * 7;
                assert_eq!(pixels[at..at + 7], whole[from..from + 7], "{channel} {row}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_picture_is_framed(height in 1usize..3000, width in 1usize..40, side in 1usize..50, upright: bool) {
            let size = if upright { [height, width] } else { [width, height] };
            let picture = Picture::new(size, vec![9; 3 * height * width]).unwrap();
            let mut pixels = vec![0; 3 * side * side];
            Resize::default().centre(&picture, [side, side], &mut pixels).unwrap();
            prop_assert!(pixels.iter().all(|&pixel| pixel == 9));
        }

        #[test]
        fn what_is_seen_is_inside(source in 1usize..40_000, resized in 1usize..40_000, crop in 1usize..5000) {
            let crop = crop.min(resized);
            let [first, length] = seen(source, resized, crop);
            prop_assert!(first >= 0.0 && length > 0.0 && first + length <= source as f64);
        }
    }
}
