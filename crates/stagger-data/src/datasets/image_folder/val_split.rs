//! Sets a share of each class aside for evaluation.

use crate::error::DataError;
use crate::fingerprint::Fingerprint;
use crate::place::ValSplit;
use crate::random::{Purpose, Stream};

/// Refuses what is no share.
pub(super) fn check(split: ValSplit) -> Result<(), DataError> {
    let share = split.share;
    match share > 0.0 && share < 1.0 {
        true => Ok(()),
        false => Err(DataError::ValSplitShare { found: share }),
    }
}

/// Which of the `images` of a class are set aside. It depends on nothing but the arguments: of two images or more, at least
/// one is set aside and at least one is not.
pub(super) fn set_aside(class: &str, images: usize, split: ValSplit) -> Vec<bool> {
    let mut aside = vec![false; images];
    if images < 2 {
        return aside;
    }
    let count = ((images as f64 * split.share).round() as usize).clamp(1, images - 1);
    let class = Fingerprint::default().bytes(class.as_bytes()).finish();
    let mut stream = Stream::new(split.seed, Purpose::SetAside, class, 0);
    // The beginning of a shuffle by Fisher and Yates.
    let mut order: Vec<usize> = (0..images).collect();
    for at in 0..count {
        let drawn = at + stream.below((images - at) as u64) as usize;
        order.swap(at, drawn);
        aside[order[at]] = true;
    }
    aside
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn count(aside: &[bool]) -> usize {
        aside.iter().filter(|aside| **aside).count()
    }

    proptest! {
        #[test]
        fn every_class_is_in_both_parts(
            images in 2usize..200, share in 0.001f64..0.999, seed: u64, class in ".{0,8}",
        ) {
            let split = ValSplit { share, seed };
            let aside = set_aside(&class, images, split);
            let found = count(&aside);
            prop_assert_eq!(aside.len(), images);
            prop_assert!(found >= 1 && found < images);
            // As near to the share as whole images are, where that leaves one for each part.
            let exact = images as f64 * share;
            let bounded = exact.clamp(1.0, images as f64 - 1.0);
            prop_assert!((found as f64 - bounded).abs() <= 0.5, "{} of {}", found, exact);
            prop_assert_eq!(aside, set_aside(&class, images, split));
        }
    }

    #[test]
    fn seeds_and_classes_draw_other_images() {
        let draw = |class: &str, seed| set_aside(class, 60, ValSplit { share: 0.5, seed });
        let reference = draw("a", 1);
        assert_ne!(reference, draw("a", 2));
        assert_ne!(reference, draw("b", 1));
    }

    /// Over many seeds every image has the same chance.
    #[test]
    fn images_are_drawn_evenly() {
        let mut drawn = [0; 10];
        for seed in 0..2000 {
            let aside = set_aside("a", 10, ValSplit { share: 0.2, seed });
            for (drawn, aside) in drawn.iter_mut().zip(aside) {
                *drawn += usize::from(aside);
            }
        }
        for drawn in drawn {
            assert!((320..480).contains(&drawn), "{drawn}");
        }
    }

    #[test]
    fn a_single_image_is_trained_on_and_a_share_is_one() {
        let half = ValSplit {
            share: 0.5,
            seed: 1,
        };
        assert_eq!(set_aside("a", 1, half), [false]);
        assert!(set_aside("a", 0, half).is_empty());
        for share in [0.0, 1.0, -0.1, 10.0, f64::NAN] {
            assert!(check(ValSplit { share, seed: 1 }).is_err(), "{share}");
        }
        insta::assert_snapshot!(check(ValSplit { share: 10.0, seed: 1 }).unwrap_err(), @"a share of 10 was asked for to evaluate on; it must be above 0 and below 1, such as 0.1");
    }
}
