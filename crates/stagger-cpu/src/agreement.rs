//! The kernels against their definitions in `f64`, over random shapes and memory orders.

mod convolution;
mod threads;

use proptest::prelude::*;
use stagger_conformance::{DoublePrecision, Reference, ReferenceTensor, fixtures};
use stagger_engine::HostTensor;
use stagger_engine::layered::{
    Kernels, Normalization, NormalizationTape, ProductWants, Subsample, Window,
};

use crate::channels_last::agreement::{FORCED, archs};
use crate::{Cpu, CpuTensor};

fn tensor(name: &str, shape: &[usize]) -> CpuTensor {
    let values = fixtures::values(name, shape.iter().product());
    let data = values.into_iter().map(|value| value as f32).collect();
    CpuTensor::row_major(data, shape)
}

/// The same values in `f64`.
fn wide(tensor: &CpuTensor) -> ReferenceTensor {
    let HostTensor { shape, data } = tensor.to_host();
    let values: Vec<f64> = data.into_iter().map(f64::from).collect();
    Reference::tensor(&values, &shape)
}

fn channels_last(tensor: CpuTensor) -> CpuTensor {
    tensor.into_channels_last()
}

/// Equal to `f32` accuracy, relative to the largest value.
fn agree(what: &str, found: &CpuTensor, expected: &ReferenceTensor) -> Result<(), TestCaseError> {
    agree_within(DIRECT, what, found, expected)
}

/// Equal to this share of the largest value.
fn agree_within(
    share: f64,
    what: &str,
    found: &CpuTensor,
    expected: &ReferenceTensor,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.shape(), &Reference::shape(expected)[..]);
    let (found, expected) = (found.to_host().data, Reference::values(expected));
    let largest = expected
        .iter()
        .fold(1e-3_f64, |largest, value| largest.max(value.abs()));
    for (index, (&found, expected)) in found.iter().zip(&expected).enumerate() {
        prop_assert!(
            (f64::from(found) - expected).abs() <= share * largest,
            "{what}, element {index}: {found}, expected {expected}"
        );
    }
    Ok(())
}

/// What direct sums in `f32` are off by at most, as a share of the largest value.
const DIRECT: f64 = 3e-5;

/// The same bits, in whatever memory order.
fn same(found: &CpuTensor, expected: &CpuTensor) -> Result<(), TestCaseError> {
    let bits = |tensor: &CpuTensor| -> Vec<u32> {
        tensor
            .to_host()
            .data
            .iter()
            .map(|value| value.to_bits())
            .collect()
    };
    prop_assert_eq!(bits(found), bits(expected));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn normalization(
        samples in 1..4_usize,
        channels in 1..40_usize,
        (height, width) in (2..12_usize, 2..12_usize),
        relu: bool,
        added: bool,
        arch in prop::sample::select(archs()),
    ) {
        FORCED.set(Some(arch));
        let shape = [samples, channels, height, width];
        let (input, grad) = (tensor("input", &shape), tensor("grad", &shape));
        let addend = added.then(|| tensor("addend", &shape));
        let (scale, shift) = (tensor("scale", &[channels]), tensor("shift", &[channels]));
        let precise = Normalization {
            scale: wide(&scale), shift: wide(&shift), epsilon: 1e-5, relu,
        };
        let with = Normalization { scale, shift, epsilon: 1e-5, relu };
        let wide_addend = addend.as_ref().map(wide);
        let run = |input| Cpu::normalize(input, &with, addend.clone(), true).unwrap();
        let result = run(input.clone());
        let expected = Reference::normalize(wide(&input), &precise, wide_addend.clone(), true).unwrap();
        let output = result.output.clone().unwrap();
        agree("output", &output, expected.output.as_ref().unwrap())?;
        agree("mean", &result.mean, &expected.mean)?;
        agree("variance", &result.variance, &expected.variance)?;
        same(&run(channels_last(input.clone())).output.unwrap(), &output)?;
        let only_moments = Cpu::normalize(input.clone(), &with, addend.clone(), false).unwrap();
        prop_assert!(only_moments.output.is_none());
        same(&only_moments.variance, &result.variance)?;

        let by = |input| {
            let (mean, variance) = (result.mean.clone(), result.variance.clone());
            Cpu::normalize_by(input, &with, mean, variance, addend.clone()).unwrap()
        };
        same(&by(input.clone()), &output)?;
        same(&by(channels_last(input.clone())), &output)?;

        let pull = |input: CpuTensor, grad: CpuTensor| {
            let tape = NormalizationTape {
                input,
                addend: addend.clone().filter(|_| relu),
                added,
                result: stagger_engine::layered::Normalized { output: None, ..result.clone() },
            };
            Cpu::normalize_backward(tape, &with, grad).unwrap()
        };
        let grads = pull(input.clone(), grad.clone());
        let tape = NormalizationTape {
            input: wide(&input), addend: None, added, result: expected,
        };
        let expected = Reference::normalize_backward(tape, &precise, wide(&grad)).unwrap();
        agree("input gradient", &grads.input, &expected.input)?;
        agree("scale gradient", &grads.scale, &expected.scale)?;
        agree("shift gradient", &grads.shift, &expected.shift)?;
        prop_assert_eq!(grads.addend.is_some(), added);
        if let (Some(found), Some(expected)) = (&grads.addend, &expected.addend) {
            agree("addend's gradient", found, expected)?;
        }
        let again = pull(channels_last(input), channels_last(grad));
        same(&again.input, &grads.input)?;
        same(&again.scale, &grads.scale)?;
    }

    #[test]
    fn element_wise(
        samples in 1..4_usize,
        channels in 1..20_usize,
        (height, width) in (1..9_usize, 1..9_usize),
        relu: bool,
        stride in 1..4_usize,
        padding in 0..3_usize,
    ) {
        let shape = [samples, channels, height, width];
        let (a, b) = (tensor("a", &shape), tensor("b", &shape));
        agree("relu", &Cpu::relu(a.clone()).unwrap(), &Reference::relu(wide(&a)).unwrap())?;
        let found = Cpu::relu_backward(a.clone(), channels_last(b.clone())).unwrap();
        agree("relu backward", &found, &Reference::relu_backward(wide(&a), wide(&b)).unwrap())?;
        let wider = Cpu::scale(a.clone(), 10.0).unwrap();
        let output = Cpu::relu6(wider.clone()).unwrap();
        agree("relu6", &output, &Reference::relu6(wide(&wider)).unwrap())?;
        let expected = Reference::relu6_backward(wide(&output), wide(&b)).unwrap();
        let found = Cpu::relu6_backward(output, channels_last(b.clone())).unwrap();
        agree("relu6 backward", &found, &expected)?;
        let found = Cpu::sum(channels_last(a.clone()), b.clone(), relu).unwrap();
        agree("sum", &found, &Reference::sum(wide(&a), wide(&b), relu).unwrap())?;
        let expected = Reference::blend(wide(&a), 0.75, wide(&b), -1.3).unwrap();
        let found = Cpu::blend(a.clone(), 0.75, b.clone(), -1.3).unwrap();
        agree("blend", &found, &expected)?;
        let again = Cpu::blend(channels_last(a.clone()), 0.75, b.clone(), -1.3).unwrap();
        same(&again, &found)?;
        let found = Cpu::multiply(channels_last(a.clone()), b.clone()).unwrap();
        agree("product", &found, &Reference::multiply(wide(&a), wide(&b)).unwrap())?;
        let found = Cpu::scale(a.clone(), -0.3).unwrap();
        agree("scaled", &found, &Reference::scale(wide(&a), -0.3).unwrap())?;
        let found = Cpu::square_sum(&[&a, &b]).unwrap();
        let expected = Reference::square_sum(&[&wide(&a), &wide(&b)]).unwrap();
        prop_assert!((found - expected).abs() <= 1e-12 * expected);
        same(&a, &tensor("a", &shape))?;

        let other = tensor("other", &[samples, padding + 1, height, width]);
        let expected = Reference::concat(wide(&a), wide(&other)).unwrap();
        let found = Cpu::concat(channels_last(a.clone()), other.clone()).unwrap();
        agree("concatenation", &found, &expected)?;
        same(&Cpu::channel_run(found.clone(), 0, channels).unwrap(), &a)?;
        same(&Cpu::channel_run(found.clone(), channels, padding + 1).unwrap(), &other)?;
        let expected = Reference::channel_run(expected, channels - 1, 2).unwrap();
        agree("run of channels", &Cpu::channel_run(found, channels - 1, 2).unwrap(), &expected)?;

        let geometry = Subsample { stride, padding };
        let found = Cpu::subsample(a.clone(), geometry).unwrap();
        agree("subsample", &found, &Reference::subsample(wide(&a), geometry).unwrap())?;
        let grad = tensor("grad", found.shape());
        let expected = Reference::subsample_backward(wide(&grad), shape, geometry).unwrap();
        let found = Cpu::subsample_backward(grad, shape, geometry).unwrap();
        agree("subsample backward", &found, &expected)?;
    }

    #[test]
    fn pools(
        samples in 1..4_usize,
        channels in 1..20_usize,
        (height, width) in (3..9_usize, 3..9_usize),
        (kernel, padding) in prop::sample::select(vec![(1, 0), (2, 0), (2, 1), (3, 0), (3, 1)]),
        stride in 1..4_usize,
    ) {
        let shape = [samples, channels, height, width];
        let window = Window { kernel, stride, padding };
        // Few different values: many windows have several maxima.
        let input = Cpu::scale(tensor("input", &shape), 3.0).unwrap();
        let coarse = input.to_host().data.iter().map(|value| value.round()).collect();
        let input = CpuTensor::row_major(coarse, &shape);
        let (found, maxima) = Cpu::max_pool(channels_last(input.clone()), window).unwrap();
        let (expected, places) = Reference::max_pool(wide(&input), window).unwrap();
        agree("maximum", &found, &expected)?;
        let grad = tensor("grad", found.shape());
        let found = Cpu::max_pool_backward(input.clone(), maxima, grad.clone(), window).unwrap();
        let expected = Reference::max_pool_backward(wide(&input), places, wide(&grad), window).unwrap();
        agree("maximum backward", &found, &expected)?;

        let expected = Reference::average_pool(wide(&input), window).unwrap();
        let found = Cpu::average_pool(channels_last(input.clone()), window).unwrap();
        agree("average", &found, &expected)?;
        let expected = Reference::average_pool_backward(wide(&grad), shape, window).unwrap();
        let found = Cpu::average_pool_backward(grad, shape, window).unwrap();
        agree("average backward", &found, &expected)?;

        let found = Cpu::global_average(input.clone()).unwrap();
        agree("mean", &found, &Reference::global_average(wide(&input)).unwrap())?;
        let grad = tensor("grad", &[samples, channels, 1, 1]);
        let found = Cpu::global_average_backward(grad.clone(), shape).unwrap();
        let expected = Reference::global_average_backward(wide(&grad), shape).unwrap();
        agree("mean backward", &found, &expected)?;
    }

    #[test]
    fn linear(
        samples in 1..40_usize,
        inputs in 1..70_usize,
        outputs in 1..40_usize,
        arch in prop::sample::select(archs()),
        biased: bool,
    ) {
        FORCED.set(Some(arch));
        let (input, weight) = (tensor("input", &[samples, inputs]), tensor("weight", &[outputs, inputs]));
        let bias = biased.then(|| tensor("bias", &[outputs]));
        let wide_bias = bias.as_ref().map(wide);
        let found = Cpu::linear(input.clone(), weight.clone(), bias).unwrap();
        agree("output", &found, &Reference::linear(wide(&input), wide(&weight), wide_bias).unwrap())?;
        let grad = tensor("grad", &[samples, outputs]);
        let wants = ProductWants { input: true, weight: true, bias: biased };
        let expected = Reference::linear_backward(wide(&input), wide(&weight), wide(&grad), wants).unwrap();
        let found = Cpu::linear_backward(input, weight, grad, wants).unwrap();
        agree("input gradient", &found.input.unwrap(), &expected.input.unwrap())?;
        agree("weight gradient", &found.weight.unwrap(), &expected.weight.unwrap())?;
        prop_assert_eq!(found.bias.is_some(), biased);
        if let (Some(found), Some(expected)) = (&found.bias, &expected.bias) {
            agree("bias gradient", found, expected)?;
        }
    }
}

#[test]
fn relu_lets_nan_through() {
    let input = CpuTensor::row_major(vec![f32::NAN, -1.0, 2.0], &[1, 3, 1, 1]);
    let found = Cpu::relu(input).unwrap().to_host().data;
    assert!(found[0].is_nan());
    assert_eq!(found[1..], [0.0, 2.0]);
}

#[test]
fn a_maximum_lets_nan_through() {
    let input = CpuTensor::row_major(vec![5.0, f32::NAN, 1.0, 2.0], &[1, 1, 2, 2]);
    let window = Window {
        kernel: 2,
        stride: 2,
        padding: 0,
    };
    let (found, _) = Cpu::max_pool(input, window).unwrap();
    assert!(found.to_host().data[0].is_nan());
}
