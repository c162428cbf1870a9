//! The fused loops against the compositions of libtorch's operations, and both optimizer steps against their reference,
//! all on the CPU: what runs on GPUs is tested where there is none.

use tch::{Kind, Tensor};

use stagger_engine::layered::{
    Normalization, NormalizationGrads, NormalizationTape, Normalized, ParameterStep, Subsample,
};
use stagger_engine::{Optimizer, StepOf, WeightDecay};

use super::order::ordered;
use super::tensor::sides;
use super::{TorchTensor, direct, library, step};

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

fn optimizers() -> Vec<Optimizer> {
    let mut optimizers = Vec::new();
    for weight_decay in [
        WeightDecay::default(),
        WeightDecay::everywhere(0.02),
        WeightDecay::matrices(0.02),
    ] {
        optimizers.push(Optimizer::Sgd { weight_decay });
        for nesterov in [0.0, 0.6, 1.0, 1.7] {
            optimizers.push(Optimizer::Momentum {
                beta: 0.8,
                nesterov,
                weight_decay,
            });
        }
        optimizers.push(Optimizer::AdamW {
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-6,
            weight_decay,
        });
        optimizers.push(Optimizer::Lars {
            beta: 0.8,
            trust: 0.3,
            weight_decay,
        });
        optimizers.push(Optimizer::lion(weight_decay));
    }
    optimizers
}

type Step = fn(
    &Optimizer,
    u64,
    f64,
    Vec<ParameterStep<'_, TorchTensor>>,
) -> Result<(), stagger_engine::EngineError>;

/// Ten steps on a kernel, a matrix and a vector; after every step weights and state are those of the reference, and
/// rounded copies are the weights rounded.
fn follows(optimizer: &Optimizer, run: Step, kinds: [Kind; 2], share: f64) {
    let [kind, gradient_kind] = kinds;
    let shapes: [&[usize]; 3] = [&[5, 3, 3, 3], &[4, 7], &[6]];
    let start = |name: &str, shape: &[usize]| tensor(name, shape).to_kind(kind);
    let mut weights: Vec<TorchTensor> = shapes
        .iter()
        .map(|shape| start("weight", shape).into())
        .collect();
    let count = optimizer.slots().len();
    let mut slots: Vec<Vec<TorchTensor>> = weights
        .iter()
        .map(|weight| (0..count).map(|_| weight.as_tensor().zeros_like().into()))
        .map(Iterator::collect)
        .collect();
    let mut rounded: Vec<TorchTensor> = weights
        .iter()
        .map(|weight| weight.as_tensor().to_kind(Kind::BFloat16).into())
        .collect();
    let mut expected: Vec<Vec<f64>> = weights
        .iter()
        .map(|weight| values(weight.as_tensor()))
        .collect();
    let mut state: Vec<Vec<[f64; 2]>> = expected
        .iter()
        .map(|weights| vec![[0.0; 2]; weights.len()])
        .collect();
    for number in 1..=10 {
        let rate = 0.1 / number as f64;
        let gradients: Vec<Tensor> = shapes
            .iter()
            .map(|shape| tensor(&format!("gradient {number}"), shape).to_kind(gradient_kind))
            .collect();
        // Now and then somebody holds the weights of before and their copies, as a kept graph does; always the gradients.
        let held: Vec<TorchTensor> = if number % 2 == 0 {
            weights.iter().chain(&rounded).cloned().collect()
        } else {
            Vec::new()
        };
        let before: Vec<_> = held.iter().map(|held| values(held.as_tensor())).collect();
        let parameters = weights
            .iter_mut()
            .zip(&gradients)
            .zip(slots.iter_mut().zip(&mut rounded))
            .map(|((weight, gradient), (slots, rounded))| ParameterStep {
                weight,
                gradient: gradient.shallow_clone().into(),
                slots,
                rounded: (kind == Kind::Float).then_some(rounded),
            });
        run(optimizer, number, rate, parameters.collect()).unwrap();
        for (held, before) in held.iter().zip(before) {
            assert_eq!(values(held.as_tensor()), before, "held weights");
        }
        for (which, shape) in shapes.iter().enumerate() {
            let gradients = values(&gradients[which]);
            let norms = [&expected[which], &gradients].map(|values| {
                let squares = values.iter().map(|value| value * value);
                squares.sum::<f64>().sqrt()
            });
            let of = StepOf {
                number,
                learning_rate: rate,
                dimensions: shape.len(),
                trust_ratio: optimizer.trust_ratio(norms[0], norms[1], shape.len()),
            };
            for (at, gradient) in gradients.into_iter().enumerate() {
                let (weight, slots) = (&mut expected[which][at], &mut state[which][at]);
                optimizer.reference_step(weight, gradient, slots, of);
            }
            let close = |found: &TorchTensor, expected: &mut dyn Iterator<Item = f64>| {
                for (found, expected) in values(found.as_tensor()).into_iter().zip(expected) {
                    assert!(
                        (found - expected).abs() <= share * (1.0 + expected.abs()),
                        "{optimizer:?}, step {number}, {shape:?}: {found} is not {expected}"
                    );
                }
            };
            close(&weights[which], &mut expected[which].iter().copied());
            for (slot, found) in slots[which].iter().enumerate() {
                close(found, &mut state[which].iter().map(|slots| slots[slot]));
            }
            if kind == Kind::Float {
                let weight = weights[which].as_tensor().to_kind(Kind::BFloat16);
                assert_eq!(values(rounded[which].as_tensor()), values(&weight));
            }
        }
    }
}

#[test]
fn the_fused_step_follows_its_reference() {
    for optimizer in optimizers() {
        for gradient in [Kind::Float, Kind::BFloat16] {
            follows(&optimizer, step::step, [Kind::Float, gradient], 2e-6);
        }
    }
}

#[test]
fn the_step_over_lists_follows_its_reference() {
    for optimizer in optimizers() {
        for gradient in [Kind::Float, Kind::BFloat16] {
            follows(&optimizer, step::foreach, [Kind::Float, gradient], 2e-6);
        }
        follows(&optimizer, step::step, [Kind::Double; 2], 1e-13);
    }
}
