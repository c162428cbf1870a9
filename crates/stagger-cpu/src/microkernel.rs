//! The inner loops of convolution: small blocks of sums that stay in registers.

// The compiler keeps the sums in registers only if it unrolls these loops early, which it does not do for iterators.
#![allow(clippy::needless_range_loop)]

use pulp::{Arch, Simd, WithSimd};

/// How many vectors of output channels a block takes: as many as leave registers for the rest.
pub(crate) fn vectors<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 2 } else { 1 }
}

/// Values per vector.
pub(crate) fn lanes<S: Simd>() -> usize {
    size_of::<S::f32s>() / size_of::<f32>()
}

/// Output channels whose sums are in registers at a time.
pub(crate) struct Block {
    pub first: usize,
    /// How many, in whole vectors; the last may have places beyond the last channel.
    pub width: usize,
    pub vectors: usize,
    /// Their weights, as the kernel reads them.
    pub packed: Vec<f32>,
}

impl Block {
    /// All output channels in blocks, with nothing packed yet.
    pub(crate) fn all(outputs: usize, arch: Arch) -> Vec<Self> {
        arch.dispatch(Blocks { outputs })
    }
}

struct Blocks {
    outputs: usize,
}

impl WithSimd for Blocks {
    type Output = Vec<Block>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<Block> {
        let firsts = (0..self.outputs).step_by(vectors::<S>() * lanes::<S>());
        firsts
            .map(|first| {
                let left = (self.outputs - first).div_ceil(lanes::<S>());
                let vectors = left.min(vectors::<S>());
                Block {
                    first,
                    width: vectors * lanes::<S>(),
                    vectors,
                    packed: Vec::new(),
                }
            })
            .collect()
    }
}

/// How the taps of one output pixel lie in the framed input.
#[derive(Clone, Copy)]
pub(crate) struct Taps {
    /// Neighbouring values per row: kernel width times channels.
    pub run: usize,
    /// Values from one row of taps to the next.
    pub pitch: usize,
}

/// Sums over all taps for `P` output pixels, whose taps start at `starts`, and `V` vectors of output channels:
/// `sum[p][v] = bias[v] + Σ input[tap of p] · weights[tap][v]`, taps in order, so that a pixel's bits do not depend on
/// `P`. `weights` holds `V` vectors of bias, then `V` vectors per tap.
#[inline(always)]
pub(crate) fn pixels<S: Simd, const P: usize, const V: usize>(
    simd: S,
    input: &[f32],
    starts: &[usize; P],
    taps: Taps,
    weights: &[S::f32s],
) -> [[S::f32s; V]; P] {
    let (bias, weights) = weights.split_at(V);
    let mut first = [simd.splat_f32s(0.0); V];
    first.copy_from_slice(bias);
    let mut sums = [first; P];
    let (weights, _) = weights.as_chunks::<V>();

    for (row, weights) in weights.chunks_exact(taps.run).enumerate() {
        // Slices of one known length let the compiler drop the bounds checks below.
        let mut inputs: [&[f32]; P] = [&[]; P];
        for pixel in 0..P {
            inputs[pixel] = &input[starts[pixel] + row * taps.pitch..][..weights.len()];
        }
        for tap in 0..weights.len() {
            for pixel in 0..P {
                let value = simd.splat_f32s(inputs[pixel][tap]);
                for vector in 0..V {
                    let sum = &mut sums[pixel][vector];
                    *sum = simd.mul_add_e_f32s(value, weights[tap][vector], *sum);
                }
            }
        }
    }
    sums
}

/// Adds to the weight gradient of `J` neighbouring taps and `V` vectors of output channels:
/// `sum[j][v] += Σ_pixel input[start of pixel + offset + j] · grads[pixel][v]`, pixels in order.
///
/// `grads` starts at the block's first channel and has `grad_step` values per pixel.
#[inline(always)]
pub(crate) fn taps<S: Simd, const J: usize, const V: usize>(
    simd: S,
    mut sums: [[S::f32s; V]; J],
    input: &[f32],
    starts: &[usize],
    offset: usize,
    grads: &[f32],
    grad_step: usize,
) -> [[S::f32s; V]; J] {
    let width = V * lanes::<S>();
    let input = &input[offset..];
    for (&start, grads) in starts.iter().zip(grads.chunks(grad_step)) {
        let input = &input[start..start + J];
        let grads = &S::as_simd_f32s(&grads[..width]).0[..V];
        for tap in 0..J {
            let value = simd.splat_f32s(input[tap]);
            for vector in 0..V {
                sums[tap][vector] = simd.mul_add_e_f32s(value, grads[vector], sums[tap][vector]);
            }
        }
    }
    sums
}
