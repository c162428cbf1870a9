//! Every kernel gives the same bits on any number of threads.

use proptest::prelude::*;
use stagger_engine::layered::{
    Convolution, Kernels, Normalization, NormalizationTape, ProductGrads, ProductWants, Subsample,
    Window,
};

use super::{channels_last, same, tensor};
use crate::channels_last::agreement::{FORCED, archs};
use crate::{Cpu, CpuTensor, threads};

/// Does the work on one thread, and on so many.
fn on_both(many: usize, work: impl Fn() -> Vec<Option<CpuTensor>>) -> Result<(), TestCaseError> {
    let on = |count: usize| {
        threads::set(count).unwrap();
        let found = work();
        threads::set(1).unwrap();
        found
    };
    let (alone, together) = (on(1), on(many));
    for (alone, together) in alone.iter().zip(&together) {
        match (alone, together) {
            (Some(alone), Some(together)) => same(together, alone)?,
            (alone, together) => prop_assert!(alone.is_none() && together.is_none()),
        }
    }
    Ok(())
}

fn gradients(grads: ProductGrads<CpuTensor>) -> [Option<CpuTensor>; 3] {
    [grads.input, grads.weight, grads.bias]
}

const ALL: ProductWants = ProductWants {
    input: true,
    weight: true,
    bias: true,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn convolutions(
        samples in 1..9_usize,
        (groups, inputs, outputs) in prop_oneof![
            (Just(1), 1..40_usize, 1..40_usize),
            (Just(1), Just(16_usize), prop::sample::select(vec![16_usize, 48])),
            (1..40_usize, Just(1), Just(1)),
            (2..6_usize, 1..6_usize, 1..6_usize),
        ],
        (kernel, stride) in prop_oneof![Just((3_usize, 1_usize)), (1..4_usize, 1..3_usize)],
        padding in 0..2_usize,
        (height, width) in (3..17_usize, 3..17_usize),
        (biased, winograd) in any::<(bool, bool)>(),
        arch in prop::sample::select(archs()),
        many in 2..9_usize,
    ) {
        FORCED.set(Some(arch));
        let geometry = Convolution { stride, padding, groups, winograd };
        let input = channels_last(tensor("input", &[samples, groups * inputs, height, width]));
        let weight = tensor("weight", &[groups * outputs, inputs, kernel, kernel]);
        let bias = biased.then(|| tensor("bias", &[groups * outputs]));
        on_both(many, || {
            let (input, weight) = (input.clone(), weight.clone());
            let output = Cpu::convolution(input.clone(), weight.clone(), bias.clone(), geometry).unwrap();
            let grad = tensor("grad", output.shape());
            let grads = Cpu::convolution_backward(input, weight, grad, geometry, ALL).unwrap();
            [Some(output)].into_iter().chain(gradients(grads)).collect()
        })?;
    }

    #[test]
    fn linear_layers(samples in 1..40_usize, inputs in 1..70_usize, outputs in 1..40_usize, many in 2..6_usize) {
        let (input, weight) = (tensor("input", &[samples, inputs]), tensor("weight", &[outputs, inputs]));
        on_both(many, || {
            let (input, weight) = (input.clone(), weight.clone());
            let output = Cpu::linear(input.clone(), weight.clone(), Some(tensor("bias", &[outputs]))).unwrap();
            let grad = tensor("grad", output.shape());
            let grads = Cpu::linear_backward(input, weight, grad, ALL).unwrap();
            [Some(output)].into_iter().chain(gradients(grads)).collect()
        })?;
    }

    #[test]
    fn normalizations(
        samples in 1..9_usize,
        channels in 1..70_usize,
        (height, width) in (2..24_usize, 2..24_usize),
        (relu, added) in any::<(bool, bool)>(),
        many in 2..6_usize,
    ) {
        let shape = [samples, channels, height, width];
        let with = Normalization {
            scale: tensor("scale", &[channels]), shift: tensor("shift", &[channels]), epsilon: 1e-5, relu,
        };
        let addend = added.then(|| tensor("addend", &shape));
        on_both(many, || {
            let input = tensor("input", &shape);
            let result = Cpu::normalize(input.clone(), &with, addend.clone(), true).unwrap();
            let output = result.output.clone();
            let (mean, variance) = (result.mean.clone(), result.variance.clone());
            let tape = NormalizationTape { input, addend: addend.clone().filter(|_| relu), added, result };
            let grads = Cpu::normalize_backward(tape, &with, tensor("grad", &shape)).unwrap();
            vec![output, Some(mean), Some(variance), Some(grads.input), Some(grads.scale), Some(grads.shift), grads.addend]
        })?;
    }

    #[test]
    fn the_rest(
        samples in 0..9_usize,
        channels in 1..70_usize,
        (height, width) in (2..24_usize, 2..24_usize),
        (kernel, stride) in (1..3_usize, 1..3_usize),
        many in 2..6_usize,
    ) {
        let shape = [samples, channels, height, width];
        let window = Window { kernel, stride, padding: 0 };
        let geometry = Subsample { stride, padding: 2 };
        on_both(many, || {
            let (a, b) = (channels_last(tensor("a", &shape)), channels_last(tensor("b", &shape)));
            let (maximum, maxima) = Cpu::max_pool(a.clone(), window).unwrap();
            let grad = tensor("grad", maximum.shape());
            let kept = Cpu::subsample(a.clone(), geometry).unwrap();
            let means = Cpu::global_average(a.clone()).unwrap();
            [
                Cpu::max_pool_backward(a.clone(), maxima, grad.clone(), window),
                Cpu::average_pool(a.clone(), window),
                Cpu::average_pool_backward(grad, shape, window),
                Cpu::subsample_backward(kept.clone(), shape, geometry),
                Cpu::global_average_backward(means.clone(), shape),
                Cpu::relu(a.clone()),
                Cpu::relu6_backward(a.clone(), b.clone()),
                Cpu::sum(a.clone(), b.clone(), true),
                Cpu::multiply(a.clone(), b.clone()),
                Cpu::blend(a.clone(), 0.5, b.clone(), 0.25),
                Cpu::concat(a.clone(), b.clone()),
                Cpu::channel_run(a.clone(), channels / 2, 1),
                Ok(maximum), Ok(kept), Ok(means),
            ].into_iter().map(|found| Some(found.unwrap())).collect()
        })?;
    }
}
