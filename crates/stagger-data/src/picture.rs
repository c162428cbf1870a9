//! A decoded picture of any size.

use crate::error::DataError;

/// A picture in 8-bit RGB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    pub(crate) size: [usize; 2],
    pub(crate) rgb: Vec<u8>,
}

impl Picture {
    /// A picture of `size` (height and width in pixels, neither 0); `rgb` has three bytes for each pixel, row by row.
    ///
    /// # Errors
    /// [`DataError::Empty`] without pixels; [`DataError::BufferSize`] if `rgb` has another length.
    pub fn new(size: [usize; 2], rgb: Vec<u8>) -> Result<Self, DataError> {
        let expected = size
            .iter()
            .try_fold(3_usize, |bytes, &side| bytes.checked_mul(side));
        match expected {
            Some(0) => Err(DataError::Empty {
                what: "a picture without pixels".to_owned(),
            }),
            Some(expected) if expected == rgb.len() => Ok(Self { size, rgb }),
            _ => Err(DataError::BufferSize {
                expected: expected.unwrap_or(usize::MAX),
                found: rgb.len(),
            }),
        }
    }

    /// Height and width in pixels.
    #[must_use]
    pub fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Three bytes for each pixel, row by row.
    #[must_use]
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// Of three planes: channel by channel, row by row.
    pub(crate) fn of_planes(size: [usize; 2], planes: &[u8]) -> Self {
        let plane = planes.len() / 3;
        let pixel = |at: usize| [0, 1, 2].map(|channel| planes[channel * plane + at]);
        Self {
            size,
            rgb: (0..plane).flat_map(pixel).collect(),
        }
    }
}

/// Pixels of three bytes as three planes.
pub(crate) fn planes(rgb: &[u8], planes: &mut [u8]) {
    let plane = planes.len() / 3;
    let (red, others) = planes.split_at_mut(plane);
    let (green, blue) = others.split_at_mut(plane);
    let to = red.iter_mut().zip(green).zip(blue);
    for (((red, green), blue), pixel) in to.zip(rgb.chunks_exact(3)) {
        (*red, *green, *blue) = (pixel[0], pixel[1], pixel[2]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planes_and_pixels_are_the_same_picture() {
        let picture = Picture::new([1, 2], vec![1, 2, 3, 4, 5, 6]).unwrap();
        let mut found = [0; 6];
        planes(picture.rgb(), &mut found);
        assert_eq!(found, [1, 4, 2, 5, 3, 6]);
        assert_eq!(Picture::of_planes([1, 2], &found), picture);
    }

    #[test]
    fn pixels_are_counted() {
        let message = |size, bytes| {
            Picture::new(size, vec![0; bytes])
                .map(drop)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(
            message([0, 4], 0),
            "a picture without pixels holds no images"
        );
        assert!(message([2, 2], 11).contains("has 12 bytes"));
        assert!(message([usize::MAX, 2], 11).contains("has 11"));
    }
}
