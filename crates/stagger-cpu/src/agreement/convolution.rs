//! Convolutions of all channels, of groups, and of each channel by itself; by direct sums and by Winograd's method.

use proptest::prelude::*;
use stagger_conformance::Reference;
use stagger_engine::HostTensor;
use stagger_engine::layered::{Convolution, Kernels, ProductWants};

use super::{DIRECT, agree_within, channels_last, same, tensor, wide};
use crate::channels_last::agreement::{FORCED, archs};
use crate::{Cpu, CpuTensor, winograd};

/// What Winograd's method is off by at most, as a share of the largest value: tiles of 4×4 multiply by up to 8 and 1/24.
const WINOGRAD: f64 = 1e-4;

/// A convolution and its gradients agree with their definition, whatever the memory order, and whichever gradients are asked for.
fn convolves(
    input: [usize; 4],
    weight: [usize; 4],
    biased: bool,
    geometry: Convolution,
) -> Result<(), TestCaseError> {
    let (input, weight) = (tensor("input", &input), tensor("weight", &weight));
    let bias = biased.then(|| tensor("bias", &weight.shape()[..1]));
    let share = if geometry.winograd { WINOGRAD } else { DIRECT };
    let forward =
        |input: CpuTensor| Cpu::convolution(input, weight.clone(), bias.clone(), geometry).unwrap();
    let output = forward(input.clone());
    let wide_bias = bias.as_ref().map(wide);
    let expected =
        Reference::convolution(wide(&input), wide(&weight), wide_bias, geometry).unwrap();

    agree_within(share, "output", &output, &expected)?;
    same(&forward(channels_last(input.clone())), &output)?;

    let grad = tensor("grad", output.shape());
    let all = ProductWants {
        input: true,
        weight: true,
        bias: true,
    };
    let run = |input: CpuTensor, grad: CpuTensor| {
        Cpu::convolution_backward(input, weight.clone(), grad, geometry, all).unwrap()
    };
    let grads = run(input.clone(), grad.clone());
    let expected =
        Reference::convolution_backward(wide(&input), wide(&weight), wide(&grad), geometry, all)
            .unwrap();
    let input_grad = grads.input.unwrap();
    agree_within(
        share,
        "input gradient",
        &input_grad,
        &expected.input.unwrap(),
    )?;
    agree_within(
        share,
        "weight gradient",
        grads.weight.as_ref().unwrap(),
        &expected.weight.unwrap(),
    )?;
    agree_within(
        share,
        "bias gradient",
        &grads.bias.unwrap(),
        &expected.bias.unwrap(),
    )?;

    let again = run(channels_last(input.clone()), channels_last(grad.clone()));
    same(&again.input.unwrap(), &input_grad)?;
    same(&again.weight.unwrap(), grads.weight.as_ref().unwrap())?;
    let only = |input_grad| {
        let wants = ProductWants {
            input: input_grad,
            weight: !input_grad,
            bias: false,
        };
        let (input, weight, grad) = (input.clone(), weight.clone(), grad.clone());
        Cpu::convolution_backward(input, weight, grad, geometry, wants).unwrap()
    };
    let of_input = only(true);
    prop_assert!(of_input.weight.is_none() && of_input.bias.is_none());
    same(&of_input.input.unwrap(), &input_grad)?;
    let of_weight = only(false);
    prop_assert!(of_weight.input.is_none() && of_weight.bias.is_none());
    same(&of_weight.weight.unwrap(), &grads.weight.unwrap())?;
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
        padding in 0..4_usize,
        (height, width) in (3..12_usize, 3..20_usize),
        arch in prop::sample::select(archs()),
        biased: bool,
    ) {
        FORCED.set(Some(arch));

        let geometry = Convolution { stride, padding, groups: 1, winograd: false };
        let weight = [outputs, channels, kernel, kernel];
        convolves([samples, channels, height, width], weight, biased, geometry)?;
    }

    #[test]
    fn depthwise_convolution(
        samples in 1..4_usize,
        channels in 1..70_usize,
        kernel in 1..6_usize,
        stride in 1..4_usize,
        padding in 0..4_usize,
        (height, width) in (5..12_usize, 5..20_usize),
        arch in prop::sample::select(archs()),
        biased: bool,
    ) {
        FORCED.set(Some(arch));
        let geometry = Convolution { stride, padding, groups: channels, winograd: true };
        let weight = [channels, 1, kernel, kernel];
        convolves([samples, channels, height, width], weight, biased, geometry)?;
    }

    #[test]
    fn convolution_in_groups(
        samples in 1..4_usize,
        (groups, inputs, outputs) in (1..6_usize, 1..12_usize, 1..12_usize),
        kernel in 1..4_usize,
        stride in 1..4_usize,
        padding in 0..4_usize,
        (height, width) in (3..12_usize, 3..20_usize),
        arch in prop::sample::select(archs()),
        (biased, winograd) in any::<(bool, bool)>(),
    ) {
        FORCED.set(Some(arch));
        let geometry = Convolution { stride, padding, groups, winograd };
        let weight = [groups * outputs, inputs, kernel, kernel];
        convolves([samples, groups * inputs, height, width], weight, biased, geometry)?;
    }

    #[test]
    fn by_winograd_s_method(
        samples in 1..4_usize,
        channels in prop::sample::select(vec![16_usize, 32, 48]),
        outputs in prop::sample::select(vec![16_usize, 32, 48]),
        padding in 0..3_usize,
        (height, width) in (3..12_usize, 3..20_usize),
        arch in prop::sample::select(archs()),
        biased: bool,
    ) {
        FORCED.set(Some(arch));
        let geometry = Convolution { stride: 1, padding, groups: 1, winograd: true };
        let input = tensor("input", &[samples, channels, height, width]);
        let weight = tensor("weight", &[outputs, channels, 3, 3]);
        let bias = biased.then(|| tensor("bias", &[outputs]));
        let output = Cpu::convolution(input.clone(), weight.clone(), bias.clone(), geometry).unwrap();
        let (wide_input, wide_weight) = (wide(&input), wide(&weight));
        let expected = Reference::convolution(wide_input.clone(), wide_weight.clone(), bias.as_ref().map(wide), geometry).unwrap();
        agree_within(WINOGRAD, "output", &output, &expected)?;
        let direct = Convolution { winograd: false, ..geometry };
        let by_sums = Cpu::convolution(input.clone(), weight.clone(), bias.clone(), direct).unwrap();
        let sides = [output.sides()[2], output.sides()[3]];
        let has_tile = winograd::tile(geometry, weight.sides(), sides).is_some();
        prop_assert_eq!(same(&output, &by_sums).is_err(), has_tile);

        let grad = tensor("grad", output.shape());
        let all = ProductWants { input: true, weight: true, bias: true };
        let expected = Reference::convolution_backward(wide_input, wide_weight, wide(&grad), geometry, all).unwrap();
        let grads = Cpu::convolution_backward(input.clone(), weight.clone(), grad, geometry, all).unwrap();
        agree_within(WINOGRAD, "input gradient", &grads.input.unwrap(), &expected.input.unwrap())?;
        agree_within(WINOGRAD, "weight gradient", &grads.weight.unwrap(), &expected.weight.unwrap())?;
        agree_within(WINOGRAD, "bias gradient", &grads.bias.unwrap(), &expected.bias.unwrap())?;

        // A sample's bits do not depend on those that run beside it.
        let values = Cpu::download(&output).unwrap().data;
        let one = |number: usize| {
            let HostTensor { data, .. } = Cpu::download(&input).unwrap();
            let len = data.len() / samples;
            let data = data[number * len..][..len].to_vec();
            CpuTensor::row_major(data, &[1, channels, height, width])
        };
        for (number, values) in values.chunks(values.len() / samples).enumerate() {
            let alone = Cpu::convolution(one(number), weight.clone(), bias.clone(), geometry).unwrap();
            prop_assert_eq!(&Cpu::download(&alone).unwrap().data[..], values);
        }
    }
}
