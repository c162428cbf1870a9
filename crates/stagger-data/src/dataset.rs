//! What a data set offers.

use crate::error::DataError;
use crate::framing::Framing;
use crate::parallel;
use crate::picture::Picture;

/// Labelled images of one size.
///
/// Images are numbered from 0; the number is the identity of an image: order of training,
/// augmentation and labels are all derived from it.
pub trait Dataset: Send + Sync {
    /// Name of the data set, as [`crate::open`] takes it.
    fn name(&self) -> &str;
    /// Number of images.
    fn len(&self) -> usize;
    /// Whether there is no image. The sets of this crate never are.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Number of classes.
    fn classes(&self) -> usize;
    /// Names of the classes, by label.
    fn class_names(&self) -> &[String];
    /// Channels, height and width in pixels of every image.
    fn shape(&self) -> [usize; 3];
    /// Label of an image, below [`Dataset::classes`].
    ///
    /// # Panics
    /// If `index` is not below [`Dataset::len`].
    fn label(&self, index: usize) -> usize;
    /// Writes image `index` to `pixels`: channel by channel, row by row (C, H, W), 0 to 255.
    ///
    /// # Errors
    /// If `index` or the length of `pixels` is wrong, or the image's file cannot be read.
    fn image(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError>;
    /// The picture of an image as it was before it was brought to the shape, for crops of any size; `None` where images are of the
    /// shape and nothing else is known of them.
    ///
    /// # Errors
    /// If `index` is wrong or the image's file cannot be read.
    fn picture(&self, index: usize) -> Result<Option<Picture>, DataError> {
        let len = self.len();
        match index < len {
            true => Ok(None),
            false => Err(DataError::IndexOutOfRange { index, len }),
        }
    }
    /// How [`Dataset::image`] brings pictures to the shape, where they have sizes of their own.
    fn framing(&self) -> Framing {
        Framing::default()
    }
    /// Height and width in pixels that the picture of an image had before it was brought to the shape of the set. That is
    /// only known where pictures are decoded on demand; of others it is the shape.
    ///
    /// # Errors
    /// If `index` is wrong or the image's file cannot be read.
    fn source_size(&self, index: usize) -> Result<[usize; 2], DataError> {
        let (len, [_, height, width]) = (self.len(), self.shape());
        match index < len {
            true => Ok([height, width]),
            false => Err(DataError::IndexOutOfRange { index, len }),
        }
    }
    /// Bytes of the images that are kept in memory, decoded; 0 where they are decoded on demand.
    fn resident_bytes(&self) -> u64 {
        0
    }
    /// A number that differs, but for chance, between data sets with different content: equal
    /// fingerprints make two runs comparable.
    fn fingerprint(&self) -> u64;
    /// A number that differs, but for chance, where files of the same names and sizes have other content, for sets whose
    /// [`fingerprint`](Self::fingerprint) does not look at it: a sample of the files is read. `None` for all others.
    ///
    /// # Errors
    /// If a file cannot be read.
    fn content_fingerprint(&self) -> Result<Option<u64>, DataError> {
        Ok(None)
    }
}

/// Labels of the images `indices`, in that order.
///
/// The last stage of a pipeline derives its labels with this and its own
/// [`Sampler`](crate::Sampler); labels are not sent along (docs/algorithm.md, "Semantics that are
/// easy to get wrong").
///
/// # Panics
/// If an index is not below the length of the data set.
pub fn labels(dataset: &dyn Dataset, indices: &[usize]) -> Vec<usize> {
    indices.iter().map(|&index| dataset.label(index)).collect()
}

/// [`Dataset::source_size`] of every image, on all cores.
///
/// # Errors
/// The first one in the order of the images.
pub fn source_sizes(dataset: &dyn Dataset) -> Result<Vec<[usize; 2]>, DataError> {
    let indices: Vec<usize> = (0..dataset.len()).collect();
    let sizes = parallel::map(&indices, |&index| dataset.source_size(index));
    sizes.into_iter().collect()
}

/// Checks the arguments of [`Dataset::image`].
pub(crate) fn check_image(
    index: usize,
    len: usize,
    shape: [usize; 3],
    pixels: &[u8],
) -> Result<(), DataError> {
    let expected = shape.iter().product();
    if index >= len {
        return Err(DataError::IndexOutOfRange { index, len });
    }
    if pixels.len() != expected {
        return Err(DataError::BufferSize {
            expected,
            found: pixels.len(),
        });
    }
    Ok(())
}
