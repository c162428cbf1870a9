//! Means over square windows.

use std::ops::Range;

use stagger_engine::layered::Window;

use crate::CpuTensor;
use crate::buffers::take;
use crate::max_pool::{covered, output_side};

/// `[N, C, H, W]` to `[N, C, H', W']`; the border counts as zeros.
pub(crate) fn average_pool(input: CpuTensor, window: Window) -> CpuTensor {
    let input = input.into_channels_last();
    let [samples, channels, height, width] = input.sides();
    let rows = output_side(height, window);
    let sides = [samples, channels, rows, output_side(width, window)];
    let mut output = take(sides.iter().product());
    output.fill(0.0);
    let share = share(window);
    each_pair(input.sides(), sides, window, |from, to| {
        for (sum, value) in output[to].iter_mut().zip(&input.values()[from]) {
            *sum += value * share;
        }
    });
    CpuTensor::channels_last(output, sides)
}

/// The gradient of [`average_pool`]'s input of these sides.
pub(crate) fn average_pool_backward(
    output_grad: CpuTensor,
    sides: [usize; 4],
    window: Window,
) -> CpuTensor {
    let output_grad = output_grad.into_channels_last();
    let mut input_grad = take(sides.iter().product());
    input_grad.fill(0.0);
    let share = share(window);
    each_pair(sides, output_grad.sides(), window, |to, from| {
        for (sum, grad) in input_grad[to].iter_mut().zip(&output_grad.values()[from]) {
            *sum += grad * share;
        }
    });
    CpuTensor::channels_last(input_grad, sides)
}

fn share(window: Window) -> f32 {
    (1.0 / (window.kernel * window.kernel) as f64) as f32
}

/// Calls `pair` with the channels of each pixel of the input, and of each pixel of the output whose window covers it.
fn each_pair(
    [samples, channels, height, width]: [usize; 4],
    [_, _, out_height, out_width]: [usize; 4],
    window: Window,
    mut pair: impl FnMut(Range<usize>, Range<usize>),
) {
    let pixel = |at: usize| at * channels..(at + 1) * channels;
    for to in 0..samples * out_height * out_width {
        let (line, column) = (to / out_width, to % out_width);
        let (sample, row) = (line / out_height, line % out_height);
        for row in covered(row, height, window) {
            for column in covered(column, width, window) {
                pair(pixel((sample * height + row) * width + column), pixel(to));
            }
        }
    }
}
