//! The kernels against Burn's own operations in `f64`, over random shapes and memory orders.

use burn_backend::ops::FloatTensorOps;
use burn_backend::{FloatDType, TensorData, read_sync};
use burn_flex::{Flex, FlexDevice, FlexTensor};
use proptest::prelude::*;

use crate::burn::backend::{BurnKernels, Generic};
use crate::channels_last::agreement::{FORCED, archs};
use crate::layered::{Convolution, Normalization, ProductWants, Subsample};
use crate::random::{stream, unit};

use super::memory::channels_last;

type Reference = Generic<Flex>;

fn tensor(name: &str, shape: &[usize]) -> FlexTensor {
    let mut stream = stream(9, "test", name, 0);
    let len = shape.iter().product();
    let values: Vec<f32> = (0..len)
        .map(|_| (2.0 * unit(&mut stream) - 1.0) as f32)
        .collect();
    Flex::float_from_data(TensorData::new(values, shape.to_vec()), &FlexDevice)
}

fn wide(tensor: &FlexTensor) -> FlexTensor {
    Flex::float_cast(tensor.clone(), FloatDType::F64)
}

fn values(tensor: FlexTensor) -> Vec<f64> {
    let tensor = Flex::float_cast(tensor, FloatDType::F64);
    read_sync(Flex::float_into_data(tensor))
        .unwrap()
        .try_into_vec::<f64>()
        .unwrap()
}

/// Equal to `f32` accuracy, relative to the largest value.
fn agree(what: &str, found: FlexTensor, expected: FlexTensor) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.layout().shape(), expected.layout().shape());
    let (found, expected) = (values(found), values(expected));
    let largest = expected
        .iter()
        .fold(1e-3_f64, |largest, value| largest.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        prop_assert!(
            (found - expected).abs() <= 3e-5 * largest,
            "{what}, element {index}: {found}, expected {expected}"
        );
    }
    Ok(())
}

/// The same bits from another memory order.
fn same(found: FlexTensor, expected: &FlexTensor) -> Result<(), TestCaseError> {
    prop_assert_eq!(values(found), values(expected.clone()));
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn convolution(
        samples in 1..4_usize,
        channels in 1..20_usize,
        outputs in 1..40_usize,
        kernel in 1..4_usize,
        stride in 1..4_usize,
        padding in 0..3_usize,
        (height, width) in (3..12_usize, 3..20_usize),
        arch in prop::sample::select(archs()),
        biased: bool,
    ) {
        FORCED.set(Some(arch));

        let geometry = Convolution { stride, padding };
        let input = tensor("input", &[samples, channels, height, width]);
        let weight = tensor("weight", &[outputs, channels, kernel, kernel]);
        let bias = biased.then(|| tensor("bias", &[outputs]));
        let forward = |input: FlexTensor| {
            Flex::convolution(input, weight.clone(), bias.clone(), geometry)
        };
        let output = forward(input.clone());
        let wide_bias = bias.as_ref().map(wide);
        let expected = Reference::convolution(wide(&input), wide(&weight), wide_bias, geometry);

        agree("output", output.clone(), expected)?;
        same(forward(channels_last(input.clone())), &output)?;

        let grad = tensor("grad", &output.layout().shape().to_vec());
        let all = ProductWants { input: true, bias: true };
        let run = |input: FlexTensor, grad: FlexTensor| {
            Flex::convolution_backward(input, weight.clone(), grad, geometry, all)
        };
        let grads = run(input.clone(), grad.clone());
        let expected = Reference::convolution_backward(
            wide(&input), wide(&weight), wide(&grad), geometry, all,
        );
        agree("input gradient", grads.input.clone().unwrap(), expected.input.unwrap())?;
        agree("weight gradient", grads.weight.clone(), expected.weight)?;
        agree("bias gradient", grads.bias.unwrap(), expected.bias.unwrap())?;

        let again = run(channels_last(input.clone()), channels_last(grad.clone()));
        same(again.input.unwrap(), &grads.input.unwrap())?;
        same(again.weight, &grads.weight)?;
        let none = ProductWants { input: false, bias: false };
        let without = Flex::convolution_backward(input, weight, grad, geometry, none);
        prop_assert!(without.input.is_none() && without.bias.is_none());
        same(without.weight, &grads.weight)?;
    }

    #[test]
    fn normalization(
        samples in 1..4_usize,
        channels in 1..40_usize,
        (height, width) in (2..12_usize, 2..12_usize),
        relu: bool,
        arch in prop::sample::select(archs()),
    ) {
        FORCED.set(Some(arch));
        let shape = [samples, channels, height, width];
        let (input, grad) = (tensor("input", &shape), tensor("grad", &shape));
        let (scale, shift) = (tensor("scale", &[channels]), tensor("shift", &[channels]));
        let precise = Normalization {
            scale: wide(&scale), shift: wide(&shift), epsilon: 1e-5, relu,
        };
        let with = Normalization { scale, shift, epsilon: 1e-5, relu };
        let result = Flex::normalize(input.clone(), &with);
        let expected = Reference::normalize(wide(&input), &precise);
        agree("output", result.output.clone().unwrap(), expected.output.clone().unwrap())?;
        agree("mean", result.mean.clone(), expected.mean.clone())?;
        agree("variance", result.variance.clone(), expected.variance.clone())?;
        let output = result.output.clone().unwrap();
        let again = Flex::normalize(channels_last(input.clone()), &with).output.unwrap();
        same(again, &output)?;

        let by = |input| {
            Flex::normalize_by(input, &with, result.mean.clone(), result.variance.clone())
        };
        same(by(input.clone()), &output)?;
        same(by(channels_last(input.clone())), &output)?;

        let grads = Flex::normalize_backward(input.clone(), result.clone(), &with, grad.clone());
        let expected =
            Reference::normalize_backward(wide(&input), expected, &precise, wide(&grad));
        agree("input gradient", grads.input.clone(), expected.input)?;
        agree("scale gradient", grads.scale.clone(), expected.scale)?;
        agree("shift gradient", grads.shift.clone(), expected.shift)?;
        let (input, grad) = (channels_last(input), channels_last(grad));
        let again = Flex::normalize_backward(input, result, &with, grad);
        same(again.input, &grads.input)?;
        same(again.scale, &grads.scale)?;
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
        agree("relu", Flex::relu(a.clone()), Reference::relu(wide(&a)))?;
        let found = Flex::relu_backward(a.clone(), channels_last(b.clone()));
        agree("relu backward", found, Reference::relu_backward(wide(&a), wide(&b)))?;
        let found = Flex::sum(channels_last(a.clone()), b.clone(), relu);
        agree("sum", found, Reference::sum(wide(&a), wide(&b), relu))?;
        let expected = Reference::blend(wide(&a), 0.75, wide(&b), -1.3);
        let found = Flex::blend(a.clone(), 0.75, b.clone(), -1.3);
        agree("blend", found.clone(), expected)?;
        same(Flex::blend(channels_last(a.clone()), 0.75, b.clone(), -1.3), &found)?;
        same(a.clone(), &tensor("a", &shape))?;

        let geometry = Subsample { stride, padding };
        let found = Flex::subsample(a.clone(), geometry);
        agree("subsample", found.clone(), Reference::subsample(wide(&a), geometry))?;
        let grad = tensor("grad", &found.layout().shape().to_vec());
        let expected = Reference::subsample_backward(wide(&grad), shape, geometry);
        agree("subsample backward", Flex::subsample_backward(grad, shape, geometry), expected)?;
    }
}

#[test]
fn relu_lets_nan_through() {
    let data = TensorData::new(vec![f32::NAN, -1.0, 2.0], vec![1, 3, 1, 1]);
    let found = values(Flex::relu(Flex::float_from_data(data, &FlexDevice)));
    assert!(found[0].is_nan());
    assert_eq!(found[1..], [0.0, 2.0]);
}
