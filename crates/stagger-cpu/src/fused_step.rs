//! Optimizer steps over plain slices, in one pass over memory; the formulas are those of
//! [`stagger_engine::Optimizer::reference_step`], in `f32`.

use pulp::{Simd, WithSimd};
use stagger_engine::Optimizer;

use crate::channels_last::{Bf16, Element, Parallel, arch, part_len, spread};

/// Values that are updated before their rounded copies are written: few enough to be still in the first-level cache.
const CHUNK: usize = 2048;

/// All that a step reads and writes of one parameter; slices are equally long.
#[derive(Debug)]
pub struct Parameter<'a, G> {
    /// The weights that the optimizer works on.
    pub weights: &'a mut [f32],
    /// The gradient.
    pub gradients: &'a [G],
    /// The optimizer's state, in the order of [`Optimizer::slots`].
    pub slots: Vec<&'a mut [f32]>,
    /// Where the new weights go, rounded; what it held before is not read.
    pub shadow: Option<&'a mut [Bf16]>,
    /// The parameter's number of dimensions, which decides on weight decay.
    pub dimensions: usize,
}

/// One step on one parameter. `step` counts from 1.
///
/// # Panics
/// When lengths differ, or the number of slots is not that of [`Optimizer::slots`].
pub fn fused_step<G: Element>(
    optimizer: &Optimizer,
    parameter: Parameter<'_, G>,
    step: u64,
    learning_rate: f64,
    parallel: &dyn Parallel,
) {
    let decay = optimizer.weight_decay().rate_for(parameter.dimensions);
    match *optimizer {
        Optimizer::Sgd { .. } => {
            let rule = Sgd {
                decay: decay as f32,
                rate: learning_rate as f32,
            };
            apply(rule, parameter, parallel);
        }
        Optimizer::Momentum { beta, nesterov, .. } => {
            let rule = Momentum {
                decay: decay as f32,
                beta: beta as f32,
                gradient_rate: (learning_rate * nesterov) as f32,
                velocity_rate: (learning_rate * (1.0 - nesterov * (1.0 - beta))) as f32,
            };
            apply(rule, parameter, parallel);
        }
        Optimizer::AdamW {
            beta1,
            beta2,
            epsilon,
            ..
        } => {
            let unbias = |beta: f64| 1.0 / (1.0 - beta.powf(step as f64));
            let rule = AdamW {
                keep: (1.0 - learning_rate * decay) as f32,
                beta1: beta1 as f32,
                rest1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                rest2: (1.0 - beta2) as f32,
                rate: (learning_rate * unbias(beta1)) as f32,
                unbias2: unbias(beta2) as f32,
                epsilon: epsilon as f32,
            };
            apply(rule, parameter, parallel);
        }
        Optimizer::Lars { beta, .. } => {
            let ratio = if optimizer.reads_norms(parameter.dimensions) {
                let norms = [
                    square_sum(parameter.weights),
                    square_sum(parameter.gradients),
                ];
                let [weight, gradient] = norms.map(f64::sqrt);
                optimizer.trust_ratio(weight, gradient, parameter.dimensions)
            } else {
                1.0
            };
            let rule = Lars {
                ratio: ratio as f32,
                decay: decay as f32,
                beta: beta as f32,
                rate: learning_rate as f32,
            };
            apply(rule, parameter, parallel);
        }
        Optimizer::Lion { beta1, beta2, .. } => {
            let rule = Lion {
                keep: (1.0 - learning_rate * decay) as f32,
                beta1: beta1 as f32,
                rest1: (1.0 - beta1) as f32,
                beta2: beta2 as f32,
                rest2: (1.0 - beta2) as f32,
                rate: learning_rate as f32,
            };
            apply(rule, parameter, parallel);
        }
    }
}

/// Partial sums of [`square_sum`]: enough for its additions not to wait for one another.
const SUMS: usize = 8;

/// The sum of squares in 64 bits, always added up in the same order.
fn square_sum<E: Element>(values: &[E]) -> f64 {
    let mut sums = [0.0_f64; SUMS];
    for chunk in values.chunks(SUMS) {
        for (sum, &value) in sums.iter_mut().zip(chunk) {
            let value = f64::from(value.to_f32());
            *sum += value * value;
        }
    }
    sums.iter().sum()
}

/// The step of one value that has `N` slots.
trait Rule<const N: usize>: Copy + Send + Sync {
    fn step(self, weight: f32, gradient: f32, slots: [f32; N]) -> (f32, [f32; N]);
}

#[derive(Clone, Copy)]
struct Sgd {
    decay: f32,
    rate: f32,
}

impl Rule<0> for Sgd {
    #[inline(always)]
    fn step(self, weight: f32, gradient: f32, _: [f32; 0]) -> (f32, [f32; 0]) {
        (weight - self.rate * (gradient + self.decay * weight), [])
    }
}

#[derive(Clone, Copy)]
struct Momentum {
    decay: f32,
    beta: f32,
    gradient_rate: f32,
    velocity_rate: f32,
}

impl Rule<1> for Momentum {
    #[inline(always)]
    fn step(self, weight: f32, gradient: f32, [velocity]: [f32; 1]) -> (f32, [f32; 1]) {
        let gradient = gradient + self.decay * weight;
        let velocity = self.beta * velocity + gradient;
        let step = self.gradient_rate * gradient + self.velocity_rate * velocity;
        (weight - step, [velocity])
    }
}

#[derive(Clone, Copy)]
struct AdamW {
    keep: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
    unbias2: f32,
    epsilon: f32,
}

impl Rule<2> for AdamW {
    #[inline(always)]
    fn step(self, weight: f32, gradient: f32, [mean, square]: [f32; 2]) -> (f32, [f32; 2]) {
        let mean = self.beta1 * mean + self.rest1 * gradient;
        let square = self.beta2 * square + self.rest2 * (gradient * gradient);
        let root = (square * self.unbias2).sqrt() + self.epsilon;
        (self.keep * weight - self.rate * mean / root, [mean, square])
    }
}

#[derive(Clone, Copy)]
struct Lars {
    ratio: f32,
    decay: f32,
    beta: f32,
    rate: f32,
}

impl Rule<1> for Lars {
    #[inline(always)]
    fn step(self, weight: f32, gradient: f32, [velocity]: [f32; 1]) -> (f32, [f32; 1]) {
        let gradient = self.ratio * (gradient + self.decay * weight);
        let velocity = self.beta * velocity + gradient;
        (weight - self.rate * velocity, [velocity])
    }
}

#[derive(Clone, Copy)]
struct Lion {
    keep: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
}

impl Rule<1> for Lion {
    #[inline(always)]
    fn step(self, weight: f32, gradient: f32, [mean]: [f32; 1]) -> (f32, [f32; 1]) {
        let direction = self.beta1 * mean + self.rest1 * gradient;
        // `signum` of 0 is 1.
        let sign = f32::from(direction > 0.0) - f32::from(direction < 0.0);
        let mean = self.beta2 * mean + self.rest2 * gradient;
        (self.keep * weight - self.rate * sign, [mean])
    }
}

fn apply<G: Element, const N: usize>(
    rule: impl Rule<N>,
    parameter: Parameter<'_, G>,
    parallel: &dyn Parallel,
) {
    let Parameter {
        weights,
        gradients,
        slots,
        shadow,
        ..
    } = parameter;
    let len = weights.len();
    assert_eq!(gradients.len(), len, "gradient");
    let found = slots.len();
    let Ok(slots) = <[&mut [f32]; N]>::try_from(slots) else {
        panic!("the optimizer has {N} slots but got {found}");
    };
    assert!(slots.iter().all(|slot| slot.len() == len), "slots");
    assert!(
        shadow.as_ref().is_none_or(|shadow| shadow.len() == len),
        "shadow"
    );

    let part = part_len(len, CHUNK, parallel);
    let mut slots = slots.map(|slot| slot.chunks_mut(part));
    let mut shadow = shadow.map(|shadow| shadow.chunks_mut(part));
    let jobs = weights.chunks_mut(part).zip(gradients.chunks(part));
    let jobs = jobs.map(|(weights, gradients)| Step {
        rule,
        weights,
        gradients,
        slots: slots
            .each_mut()
            .map(|parts| parts.next().unwrap_or_default()),
        shadow: shadow.as_mut().and_then(Iterator::next),
    });
    let arch = arch();
    spread(jobs, parallel, |job| arch.dispatch(job));
}

struct Step<'a, R, G, const N: usize> {
    rule: R,
    weights: &'a mut [f32],
    gradients: &'a [G],
    slots: [&'a mut [f32]; N],
    shadow: Option<&'a mut [Bf16]>,
}

impl<R: Rule<N>, G: Element, const N: usize> WithSimd for Step<'_, R, G, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let mut slots = self.slots.map(|slot| slot.chunks_mut(CHUNK));
        let mut shadow = self.shadow.map(|shadow| shadow.chunks_mut(CHUNK));
        let chunks = self
            .weights
            .chunks_mut(CHUNK)
            .zip(self.gradients.chunks(CHUNK));
        for (weights, gradients) in chunks {
            let slots = slots
                .each_mut()
                .map(|chunks| chunks.next().unwrap_or_default());
            change(self.rule, weights, gradients, slots);
            if let Some(shadow) = shadow.as_mut().and_then(Iterator::next) {
                for (shadow, &weight) in shadow.iter_mut().zip(&*weights) {
                    *shadow = Bf16::from_f32(weight);
                }
            }
        }
    }
}

#[inline(always)]
fn change<R: Rule<N>, G: Element, const N: usize>(
    rule: R,
    weights: &mut [f32],
    gradients: &[G],
    slots: [&mut [f32]; N],
) {
    let len = weights.len();
    let gradients = &gradients[..len];
    let slots = slots.map(|slot| &mut slot[..len]);
    for index in 0..len {
        let mut state = [0.0; N];
        for slot in 0..N {
            state[slot] = slots[slot][index];
        }
        let (weight, state) = rule.step(weights[index], gradients[index].to_f32(), state);
        weights[index] = weight;
        for slot in 0..N {
            slots[slot][index] = state[slot];
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::channels_last::Serial;
    use crate::channels_last::agreement::{FORCED, archs};
    use stagger_engine::{StepOf, WeightDecay};

    fn optimizers(rate: f64) -> [Optimizer; 5] {
        let weight_decay = WeightDecay::matrices(rate);
        [
            Optimizer::Sgd { weight_decay },
            Optimizer::Momentum {
                beta: 0.9,
                nesterov: 1.7,
                weight_decay,
            },
            Optimizer::AdamW {
                beta1: 0.9,
                beta2: 0.99,
                epsilon: 1e-6,
                weight_decay,
            },
            Optimizer::Lars {
                beta: 0.9,
                trust: 0.5,
                weight_decay,
            },
            Optimizer::lion(weight_decay),
        ]
    }

    fn norm(values: impl Iterator<Item = f64>) -> f64 {
        values.map(|value| value * value).sum::<f64>().sqrt()
    }

    fn follows<G: Element>(optimizer: &Optimizer, len: usize, dimensions: usize) {
        let start: Vec<f32> = (0..len).map(|index| (index as f32).sin()).collect();
        let mut weights = start.clone();
        let mut slots = vec![vec![0.0_f32; len]; optimizer.slots().len()];
        let mut shadow = vec![Bf16::ZERO; len];
        let mut expected: Vec<f64> = start.iter().map(|&value| value.into()).collect();
        let mut state = vec![[0.0; 2]; len];
        for step in 1..=5_u64 {
            let gradient = |index: usize| G::from_f32((index as f32 + 0.3 * step as f32).cos());
            let gradients: Vec<G> = (0..len).map(gradient).collect();
            let rate = 0.1 / step as f64;
            let parameter = Parameter {
                weights: &mut weights,
                gradients: &gradients,
                slots: slots.iter_mut().map(|slot| &mut slot[..]).collect(),
                shadow: (step > 1).then_some(&mut shadow[..]),
                dimensions,
            };
            fused_step(optimizer, parameter, step, rate, &Serial);
            let gradients: Vec<f64> = gradients.iter().map(|each| each.to_f32().into()).collect();
            let norms = [&expected, &gradients].map(|values| norm(values.iter().copied()));
            let of = StepOf {
                number: step,
                learning_rate: rate,
                dimensions,
                trust_ratio: optimizer.trust_ratio(norms[0], norms[1], dimensions),
            };
            for index in 0..len {
                let (weight, slots) = (&mut expected[index], &mut state[index]);
                optimizer.reference_step(weight, gradients[index], slots, of);
            }
        }
        for index in 0..len {
            let found = f64::from(weights[index]);
            let expected = expected[index];
            assert!(
                (found - expected).abs() < 1e-5 * (1.0 + expected.abs()),
                "{optimizer:?}, {index}: {found} is not {expected}"
            );
            assert_eq!(shadow[index], Bf16::from_f32(weights[index]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_optimizer_follows_its_reference(
            len in prop_oneof![0..100_usize, 2000..5000_usize],
            dimensions in 1..3_usize,
            decay in prop::sample::select(vec![0.0, 0.01]),
            arch in prop::sample::select(archs()),
        ) {
            FORCED.set(Some(arch));
            for optimizer in optimizers(decay) {
                follows::<f32>(&optimizer, len, dimensions);
                follows::<Bf16>(&optimizer, len, dimensions);
            }
        }
    }
}
