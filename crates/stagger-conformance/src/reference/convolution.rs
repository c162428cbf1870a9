//! Convolution by its definition.

use stagger_engine::layered::{Convolution, ProductGrads, ProductWants};

use super::ReferenceTensor;

/// Calls `each` with the places of output, input and weight of every product of the convolution.
fn products(
    input: [usize; 4],
    weight: [usize; 4],
    output: [usize; 4],
    geometry: Convolution,
    mut each: impl FnMut(usize, usize, usize),
) {
    let [_, all_channels, height, width] = input;
    let [samples, outputs, out_height, out_width] = output;
    let [_, channels, kernel, _] = weight;
    let Convolution {
        stride,
        padding,
        groups,
        ..
    } = geometry;
    assert_eq!(channels * groups, all_channels);
    let outputs_of_group = outputs / groups;
    for to in 0..samples * outputs * out_height * out_width {
        let (line, column) = (to / out_width, to % out_width);
        let (image, row) = (line / out_height, line % out_height);
        let (sample, output) = (image / outputs, image % outputs);
        for channel in 0..channels {
            for tap in 0..kernel * kernel {
                let y = (row * stride + tap / kernel).checked_sub(padding);
                let x = (column * stride + tap % kernel).checked_sub(padding);
                let (Some(y), Some(x)) = (y.filter(|&y| y < height), x.filter(|&x| x < width))
                else {
                    continue;
                };
                let first = output / outputs_of_group * channels;
                let image = sample * all_channels + first + channel;
                let from = (image * height + y) * width + x;
                each(
                    to,
                    from,
                    (output * channels + channel) * kernel * kernel + tap,
                );
            }
        }
    }
}

pub(super) fn forward(
    input: &ReferenceTensor,
    weight: &ReferenceTensor,
    bias: Option<&ReferenceTensor>,
    geometry: Convolution,
) -> ReferenceTensor {
    let ([samples, _, height, width], [outputs, _, kernel, _]) = (input.sides(), weight.sides());
    let side = |side: usize| (side + 2 * geometry.padding - kernel) / geometry.stride + 1;
    let shape = [samples, outputs, side(height), side(width)];
    let mut output = vec![0.0; shape.iter().product()];
    products(
        input.sides(),
        weight.sides(),
        shape,
        geometry,
        |to, from, by| {
            output[to] += input.values[from] * weight.values[by];
        },
    );
    let output = ReferenceTensor::new(output, &shape);
    match bias {
        Some(bias) => output.by_channel(|value, channel| value + bias.values[channel]),
        None => output,
    }
}

pub(super) fn backward(
    input: &ReferenceTensor,
    weight: &ReferenceTensor,
    output_grad: &ReferenceTensor,
    geometry: Convolution,
    wants: ProductWants,
) -> ProductGrads<ReferenceTensor> {
    let mut input_grad = vec![0.0; input.values.len()];
    let mut weight_grad = vec![0.0; weight.values.len()];
    let shapes = (input.sides(), weight.sides(), output_grad.sides());
    products(shapes.0, shapes.1, shapes.2, geometry, |to, from, by| {
        let grad = output_grad.values[to];
        input_grad[from] += grad * weight.values[by];
        weight_grad[by] += grad * input.values[from];
    });
    let outputs = weight.shape[0];
    ProductGrads {
        input: wants
            .input
            .then(|| ReferenceTensor::new(input_grad, &input.shape)),
        weight: wants
            .weight
            .then(|| ReferenceTensor::new(weight_grad, &weight.shape)),
        bias: wants
            .bias
            .then(|| ReferenceTensor::new(output_grad.channel_sums(), &[outputs])),
    }
}
