//! Random resized crops: Szegedy et al., "Going Deeper with Convolutions", CVPR 2015, §6, by torchvision's algorithm.

use super::Region;
use super::exact::exp;
use crate::random::{Purpose, Stream};

/// The share of the picture's area that is cut out, at least and at most.
const AREA: (f64, f64) = (0.08, 1.0);
/// Width over height, at least and at most,
const ASPECT: (f64, f64) = (3.0 / 4.0, 4.0 / 3.0);
/// and the logarithm of the latter.
const LOG_ASPECT: f64 = 0.287_682_072_451_780_9;
/// Draws before the centre is taken.
const TRIES: usize = 10;

/// Draws the part of a picture of `size` (height and width) that is cut out.
pub(super) fn draw(seed: u64, epoch: usize, index: usize, size: [usize; 2]) -> Region {
    let mut stream = Stream::new(seed, Purpose::ResizedCrop, epoch as u64, index as u64);
    let mut units = || [stream.unit_f64(), stream.unit_f64()];
    let found = (0..TRIES).find_map(|_| part(shape(units()), size));
    match found {
        Some([height, width]) => Region {
            top: stream.below((size[0] - height) as u64 + 1) as usize,
            left: stream.below((size[1] - width) as u64 + 1) as usize,
            height,
            width,
        },
        None => centre(size),
    }
}

/// Share of the area and aspect, of two numbers that are uniform in [0, 1): the aspect is uniform in its logarithm.
fn shape([area, aspect]: [f64; 2]) -> [f64; 2] {
    [
        AREA.0 + (AREA.1 - AREA.0) * area,
        exp(LOG_ASPECT * (2.0 * aspect - 1.0)),
    ]
}

/// Height and width of a part with this share of the area and this aspect, if it is within the picture.
fn part([share, aspect]: [f64; 2], [height, width]: [usize; 2]) -> Option<[usize; 2]> {
    let area = (height * width) as f64 * share;
    let part_width = (area * aspect).sqrt().round_ties_even() as usize;
    let part_height = (area / aspect).sqrt().round_ties_even() as usize;
    let fits = (1..=height).contains(&part_height) && (1..=width).contains(&part_width);
    fits.then_some([part_height, part_width])
}

/// The largest part in the middle whose aspect is allowed.
fn centre([height, width]: [usize; 2]) -> Region {
    let aspect = width as f64 / height as f64;
    let [part_height, part_width] = if aspect < ASPECT.0 {
        [(width as f64 / ASPECT.0).round_ties_even() as usize, width]
    } else if aspect > ASPECT.1 {
        [
            height,
            (height as f64 * ASPECT.1).round_ties_even() as usize,
        ]
    } else {
        [height, width]
    };
    Region {
        top: (height - part_height) / 2,
        left: (width - part_width) / 2,
        height: part_height,
        width: part_width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shapes_are_rounded_as_torchvision_rounds_them() {
        // √(480·640·0.5·1.25) = 438.2, √(480·640·0.5/1.25) = 350.5 → 351 (350.54).
        assert_eq!(part([0.5, 1.25], [480, 640]), Some([351, 438]));
        assert_eq!(part([1.0, 1.0], [100, 100]), Some([100, 100]));
        // Halves to the even number: √6.25 = 2.5.
        assert_eq!(part([0.0625, 1.0], [10, 10]), Some([2, 2]));
        // Higher than the picture, and of no width.
        assert_eq!(part([1.0, 0.75], [100, 100]), None);
        assert_eq!(part([0.08, 1.0], [1, 1]), None);
    }

    /// What `RandomResizedCrop.get_params` of torchvision 0.26 makes of the same random numbers.
    #[test]
    fn the_same_numbers_give_the_part_of_torchvision() {
        for (size, numbers, expected) in [
            (
                [375, 500],
                [[0.625, 0.265625], [0.75, 0.359375]],
                [375, 328],
            ),
            (
                [500, 333],
                [[0.90625, 0.171875], [0.125, 0.375]],
                [187, 174],
            ),
            (
                [224, 224],
                [[0.78125, 0.390625], [0.171875, 0.765625]],
                [207, 194],
            ),
            (
                [100, 100],
                [[0.90625, 0.390625], [0.3125, 0.03125]],
                [99, 93],
            ),
            (
                [30, 17],
                [[0.34375, 0.078125], [0.3125, 0.359375]],
                [16, 13],
            ),
        ] {
            let found = numbers
                .into_iter()
                .find_map(|units| part(shape(units), size));
            assert_eq!(found, Some(expected), "{size:?}");
        }
    }

    #[test]
    fn long_pictures_are_cut_in_the_middle() {
        let region = |top, left, height, width| Region {
            top,
            left,
            height,
            width,
        };
        assert_eq!(centre([100, 1000]), region(0, 433, 100, 133));
        assert_eq!(centre([1000, 100]), region(433, 0, 133, 100));
        assert_eq!(centre([100, 120]), region(0, 0, 100, 120));
        assert_eq!(centre([1, 30_000]), region(0, 14_999, 1, 1));
        // No crop of so long a picture is as high and as wide as it should be.
        assert_eq!(draw(1, 2, 3, [1, 30_000]), centre([1, 30_000]));
    }

    #[test]
    fn areas_and_aspects_are_spread_over_their_ranges() {
        let size = [600, 600];
        let (mut small, mut wide, mut left, count) = (0, 0, 0, 4000);
        for index in 0..count {
            let found = draw(1, 0, index, size);
            let share = (found.height * found.width) as f64 / 360_000.0;
            assert!((0.0795..=1.0).contains(&share), "{found:?}");
            let aspect = found.width as f64 / found.height as f64;
            assert!((0.745..1.345).contains(&aspect), "{found:?}");
            small += usize::from(share < 0.54);
            wide += usize::from(aspect > 1.0);
            left += usize::from(found.left * 2 < 600 - found.width);
        }
        // Large shares fail more often, as they stand out of the picture.
        assert!((2000..2600).contains(&small), "{small}");
        assert!((1850..2150).contains(&wide), "{wide}");
        assert!((1800..2150).contains(&left), "{left}");
    }

    #[test]
    fn draws_depend_on_the_key_and_nothing_else() {
        let drawn = draw(1, 2, 3, [300, 400]);
        assert_eq!(drawn, draw(1, 2, 3, [300, 400]));
        for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4)] {
            assert_ne!(drawn, draw(other.0, other.1, other.2, [300, 400]));
        }
    }

    proptest! {
        #[test]
        fn parts_are_within_the_picture(
            seed: u64, index in 0usize..1000, height in 1usize..2000, width in 1usize..2000,
        ) {
            let found = draw(seed, 0, index, [height, width]);
            prop_assert!(found.height >= 1 && found.top + found.height <= height, "{found:?}");
            prop_assert!(found.width >= 1 && found.left + found.width <= width, "{found:?}");
        }
    }
}
