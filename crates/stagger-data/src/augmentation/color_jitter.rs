//! Random brightness, contrast, saturation and hue, in a random order: torchvision's `ColorJitter`.

use super::colour;
use crate::random::{Purpose, Stream};

/// How far colours are changed at most. Factors of brightness, contrast and saturation are drawn from `1 − x` (0 at least) to
/// `1 + x`, turns of the hue from `−hue` to `hue`, a share of the circle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColorJitter {
    /// Of the brightness, 0 or more.
    pub brightness: f32,
    /// Of the contrast, 0 or more.
    pub contrast: f32,
    /// Of the saturation, 0 or more.
    pub saturation: f32,
    /// Of the hue, 0 to ½.
    pub hue: f32,
}

/// One change of colours that was drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ColorChange {
    /// The factor of the brightness.
    Brightness(f32),
    /// The factor of the contrast.
    Contrast(f32),
    /// The factor of the saturation.
    Saturation(f32),
    /// The turn of the hue.
    Hue(f32),
}

impl ColorJitter {
    /// Draws changes in the order in which they are made; those that are 0 at most are left out.
    pub(super) fn draw(&self, seed: u64, epoch: usize, index: usize) -> Vec<ColorChange> {
        let mut stream = Stream::new(seed, Purpose::ColorJitter, epoch as u64, index as u64);
        let mut order = [0, 1, 2, 3];
        for last in (1..order.len()).rev() {
            order.swap(last, stream.below(last as u64 + 1) as usize);
        }
        let mut factor = |most: f32| stream.between((1.0 - most).max(0.0), 1.0 + most);
        let factors = [self.brightness, self.contrast, self.saturation].map(&mut factor);
        let turn = stream.between(-self.hue, self.hue);
        let changes = [
            (self.brightness, ColorChange::Brightness(factors[0])),
            (self.contrast, ColorChange::Contrast(factors[1])),
            (self.saturation, ColorChange::Saturation(factors[2])),
            (self.hue, ColorChange::Hue(turn)),
        ];
        let drawn = order.into_iter().map(|at| changes[at]);
        drawn
            .filter_map(|(most, change)| (most > 0.0).then_some(change))
            .collect()
    }
}

impl ColorChange {
    /// Makes the change in an image of three planes.
    pub fn apply(self, image: &mut [u8]) {
        match self {
            Self::Brightness(factor) => colour::brightness(image, factor),
            Self::Contrast(factor) => colour::contrast(image, factor),
            Self::Saturation(factor) => colour::saturation(image, factor),
            Self::Hue(turn) => colour::hue(image, turn),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JITTER: ColorJitter = ColorJitter {
        brightness: 0.4,
        contrast: 1.5,
        saturation: 0.2,
        hue: 0.1,
    };

    #[test]
    fn factors_are_in_their_ranges_and_every_order_occurs() {
        let mut firsts = [0; 4];
        for index in 0..2000 {
            let drawn = JITTER.draw(3, 1, index);
            assert_eq!(drawn.len(), 4);
            for change in &drawn {
                let is_right = match change {
                    ColorChange::Brightness(factor) => (0.6..=1.4).contains(factor),
                    ColorChange::Contrast(factor) => (0.0..=2.5).contains(factor),
                    ColorChange::Saturation(factor) => (0.8..=1.2).contains(factor),
                    ColorChange::Hue(turn) => (-0.1..=0.1).contains(turn),
                };
                assert!(is_right, "{change:?}");
            }
            firsts[match drawn[0] {
                ColorChange::Brightness(_) => 0,
                ColorChange::Contrast(_) => 1,
                ColorChange::Saturation(_) => 2,
                ColorChange::Hue(_) => 3,
            }] += 1;
        }
        assert!(
            firsts.iter().all(|first| (420..580).contains(first)),
            "{firsts:?}"
        );
    }

    #[test]
    fn what_is_not_varied_is_left_out() {
        let only_hue = ColorJitter {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            ..JITTER
        };
        let drawn = only_hue.draw(1, 2, 3);
        assert!(matches!(drawn[..], [ColorChange::Hue(_)]), "{drawn:?}");
        assert_eq!(drawn, only_hue.draw(1, 2, 3));
        assert_ne!(drawn, only_hue.draw(1, 3, 3));
    }

    #[test]
    fn each_change_is_the_one_that_it_says() {
        let image = [200, 0, 100, 10, 50, 250];
        let changed = |change: ColorChange| {
            let mut image = image;
            change.apply(&mut image);
            image
        };
        assert_eq!(
            changed(ColorChange::Brightness(0.5)),
            [100, 0, 50, 5, 25, 125]
        );
        assert_eq!(changed(ColorChange::Contrast(0.0)), [79; 6]);
        assert_eq!(
            changed(ColorChange::Saturation(0.0)),
            [124, 34, 124, 34, 124, 34]
        );
        assert_eq!(changed(ColorChange::Hue(0.0)), image);
    }
}
