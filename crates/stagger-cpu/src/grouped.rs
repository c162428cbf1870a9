//! Convolutions in groups, by the kernels of convolutions without: each group has its channels copied out, and its results put in.
//!
//! Groups of few channels would leave most of a vector empty. So neighbouring ones are bundled until they fill it, as one convolution
//! whose weights between groups are 0: as many multiplications in all, fewer copies, and Winograd's method where it suits the bundle. A
//! value that is not finite reaches all groups of its bundle.

use std::ops::Range;

use stagger_engine::layered::Convolution;

use crate::buffers::take;
use crate::channels_last::{Run, put_run, take_run};
use crate::threads::Threads;
use crate::{CpuTensor, correlate, correlate_weight, input_grad as whole_input_grad};

/// Channels that a bundle has at least on both sides: a vector of the widest instruction set, so that all machines bundle alike.
const CHANNELS: usize = 16;

/// How the channels are grouped.
#[derive(Clone, Copy)]
struct Groups {
    groups: usize,
    /// Channels of the input per group.
    inputs: usize,
    /// Channels of the output per group.
    outputs: usize,
    /// Rows times columns of the kernel.
    taps: usize,
    kernel: usize,
}

impl Groups {
    fn of(geometry: Convolution, [outputs, inputs, kernel, _]: [usize; 4]) -> Self {
        Self {
            groups: geometry.groups,
            inputs,
            outputs: outputs / geometry.groups,
            taps: kernel * kernel,
            kernel,
        }
    }

    /// Runs of groups that are one convolution each.
    fn bundles(self) -> impl Iterator<Item = Range<usize>> {
        let step = CHANNELS.div_ceil(self.inputs.min(self.outputs).max(1));
        let firsts = (0..self.groups).step_by(step);
        firsts.map(move |first| first..self.groups.min(first + step))
    }

    /// Their channels in the input.
    fn inputs(self, bundle: &Range<usize>) -> Run {
        run(bundle, self.inputs, self.groups)
    }

    /// Their channels in the output.
    fn outputs(self, bundle: &Range<usize>) -> Run {
        run(bundle, self.outputs, self.groups)
    }

    /// Where the weights of one output channel of the bundle, by its number there, are: in the weights of all groups, and in those of the
    /// bundle as one convolution.
    fn places(self, bundle: &Range<usize>, output: usize) -> (Range<usize>, Range<usize>) {
        let len = self.inputs * self.taps;
        let own = (bundle.start * self.outputs + output) * len;
        let dense = (output * bundle.len() + output / self.outputs) * len;
        (own..own + len, dense..dense + len)
    }

    /// The weight of a bundle as one convolution.
    fn bundled(self, weights: &[f32], bundle: &Range<usize>) -> CpuTensor {
        let (inputs, outputs) = (bundle.len() * self.inputs, bundle.len() * self.outputs);
        let mut dense = vec![0.0; outputs * inputs * self.taps];
        for output in 0..outputs {
            let (own, place) = self.places(bundle, output);
            dense[place].copy_from_slice(&weights[own]);
        }
        CpuTensor::row_major(dense, &[outputs, inputs, self.kernel, self.kernel])
    }
}

fn run(bundle: &Range<usize>, channels: usize, groups: usize) -> Run {
    Run {
        pixel: groups * channels,
        first: bundle.start * channels,
        len: bundle.len() * channels,
    }
}

fn alone(geometry: Convolution) -> Convolution {
    Convolution {
        groups: 1,
        ..geometry
    }
}

/// A run of channels as a tensor of its own; `tensor` is channels-last.
fn taken(tensor: &CpuTensor, run: Run) -> CpuTensor {
    let [samples, _, height, width] = tensor.sides();
    let mut values = take(samples * height * width * run.len);
    take_run(tensor.values(), run, &mut values, &Threads);
    CpuTensor::channels_last(values, [samples, run.len, height, width])
}

/// `[N, C, H, W]`, channels-last, with `[O, C / groups, k, k]` to `[N, O, H', W']`.
pub(crate) fn forward(
    input: &CpuTensor,
    weight: CpuTensor,
    bias: Option<CpuTensor>,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.into_row_major();
    let groups = Groups::of(geometry, weight.sides());
    let mut output: Option<(Vec<f32>, [usize; 4])> = None;
    for bundle in groups.bundles() {
        let (inputs, outputs) = (groups.inputs(&bundle), groups.outputs(&bundle));
        let bias = bias.as_ref().map(|bias| {
            let values = &bias.values()[outputs.first..][..outputs.len];
            CpuTensor::row_major(values.to_vec(), &[outputs.len])
        });
        let dense = groups.bundled(weight.values(), &bundle);
        let part = correlate::forward(&taken(input, inputs), dense, bias, alone(geometry));
        let [samples, _, height, width] = part.sides();
        let sides = [samples, outputs.pixel, height, width];
        let (values, _) = output.get_or_insert_with(|| (take(sides.iter().product()), sides));
        put_run(part.values(), outputs, values, &Threads);
    }
    let (values, sides) = output.unwrap_or_default();
    CpuTensor::channels_last(values, sides)
}

/// The gradient of an input of these sides; `output_grad` has to be channels-last.
pub(crate) fn input_grad(
    input_sides: [usize; 4],
    weight: CpuTensor,
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let weight = weight.into_row_major();
    let groups = Groups::of(geometry, weight.sides());
    let [samples, _, height, width] = input_sides;
    let mut values = take(input_sides.iter().product());
    for bundle in groups.bundles() {
        let inputs = groups.inputs(&bundle);
        let part = whole_input_grad::input_grad(
            [samples, inputs.len, height, width],
            groups.bundled(weight.values(), &bundle),
            &taken(output_grad, groups.outputs(&bundle)),
            alone(geometry),
        );
        put_run(part.values(), inputs, &mut values, &Threads);
    }
    CpuTensor::channels_last(values, input_sides)
}

/// The gradient of a weight of sides `weight`, `[O, C / groups, k, k]`; `input` and `output_grad` have to be channels-last.
pub(crate) fn weight_grad(
    input: &CpuTensor,
    weight: [usize; 4],
    output_grad: &CpuTensor,
    geometry: Convolution,
) -> CpuTensor {
    let groups = Groups::of(geometry, weight);
    let mut gradient = vec![0.0; weight.iter().product()];
    for bundle in groups.bundles() {
        let (inputs, outputs) = (groups.inputs(&bundle), groups.outputs(&bundle));
        let dense = correlate_weight::weight_grad(
            &taken(input, inputs),
            [outputs.len, inputs.len, groups.kernel, groups.kernel],
            &taken(output_grad, outputs),
            alone(geometry),
        );
        for output in 0..outputs.len {
            let (own, place) = groups.places(&bundle, output);
            gradient[own].copy_from_slice(&dense.values()[place]);
        }
    }
    CpuTensor::row_major(gradient, &weight)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_bundled_until_they_fill_a_vector() {
        let bundles = |groups, inputs, outputs| {
            let geometry = Convolution {
                stride: 1,
                padding: 1,
                groups,
                winograd: true,
            };
            let groups = Groups::of(geometry, [groups * outputs, inputs, 3, 3]);
            groups.bundles().collect::<Vec<_>>()
        };
        assert_eq!(bundles(2, 64, 64), [0..1, 1..2]);
        assert_eq!(bundles(8, 4, 8), [0..4, 4..8]);
        // The last may have fewer.
        assert_eq!(bundles(5, 7, 6), [0..3, 3..5]);
        assert_eq!(bundles(3, 2, 1), [Range { start: 0, end: 3 }]);
    }
}
