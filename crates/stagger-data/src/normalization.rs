//! Per-channel normalisation: published constants, or measured on the training set.

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::parallel::fill_images;

/// Mean and standard deviation per channel, of pixels scaled to 0…1.
///
/// A byte `p` becomes `(p / 255 − mean) / std`.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalization {
    /// Mean per channel.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, above 0.
    pub std: Vec<f32>,
}

/// [`Normalization::measure`] looks at this many images,
const SAMPLE: usize = 1024;
/// or, if they are small, at as many as have this many bytes.
const SAMPLE_BYTES: usize = 1 << 25;
/// Images held at one time while measuring.
const CHUNK: usize = 64;
/// Least standard deviation, one grey level: a channel that never varies must not become infinite.
const LEAST_STD: f64 = 1.0 / 255.0;

impl Normalization {
    /// The training set of CIFAR-10.
    pub fn cifar10() -> Self {
        Self::of([0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616])
    }

    /// The training set of CIFAR-100.
    pub fn cifar100() -> Self {
        Self::of([0.5071, 0.4865, 0.4409], [0.2673, 0.2564, 0.2762])
    }

    /// The training set of MNIST.
    pub fn mnist() -> Self {
        Self::of([0.1307], [0.3081])
    }

    /// The training set of Fashion-MNIST.
    pub fn fashion_mnist() -> Self {
        Self::of([0.2860], [0.3530])
    }

    fn of<const C: usize>(mean: [f32; C], std: [f32; C]) -> Self {
        Self {
            mean: mean.to_vec(),
            std: std.to_vec(),
        }
    }

    /// Measures images spread evenly over `dataset`: at most 1,024, or 32 MiB of them if that is
    /// more (10,922 of 32×32 pixels in colour). Sums are exact integers, so the result does not
    /// depend on threads.
    ///
    /// # Errors
    /// If an image cannot be read, or the data set is empty.
    pub fn measure(dataset: &dyn Dataset) -> Result<Self, DataError> {
        let [channels, height, width] = dataset.shape();
        let image_bytes = channels * height * width;
        if dataset.is_empty() || image_bytes == 0 {
            return Err(DataError::Empty {
                what: dataset.name().to_string(),
            });
        }
        let sampled = dataset.len().min(SAMPLE.max(SAMPLE_BYTES / image_bytes));
        let mut sums = vec![[0u64; 2]; channels];
        let mut pixels = vec![0; CHUNK.min(sampled) * image_bytes];
        for first in (0..sampled).step_by(CHUNK) {
            let count = CHUNK.min(sampled - first);
            let chunk = &mut pixels[..count * image_bytes];
            fill_images(chunk, image_bytes, |i, image| {
                dataset.image((first + i) * dataset.len() / sampled, image)
            })?;
            for image in chunk.chunks_exact(image_bytes) {
                for (plane, sums) in image.chunks_exact(height * width).zip(&mut sums) {
                    for &pixel in plane {
                        let pixel = u64::from(pixel);
                        *sums = [sums[0] + pixel, sums[1] + pixel * pixel];
                    }
                }
            }
        }
        let count = (sampled * height * width) as f64;
        let moments = sums.iter().map(|&[sum, squares]| {
            let mean = sum as f64 / count / 255.0;
            let variance = squares as f64 / count / (255.0 * 255.0) - mean * mean;
            (mean as f32, variance.max(0.0).sqrt().max(LEAST_STD) as f32)
        });
        let (mean, std) = moments.unzip();
        Ok(Self { mean, std })
    }

    /// Checks that there is a mean and a standard deviation for each of `expected` channels.
    ///
    /// # Errors
    /// [`DataError::NormalizationChannels`].
    pub(crate) fn check_channels(&self, expected: usize) -> Result<(), DataError> {
        let found = self.mean.len().min(self.std.len());
        if found != expected {
            return Err(DataError::NormalizationChannels { expected, found });
        }
        Ok(())
    }

    /// The bytes that come nearest to the means, and to 0 when they are normalised.
    pub(crate) fn mean_bytes(&self) -> Vec<u8> {
        let bytes = self.mean.iter().map(|mean| (mean * 255.0).round() as u8);
        bytes.collect()
    }

    /// Normalises one image: `pixels` (C, H, W) of bytes into `out` of the same length.
    ///
    /// # Panics
    /// If the lengths differ or are no multiple of the number of channels.
    pub fn apply(&self, pixels: &[u8], out: &mut [f32]) {
        assert_eq!(pixels.len(), out.len(), "bytes and numbers of one image");
        assert_eq!(pixels.len() % self.mean.len(), 0, "whole channels");
        let plane = pixels.len() / self.mean.len();
        if plane == 0 {
            return;
        }
        let planes = pixels.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((pixels, out), (mean, std)) in planes.zip(self.mean.iter().zip(&self.std)) {
            let (scale, shift) = (1.0 / (255.0 * std), -mean / std);
            for (pixel, out) in pixels.iter().zip(out) {
                *out = f32::from(*pixel) * scale + shift;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::InMemory;

    fn set(shape: [usize; 3], pixels: Vec<u8>) -> InMemory {
        let images = pixels.len() / shape.iter().product::<usize>();
        InMemory::new("x", ["a"], shape, vec![0; images], pixels).unwrap()
    }

    #[test]
    fn measured_constants_are_those_of_the_pixels() {
        let found = Normalization::measure(&set([2, 1, 2], vec![0, 255, 51, 51])).unwrap();
        assert_eq!(found.mean, [0.5, 0.2]);
        assert_eq!(found.std[0], 0.5);
        // A constant channel keeps a positive standard deviation.
        assert!((found.std[1] - 1.0 / 255.0).abs() < 1e-6);
    }

    #[test]
    fn a_long_set_is_sampled_evenly() {
        // 2,500 images of 128 × 128, of which 2,048 are looked at.
        let pixels = (0..2500 << 14).map(|i| ((i >> 14) / 10) as u8).collect();
        let found = Normalization::measure(&set([1, 128, 128], pixels)).unwrap();
        assert!((found.mean[0] * 255.0 - 124.5).abs() < 0.5, "{found:?}");
    }

    #[test]
    fn bytes_are_scaled_and_shifted_per_channel() {
        let normalization = Normalization {
            mean: vec![0.5, 0.0],
            std: vec![0.5, 2.0],
        };
        let mut out = [0.0; 4];
        normalization.apply(&[0, 255, 0, 255], &mut out);
        assert_eq!(out, [-1.0, 1.0, 0.0, 0.5]);
    }
}
