//! Tensors in host memory, as they cross the engine's border.

use crate::error::EngineError;

/// A tensor of `f32` in host memory, row-major. What engines take in and give out: images, activations on a wire,
/// weights on disk.
#[derive(Clone, Debug, Default, PartialEq)]
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

    /// Checks that the number of values is the product of the sides; the fields are public, so whoever takes a
    /// tensor from outside calls this.
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

    /// Bytes of the values.
    pub fn size_bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
