//! RandAugment: Cubuk et al., "RandAugment: Practical Automated Data Augmentation with a Reduced Search Space", NeurIPS 2020, with
//! the operations and ranges of torchvision.

use super::colour;
use super::warp::Warp;
use crate::random::{Purpose, Stream};

/// Some of fourteen operations, drawn for each image, all of one strength.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RandAugment {
    /// How many operations are made, one after another; an operation may be drawn again.
    pub operations: usize,
    /// How strong they are, from 0 to [`RandAugment::MOST`].
    pub magnitude: usize,
}

/// An operation that was drawn, with its strength and its side.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs, reason = "their names are those of the paper")]
pub enum Operation {
    Identity,
    /// Pixels per row.
    ShearX(f64),
    /// Pixels per column.
    ShearY(f64),
    /// Pixels to the right.
    TranslateX(isize),
    /// Pixels down.
    TranslateY(isize),
    /// Degrees, counter-clockwise.
    Rotate(f64),
    /// The factor.
    Brightness(f32),
    /// The factor of the saturation.
    Color(f32),
    /// The factor.
    Contrast(f32),
    /// The factor.
    Sharpness(f32),
    /// Bits that stay.
    Posterize(u32),
    /// The least value that is inverted.
    Solarize(f32),
    AutoContrast,
    Equalize,
}

impl RandAugment {
    /// The largest magnitude: there are 31.
    pub const MOST: usize = 30;
    /// How many operations there are to draw from.
    const KINDS: u64 = 14;
    /// Shifts at most, as a share of the side.
    const SHIFT: (usize, usize) = (150, 331);

    /// Draws the operations for an image of `size` (height and width).
    pub(super) fn draw(
        &self,
        seed: u64,
        epoch: usize,
        index: usize,
        size: [usize; 2],
    ) -> Vec<Operation> {
        let mut stream = Stream::new(seed, Purpose::RandAugment, epoch as u64, index as u64);
        let mut draw = || self.operation(stream.below(Self::KINDS), stream.below(2) == 1, size);
        (0..self.operations).map(|_| draw()).collect()
    }

    /// Operation `kind` of those in their order, to the one or the other side where it has two.
    fn operation(&self, kind: u64, is_negative: bool, [height, width]: [usize; 2]) -> Operation {
        let strength = self.magnitude as f64 / Self::MOST as f64;
        let signed = |most: f64| match is_negative {
            true => -most * strength,
            false => most * strength,
        };
        let shift = |side: usize| {
            let pixels = Self::SHIFT.0 * side * self.magnitude / (Self::SHIFT.1 * Self::MOST);
            match is_negative {
                true => -(pixels as isize),
                false => pixels as isize,
            }
        };
        let factor = || (1.0 + signed(0.9)) as f32;
        match kind {
            0 => Operation::Identity,
            1 => Operation::ShearX(signed(0.3)),
            2 => Operation::ShearY(signed(0.3)),
            3 => Operation::TranslateX(shift(width)),
            4 => Operation::TranslateY(shift(height)),
            5 => Operation::Rotate(signed(30.0)),
            6 => Operation::Brightness(factor()),
            7 => Operation::Color(factor()),
            8 => Operation::Contrast(factor()),
            9 => Operation::Sharpness(factor()),
            10 => Operation::Posterize(8 - (4.0 * strength).round_ties_even() as u32),
            11 => Operation::Solarize((255.0 * (1.0 - strength)) as f32),
            12 => Operation::AutoContrast,
            _ => Operation::Equalize,
        }
    }
}

impl Operation {
    /// Makes the operation in an image of three planes of this height and width; `next` is as long and is written over.
    ///
    /// # Panics
    /// If one of them has another length.
    pub fn apply(self, size: [usize; 2], image: &mut Vec<u8>, next: &mut Vec<u8>) {
        let warp = match self {
            Self::Identity => return,
            Self::ShearX(share) => Warp::ShearX(share),
            Self::ShearY(share) => Warp::ShearY(share),
            Self::TranslateX(right) => Warp::TranslateX(right),
            Self::TranslateY(down) => Warp::TranslateY(down),
            Self::Rotate(degrees) => Warp::Rotate(degrees),
            Self::Brightness(factor) => return colour::brightness(image, factor),
            Self::Color(factor) => return colour::saturation(image, factor),
            Self::Contrast(factor) => return colour::contrast(image, factor),
            Self::Sharpness(factor) => return colour::sharpness(image, size, factor, next),
            Self::Posterize(bits) => return colour::posterize(image, bits),
            Self::Solarize(threshold) => return colour::solarize(image, threshold),
            Self::AutoContrast => return colour::auto_contrast(image),
            Self::Equalize => return colour::equalize(image),
        };
        warp.apply(size, image, next);
        std::mem::swap(image, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(magnitude: usize, is_negative: bool) -> Vec<Operation> {
        let rand_augment = RandAugment {
            operations: 1,
            magnitude,
        };
        (0..RandAugment::KINDS)
            .map(|kind| rand_augment.operation(kind, is_negative, [331, 662]))
            .collect()
    }

    #[test]
    fn strengths_are_those_of_torchvision() {
        use Operation::*;
        let weakest = all(0, false);
        assert_eq!(
            weakest[1..12],
            [
                ShearX(0.0),
                ShearY(0.0),
                TranslateX(0),
                TranslateY(0),
                Rotate(0.0),
                Brightness(1.0),
                Color(1.0),
                Contrast(1.0),
                Sharpness(1.0),
                Posterize(8),
                Solarize(255.0),
            ]
        );
        let strongest = all(30, true);
        assert_eq!(
            strongest,
            [
                Identity,
                ShearX(-0.3),
                ShearY(-0.3),
                TranslateX(-300),
                TranslateY(-150),
                Rotate(-30.0),
                Brightness(0.1),
                Color(0.1),
                Contrast(0.1),
                Sharpness(0.1),
                Posterize(4),
                Solarize(0.0),
                AutoContrast,
                Equalize,
            ]
        );
        // 8 − round(9 / 7.5) = 7, and shifts are rounded towards 0: 0.3 · 150 = 45, 0.3 · 300 = 90.
        let usual = all(9, false);
        assert_eq!((usual[3], usual[4]), (TranslateX(90), TranslateY(45)));
        assert_eq!((usual[10], usual[11]), (Posterize(7), Solarize(178.5)));
    }

    #[test]
    fn all_operations_and_both_sides_occur() {
        let rand_augment = RandAugment {
            operations: 2,
            magnitude: 9,
        };
        let mut counts = [0; 14];
        let mut negative = 0;
        let kinds = all(9, false);
        for index in 0..7000 {
            let drawn = rand_augment.draw(1, 0, index, [331, 662]);
            assert_eq!(drawn.len(), 2);
            for operation in drawn {
                let same = |kind: &Operation| {
                    std::mem::discriminant(kind) == std::mem::discriminant(&operation)
                };
                let kind = kinds.iter().position(same).unwrap();
                counts[kind] += 1;
                negative += usize::from(kind == 5 && operation != kinds[5]);
            }
        }
        assert!(
            counts.iter().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
        assert!((420..580).contains(&negative), "{negative}");
        let one = rand_augment.draw(1, 2, 3, [9, 9]);
        assert_eq!(one, rand_augment.draw(1, 2, 3, [9, 9]));
    }

    #[test]
    fn each_operation_is_the_one_that_it_says() {
        use Operation::*;
        let image: Vec<u8> = (0..27).map(|at| (at * 37 % 200) as u8).collect();
        let applied = |operation: Operation| {
            let (mut image, mut next) = (image.clone(), vec![0; 27]);
            operation.apply([3, 3], &mut image, &mut next);
            image
        };
        assert_eq!(applied(Identity), image);
        assert_eq!(applied(TranslateX(1))[..3], [0, image[0], image[1]]);
        assert_eq!(applied(TranslateY(1))[..4], [0, 0, 0, image[0]]);
        assert_eq!(applied(ShearX(0.6))[3..5], [image[4], image[5]]);
        assert_eq!(applied(ShearY(0.6))[1], image[4]);
        assert_eq!(applied(Rotate(0.0)), image);
        assert_eq!(applied(Brightness(0.5))[1], 18);
        assert_eq!(applied(Posterize(4))[1], 32);
        assert_eq!(applied(Solarize(30.0))[1], 218);
        let grey = applied(Color(0.0));
        assert_eq!((grey[4], grey[4]), (grey[13], grey[22]));
        let flat = applied(Contrast(0.0));
        assert!(flat.iter().all(|&value| value == flat[0]), "{flat:?}");
        let sharp = applied(Sharpness(0.0));
        let changed: Vec<usize> = (0..27).filter(|&at| sharp[at] != image[at]).collect();
        assert!(
            changed.iter().all(|at| at % 9 == 4) && !changed.is_empty(),
            "{changed:?}"
        );
        let stretched = applied(AutoContrast);
        assert_eq!(stretched[..9].iter().max(), Some(&255));
        assert_eq!(stretched[..9].iter().min(), Some(&0));
        // Nine pixels are too few to make 255 steps of.
        assert_eq!(applied(Equalize), image);
    }
}
