//! Tensors whose memory is channels-last.

use burn_backend::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use super::buffers;

/// Elements that the element-wise kernels take at a time: small enough for the first-level cache.
const CHUNK: usize = 8192;

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

/// Changes values in chunks of whole multiples of `unit`: in place if nobody else holds the tensor, else into a new
/// one, in either case with one pass over memory. `change` gets the index of the first value of its chunk.
pub(super) fn change(
    mut tensor: FlexTensor,
    unit: usize,
    mut change: impl FnMut(usize, &mut [f32]),
) -> FlexTensor {
    let step = unit * (CHUNK / unit).max(1);
    if let Some(values) = tensor.try_storage_mut::<f32>() {
        for (index, chunk) in values.chunks_mut(step).enumerate() {
            change(index * step, chunk);
        }
        return tensor;
    }
    let old = values(&tensor);
    let mut changed = buffers::take(old.len());
    for (index, (old, chunk)) in old.chunks(step).zip(changed.chunks_mut(step)).enumerate() {
        chunk.copy_from_slice(old);
        change(index * step, chunk);
    }
    FlexTensor::new(
        Bytes::from_elems(changed),
        tensor.layout().clone(),
        DType::F32,
    )
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
