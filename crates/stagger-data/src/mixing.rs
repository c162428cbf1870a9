//! Training images mixed with one another: mixup and CutMix, with the draws and the boxes of torchvision's `MixUp` and `CutMix`.

use crate::augmentation::Region;
use crate::random::{Purpose, Stream};

/// How the images of a batch are mixed: every one with the image before it in the batch, and the first with the last. What a label
/// counts is the share of its image. With both ways, each batch takes one of them, with probability ½.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mixing {
    /// `α` of mixup (Zhang et al. 2018, "mixup: Beyond Empirical Risk Minimization", eq. 1): an image is `λ·x + (1 − λ)·x'` with
    /// `λ` from `Beta(α, α)`. Above 0 and at most [`Mixing::MOST`]; `None` for no mixup.
    pub mixup: Option<f64>,
    /// `α` of CutMix (Yun et al. 2019, "CutMix", eq. 1 and 2): a box of about `1 − λ` of an image is taken from the other. Likewise.
    pub cutmix: Option<f64>,
}

/// What is done to one batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mix {
    /// Every pixel is a weighted sum.
    Blend {
        /// The share of the image itself, in `[0, 1]`.
        own: f64,
    },
    /// A box is the other image's.
    Paste {
        /// The box.
        region: Region,
        /// The share of pixels outside of it, in `[0, 1]`.
        own: f64,
    },
}

impl Mixing {
    /// Nothing is mixed.
    pub const NONE: Self = Self {
        mixup: None,
        cutmix: None,
    };

    /// The largest `α`: at it `λ` is nearly always between 0.2 and 0.8.
    pub const MOST: f64 = 10.0;

    /// How batch `batch` of a run with this seed is mixed, with images of this height and width; `None` where nothing is mixed.
    #[must_use]
    pub fn draw(&self, seed: u64, batch: usize, [height, width]: [usize; 2]) -> Option<Mix> {
        let mut stream = Stream::new(seed, Purpose::Mixing, batch as u64, 0);
        let (alpha, is_cutmix) = match (self.mixup, self.cutmix) {
            (None, None) => return None,
            (Some(alpha), None) => (alpha, false),
            (None, Some(alpha)) => (alpha, true),
            (Some(mixup), Some(cutmix)) => match stream.below(2) {
                0 => (mixup, false),
                _ => (cutmix, true),
            },
        };
        let own = symmetric_beta(alpha, &mut stream);
        if !is_cutmix {
            return Some(Mix::Blend { own });
        }
        let middle = [height, width].map(|side| stream.below(side.max(1) as u64) as usize);
        Some(paste(own, middle, [height, width]))
    }
}

impl Mix {
    /// The share of the image itself, and so of its label.
    #[must_use]
    pub fn own(&self) -> f64 {
        match *self {
            Self::Blend { own } | Self::Paste { own, .. } => own,
        }
    }

    /// Mixes normalised pixels, images by channels by height by width.
    ///
    /// # Panics
    /// When the pixels are not as many as the shape says, or the box is not within the image.
    pub fn apply(&self, pixels: &mut [f32], shape: [usize; 4]) {
        let [images, channels, height, width] = shape;
        let len = channels * height * width;
        assert_eq!(pixels.len(), images * len, "pixels");
        if images < 2 || len == 0 {
            return;
        }
        let last = pixels[(images - 1) * len..].to_vec();
        // From the last to the first, so that the image before each is still as it was.
        for image in (0..images).rev() {
            let (before, own) = pixels.split_at_mut(image * len);
            let other = match image {
                0 => &last[..],
                _ => &before[(image - 1) * len..],
            };
            self.mix_into(&mut own[..len], other, height, width);
        }
    }

    fn mix_into(&self, image: &mut [f32], other: &[f32], height: usize, width: usize) {
        match *self {
            Self::Blend { own } => {
                let (own, rest) = (own as f32, (1.0 - own) as f32);
                for (pixel, other) in image.iter_mut().zip(other) {
                    *pixel = own * *pixel + rest * other;
                }
            }
            Self::Paste { region, .. } => {
                let planes = image.chunks_exact_mut(height * width);
                for (plane, other) in planes.zip(other.chunks_exact(height * width)) {
                    for row in region.top..region.top + region.height {
                        let line =
                            row * width + region.left..row * width + region.left + region.width;
                        plane[line.clone()].copy_from_slice(&other[line]);
                    }
                }
            }
        }
    }
}

/// The box around a pixel, cut off at the image's borders, whose sides are `√(1 − own)` of the image's.
fn paste(own: f64, middle: [usize; 2], sides: [usize; 2]) -> Mix {
    let half = 0.5 * (1.0 - own).sqrt();
    let range = |axis: usize| {
        let reach = (half * sides[axis] as f64) as usize;
        let from = middle[axis].saturating_sub(reach);
        from..(middle[axis] + reach).min(sides[axis])
    };
    let (rows, columns) = (range(0), range(1));
    let area = (rows.len() * columns.len()) as f64 / (sides[0] * sides[1]) as f64;
    Mix::Paste {
        region: Region {
            top: rows.start,
            left: columns.start,
            height: rows.len(),
            width: columns.len(),
        },
        own: 1.0 - area,
    }
}

/// A draw from `Beta(α, α)`.
fn symmetric_beta(alpha: f64, stream: &mut Stream) -> f64 {
    loop {
        let [a, b] = [0, 1].map(|_| 1.0 - stream.unit_f64());
        if alpha >= 1.0 {
            // Below a density that is highest in the middle: x, with the probability (4·x·(1 − x))^(α − 1).
            if b <= (4.0 * a * (1.0 - a)).powf(alpha - 1.0) {
                return a;
            }
            continue;
        }
        // Jöhnk's method (1964): of two numbers u^(1/α), the first one's share of their sum, where that is at most 1. In logarithms,
        // as powers of small numbers are 0 for small α.
        let [a, b] = [a, b].map(|value| value.ln() / alpha);
        let larger = a.max(b);
        let log_sum = larger + ((a - larger).exp() + (b - larger).exp()).ln();
        if log_sum <= 0.0 {
            return (a - log_sum).exp().clamp(0.0, 1.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn by_hand() {
        // Three images of one channel, 2×2.
        let mut pixels: Vec<f32> = (0..12).map(|value| value as f32).collect();
        Mix::Blend { own: 0.75 }.apply(&mut pixels, [3, 1, 2, 2]);
        assert_eq!(
            pixels,
            [2.0, 3.0, 4.0, 5.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
        );
        let mut pixels: Vec<f32> = (0..12).map(|value| value as f32).collect();
        // A reach of half of 2 around (1, 0) leaves both rows and the first column.
        let mix = paste(0.0, [1, 0], [2, 2]);
        assert_eq!(mix.own(), 0.5);
        mix.apply(&mut pixels, [3, 1, 2, 2]);
        assert_eq!(
            pixels,
            [8.0, 1.0, 10.0, 3.0, 0.0, 5.0, 2.0, 7.0, 4.0, 9.0, 6.0, 11.0]
        );
        let mut alone = [1.0, 2.0];
        Mix::Blend { own: 0.5 }.apply(&mut alone, [1, 1, 1, 2]);
        assert_eq!(alone, [1.0, 2.0]);
    }

    /// Mean ½ and variance 1/(4·(2α + 1)).
    #[test]
    fn shares_have_the_moments_of_their_distribution() {
        for alpha in [0.01, 0.2, 1.0, 4.0, Mixing::MOST] {
            let mixing = Mixing {
                mixup: Some(alpha),
                cutmix: None,
            };
            let count = 20_000;
            let shares: Vec<f64> = (0..count)
                .map(|batch| mixing.draw(7, batch, [8, 8]).unwrap().own())
                .collect();
            let mean = shares.iter().sum::<f64>() / count as f64;
            let squares = shares.iter().map(|share| (share - mean).powi(2));
            let variance = squares.sum::<f64>() / count as f64;
            let expected = 0.25 / (2.0 * alpha + 1.0);
            assert!((mean - 0.5).abs() < 0.015, "{alpha}: {mean}");
            assert!(
                (variance / expected - 1.0).abs() < 0.05,
                "{alpha}: {variance} is not {expected}"
            );
        }
    }

    #[test]
    fn each_batch_takes_one_of_two_ways() {
        let both = Mixing {
            mixup: Some(0.2),
            cutmix: Some(1.0),
        };
        let pasted =
            |batch: &usize| matches!(both.draw(3, *batch, [32, 32]), Some(Mix::Paste { .. }));
        let count = (0..2000).filter(pasted).count();
        assert!((900..1100).contains(&count), "{count}");
        assert_eq!(both.draw(3, 5, [32, 32]), both.draw(3, 5, [32, 32]));
        assert_eq!(Mixing::NONE.draw(3, 5, [32, 32]), None);
    }

    proptest! {
        #[test]
        fn boxes_are_within_the_image_and_have_its_share(
            alpha in 0.05..Mixing::MOST,
            batch in 0..1000_usize,
            height in 1..40_usize,
            width in 1..40_usize,
        ) {
            let mixing = Mixing { mixup: None, cutmix: Some(alpha) };
            let Some(Mix::Paste { region, own }) = mixing.draw(1, batch, [height, width]) else {
                return Err(TestCaseError::fail("a box"));
            };
            prop_assert!(region.top + region.height <= height && region.left + region.width <= width);
            let inside = (region.height * region.width) as f64 / (height * width) as f64;
            prop_assert!((own + inside - 1.0).abs() < 1e-12);
            let mut pixels = vec![0.0; 2 * height * width];
            pixels[height * width..].fill(1.0);
            Mix::Paste { region, own }.apply(&mut pixels, [2, 1, height, width]);
            let first: f32 = pixels[..height * width].iter().sum();
            prop_assert_eq!(first as usize, region.height * region.width);
        }
    }
}
