//! Square windows over images.

use stagger_engine::layered::Window;

use super::ReferenceTensor;

/// The maximum of each window, with its place in the image: the first in row-major order among equal values.
pub(super) fn maxima(input: &ReferenceTensor, window: Window) -> (ReferenceTensor, Vec<usize>) {
    let [samples, channels, height, width] = input.sides();
    let side = |side: usize| (side + 2 * window.padding - window.kernel) / window.stride + 1;
    let (out_height, out_width) = (side(height), side(width));
    let (mut values, mut places) = (Vec::new(), Vec::new());
    for image in 0..samples * channels {
        for row in 0..out_height {
            for column in 0..out_width {
                let mut most: Option<(f64, usize)> = None;
                for tap in 0..window.kernel * window.kernel {
                    let y = (row * window.stride + tap / window.kernel).checked_sub(window.padding);
                    let x =
                        (column * window.stride + tap % window.kernel).checked_sub(window.padding);
                    let (Some(y), Some(x)) = (y.filter(|&y| y < height), x.filter(|&x| x < width))
                    else {
                        continue;
                    };
                    let place = image * height * width + y * width + x;
                    let value = input.values[place];
                    if most.is_none_or(|(most, _)| value > most) {
                        most = Some((value, place));
                    }
                }
                let (value, place) = most.unwrap_or((f64::NEG_INFINITY, 0));
                values.push(value);
                places.push(place);
            }
        }
    }
    let shape = [samples, channels, out_height, out_width];
    (ReferenceTensor::new(values, &shape), places)
}

/// Calls `pair` with each place of an input and each of an output whose window covers it, of sides `[N, C, H, W]`.
pub(super) fn pairs(
    [samples, channels, height, width]: [usize; 4],
    [_, _, out_height, out_width]: [usize; 4],
    window: Window,
    mut pair: impl FnMut(usize, usize),
) {
    let Window {
        kernel,
        stride,
        padding,
    } = window;
    for to in 0..samples * channels * out_height * out_width {
        let (line, column) = (to / out_width, to % out_width);
        let (image, row) = (line / out_height, line % out_height);
        for tap in 0..kernel * kernel {
            let y = (row * stride + tap / kernel).checked_sub(padding);
            let x = (column * stride + tap % kernel).checked_sub(padding);
            if let (Some(y), Some(x)) = (y.filter(|&y| y < height), x.filter(|&x| x < width)) {
                pair((image * height + y) * width + x, to);
            }
        }
    }
}
