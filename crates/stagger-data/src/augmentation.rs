//! What varies training images, a function of (seed, epoch, image) alone.

mod augmenter;
mod color_jitter;
mod colour;
mod erasing;
mod exact;
mod rand_augment;
mod resized_crop;
mod warp;

use crate::error::DataError;
use crate::mixing::Mixing;
use crate::random::{Purpose, Stream};
use erasing::erase;

pub(crate) use augmenter::Augmenter;
pub use color_jitter::{ColorChange, ColorJitter};
pub use rand_augment::{Operation, RandAugment};

/// What is done to a training image, in this order: a crop, of the picture or of the padded image; mirroring; changes of its
/// colours; RandAugment; and, when it has been normalised, erasing of a part.
///
/// The crop of the padded image is that of He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, §4.2: a shift by
/// up to `pad` pixels in each direction. The crop of the picture is that of networks for ImageNet: 8 % to 100 % of its area with an
/// aspect of 3/4 to 4/3, at a random place, resized to the image.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Augmentation {
    /// Whether images are random parts of their pictures, of any size and brought to the shape.
    pub resized_crop: bool,
    /// Pixels of padding on each side; 0 for no crop of the padded image.
    pub pad: usize,
    /// Whether images are mirrored left to right with probability ½.
    pub flip: bool,
    /// How far colours are changed.
    pub color_jitter: Option<ColorJitter>,
    /// Operations that are drawn for each image.
    pub rand_augment: Option<RandAugment>,
    /// The probability with which a part becomes 0 after normalisation, which is the mean of all images: 2 % to 33 % of the image,
    /// with a height of 0.3 to 3.3 times its width.
    pub erasing: f32,
    /// How images of a batch are mixed with one another, after all that.
    pub mixing: Mixing,
}

/// A part of a picture or an image, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// The first row.
    pub top: usize,
    /// The first column.
    pub left: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
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
        resized_crop: false,
        pad: 0,
        flip: false,
        color_jitter: None,
        rand_augment: None,
        erasing: 0.0,
        mixing: Mixing::NONE,
    };

    /// Random resized crops, mirrored or not.
    pub const IMAGENET: Self = Self {
        resized_crop: true,
        flip: true,
        ..Self::NONE
    };

    /// The usual padding for images of this shape (C, H, W): 4 pixels for a side of 32, an eighth
    /// of the shorter side for larger images.
    pub fn crop(shape: [usize; 3], flip: bool) -> Self {
        Self {
            pad: (shape[1].min(shape[2]) / 8).max(4),
            flip,
            ..Self::NONE
        }
    }

    /// Whether images stay as they are.
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Refuses what is for colour pictures where images have another number of channels.
    ///
    /// # Errors
    /// [`DataError::AugmentedChannels`].
    pub(crate) fn check_channels(&self, dataset: &str, found: usize) -> Result<(), DataError> {
        let for_colours = [
            (self.resized_crop, "a random resized crop"),
            (self.color_jitter.is_some(), "color jitter"),
            (self.rand_augment.is_some(), "RandAugment"),
        ];
        let mut for_colours = for_colours.into_iter();
        match for_colours.find_map(|(is_asked_for, what)| is_asked_for.then_some(what)) {
            Some(what) if found != 3 => Err(DataError::AugmentedChannels {
                what,
                dataset: dataset.to_owned(),
                found,
            }),
            _ => Ok(()),
        }
    }

    /// Draws the part of image `index` in `epoch`, whose picture has this height and width, that is seen; all of it where there is
    /// no resized crop.
    pub fn draw_part(&self, seed: u64, epoch: usize, index: usize, size: [usize; 2]) -> Region {
        match self.resized_crop {
            true => resized_crop::draw(seed, epoch, index, size),
            false => Region {
                top: 0,
                left: 0,
                height: size[0],
                width: size[1],
            },
        }
    }

    /// Draws the changes of the colours of image `index` in `epoch`, in the order in which they are made.
    pub fn draw_colors(&self, seed: u64, epoch: usize, index: usize) -> Vec<ColorChange> {
        let jitter = self.color_jitter.as_ref();
        jitter.map_or(Vec::new(), |jitter| jitter.draw(seed, epoch, index))
    }

    /// Draws the operations of RandAugment for image `index` in `epoch`, of this height and width.
    pub fn draw_operations(
        &self,
        seed: u64,
        epoch: usize,
        index: usize,
        size: [usize; 2],
    ) -> Vec<Operation> {
        let rand_augment = self.rand_augment.as_ref();
        rand_augment.map_or(Vec::new(), |drawn| drawn.draw(seed, epoch, index, size))
    }

    /// Draws the part of image `index` in `epoch`, of this height and width, that is erased.
    pub fn draw_erased(
        &self,
        seed: u64,
        epoch: usize,
        index: usize,
        size: [usize; 2],
    ) -> Option<Region> {
        match self.erasing > 0.0 {
            true => erasing::draw(self.erasing, seed, epoch, index, size),
            false => None,
        }
    }

    /// Draws shift and mirroring of image `index` in `epoch`.
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
        assert_eq!(
            standard,
            Augmentation {
                pad: 4,
                flip: true,
                ..Augmentation::NONE
            }
        );
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
        let standard = Augmentation {
            pad: 4,
            flip: true,
            ..Augmentation::NONE
        };
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
