//! Means over square windows.

use std::ops::Range;

use stagger_engine::layered::Window;

use crate::CpuTensor;
use crate::buffers::take;
use crate::channels_last::spread;
use crate::max_pool::{covered, output_side};
use crate::threads::{self, Threads};

/// `[N, C, H, W]` to `[N, C, H', W']`; the border counts as zeros.
pub(crate) fn average_pool(input: CpuTensor, window: Window) -> CpuTensor {
    let input = input.into_channels_last();
    let [samples, channels, height, width] = input.sides();
    let rows = output_side(height, window);
    let sides = [samples, channels, rows, output_side(width, window)];
    let mut output = take(sides.iter().product());
    output.fill(0.0);
    let share = share(window);
    let [_, _, height, width] = input.sides();
    let (full, part) = (height * width * channels, sides[2] * sides[3] * channels);
    by_samples(input.values(), full, &mut output, part, |input, output| {
        each_pair(
            input.len() / full,
            [channels, height, width],
            sides,
            window,
            |from, to| {
                for (sum, value) in output[to].iter_mut().zip(&input[from]) {
                    *sum += value * share;
                }
            },
        );
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
    let [_, channels, height, width] = sides;
    let to = output_grad.sides();
    let (full, part) = (height * width * channels, to[2] * to[3] * channels);
    by_samples(
        output_grad.values(),
        part,
        &mut input_grad,
        full,
        |grads, inputs| {
            each_pair(
                inputs.len() / full,
                [channels, height, width],
                to,
                window,
                |to, from| {
                    for (sum, grad) in inputs[to].iter_mut().zip(&grads[from]) {
                        *sum += grad * share;
                    }
                },
            );
        },
    );
    CpuTensor::channels_last(input_grad, sides)
}

fn share(window: Window) -> f32 {
    (1.0 / (window.kernel * window.kernel) as f64) as f32
}

/// Threads take samples, of `from_len` and `to_len` values.
fn by_samples(
    from: &[f32],
    from_len: usize,
    to: &mut [f32],
    to_len: usize,
    work: impl Fn(&[f32], &mut [f32]) + Sync,
) {
    let samples = to.len() / to_len.max(1);
    let each = threads::share(samples, from.len().max(to.len()));
    let jobs = from.chunks((each * from_len).max(1));
    let jobs = jobs.zip(to.chunks_mut((each * to_len).max(1)));
    spread(jobs, &Threads, |(from, to)| work(from, to));
}

/// Calls `pair` with the channels of each pixel of the input, and of each pixel of the output whose window covers it.
fn each_pair(
    samples: usize,
    [channels, height, width]: [usize; 3],
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
