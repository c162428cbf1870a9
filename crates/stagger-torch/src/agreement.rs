//! The fused loops against the compositions of libtorch's operations, and both optimizer steps against their reference,
//! all on the CPU: what runs on GPUs is tested where there is none.

mod steps;

use tch::{Kind, Tensor};

use stagger_engine::layered::{
    Normalization, NormalizationGrads, NormalizationTape, Normalized, Subsample,
};

use super::order::ordered;
use super::tensor::sides;
use super::{TorchTensor, direct, library};

/// Largest difference allowed, as a share of the largest value: a few roundings of `f32`, after sums of up to 200 terms.
const F32: f64 = 2e-6;

/// Values between −1 and 1, in memory with no other handle.
fn tensor(name: &str, shape: &[usize]) -> Tensor {
    let len = shape.iter().product();
    let values = stagger_conformance::fixtures::values(name, len);
    let values: Vec<f32> = values.into_iter().map(|value| value as f32).collect();
    ordered(Tensor::from_slice(&values).reshape(sides(shape))).unwrap()
}

/// As [`F32`], where values are rounded to 8 bits once or twice on the way.
const BF16: f64 = 8e-3;

fn values(tensor: &Tensor) -> Vec<f64> {
    let rows = tensor.to_kind(Kind::Double).contiguous().view(-1);
    rows.try_into().unwrap()
}

#[track_caller]
fn agree(found: &Tensor, expected: &Tensor, share: f64) {
    assert_eq!(found.size(), expected.size());
    let (found, expected) = (values(found), values(expected));
    let largest = expected
        .iter()
        .fold(1e-3_f64, |size, value| size.max(value.abs()));
    for (at, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert!(
            (found - expected).abs() <= share * largest,
            "element {at}: {found} is not {expected}, largest value {largest}"
        );
    }
}

/// Runs with a tensor of its own, which may be written over, and with one that has another handle, which may not: the
/// same bits.
#[track_caller]
fn with_either(input: &Tensor, run: impl Fn(Tensor) -> Tensor) -> Tensor {
    let before = values(input);
    let shared = run(input.shallow_clone());
    assert_eq!(values(input), before, "a shared tensor was written to");
    let own = run(ordered(input.copy()).unwrap());
    assert_eq!(values(&own), values(&shared));
    own
}

/// Batches, channels around vector widths, and odd sides.
const SHAPES: [[usize; 4]; 5] = [
    [2, 3, 5, 4],
    [1, 16, 3, 3],
    [3, 17, 2, 5],
    [4, 64, 1, 2],
    [2, 1, 7, 7],
];

struct Case {
    input: Tensor,
    addend: Option<Tensor>,
    grad: Tensor,
    with: Normalization<TorchTensor>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in SHAPES {
        for (added, relu) in [(false, false), (false, true), (true, false), (true, true)] {
            let channels = [shape[1]];
            cases.push(Case {
                input: tensor("input", &shape),
                addend: added.then(|| tensor("addend", &shape)),
                grad: tensor("grad", &shape),
                with: Normalization {
                    scale: (tensor("scale", &channels) + 1.5).into(),
                    shift: tensor("shift", &channels).into(),
                    epsilon: 1e-5,
                    relu,
                },
            });
        }
    }
    cases
}

impl Case {
    fn addend(&self) -> Option<TorchTensor> {
        let addend = self.addend.as_ref();
        addend.map(|addend| addend.shallow_clone().into())
    }

    fn normalized(&self) -> Normalized<TorchTensor> {
        library::normalize(&self.input, &self.with, self.addend(), true).unwrap()
    }

    /// What a recorded pass leaves, as the compositions or as the loops want it.
    fn tape(&self, input: Tensor, keeps_output: bool) -> NormalizationTape<TorchTensor> {
        let result = self.normalized();
        NormalizationTape {
            input: input.into(),
            addend: self.addend().filter(|_| !keeps_output && self.with.relu),
            added: self.addend.is_some(),
            result: Normalized {
                output: result.output.filter(|_| keeps_output && self.with.relu),
                ..result
            },
        }
    }
}

/// In bfloat16 parameters, statistics and their gradients stay in 32 bits, on both ways.
#[test]
fn normalisation_in_bf16() {
    let rounded = |tensor: &Tensor| tensor.to_kind(Kind::BFloat16);
    for case in cases() {
        let case = Case {
            input: rounded(&case.input),
            addend: case.addend.as_ref().map(rounded),
            grad: rounded(&case.grad),
            ..case
        };
        let input = || case.input.shallow_clone();
        let expected = case.normalized();
        let found = direct::normalize(input(), &case.with, case.addend(), true).unwrap();
        for normalized in [&found, &expected] {
            assert_eq!(as_tensor(normalized.output.as_ref()).kind(), Kind::BFloat16);
            assert_eq!(normalized.mean.as_tensor().kind(), Kind::Float);
            assert_eq!(normalized.variance.as_tensor().kind(), Kind::Float);
        }
        let expected_output = as_tensor(expected.output.as_ref());
        agree(as_tensor(found.output.as_ref()), expected_output, BF16);
        agree(found.mean.as_tensor(), expected.mean.as_tensor(), F32);
        agree(
            found.variance.as_tensor(),
            expected.variance.as_tensor(),
            F32,
        );

        // The two round differently before the ReLU. Where its input is that close to 0, they may differ in what it cuts off:
        // there the gradient is 0.
        let before_relu = Normalization {
            relu: false,
            ..case.with.clone()
        };
        let before_relu = direct::normalize(input(), &before_relu, case.addend(), true).unwrap();
        let is_far = as_tensor(before_relu.output.as_ref()).abs().gt(0.05);
        let grad = || rounded(&(&case.grad * &is_far));
        let expected = library::normalize_backward(&case.tape(input(), true), &case.with, grad());
        let found = direct::normalize_backward(case.tape(input(), false), &case.with, grad());
        let (found, expected) = (found.unwrap(), expected.unwrap());
        for grads in [&found, &expected] {
            assert_eq!(grads.input.as_tensor().kind(), Kind::BFloat16);
            assert_eq!(grads.scale.as_tensor().kind(), Kind::Float);
            assert_eq!(grads.shift.as_tensor().kind(), Kind::Float);
        }
        agree(found.input.as_tensor(), expected.input.as_tensor(), BF16);
        agree(found.scale.as_tensor(), expected.scale.as_tensor(), BF16);
        agree(found.shift.as_tensor(), expected.shift.as_tensor(), BF16);
    }
}

fn as_tensor(tensor: Option<&TorchTensor>) -> &Tensor {
    tensor.unwrap().as_tensor()
}

#[test]
fn normalisation() {
    for case in cases() {
        let expected = case.normalized();
        let output = with_either(&case.input, |input| {
            let found = direct::normalize(input, &case.with, case.addend(), true).unwrap();
            agree(found.mean.as_tensor(), expected.mean.as_tensor(), F32);
            agree(
                found.variance.as_tensor(),
                expected.variance.as_tensor(),
                F32,
            );
            found.output.unwrap().into_tensor()
        });
        agree(&output, as_tensor(expected.output.as_ref()), F32);
    }
}

/// What a pass leaves for its way back must not depend on whether somebody reads its output.
#[test]
fn statistics_are_the_same_bits_without_the_output() {
    for case in cases() {
        let input = || case.input.shallow_clone();
        let with = direct::normalize(input(), &case.with, case.addend(), true).unwrap();
        let without = direct::normalize(input(), &case.with, case.addend(), false).unwrap();
        let composed = library::normalize(&case.input, &case.with, case.addend(), false).unwrap();
        for (found, expected) in [(without, with), (composed, case.normalized())] {
            assert!(found.output.is_none());
            assert_eq!(found.mean.as_tensor(), expected.mean.as_tensor());
            assert_eq!(found.variance.as_tensor(), expected.variance.as_tensor());
        }
    }
}

#[test]
fn normalisation_by_given_statistics() {
    for case in cases() {
        let mean = tensor("mean", &[case.with.scale.as_tensor().numel()]);
        let variance = tensor("variance", &[mean.numel()]).abs() + 0.1;
        let (with, addend) = (&case.with, case.addend());
        let expected = library::normalize_by(&case.input, with, &mean, &variance, addend);
        let found = with_either(&case.input, |input| {
            direct::normalize_by(input, with, &mean, &variance, case.addend()).unwrap()
        });
        agree(&found, &expected.unwrap(), F32);
    }
}

#[test]
fn gradients_of_normalisation() {
    for case in cases() {
        let grad = || case.grad.shallow_clone();
        let tape = case.tape(case.input.shallow_clone(), true);
        let expected = library::normalize_backward(&tape, &case.with, grad()).unwrap();
        let check = |found: &NormalizationGrads<TorchTensor>| {
            agree(
                found.input.as_tensor(),
                expected.input.as_tensor(),
                2.0 * F32,
            );
            agree(found.scale.as_tensor(), expected.scale.as_tensor(), F32);
            agree(found.shift.as_tensor(), expected.shift.as_tensor(), F32);
            assert_eq!(found.addend.is_some(), expected.addend.is_some());
            if let Some(addend) = &found.addend {
                agree(addend.as_tensor(), as_tensor(expected.addend.as_ref()), F32);
            }
        };
        for own_input in [false, true] {
            let _ = with_either(&case.grad, |grad| {
                let input = if own_input {
                    ordered(case.input.copy()).unwrap()
                } else {
                    case.input.shallow_clone()
                };
                let tape = case.tape(input, false);
                let found = direct::normalize_backward(tape, &case.with, grad).unwrap();
                check(&found);
                found.input.into_tensor()
            });
        }
    }
}

#[test]
fn element_wise() {
    for shape in SHAPES {
        let (a, b) = (tensor("a", &shape), tensor("b", &shape));
        let output = with_either(&a, |a| direct::relu(a).unwrap());
        assert_eq!(output, a.relu());
        let grad = with_either(&b, |grad| {
            direct::relu_backward(output.shallow_clone(), grad).unwrap()
        });
        assert_eq!(grad, output.threshold_backward(&b, 0));
        let wider = &a * 10.0;
        let output = with_either(&wider, |wider| direct::relu6(wider).unwrap());
        assert_eq!(output, wider.clamp(0.0, 6.0));
        let grad = with_either(&b, |grad| {
            direct::relu6_backward(output.shallow_clone(), grad).unwrap()
        });
        assert_eq!(grad, output.hardtanh_backward(&b, 0.0, 6.0));
        for relu in [false, true] {
            let sum = &a + &b;
            let expected = if relu { sum.relu() } else { sum };
            let over = |a, b| direct::sum(a, b, relu).unwrap();
            assert_eq!(with_either(&a, |a| over(a, b.shallow_clone())), expected);
            assert_eq!(with_either(&b, |b| over(a.shallow_clone(), b)), expected);
        }
        let blend = |a| direct::blend(a, 0.75, b.shallow_clone(), -1.3).unwrap();
        agree(&with_either(&a, blend), &(&a * 0.75 - &b * 1.3), F32);
    }
}

#[test]
fn subsampling_and_averages() {
    for shape in SHAPES {
        let input = tensor("input", &shape);
        for (stride, padding) in [(1, 0), (1, 2), (2, 1), (3, 8)] {
            let geometry = Subsample { stride, padding };
            let expected = library::subsample(&input, geometry).unwrap();
            let found = direct::subsample(input.shallow_clone(), geometry).unwrap();
            assert_eq!(found, expected);
            let found = super::tensor::shape(&found);
            let grad = tensor("grad", &found);
            let expected = library::subsample_backward(&grad, shape, geometry).unwrap();
            let found = direct::subsample_backward(grad, shape, geometry).unwrap();
            assert_eq!(found, expected);
        }
        let expected = library::global_average(&input).unwrap();
        agree(&direct::global_average(input).unwrap(), &expected, F32);
        let grad = tensor("grad", &[shape[0], shape[1], 1, 1]);
        let expected = library::global_average_backward(&grad, shape).unwrap();
        let found = direct::global_average_backward(grad, shape).unwrap();
        agree(&found, &expected, F32);
    }
}

#[test]
fn concatenations() {
    for shape in SHAPES {
        let [samples, channels, height, width] = shape;
        let (a, b) = (
            tensor("a", &shape),
            tensor("b", &[samples, 3, height, width]),
        );
        let expected = library::concat(&a, &b).unwrap();
        let found = direct::concat(a.shallow_clone(), b.shallow_clone()).unwrap();
        assert_eq!(found, expected);
        for (first, len) in [(0, channels), (channels, 3), (channels - 1, 2)] {
            let expected = library::channel_run(&found, first, len).unwrap();
            let run = direct::channel_run(found.shallow_clone(), first, len).unwrap();
            assert_eq!(run, expected);
        }
    }
}
