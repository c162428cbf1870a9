//! A data set that lies in memory as bytes.

use crate::dataset::{Dataset, check_image};
use crate::error::DataError;
use crate::file_error::FileError;
use crate::fingerprint::Fingerprint;
use crate::framing::Framing;

/// Labelled images in memory; what most readers of this crate return, and the simplest way to
/// bring one's own images: two of them make a [`Split`](crate::Split::new).
#[derive(Clone, Debug)]
pub struct InMemory {
    name: String,
    class_names: Vec<String>,
    shape: [usize; 3],
    labels: Vec<u16>,
    pixels: Vec<u8>,
    fingerprint: u64,
    content: Option<u64>,
    framing: Framing,
}

impl InMemory {
    /// A data set of `labels.len()` images.
    ///
    /// `shape` is channels, height and width; `pixels` holds the images one after another, each
    /// channel by channel, row by row.
    ///
    /// # Errors
    /// [`DataError::Empty`] without labels or with a shape of no pixels,
    /// [`DataError::PixelCount`] if `pixels` has another length than the labels and the shape ask
    /// for, [`FileError::LabelOutOfRange`] if a label has no class name.
    pub fn new(
        name: &str,
        class_names: impl IntoIterator<Item: Into<String>>,
        shape: [usize; 3],
        labels: Vec<u16>,
        pixels: Vec<u8>,
    ) -> Result<Self, DataError> {
        let class_names: Vec<String> = class_names.into_iter().map(Into::into).collect();
        let expected = shape
            .iter()
            .try_fold(labels.len(), |size, &side| size.checked_mul(side));
        if labels.is_empty() || expected == Some(0) {
            return Err(DataError::Empty {
                what: name.to_string(),
            });
        }
        if expected != Some(pixels.len()) {
            let expected = expected.unwrap_or(usize::MAX);
            return Err(DataError::PixelCount {
                dataset: name.to_string(),
                images: labels.len(),
                shape,
                expected,
                found: pixels.len(),
            });
        }
        let classes = class_names.len();
        if let Some(record) = labels
            .iter()
            .position(|&label| usize::from(label) >= classes)
        {
            let label = usize::from(labels[record]);
            return Err(FileError::LabelOutOfRange {
                path: name.into(),
                record,
                label,
                classes,
            }
            .into());
        }
        let mut fingerprint = Fingerprint::default().bytes(name.as_bytes());
        for side in shape {
            fingerprint = fingerprint.number(side as u64);
        }
        for &label in &labels {
            fingerprint = fingerprint.number(u64::from(label));
        }
        let fingerprint = fingerprint.bytes(&pixels).finish();
        Ok(Self {
            name: name.to_string(),
            class_names,
            shape,
            labels,
            pixels,
            fingerprint,
            content: None,
            framing: Framing::default(),
        })
    }

    /// Says how its pictures were brought to the shape.
    pub(crate) fn framed(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    /// Replaces the fingerprints, for sets whose identity is not their pixels alone.
    pub(crate) fn with_fingerprints(self, fingerprint: u64, content: u64) -> Self {
        Self {
            fingerprint,
            content: Some(content),
            ..self
        }
    }
}

impl Dataset for InMemory {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn classes(&self) -> usize {
        self.class_names.len()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn shape(&self) -> [usize; 3] {
        self.shape
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.labels[index])
    }

    fn image(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError> {
        check_image(index, self.len(), self.shape, pixels)?;
        let size = pixels.len();
        pixels.copy_from_slice(&self.pixels[index * size..(index + 1) * size]);
        Ok(())
    }

    fn framing(&self) -> Framing {
        self.framing
    }

    fn resident_bytes(&self) -> u64 {
        self.pixels.len() as u64
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn content_fingerprint(&self) -> Result<Option<u64>, DataError> {
        Ok(self.content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| i.to_string()).collect()
    }

    #[test]
    fn images_and_labels_come_back() {
        let set = InMemory::new("x", names(2), [1, 1, 2], vec![1, 0], vec![1, 2, 3, 4]).unwrap();
        let mut pixels = [0; 2];
        set.image(1, &mut pixels).unwrap();
        assert_eq!(
            (pixels, set.label(0), set.len(), set.classes()),
            ([3, 4], 1, 2, 2)
        );
        assert!(matches!(
            set.image(2, &mut pixels),
            Err(DataError::IndexOutOfRange { .. })
        ));
        assert!(matches!(
            set.image(0, &mut [0; 3]),
            Err(DataError::BufferSize { .. })
        ));
    }

    #[test]
    fn wrong_parts_are_refused() {
        let build = |labels, pixels| InMemory::new("x", names(2), [1, 1, 2], labels, pixels);
        assert!(matches!(
            build(vec![], vec![]),
            Err(DataError::Empty { .. })
        ));
        insta::assert_snapshot!(build(vec![0], vec![1]).unwrap_err(), @"x: 1 images of shape [1, 1, 2] (channels, height, width) have 2 bytes of pixels, but 1 are given");
        let error = build(vec![0, 2], vec![0; 4]).unwrap_err();
        assert!(matches!(
            error,
            DataError::File(FileError::LabelOutOfRange {
                record: 1,
                label: 2,
                ..
            })
        ));
    }

    #[test]
    fn the_fingerprint_sees_labels_pixels_and_name() {
        let build = |name, label, pixel| {
            InMemory::new(name, names(2), [1, 1, 1], vec![label], vec![pixel]).unwrap()
        };
        let reference = build("x", 0, 0).fingerprint();
        assert_eq!(reference, build("x", 0, 0).fingerprint());
        for other in [build("y", 0, 0), build("x", 1, 0), build("x", 0, 1)] {
            assert_ne!(reference, other.fingerprint());
        }
    }
}
