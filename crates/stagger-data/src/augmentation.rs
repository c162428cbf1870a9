//! Random crop and flip, a function of (seed, epoch, image) alone.

use crate::random::{Purpose, Stream};

/// What is done to a training image: shift by up to `pad` pixels in each direction (pad with
/// black, crop to the old size at a random place) and, if `flip`, mirror it left to right with
/// probability ½. He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, §4.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Augmentation {
    /// Pixels of padding on each side; 0 for no crop.
    pub pad: usize,
    /// Whether images are mirrored.
    pub flip: bool,
}

/// The outcome of the draw for one image in one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Rows that the image moves down (up if negative).
    pub down: isize,
    /// Columns that the image moves right, before mirroring.
    pub right: isize,
    /// Whether the image is mirrored left to right.
    pub mirrored: bool,
}

impl Augmentation {
    /// Leaves images as they are.
    pub const NONE: Self = Self {
        pad: 0,
        flip: false,
    };

    /// The usual padding for images of this shape (C, H, W): 4 pixels for a side of 32, an eighth
    /// of the shorter side for larger images.
    pub fn crop(shape: [usize; 3], flip: bool) -> Self {
        Self {
            pad: (shape[1].min(shape[2]) / 8).max(4),
            flip,
        }
    }

    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Draws for image `index` in `epoch`.
    pub fn draw(&self, seed: u64, epoch: usize, index: usize) -> Placement {
        let mut stream = Stream::new(seed, Purpose::Augment, epoch as u64, index as u64);
        let mut shift = || stream.below(2 * self.pad as u64 + 1) as isize - self.pad as isize;
        let (down, right) = (shift(), shift());
        Placement {
            down,
            right,
            mirrored: self.flip && stream.below(2) == 1,
        }
    }
}

impl Placement {
    /// Moves and mirrors the image `from` into `to`; both are of `shape` (C, H, W).
    ///
    /// # Panics
    /// If a slice is not of that shape.
    pub fn apply(&self, shape: [usize; 3], from: &[u8], to: &mut [u8]) {
        let [channels, height, width] = shape;
        assert_eq!(
            from.len(),
            channels * height * width,
            "the image has its shape"
        );
        assert_eq!(from.len(), to.len(), "both images have one shape");
        if from.is_empty() {
            return;
        }
        to.fill(0);
        let (source_column, target_column, columns) = overlap(self.right, width);
        let (source_row, target_row, rows) = overlap(self.down, height);
        let planes = from
            .chunks_exact(height * width)
            .zip(to.chunks_exact_mut(height * width));
        for (from, to) in planes {
            let from = from.chunks_exact(width).skip(source_row).take(rows);
            let to = to.chunks_exact_mut(width).skip(target_row);
            for (from, to) in from.zip(to) {
                let kept = &from[source_column..source_column + columns];
                to[target_column..target_column + columns].copy_from_slice(kept);
                if self.mirrored {
                    to.reverse();
                }
            }
        }
    }
}

/// Where a line of `length` pixels moved by `shift` is read, written, and how much of it stays.
fn overlap(shift: isize, length: usize) -> (usize, usize, usize) {
    let moved = shift.unsigned_abs().min(length);
    let stays = length - moved;
    // With nothing left both starts are 0: an empty range anywhere else may be out of bounds.
    match (stays, shift < 0) {
        (0, _) => (0, 0, 0),
        (_, true) => (moved, 0, stays),
        (_, false) => (0, moved, stays),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn moved(down: isize, right: isize, mirrored: bool) -> Vec<u8> {
        let from: Vec<u8> = (1..=6).collect();
        let mut to = vec![9; 6];
        Placement {
            down,
            right,
            mirrored,
        }
        .apply([1, 2, 3], &from, &mut to);
        to
    }

    #[test]
    fn images_move_and_black_comes_in() {
        assert_eq!(moved(0, 0, false), [1, 2, 3, 4, 5, 6]);
        assert_eq!(moved(0, 1, false), [0, 1, 2, 0, 4, 5]);
        assert_eq!(moved(0, -1, false), [2, 3, 0, 5, 6, 0]);
        assert_eq!(moved(1, 0, false), [0, 0, 0, 1, 2, 3]);
        assert_eq!(moved(-1, 0, false), [4, 5, 6, 0, 0, 0]);
        assert_eq!(moved(0, 0, true), [3, 2, 1, 6, 5, 4]);
        assert_eq!(moved(0, 1, true), [2, 1, 0, 5, 4, 0]);
        assert_eq!(moved(7, 0, false), [0; 6]);
        assert_eq!(moved(0, -7, true), [0; 6]);
    }

    #[test]
    fn draws_depend_on_the_key_and_nothing_else() {
        let standard = Augmentation::crop([3, 32, 32], true);
        assert_eq!(standard, Augmentation { pad: 4, flip: true });
        let drawn = standard.draw(1, 2, 3);
        assert_eq!(drawn, standard.draw(1, 2, 3));
        let others = [(2, 2, 3), (1, 3, 3), (1, 2, 4)];
        let same = others
            .iter()
            .filter(|&&(s, e, i)| standard.draw(s, e, i) == drawn)
            .count();
        assert!(same < 3);
    }

    #[test]
    fn every_shift_and_both_sides_occur_about_equally() {
        let standard = Augmentation { pad: 4, flip: true };
        let mut down = [0; 9];
        let mut right = [0; 9];
        let mut mirrored = 0;
        for index in 0..9_000 {
            let drawn = standard.draw(0, 0, index);
            down[(drawn.down + 4) as usize] += 1;
            right[(drawn.right + 4) as usize] += 1;
            mirrored += usize::from(drawn.mirrored);
        }
        for count in down.into_iter().chain(right) {
            assert!((850..1150).contains(&count), "{down:?} {right:?}");
        }
        assert!((4_300..4_700).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn padding_grows_with_the_image_and_none_changes_nothing() {
        assert_eq!(Augmentation::crop([1, 28, 28], false).pad, 4);
        assert_eq!(Augmentation::crop([3, 224, 300], true).pad, 28);
        let still = Placement {
            down: 0,
            right: 0,
            mirrored: false,
        };
        assert_eq!(Augmentation::NONE.draw(3, 4, 5), still);
        assert!(Augmentation::NONE.is_none());
    }

    proptest! {
        #[test]
        fn a_placement_never_leaves_the_image(
            down in -9isize..9, right in -9isize..9, mirrored: bool,
            channels in 1usize..4, height in 1usize..7, width in 1usize..7,
        ) {
            let from = vec![7; channels * height * width];
            let mut to = vec![1; from.len()];
            Placement { down, right, mirrored }.apply([channels, height, width], &from, &mut to);
            let stays = |shift: isize, side: usize| side.saturating_sub(shift.unsigned_abs());
            let expected = channels * stays(down, height) * stays(right, width);
            prop_assert_eq!(to.iter().filter(|&&pixel| pixel == 7).count(), expected);
            prop_assert_eq!(to.iter().filter(|&&pixel| pixel == 0).count(), to.len() - expected);
        }
    }
}
