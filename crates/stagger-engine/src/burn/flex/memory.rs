//! Tensors whose memory is channels-last.

use burn_backend::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use crate::channels_last::{Binary, Images, Unary};

use super::buffers;

/// The same tensor with its memory channels-last and without gaps; a copy only if it is not so already. Tensors of
/// other ranks than 4 get plain row-major memory.
pub(super) fn channels_last(tensor: FlexTensor) -> FlexTensor {
    if is_channels_last(&tensor) {
        return tensor;
    }
    if tensor.layout().num_dims() != 4 {
        let whole = tensor.is_contiguous()
            && tensor.layout().start_offset() == 0
            && tensor.storage::<f32>().len() == tensor.layout().num_elements();
        return if whole {
            tensor
        } else {
            tensor.to_contiguous()
        };
    }
    tensor
        .permute(&[0, 2, 3, 1])
        .to_contiguous()
        .permute(&[0, 3, 1, 2])
}

fn is_channels_last(tensor: &FlexTensor) -> bool {
    let layout = tensor.layout();
    let &[samples, channels, height, width] = layout.shape().as_slice() else {
        return false;
    };
    let pixels = height * width;
    let sides = [samples, channels, height, width];
    let expected = [pixels * channels, 1, width * channels, channels];
    let strides = layout.strides().iter().zip(expected).zip(sides);
    layout.start_offset() == 0
        && tensor.storage::<f32>().len() == samples * channels * pixels
        // The stride of a side of 1 is never used.
        && strides.into_iter().all(|((&found, expected), side)| side == 1 || found == expected as isize)
}

/// Whether values at the same place in memory are values at the same place in both tensors, and memory holds nothing else.
pub(super) fn lie_alike(a: &FlexTensor, b: &FlexTensor) -> bool {
    let whole = |tensor: &FlexTensor| {
        let layout = tensor.layout();
        layout.start_offset() == 0 && tensor.storage::<f32>().len() == layout.num_elements()
    };
    a.layout().shape() == b.layout().shape()
        && a.layout().strides() == b.layout().strides()
        && whole(a)
        && whole(b)
}

/// The values of a tensor that [`channels_last`] has given.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.storage::<f32>()
}

/// The sides of a tensor of rank 4.
pub(super) fn sides(tensor: &FlexTensor) -> [usize; 4] {
    tensor.layout().shape().dims()
}

/// A tensor `[N, C, H, W]` from its values in channels-last order.
pub(super) fn from_channels_last(values: Vec<f32>, sides: [usize; 4]) -> FlexTensor {
    let [samples, channels, height, width] = sides;
    row_major(values, &[samples, height, width, channels]).permute(&[0, 3, 1, 2])
}

/// A tensor from its values in row-major order.
pub(super) fn row_major(values: Vec<f32>, shape: &[usize]) -> FlexTensor {
    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
    let layout = Layout::contiguous(Shape::from(shape.to_vec()));
    FlexTensor::new(Bytes::from_elems(values), layout, DType::F32)
}

/// Changes values: in place if nobody else holds the tensor, else into a new one.
pub(super) fn change(mut tensor: FlexTensor, change: impl FnOnce(Unary<'_, f32>)) -> FlexTensor {
    if let Some(values) = tensor.try_storage_mut::<f32>() {
        change(Unary::InPlace(values));
        return tensor;
    }
    let input = values(&tensor);
    let mut output = buffers::take(input.len());
    change(Unary::Into {
        input,
        output: &mut output,
    });
    FlexTensor::new(
        Bytes::from_elems(output),
        tensor.layout().clone(),
        DType::F32,
    )
}

/// As [`change`], with the values of another tensor as second operand.
pub(super) fn change_with(
    tensor: FlexTensor,
    other: &FlexTensor,
    operation: impl FnOnce(Binary<'_, f32>),
) -> FlexTensor {
    let right = values(other);
    change(tensor, |operand| {
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

/// Sides `[N, C, H, W]` as the loops over channels-last memory take them.
pub(super) fn images([samples, channels, height, width]: [usize; 4]) -> Images {
    Images {
        samples,
        height,
        width,
        channels,
    }
}

/// Lets the memory of a tensor be used again if nobody else holds it.
pub(super) fn recycle(tensor: FlexTensor) {
    if !tensor.is_unique() || tensor.dtype() != DType::F32 || !is_channels_last(&tensor) {
        return;
    }
    // Row-major to Flex, so that it gives its memory away instead of a copy.
    let row_major = tensor.permute(&[0, 2, 3, 1]);
    drop(tensor);
    if let Ok(values) = row_major.into_data().try_into_vec::<f32>() {
        buffers::give(values);
    }
}
