//! Tensors in host memory, as they cross the engine's border.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::error::EngineError;

/// A tensor of `f32` in host memory, row-major. What engines take in and give out: images, activations on a wire,
/// weights on disk.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostTensor {
    /// Sides, outermost first; images are `[N, C, H, W]`.
    pub shape: Vec<usize>,
    /// The values, row-major; as many as the product of `shape`.
    pub data: Vec<f32>,
}

impl HostTensor {
    /// A tensor of these values.
    ///
    /// # Errors
    /// [`EngineError::TensorSize`] when the number of values is not the product of the sides.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self, EngineError> {
        let tensor = Self { shape, data };
        tensor.check()?;
        Ok(tensor)
    }

    /// A tensor of zeros.
    pub(crate) fn zeros(shape: &[usize]) -> Self {
        Self {
            shape: shape.to_vec(),
            data: vec![0.0; shape.iter().product()],
        }
    }

    /// Checks that the number of values is the product of the sides; the fields are public, so a function that
    /// takes a tensor from outside calls this.
    ///
    /// # Errors
    /// [`EngineError::TensorSize`] when it is not.
    pub fn check(&self) -> Result<(), EngineError> {
        let expected = self
            .shape
            .iter()
            .try_fold(1_usize, |size, &side| size.checked_mul(side));
        if expected == Some(self.data.len()) {
            return Ok(());
        }
        Err(EngineError::TensorSize {
            shape: self.shape.clone(),
            found: self.data.len(),
        })
    }

    /// The rows of all parts, in their order: a batch of its shares.
    ///
    /// # Errors
    /// [`EngineError::Rows`] when samples of two parts have different shapes.
    pub fn of_rows(parts: &[Self]) -> Result<Self, EngineError> {
        let Some(first) = parts.first() else {
            return Ok(Self::default());
        };
        let mut shape = first.shape.clone();
        let mut data = Vec::with_capacity(parts.iter().map(|part| part.data.len()).sum());
        for part in parts {
            part.check()?;
            if part.shape.get(1..) != first.shape.get(1..) || part.shape.is_empty() {
                return Err(EngineError::Rows {
                    expected: first.shape.clone(),
                    found: part.shape.clone(),
                });
            }
            data.extend_from_slice(&part.data);
        }
        shape[0] = parts.iter().map(|part| part.shape[0]).sum();
        Ok(Self { shape, data })
    }

    /// A copy of these rows of the outermost side: samples of a batch.
    ///
    /// # Panics
    /// When the tensor has no sides, values and shape do not fit each other, or the range is not within the rows.
    pub fn rows(&self, range: Range<usize>) -> Self {
        let Some((&rows, sides)) = self.shape.split_first() else {
            panic!("a tensor without sides has no rows");
        };
        assert!(
            range.start <= range.end && range.end <= rows,
            "rows {range:?} must lie within the {rows} of the tensor"
        );
        let row = sides.iter().product::<usize>();
        assert_eq!(
            self.data.len(),
            rows * row,
            "a tensor of shape {:?} must hold the product of its sides",
            self.shape
        );
        let mut shape = self.shape.clone();
        shape[0] = range.len();
        Self {
            shape,
            data: self.data[range.start * row..range.end * row].to_vec(),
        }
    }

    /// Bytes of the values.
    pub fn size_bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_samples() {
        let data = (0..12_u8).map(f32::from).collect();
        let tensor = HostTensor::new(vec![3, 2, 2], data).unwrap();
        let middle = tensor.rows(1..2);
        assert_eq!(middle.shape, [1, 2, 2]);
        assert_eq!(middle.data, [4.0, 5.0, 6.0, 7.0]);
        assert_eq!(tensor.rows(0..3), tensor);
        assert_eq!(tensor.rows(3..3).shape, [0, 2, 2]);
    }

    #[test]
    #[should_panic = "rows 2..4 must lie within the 3 of the tensor"]
    fn rows_beyond_the_last() {
        HostTensor::new(vec![3, 1], vec![0.0; 3])
            .unwrap()
            .rows(2..4);
    }

    #[test]
    #[should_panic = "must hold the product of its sides"]
    fn rows_of_a_tensor_that_is_too_short() {
        let shape = vec![3, 2];
        let short = HostTensor {
            shape,
            data: vec![0.0; 5],
        };
        short.rows(0..1);
    }

    #[test]
    fn size_must_match_shape() {
        assert!(HostTensor::new(vec![2, 3], vec![0.0; 6]).is_ok());
        assert!(
            HostTensor::new(vec![], vec![1.0]).is_ok(),
            "no sides is a scalar"
        );
        let error = HostTensor::new(vec![2, 3], vec![0.0; 5])
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "a tensor of shape [2, 3] expects the product of its sides but holds 5 values"
        );
        assert!(
            HostTensor::new(vec![usize::MAX, 2], vec![]).is_err(),
            "overflow is no panic"
        );
    }
}
