//! Which kernel makes a convolution: those of all channels, of each channel by itself, or of groups one by one.

use stagger_engine::layered::{Convolution, ProductGrads, ProductWants};

use crate::channels_last::channel_sums;
use crate::threads::Threads;
use crate::{CpuTensor, correlate, correlate_weight, depthwise, grouped, input_grad};

/// How the channels of a convolution are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Grouping {
    /// Every output sums up all inputs.
    None,
    /// As many groups as inputs and as outputs.
    Depthwise,
    /// Anything between.
    Groups,
}

impl Grouping {
    /// For a weight of sides `[O, C / groups, k, k]`.
    fn of(geometry: Convolution, [outputs, inputs, ..]: [usize; 4]) -> Self {
        match geometry.groups {
            1 => Self::None,
            groups if groups == outputs && inputs == 1 => Self::Depthwise,
            _ => Self::Groups,
        }
    }
}

/// `[N, C, H, W]` with `[O, C / groups, k, k]` to `[N, O, H', W']`.
pub(crate) fn forward(
    input: CpuTensor,
    weight: CpuTensor,
    bias: Option<CpuTensor>,
    geometry: Convolution,
) -> CpuTensor {
    let input = input.into_channels_last();
    match Grouping::of(geometry, weight.sides()) {
        Grouping::None => correlate::forward(&input, weight, bias, geometry),
        Grouping::Depthwise => depthwise::forward(&input, weight, bias, geometry),
        Grouping::Groups => grouped::forward(&input, weight, bias, geometry),
    }
}

/// Gradients of [`forward`].
pub(crate) fn backward(
    input: CpuTensor,
    weight: CpuTensor,
    output_grad: CpuTensor,
    geometry: Convolution,
    wants: ProductWants,
) -> ProductGrads<CpuTensor> {
    let (input, output_grad) = (input.into_channels_last(), output_grad.into_channels_last());
    let sides = weight.sides();
    let grouping = Grouping::of(geometry, sides);
    let weight_grad = wants.weight.then(|| match grouping {
        Grouping::None => correlate_weight::weight_grad(&input, sides, &output_grad, geometry),
        Grouping::Depthwise => depthwise::weight_grad(&input, sides, &output_grad, geometry),
        Grouping::Groups => grouped::weight_grad(&input, sides, &output_grad, geometry),
    });
    let input_sides = input.sides();
    drop(input);
    let input_grad = wants.input.then(|| match grouping {
        Grouping::None => input_grad::input_grad(input_sides, weight, &output_grad, geometry),
        Grouping::Depthwise if geometry.padding < sides[2] => {
            depthwise::input_grad(input_sides, weight, &output_grad, geometry)
        }
        _ => grouped::input_grad(input_sides, weight, &output_grad, geometry),
    });
    let bias = wants.bias.then(|| {
        let sums = channel_sums(output_grad.values(), sides[0], &Threads);
        CpuTensor::row_major(sums, &[sides[0]])
    });
    ProductGrads {
        input: input_grad,
        weight: weight_grad,
        bias,
    }
}
