//! Tensors side by side along channels, and parts of them.

use crate::CpuTensor;
use crate::buffers::take;
use crate::channels_last::{Run, put_run, take_run};
use crate::threads::Threads;

/// `[N, A, H, W]` and `[N, B, H, W]` to `[N, A + B, H, W]`.
pub(crate) fn concat(a: CpuTensor, b: CpuTensor) -> CpuTensor {
    let (a, b) = (a.into_channels_last(), b.into_channels_last());
    let [samples, before, height, width] = a.sides();
    let [_, behind, ..] = b.sides();
    let pixel = before + behind;
    let mut values = take(samples * height * width * pixel);
    for (part, first, len) in [(&a, 0, before), (&b, before, behind)] {
        let run = Run { pixel, first, len };
        put_run(part.values(), run, &mut values, &Threads);
    }
    CpuTensor::channels_last(values, [samples, pixel, height, width])
}

/// `len` channels from `first` on.
pub(crate) fn channel_run(tensor: CpuTensor, first: usize, len: usize) -> CpuTensor {
    let tensor = tensor.into_channels_last();
    let [samples, pixel, height, width] = tensor.sides();
    let mut values = take(samples * height * width * len);
    let run = Run { pixel, first, len };
    take_run(tensor.values(), run, &mut values, &Threads);
    CpuTensor::channels_last(values, [samples, len, height, width])
}
