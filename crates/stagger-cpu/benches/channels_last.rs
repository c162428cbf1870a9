//! Memory that the channels-last loops move per second, on one thread:
//! `cargo bench -p stagger-cpu --bench channels_last`. Each tensor read or written counts once. A sample is its
//! fastest repetition, so that other load on the machine matters little.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{Bencher, BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use stagger_cpu::channels_last::{
    Affine, Bf16, Binary, Cut, Element, Serial, Unary, cast, gradient_sums, mask_gradient_sums,
    moments, normalize, normalize_add, pull,
};
use stagger_cpu::fused_step::{Parameter, fused_step};
use stagger_engine::{Optimizer, WeightDecay};

/// Pixels and channels of ResNet-20's three widths, at 128 images of 32×32, and a tensor that stays in the
/// second-level cache.
const SHAPES: [(usize, usize); 4] = [
    (128 * 32 * 32, 16),
    (128 * 16 * 16, 32),
    (128 * 8 * 8, 64),
    (2 * 32 * 32, 16),
];

fn values<T: Element>(len: usize, seed: f32) -> Vec<T> {
    let value = |index: usize| T::from_f32((index as f32 * 0.7 + seed).sin());
    (0..len).map(value).collect()
}

struct Bench<'a, 'b> {
    group: &'a mut BenchmarkGroup<'b, WallTime>,
    bytes: usize,
}

impl Bench<'_, '_> {
    /// `tensors`: how many of them the work reads or writes.
    fn run(&mut self, name: &str, tensors: usize, mut work: impl FnMut()) {
        let bytes = self.bytes * tensors;
        self.group.throughput(Throughput::Bytes(bytes as u64));
        self.group
            .bench_function(name, |bencher| fastest(bencher, &mut work));
    }
}

/// Lets each of a sample's repetitions count as the fastest one.
fn fastest(bencher: &mut Bencher<'_>, mut work: impl FnMut()) {
    bencher.iter_custom(|repetitions| {
        let each = (0..repetitions).map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        });
        each.min().unwrap_or_default() * u32::try_from(repetitions).unwrap_or(u32::MAX)
    });
}

fn passes<T: Element>(criterion: &mut Criterion, element: &str) {
    for (pixels, channels) in SHAPES {
        let mut group = criterion.benchmark_group(format!("{element} {pixels}x{channels}"));
        group
            .sample_size(10)
            .warm_up_time(Duration::from_millis(100))
            .measurement_time(Duration::from_millis(300));
        let len = pixels * channels;
        let (input, addend) = (values::<T>(len, 0.0), values::<T>(len, 1.0));
        let (mut output, mut grads) = (values::<T>(len, 2.0), values::<T>(len, 3.0));
        let ones = vec![1.0; channels];
        let found = moments(&input, channels, &Serial);
        let affine = Affine::new(&found.mean, &found.variance, &ones, &ones, 1e-5);
        let line = gradient_sums(&input, &grads, &affine, true, &Serial).line(&affine, pixels);
        let mut bench = Bench {
            group: &mut group,
            bytes: len * size_of::<T>(),
        };

        bench.run("copy", 2, || output.copy_from_slice(black_box(&input)));
        bench.run("moments", 1, || {
            black_box(moments(&input, channels, &Serial));
        });
        bench.run("normalize, relu", 2, || {
            let into = Unary::Into {
                input: &input,
                output: &mut output,
            };
            normalize(into, &affine, true, &Serial);
        });
        bench.run("normalize in place", 2, || {
            normalize(Unary::InPlace(&mut output), &affine, false, &Serial);
        });
        output.copy_from_slice(&input);
        bench.run("normalize, add, relu", 3, || {
            let into = Binary::Into {
                left: &input,
                right: &addend,
                output: &mut output,
            };
            normalize_add(into, &affine, true, &Serial);
        });
        bench.run("gradient sums, relu", 2, || {
            black_box(gradient_sums(&input, &grads, &affine, true, &Serial));
        });
        bench.run("gradient sums, masking by addend", 4, || {
            let cut = Cut::Addend(&addend);
            black_box(mask_gradient_sums(
                &input, cut, &mut grads, &affine, &Serial,
            ));
        });
        bench.run("gradient sums, masking by output", 4, || {
            let cut = Cut::Output(&addend);
            black_box(mask_gradient_sums(
                &input, cut, &mut grads, &affine, &Serial,
            ));
        });
        for relu in [true, false] {
            let suffix = if relu { ", relu" } else { "" };
            bench.run(&format!("pull{suffix}"), 3, || {
                let into = Binary::Into {
                    left: &grads,
                    right: &input,
                    output: &mut output,
                };
                pull(into, &affine, &line, relu, &Serial);
            });
        }
        bench.run("pull in place, relu", 3, || {
            let over = Binary::OverLeft {
                left: &mut grads,
                right: &input,
            };
            pull(over, &affine, &line, true, &Serial);
        });
        group.finish();
    }
}

fn rest(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rest");
    group
        .sample_size(10)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_millis(300));
    for len in [1 << 15, 1 << 21] {
        let mut singles = values::<f32>(len, 0.0);
        let mut halves = values::<Bf16>(len, 0.0);
        group.throughput(Throughput::Bytes(6 * len as u64));
        group.bench_function(format!("f32 to bf16 {len}"), |bencher| {
            fastest(bencher, || cast(&singles, &mut halves, &Serial));
        });
        group.bench_function(format!("bf16 to f32 {len}"), |bencher| {
            fastest(bencher, || cast(&halves, &mut singles, &Serial));
        });
        let optimizer = Optimizer::Momentum {
            beta: 0.9,
            nesterov: 0.0,
            weight_decay: WeightDecay::everywhere(5e-4),
        };
        let mut velocity = vec![0.0; len];
        let gradients = values::<Bf16>(len, 1.0);
        group.throughput(Throughput::Bytes(20 * len as u64));
        group.bench_function(format!("momentum, bf16 shadow {len}"), |bencher| {
            fastest(bencher, || {
                let parameter = Parameter {
                    weights: &mut singles,
                    gradients: &gradients,
                    slots: vec![&mut velocity],
                    shadow: Some(&mut halves),
                    dimensions: 2,
                };
                fused_step(&optimizer, parameter, 1, 1e-3, &Serial);
            });
        });
        let optimizer = Optimizer::AdamW {
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: WeightDecay::everywhere(5e-4),
        };
        let mut square = vec![0.0; len];
        group.throughput(Throughput::Bytes(26 * len as u64));
        group.bench_function(format!("adamw {len}"), |bencher| {
            fastest(bencher, || {
                let parameter = Parameter {
                    weights: &mut singles,
                    gradients: &gradients,
                    slots: vec![&mut velocity, &mut square],
                    shadow: None,
                    dimensions: 2,
                };
                fused_step(&optimizer, parameter, 1, 1e-3, &Serial);
            });
        });
    }
    group.finish();
}

fn all(criterion: &mut Criterion) {
    passes::<f32>(criterion, "f32");
    passes::<Bf16>(criterion, "bf16");
    rest(criterion);
}

criterion_group!(benches, all);
criterion_main!(benches);
