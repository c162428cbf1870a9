//! Random erasing: Zhong et al., "Random Erasing Data Augmentation", AAAI 2020, by torchvision's algorithm.

use super::Region;
use super::exact::exp;
use crate::random::{Purpose, Stream};

/// The share of the image that is erased, at least and at most.
const AREA: (f64, f64) = (0.02, 0.33);
/// The logarithms of 0.3 and 3.3: of height over width, at least and at most.
const LOG_ASPECT: (f64, f64) = (-1.203_972_804_325_936, 1.193_922_468_472_434_6);
/// Draws before nothing is erased.
const TRIES: usize = 10;

/// Draws the part of an image of `size` (height and width) that is erased, with this probability.
pub(super) fn draw(
    probability: f32,
    seed: u64,
    epoch: usize,
    index: usize,
    [height, width]: [usize; 2],
) -> Option<Region> {
    let mut stream = Stream::new(seed, Purpose::Erasing, epoch as u64, index as u64);
    if stream.unit() >= probability {
        return None;
    }
    let [part_height, part_width] =
        (0..TRIES).find_map(|_| part([stream.unit_f64(), stream.unit_f64()], [height, width]))?;
    Some(Region {
        top: stream.below((height - part_height) as u64 + 1) as usize,
        left: stream.below((width - part_width) as u64 + 1) as usize,
        height: part_height,
        width: part_width,
    })
}

/// Height and width of the part that two numbers, uniform in [0, 1), stand for, if it is lower and narrower than the image.
fn part([area, aspect]: [f64; 2], [height, width]: [usize; 2]) -> Option<[usize; 2]> {
    let part = (height * width) as f64 * (AREA.0 + (AREA.1 - AREA.0) * area);
    let aspect = exp(LOG_ASPECT.0 + (LOG_ASPECT.1 - LOG_ASPECT.0) * aspect);
    let part_height = (part * aspect).sqrt().round_ties_even() as usize;
    let part_width = (part / aspect).sqrt().round_ties_even() as usize;
    (part_height < height && part_width < width).then_some([part_height, part_width])
}

/// Writes `values`, one for each channel, into the part of an image of this height and width.
pub(super) fn erase<T: Copy>(image: &mut [T], size: [usize; 2], part: Region, values: &[T]) {
    let [height, width] = size;
    let planes = image.chunks_exact_mut((height * width).max(1));
    for (plane, &value) in planes.zip(values) {
        for row in plane
            .chunks_exact_mut(width)
            .skip(part.top)
            .take(part.height)
        {
            row[part.left..part.left + part.width].fill(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_many_are_erased_as_was_asked_for() {
        let erased = |probability| {
            let drawn = (0..2000).map(|index| draw(probability, 5, 0, index, [32, 32]));
            drawn.flatten().count()
        };
        assert_eq!(erased(0.0), 0);
        assert!((1990..=2000).contains(&erased(1.0)));
        assert!((420..580).contains(&erased(0.25)), "{}", erased(0.25));
    }

    /// What `RandomErasing.get_params` of torchvision 0.26 makes of the same random numbers.
    #[test]
    fn the_same_numbers_give_the_part_of_torchvision() {
        let numbers: [(_, &[[f64; 2]], _); 3] = [
            ([224, 224], &[[0.75, 0.359375]], [95, 134]),
            ([32, 32], &[[0.203125, 0.125]], [6, 14]),
            (
                [64, 20],
                &[[0.8125, 0.375], [0.875, 0.296875], [0.046875, 0.4375]],
                [6, 7],
            ),
        ];
        for (size, numbers, expected) in numbers {
            let found = numbers.iter().find_map(|&units| part(units, size));
            assert_eq!(found, Some(expected), "{size:?}");
        }
    }

    #[test]
    fn areas_and_aspects_are_in_their_ranges() {
        for index in 0..2000 {
            let Some(part) = draw(1.0, 1, 2, index, [400, 500]) else {
                continue;
            };
            let share = (part.height * part.width) as f64 / 200_000.0;
            assert!((0.0198..0.332).contains(&share), "{part:?}");
            let aspect = part.height as f64 / part.width as f64;
            assert!((0.29..3.34).contains(&aspect), "{part:?}");
        }
    }

    #[test]
    fn what_is_erased_is_the_part_and_nothing_else() {
        let mut image: Vec<u8> = (1..=24).collect();
        let part = Region {
            top: 1,
            left: 1,
            height: 1,
            width: 2,
        };
        erase(&mut image, [3, 4], part, &[0, 99]);
        let changed: Vec<usize> = (0..24).filter(|&at| image[at] != at as u8 + 1).collect();
        assert_eq!(changed, [5, 6, 17, 18]);
        assert_eq!((image[5], image[18]), (0, 99));
    }

    proptest! {
        #[test]
        fn parts_are_within_the_image(
            seed: u64, index in 0usize..100, height in 1usize..300, width in 1usize..300,
        ) {
            if let Some(part) = draw(1.0, seed, 0, index, [height, width]) {
                prop_assert!(part.top + part.height <= height && part.height < height);
                prop_assert!(part.left + part.width <= width && part.width < width);
            }
        }
    }
}
