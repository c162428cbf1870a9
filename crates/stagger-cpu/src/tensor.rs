//! Tensors: a shape, the order of the values in memory, and a counted buffer.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use stagger_engine::HostTensor;

use crate::buffers;
use crate::channels_last::{Binary, Images, Unary};

/// How the values of a tensor lie in memory, always without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// The last side varies fastest. Tensors of other ranks than 4 have no other order.
    RowMajor,
    /// `[N, H, W, C]`, for a tensor whose shape is `[N, C, H, W]`.
    ChannelsLast,
}

/// A tensor of `f32`. Cloning copies a handle; kernels write in place only where theirs is the only handle.
#[derive(Clone, Debug)]
pub struct CpuTensor {
    shape: Vec<usize>,
    order: Order,
    values: Arc<Buffer>,
}

impl CpuTensor {
    /// A tensor from its values in row-major order.
    pub(crate) fn row_major(values: Vec<f32>, shape: &[usize]) -> Self {
        debug_assert_eq!(values.len(), shape.iter().product::<usize>());
        Self {
            shape: shape.to_vec(),
            order: Order::RowMajor,
            values: Arc::new(Buffer(values)),
        }
    }

    /// A tensor `[N, C, H, W]` from its values in the order `[N, H, W, C]`.
    pub(crate) fn channels_last(values: Vec<f32>, sides: [usize; 4]) -> Self {
        Self {
            order: Order::ChannelsLast,
            ..Self::row_major(values, &sides)
        }
    }

    /// The sides, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The sides of a tensor of rank 4; 1 for those that are not there.
    pub(crate) fn sides(&self) -> [usize; 4] {
        std::array::from_fn(|side| self.shape.get(side).copied().unwrap_or(1))
    }

    /// The values in their order in memory.
    pub(crate) fn values(&self) -> &[f32] {
        &self.values
    }

    /// Whether no other handle of the values exists.
    pub(crate) fn is_unique(&self) -> bool {
        Arc::strong_count(&self.values) == 1
    }

    /// Whether values at the same place in memory are values at the same place in both tensors.
    pub(crate) fn lies_like(&self, other: &Self) -> bool {
        self.shape == other.shape && self.order == other.order
    }

    /// The same tensor with its memory channels-last; a copy only if it is not so already. Tensors of other ranks than 4
    /// stay as they are.
    pub(crate) fn into_channels_last(self) -> Self {
        if self.order == Order::ChannelsLast || self.shape.len() != 4 {
            return self;
        }
        let [samples, channels, height, width] = self.sides();
        let pixels = height * width;
        if channels == 1 || pixels == 1 {
            // Both orders are the same.
            return Self {
                order: Order::ChannelsLast,
                ..self
            };
        }
        let mut copy = buffers::take(self.values.len());
        let (image, count) = (channels * pixels, samples);
        debug_assert_eq!(copy.len(), image * count);
        if image > 0 {
            let images = self.values.chunks_exact(image);
            for (from, to) in images.zip(copy.chunks_exact_mut(image)) {
                transpose(from, channels, pixels, to);
            }
        }
        Self::channels_last(copy, self.sides())
    }

    /// The same tensor with its memory row-major; a copy only if it is not so already.
    pub(crate) fn into_row_major(self) -> Self {
        if self.order == Order::RowMajor {
            return self;
        }
        let [_, channels, height, width] = self.sides();
        let pixels = height * width;
        if channels == 1 || pixels == 1 {
            return Self {
                order: Order::RowMajor,
                ..self
            };
        }
        let mut copy = buffers::take(self.values.len());
        let image = channels * pixels;
        if image > 0 {
            let images = self.values.chunks_exact(image);
            for (from, to) in images.zip(copy.chunks_exact_mut(image)) {
                transpose(from, pixels, channels, to);
            }
        }
        Self::row_major(copy, &self.shape)
    }

    /// The same values, row-major, in another shape of as many values.
    pub(crate) fn reshape(self, shape: &[usize]) -> Self {
        debug_assert_eq!(self.values.len(), shape.iter().product::<usize>());
        Self {
            shape: shape.to_vec(),
            ..self.into_row_major()
        }
    }

    /// A copy in host memory.
    pub(crate) fn to_host(&self) -> HostTensor {
        let row_major = self.clone().into_row_major();
        HostTensor {
            shape: row_major.shape,
            data: Arc::unwrap_or_clone(row_major.values).into_inner(),
        }
    }

    /// Changes values: in place if no other handle exists, else into a new tensor.
    pub(crate) fn change(mut self, change: impl FnOnce(Unary<'_, f32>)) -> Self {
        if let Some(values) = Arc::get_mut(&mut self.values) {
            change(Unary::InPlace(values));
            return self;
        }
        let mut output = buffers::take(self.values.len());
        change(Unary::Into {
            input: &self.values,
            output: &mut output,
        });
        Self {
            values: Arc::new(Buffer(output)),
            ..self
        }
    }

    /// As [`CpuTensor::change`], with the values of another tensor as second operand.
    pub(crate) fn change_with(self, other: &Self, operation: impl FnOnce(Binary<'_, f32>)) -> Self {
        let right = other.values();
        self.change(|operand| {
            operation(match operand {
                Unary::Into {
                    input: left,
                    output,
                } => Binary::Into {
                    left,
                    right,
                    output,
                },
                Unary::InPlace(left) => Binary::OverLeft { left, right },
            });
        })
    }

    /// The values for writing; copied first if another handle exists.
    pub(crate) fn values_mut(&mut self) -> &mut [f32] {
        if !self.is_unique() {
            let mut copy = buffers::take(self.values.len());
            copy.copy_from_slice(&self.values);
            self.values = Arc::new(Buffer(copy));
        }
        // Unique by now: this copies nothing.
        &mut Arc::<Buffer>::make_mut(&mut self.values).0
    }
}

/// The memory of a tensor. The thread that drops it may use it again.
#[derive(Clone, Debug)]
struct Buffer(Vec<f32>);

impl Buffer {
    fn into_inner(mut self) -> Vec<f32> {
        std::mem::take(&mut self.0)
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        buffers::give(std::mem::take(&mut self.0));
    }
}

/// Sides `[N, C, H, W]` as the loops over channels-last memory take them.
pub(crate) fn images([samples, channels, height, width]: [usize; 4]) -> Images {
    Images {
        samples,
        height,
        width,
        channels,
    }
}

/// Writes a matrix of `rows` rows and `columns` columns with its rows as columns.
fn transpose(from: &[f32], rows: usize, columns: usize, to: &mut [f32]) {
    for (column, line) in to.chunks_exact_mut(rows).enumerate() {
        for (row, value) in line.iter_mut().enumerate() {
            *value = from[row * columns + column];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[usize]) -> CpuTensor {
        let len = shape.iter().product::<usize>();
        CpuTensor::row_major((0..len).map(|value| value as f32).collect(), shape)
    }

    #[test]
    fn orders_are_two_ways_to_hold_the_same_tensor() {
        let tensor = numbers(&[2, 3, 2, 1]);
        let there = tensor.clone().into_channels_last();
        assert_eq!(there.values()[..6], [0.0, 2.0, 4.0, 1.0, 3.0, 5.0]);
        assert_eq!(there.to_host(), tensor.to_host());
        assert!(!there.lies_like(&tensor));
        assert!(there.into_row_major().lies_like(&tensor));
    }

    #[test]
    fn one_channel_or_pixel_needs_no_copy() {
        for shape in [[4, 1, 3, 2], [4, 5, 1, 1]] {
            let tensor = numbers(&shape);
            let before = tensor.values().as_ptr();
            let after = tensor.into_channels_last();
            assert_eq!(after.values().as_ptr(), before);
            assert_eq!(after.into_row_major().values().as_ptr(), before);
        }
    }

    #[test]
    fn only_the_last_handle_is_written_in_place() {
        let double = |operand: Unary<'_, f32>| match operand {
            Unary::InPlace(values) => values.iter_mut().for_each(|value| *value *= 2.0),
            Unary::Into { input, output } => {
                let each = output.iter_mut().zip(input);
                each.for_each(|(output, input)| *output = input * 2.0);
            }
        };
        let tensor = numbers(&[3]);
        let other = tensor.clone();
        let doubled = tensor.change(double);
        assert_eq!(other.values(), [0.0, 1.0, 2.0]);
        let before = doubled.values().as_ptr();
        let again = doubled.change(double);
        assert_eq!(again.values(), [0.0, 4.0, 8.0]);
        assert_eq!(again.values().as_ptr(), before);
        let mut shared = again.clone();
        shared.values_mut()[0] = 7.0;
        assert_eq!(again.values()[0], 0.0);
    }
}
