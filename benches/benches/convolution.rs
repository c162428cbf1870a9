//! Winograd's method beside direct sums, in turns: `cargo bench -p stagger-benches --features criterion --bench convolution -- 15`.
//!
//! A line per shape and pass: milliseconds of the direct sums, how many times faster Winograd's method is (median of the rounds, least,
//! most), and the largest error of both against `f64`, as a share of the root mean square of the exact values.

use std::time::Instant;

use stagger_conformance::{DoublePrecision, Reference};
use stagger_cpu::{Cpu, CpuTensor};
use stagger_engine::layered::{Convolution, Kernels, ProductWants, Subsample};
use stagger_engine::{EngineError, HostTensor, Precision};

/// Samples, channels, outputs, side: those of ResNet-20 on CIFAR-10, then of ResNet-18, VGG-16 and WRN-28-10.
const SHAPES: [[usize; 4]; 8] = [
    [128, 16, 16, 32],
    [128, 32, 32, 16],
    [128, 64, 64, 8],
    [16, 64, 64, 56],
    [16, 128, 128, 28],
    [16, 256, 256, 14],
    [16, 512, 512, 7],
    [32, 160, 160, 32],
];

const PASSES: [&str; 3] = ["forward", "input gradient", "weight gradient"];

const DIRECT: Convolution = Convolution {
    stride: 1,
    padding: 1,
    groups: 1,
    winograd: false,
};

const WINOGRAD: Convolution = Convolution {
    winograd: true,
    ..DIRECT
};

fn main() -> Result<(), EngineError> {
    let words: Vec<String> = std::env::args().collect();
    let rounds = words.iter().find_map(|word| word.parse().ok());
    let rounds = rounds.unwrap_or(15).max(1);
    println!("shape\tpass\tdirect_ms\ttimes_faster\tleast\tmost\tdirect_error\terror");
    for shape in SHAPES {
        let operands = Operands::of(shape)?;
        let errors = errors(shape)?;
        let mut times = [[(); 3].map(|()| Vec::new()), [(); 3].map(|()| Vec::new())];
        // The first round fills caches and buffers.
        for round in 0..=rounds {
            for (geometry, times) in [DIRECT, WINOGRAD].into_iter().zip(&mut times) {
                let (found, _) = operands.passes(geometry)?;
                for (seconds, times) in found.into_iter().zip(times) {
                    if round > 0 {
                        times.push(seconds);
                    }
                }
                Cpu::settle();
            }
        }
        let [direct, winograd] = times;
        for (pass, name) in PASSES.iter().enumerate() {
            let pairs = direct[pass].iter().zip(&winograd[pass]);
            let ratios = sorted(pairs.map(|(direct, winograd)| direct / winograd));
            let [samples, channels, outputs, side] = shape;
            println!(
                "{samples}x{channels}x{side}x{side} to {outputs}\t{name}\t{:.2}\t{:.2}\t{:.2}\t{:.2}\t{:.1e}\t{:.1e}",
                1e3 * sorted(direct[pass].iter().copied())[rounds / 2],
                ratios[rounds / 2],
                ratios[0],
                ratios[rounds - 1],
                errors[0][pass],
                errors[1][pass],
            );
        }
    }
    Ok(())
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// What a convolution reads forward and backward, channels-last.
struct Operands {
    input: CpuTensor,
    weight: CpuTensor,
    grad: CpuTensor,
}

impl Operands {
    fn of([samples, channels, outputs, side]: [usize; 4]) -> Result<Self, EngineError> {
        Ok(Self {
            input: channels_last(normal(&[samples, channels, side, side], 1)?)?,
            weight: normal(&[outputs, channels, 3, 3], 2)?,
            grad: channels_last(normal(&[samples, outputs, side, side], 3)?)?,
        })
    }

    /// Seconds and results of the three passes. The gradient of the input is what a backward pass with it takes more than one without.
    fn passes(&self, geometry: Convolution) -> Result<([f64; 3], [CpuTensor; 3]), EngineError> {
        let backward = |input| {
            let wants = ProductWants {
                input,
                weight: true,
                bias: false,
            };
            let [x, weight, grad] = [&self.input, &self.weight, &self.grad].map(Clone::clone);
            Cpu::convolution_backward(x, weight, grad, geometry, wants)
        };
        let start = Instant::now();
        let output = Cpu::convolution(self.input.clone(), self.weight.clone(), None, geometry)?;
        let forward = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let without = backward(false)?;
        let weight = start.elapsed().as_secs_f64();
        let start = Instant::now();
        let with = backward(true)?;
        let both = start.elapsed().as_secs_f64();
        let input_grad = with.input.unwrap_or_else(|| output.clone());
        let weight_grad = without.weight.unwrap_or_else(|| output.clone());
        Ok((
            [forward, both - weight, weight],
            [output, input_grad, weight_grad],
        ))
    }
}

/// Of the direct sums and of Winograd's method, by pass; two samples are enough for that.
fn errors([_, channels, outputs, side]: [usize; 4]) -> Result<[[f64; 3]; 2], EngineError> {
    let operands = Operands::of([2, channels, outputs, side])?;
    let wide = |tensor: &CpuTensor| -> Result<_, EngineError> {
        let HostTensor { shape, data } = Cpu::download(tensor)?;
        let values: Vec<f64> = data.into_iter().map(f64::from).collect();
        Ok(Reference::tensor(&values, &shape))
    };
    let [input, weight, grad] = [&operands.input, &operands.weight, &operands.grad].map(wide);
    let (input, weight, grad) = (input?, weight?, grad?);
    let output = Reference::convolution(input.clone(), weight.clone(), None, DIRECT)?;
    let wants = ProductWants {
        input: true,
        weight: true,
        bias: false,
    };
    let grads = Reference::convolution_backward(input, weight, grad, DIRECT, wants)?;
    let input_grad = grads.input.unwrap_or_else(|| output.clone());
    let weight_grad = grads.weight.unwrap_or_else(|| output.clone());
    let exact = [output, input_grad, weight_grad].map(|tensor| Reference::values(&tensor));
    let mut errors = [[0.0; 3]; 2];
    for (geometry, errors) in [DIRECT, WINOGRAD].into_iter().zip(&mut errors) {
        let (_, found) = operands.passes(geometry)?;
        for ((found, exact), error) in found.iter().zip(&exact).zip(errors) {
            let squares: f64 = exact.iter().map(|value| value * value).sum();
            let scale = (squares / exact.len() as f64).sqrt();
            let found = Cpu::download(found)?.data.into_iter().map(f64::from);
            let distances = found.zip(exact).map(|(found, exact)| (found - exact).abs());
            *error = distances.fold(0.0, f64::max) / scale;
        }
    }
    Ok(errors)
}

/// About normal values, the same for each seed: sums of four even ones.
fn normal(shape: &[usize], seed: u64) -> Result<CpuTensor, EngineError> {
    let mut state = seed;
    let mut even = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 24) as f32 - 0.5
    };
    let data = (0..shape.iter().product())
        .map(|_| even() + even() + even() + even())
        .collect();
    Cpu::upload(
        HostTensor {
            shape: shape.to_vec(),
            data,
        },
        Precision::F32,
        &Default::default(),
    )
}

/// The same tensor as kernels leave theirs in memory.
fn channels_last(tensor: CpuTensor) -> Result<CpuTensor, EngineError> {
    let same = Subsample {
        stride: 1,
        padding: 0,
    };
    Cpu::subsample(tensor, same)
}
