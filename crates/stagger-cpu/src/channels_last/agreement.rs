//! The loops against plain `f64`, over random shapes, instruction sets and numbers of threads.

use std::cell::Cell;

use proptest::prelude::*;
use pulp::Arch;

use super::*;

mod shapes;

thread_local! {
    /// An instruction set to use on this thread instead of the widest.
    pub(crate) static FORCED: Cell<Option<Arch>> = const { Cell::new(None) };
}

/// Every instruction set that the machine has, narrowest first.
pub(crate) fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs.push(Arch::new());
    archs
}

/// As many threads as this.
struct Threads(usize);

impl Parallel for Threads {
    fn parts(&self) -> usize {
        self.0
    }

    fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        std::thread::scope(|scope| {
            (0..parts).for_each(|part| drop(scope.spawn(move || work(part))));
        });
    }
}

/// What one element may be off by, relative to the largest: `f32` keeps 24 bits through a few operations, `bf16`
/// rounds once to 8 bits, half a step of which is 2⁻⁹ at worst.
trait Tolerance: Element {
    const STORED: f64;
}

impl Tolerance for f32 {
    const STORED: f64 = 1e-5;
}

impl Tolerance for Bf16 {
    const STORED: f64 = 1.0 / 256.0;
}

/// Sums never pass through memory as `bf16`.
const SUMS: f64 = 1e-5;

fn values<T: Element>(name: &str, len: usize) -> Vec<T> {
    let values = stagger_conformance::fixtures::values(name, len);
    values
        .into_iter()
        .map(|value| T::from_f32(value as f32))
        .collect()
}

fn wide<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|value| value.to_f32().into()).collect()
}

fn bits<T: Element>(values: &[T]) -> Vec<u32> {
    values
        .iter()
        .map(|value| value.to_f32().to_bits())
        .collect()
}

fn agree(what: &str, found: &[f64], expected: &[f64], tolerance: f64) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    let largest = expected
        .iter()
        .fold(1e-2_f64, |most, value| most.max(value.abs()));
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        prop_assert!(
            (found - expected).abs() <= tolerance * largest,
            "{what}, element {index}: {found}, expected {expected}"
        );
    }
    Ok(())
}

/// The three ways to place the result of an operation on two slices.
fn placed<T: Element>(left: &[T], right: &[T], run: impl Fn(Binary<'_, T>)) -> [Vec<T>; 3] {
    let mut output = vec![T::ZERO; left.len()];
    run(Binary::Into {
        left,
        right,
        output: &mut output,
    });
    let (mut over_left, mut over_right) = (left.to_vec(), right.to_vec());
    run(Binary::OverLeft {
        left: &mut over_left,
        right,
    });
    run(Binary::OverRight {
        left,
        right: &mut over_right,
    });
    [output, over_left, over_right]
}

/// All three are the same to the bit; gives the first.
fn same<T: Element>([first, second, third]: [Vec<T>; 3]) -> Result<Vec<f64>, TestCaseError> {
    prop_assert_eq!(bits(&first), bits(&second));
    prop_assert_eq!(bits(&first), bits(&third));
    Ok(wide(&first))
}

/// `Σ` over pixels of `term(index)`, by channel.
fn by_channel(len: usize, channels: usize, term: impl Fn(usize) -> f64) -> Vec<f64> {
    let mut sums = vec![0.0; channels];
    (0..len).for_each(|index| sums[index % channels] += term(index));
    sums
}

fn wide32(values: &[f32]) -> Vec<f64> {
    wide(values)
}

fn normalization<T: Tolerance>(
    pixels: usize,
    channels: usize,
    relu: bool,
    threads: &Threads,
) -> Result<(), TestCaseError> {
    let len = pixels * channels;
    let (input, grads) = (values::<T>("input", len), values::<T>("grads", len));
    let addend = values::<T>("addend", len);
    let scale: Vec<f32> = values("scale", channels);
    let shift: Vec<f32> = values("shift", channels);
    let (x, g, a) = (wide(&input), wide(&grads), wide(&addend));
    let (count, channel) = (pixels as f64, |index: usize| index % channels);

    let found = moments(&input, channels, threads);
    prop_assert_eq!(&found, &moments(&input, channels, &Serial));
    let sums = by_channel(len, channels, |index| x[index]);
    let mean: Vec<f64> = sums.iter().map(|sum| sum / count).collect();
    let squares = by_channel(len, channels, |index| {
        (x[index] - mean[channel(index)]).powi(2)
    });
    let variance: Vec<f64> = squares.iter().map(|sum| sum / count).collect();
    // The mean of values around 0 cancels: what it may be off by goes by the values, of which the largest are about 1.
    for (channel, (found, mean)) in found.mean.iter().zip(&mean).enumerate() {
        let off = (f64::from(*found) - mean).abs();
        prop_assert!(
            off <= 2e-6,
            "mean of channel {channel}: {found}, expected {mean}"
        );
    }
    agree("variance", &wide32(&found.variance), &variance, SUMS)?;
    agree(
        "sums",
        &wide32(&channel_sums(&input, channels, threads)),
        &sums,
        SUMS * count,
    )?;

    // From here on with the moments found, and the mask found: at the cut, a rounding decides.
    let epsilon = 1e-2;
    let affine = Affine::new(&found.mean, &found.variance, &scale, &shift, epsilon);
    let mean = wide32(&found.mean);
    let inverse: Vec<f64> = found
        .variance
        .iter()
        .map(|&v| 1.0 / (f64::from(v) + epsilon))
        .collect();
    let factor: Vec<f64> = (0..channels)
        .map(|c| f64::from(scale[c]) * inverse[c].sqrt())
        .collect();
    let line = |index: usize| {
        (x[index] - mean[channel(index)]) * factor[channel(index)]
            + f64::from(shift[channel(index)])
    };
    let cut = |value: f64| if relu { value.max(0.0) } else { value };

    let mut output = vec![T::ZERO; len];
    normalize(
        Unary::Into {
            input: &input,
            output: &mut output,
        },
        &affine,
        relu,
        threads,
    );
    let mut in_place = input.clone();
    normalize(Unary::InPlace(&mut in_place), &affine, relu, &Serial);
    prop_assert_eq!(bits(&output), bits(&in_place));
    let expected: Vec<f64> = (0..len).map(|index| cut(line(index))).collect();
    agree("output", &wide(&output), &expected, T::STORED)?;
    let sum = same(placed(&input, &addend, |terms| {
        normalize_add(terms, &affine, relu, threads)
    }))?;
    let expected: Vec<f64> = (0..len).map(|index| cut(line(index) + a[index])).collect();
    agree("output with addend", &sum, &expected, T::STORED)?;

    let check = |sums: &GradientSums, kept: &[f64], pulled: Vec<f64>| {
        let plain = by_channel(len, channels, |index| kept[index]);
        let projected = by_channel(len, channels, |index| {
            kept[index] * (x[index] - mean[channel(index)])
        });
        agree("sum of gradients", &sums.grads, &plain, SUMS * count)?;
        agree("projections", &sums.projections, &projected, SUMS * count)?;
        let normal = |c: usize| projected[c] * inverse[c].sqrt();
        let scale_grad: Vec<f64> = (0..channels).map(normal).collect();
        agree(
            "scale gradient",
            &wide32(&sums.scale_grad(&affine)),
            &scale_grad,
            SUMS * count,
        )?;
        agree(
            "shift gradient",
            &wide32(&sums.shift_grad()),
            &plain,
            SUMS * count,
        )?;
        let expected: Vec<f64> = (0..len)
            .map(|index| {
                let c = channel(index);
                let normal = (x[index] - mean[c]) * inverse[c].sqrt();
                factor[c] * (kept[index] - plain[c] / count - normal * scale_grad[c] / count)
            })
            .collect();
        agree("input gradient", &pulled, &expected, T::STORED)
    };
    let masked = |output: &[f64]| -> Vec<f64> {
        let keep = |index: usize| {
            if relu && output[index] <= 0.0 {
                0.0
            } else {
                g[index]
            }
        };
        (0..len).map(keep).collect()
    };
    let sums = gradient_sums(&input, &grads, &affine, relu, threads);
    prop_assert_eq!(
        &sums,
        &gradient_sums(&input, &grads, &affine, relu, &Serial)
    );
    let pullback = sums.line(&affine, pixels);
    let pulled = same(placed(&grads, &input, |both| {
        pull(both, &affine, &pullback, relu, threads)
    }))?;
    check(&sums, &masked(&wide(&output)), pulled)?;
    if relu {
        let output: Vec<T> = sum.iter().map(|&value| T::from_f32(value as f32)).collect();
        for cut in [Cut::Addend(&addend[..]), Cut::Output(&output[..])] {
            let mut kept = grads.clone();
            let sums = mask_gradient_sums(&input, cut, &mut kept, &affine, threads);
            prop_assert_eq!(wide(&kept), masked(&sum));
            let line = sums.line(&affine, pixels);
            let both = |both: Binary<'_, T>| pull(both, &affine, &line, false, threads);
            check(&sums, &wide(&kept), same(placed(&kept, &input, both))?)?;
        }
    }
    Ok(())
}

fn element_wise<T: Tolerance>(len: usize, threads: &Threads) -> Result<(), TestCaseError> {
    let (left, right) = (values::<T>("left", len), values::<T>("right", len));
    let (l, r) = (wide(&left), wide(&right));
    let each = |term: &dyn Fn(usize) -> f64| -> Vec<f64> { (0..len).map(term).collect() };
    for cut in [false, true] {
        let least = if cut { 0.0 } else { f64::NEG_INFINITY };
        let found = same(placed(&left, &right, |terms| sum(terms, cut, threads)))?;
        agree(
            "sum",
            &found,
            &each(&|index| (l[index] + r[index]).max(least)),
            T::STORED,
        )?;
    }
    let blended = |terms: Binary<'_, T>| blend(terms, 0.75, -1.3, threads);
    let expected = each(&|index| 0.75 * l[index] - 1.3 * r[index]);
    agree(
        "blend",
        &same(placed(&left, &right, blended))?,
        &expected,
        T::STORED,
    )?;
    let found = same(placed(&left, &right, |both| relu_backward(both, threads)))?;
    prop_assert_eq!(
        found,
        each(&|index| if l[index] <= 0.0 { 0.0 } else { r[index] })
    );
    // Some on either side of both cuts.
    let wider = left.iter().map(|value| T::from_f32(10.0 * value.to_f32()));
    let mut between: Vec<T> = wider.collect();
    let w = wide(&between);
    relu6(Unary::InPlace(&mut between), threads);
    prop_assert_eq!(wide(&between), each(&|index| w[index].clamp(0.0, 6.0)));
    let found = same(placed(&between, &right, |both| {
        relu6_backward(both, threads)
    }))?;
    let is_between = |index: usize| 0.0 < w[index] && w[index] < 6.0;
    prop_assert_eq!(
        found,
        each(&|index| if is_between(index) { r[index] } else { 0.0 })
    );
    let mut cut = left.clone();
    relu(Unary::InPlace(&mut cut), threads);
    prop_assert_eq!(wide(&cut), each(&|index| l[index].max(0.0)));
    let mut singles = vec![0.0; len];
    cast::<T, f32>(&left, &mut singles, threads);
    prop_assert_eq!(wide32(&singles), l);
    let mut halves = vec![Bf16::ZERO; len];
    cast::<f32, Bf16>(&singles, &mut halves, threads);
    let expected: Vec<Bf16> = singles.iter().map(|&value| Bf16::from_f32(value)).collect();
    prop_assert_eq!(halves, expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn normalization_agrees(
        pixels in prop_oneof![2..200_usize, 200..2000_usize],
        channels in 1..131_usize,
        relu: bool,
        threads in 1..4_usize,
        arch in prop::sample::select(archs()),
    ) {
        FORCED.set(Some(arch));
        normalization::<f32>(pixels, channels, relu, &Threads(threads))?;
        normalization::<Bf16>(pixels, channels, relu, &Threads(threads))?;
    }

    #[test]
    fn element_wise_agrees(
        len in prop_oneof![0..300_usize, 300..40_000_usize],
        threads in 1..4_usize,
        arch in prop::sample::select(archs()),
    ) {
        FORCED.set(Some(arch));
        element_wise::<f32>(len, &Threads(threads))?;
        element_wise::<Bf16>(len, &Threads(threads))?;
    }

    /// Every instruction set gives the same bits.
    #[test]
    fn instruction_sets_agree_to_the_bit(pixels in 1..600_usize, channels in 1..131_usize) {
        let input = values::<Bf16>("input", pixels * channels);
        let grads = values::<Bf16>("grads", pixels * channels);
        let results: Vec<_> = archs().into_iter().map(|arch| {
            FORCED.set(Some(arch));
            let found = moments(&input, channels, &Serial);
            let ones = vec![1.0; channels];
            let affine = Affine::new(&found.mean, &found.variance, &ones, &ones, 1e-5);
            let sums = gradient_sums(&input, &grads, &affine, true, &Serial);
            let mut pulled = grads.clone();
            let both = Binary::OverLeft { left: &mut pulled, right: &input };
            pull(both, &affine, &sums.line(&affine, pixels), true, &Serial);
            (found, sums, pulled)
        }).collect();
        for other in &results[1..] {
            prop_assert_eq!(other, &results[0]);
        }
    }
}

#[test]
fn moments_of_a_far_away_mean() {
    for channels in [1, 3, 16, 300] {
        let pixels = 40_000 / channels + 1;
        let value = |index: usize| {
            1000.0 + ((index / channels * 7 + index % channels * 13) % 11) as f32 * 0.125
        };
        let values: Vec<f32> = (0..pixels * channels).map(value).collect();
        let found = moments(&values, channels, &Serial);
        let mean = by_channel(values.len(), channels, |index| {
            f64::from(values[index]) / pixels as f64
        });
        for channel in 0..channels {
            let square = |pixel: usize| {
                (f64::from(values[pixel * channels + channel]) - mean[channel]).powi(2)
            };
            let variance = (0..pixels).map(square).sum::<f64>() / pixels as f64;
            assert!((f64::from(found.mean[channel]) - mean[channel]).abs() < 1e-4);
            assert!((f64::from(found.variance[channel]) - variance).abs() < 1e-6);
        }
    }
}

#[test]
fn relu_lets_nan_through() {
    let mut values = [f32::NAN, -1.0, 2.0].map(Bf16::from_f32);
    relu(Unary::InPlace(&mut values), &Serial);
    assert!(values[0].to_f32().is_nan());
    assert_eq!(values[1..], [0.0, 2.0].map(Bf16::from_f32));
    let mut values = [f32::NAN, f32::INFINITY, -1.0, 2.0];
    relu6(Unary::InPlace(&mut values), &Serial);
    assert!(values[0].is_nan());
    assert_eq!(values[1..], [6.0, 0.0, 2.0]);
}

/// Of all NaNs, this one's rounding carries over into the sign.
#[test]
fn every_nan_survives_rounding() {
    let nan = f32::from_bits(0xffff_ffff);
    for arch in archs() {
        FORCED.set(Some(arch));
        for channels in [1, 3, 16] {
            let shift = vec![nan; channels];
            let ones = vec![1.0; channels];
            let affine = Affine::new(&ones, &ones, &ones, &shift, 1e-5);
            let mut values = vec![Bf16::from_f32(1.5); 21 * channels];
            normalize(Unary::InPlace(&mut values), &affine, true, &Serial);
            assert!(values.iter().all(|value| value.to_f32().is_nan()));
        }
    }
    let mut rounded = [Bf16::ZERO; 40];
    cast(&[nan; 40], &mut rounded, &Serial);
    assert!(rounded.iter().all(|value| value.to_f32().is_nan()));
}
