//! The transforms, along one side of a tile and along both.

// The compiler keeps tiles in registers only if it unrolls these loops early, which it does not do for iterators.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use pulp::Simd;

use crate::microkernel::lanes;

/// A linear transform along one side of a tile. Types instead of closures: those might not be compiled for the instruction set.
pub(super) trait Transform<const FROM: usize, const TO: usize> {
    /// The transform of a column, or of a row.
    fn along<S: Simd>(simd: S, values: [S::f32s; FROM]) -> [S::f32s; TO];
}

/// `Bᵀ·d`, of the input, for tiles of `N` inputs.
pub(super) struct Input<const N: usize>;

/// `G·g`, of the kernel.
pub(super) struct Kernel<const N: usize>;

/// `Aᵀ·m`, to the output.
pub(super) struct Output<const N: usize>;

/// `A·y`, of the output's gradient.
pub(super) struct OutputGrad<const N: usize>;

/// `Gᵀ·m`, to the kernel's gradient.
pub(super) struct KernelGrad<const N: usize>;

// F(2×2, 3×3), from the points 0, 1, −1 and infinity.

impl Transform<4, 4> for Input<4> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, d: [S::f32s; 4]) -> [S::f32s; 4] {
        [
            simd.sub_f32s(d[0], d[2]),
            simd.add_f32s(d[1], d[2]),
            simd.sub_f32s(d[2], d[1]),
            simd.sub_f32s(d[1], d[3]),
        ]
    }
}

impl Transform<3, 4> for Kernel<4> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 4] {
        let half = simd.splat_f32s(0.5);
        let ends = simd.mul_f32s(half, simd.add_f32s(g[0], g[2]));
        let middle = simd.mul_f32s(half, g[1]);
        [
            g[0],
            simd.add_f32s(ends, middle),
            simd.sub_f32s(ends, middle),
            g[2],
        ]
    }
}

impl Transform<4, 2> for Output<4> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::f32s; 4]) -> [S::f32s; 2] {
        [
            simd.add_f32s(m[0], simd.add_f32s(m[1], m[2])),
            simd.sub_f32s(simd.sub_f32s(m[1], m[2]), m[3]),
        ]
    }
}

impl Transform<2, 4> for OutputGrad<4> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, y: [S::f32s; 2]) -> [S::f32s; 4] {
        [
            y[0],
            simd.add_f32s(y[0], y[1]),
            simd.sub_f32s(y[0], y[1]),
            simd.neg_f32s(y[1]),
        ]
    }
}

impl Transform<4, 3> for KernelGrad<4> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::f32s; 4]) -> [S::f32s; 3] {
        let half = simd.splat_f32s(0.5);
        let sum = simd.mul_f32s(half, simd.add_f32s(m[1], m[2]));
        let difference = simd.mul_f32s(half, simd.sub_f32s(m[1], m[2]));
        [
            simd.add_f32s(m[0], sum),
            difference,
            simd.add_f32s(sum, m[3]),
        ]
    }
}

// F(4×4, 3×3), from the points 0, ±1, ±2 and infinity.

impl Transform<6, 6> for Input<6> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
        let (two, four, five) = (
            simd.splat_f32s(2.0),
            simd.splat_f32s(4.0),
            simd.splat_f32s(-5.0),
        );
        let minus_four = simd.splat_f32s(-4.0);
        let even = simd.mul_add_f32s(minus_four, d[2], d[4]);
        let odd = simd.mul_add_f32s(minus_four, d[1], d[3]);
        let far_even = simd.sub_f32s(d[4], d[2]);
        let far_odd = simd.mul_f32s(two, simd.sub_f32s(d[3], d[1]));
        [
            simd.mul_add_f32s(four, d[0], simd.mul_add_f32s(five, d[2], d[4])),
            simd.add_f32s(even, odd),
            simd.sub_f32s(even, odd),
            simd.add_f32s(far_even, far_odd),
            simd.sub_f32s(far_even, far_odd),
            simd.mul_add_f32s(four, d[1], simd.mul_add_f32s(five, d[3], d[5])),
        ]
    }
}

impl Transform<3, 6> for Kernel<6> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 6] {
        let by = |factor: f32, value| simd.mul_f32s(simd.splat_f32s(factor), value);
        let near = by(-1.0 / 6.0, simd.add_f32s(g[0], g[2]));
        let near_middle = by(-1.0 / 6.0, g[1]);
        let far = simd.add_f32s(by(1.0 / 24.0, g[0]), by(1.0 / 6.0, g[2]));
        let far_middle = by(1.0 / 12.0, g[1]);
        [
            by(0.25, g[0]),
            simd.add_f32s(near, near_middle),
            simd.sub_f32s(near, near_middle),
            simd.add_f32s(far, far_middle),
            simd.sub_f32s(far, far_middle),
            g[2],
        ]
    }
}

impl Transform<6, 4> for Output<6> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
        let (near, near_odd) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
        let (far, far_odd) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        let (two, four, eight) = (
            simd.splat_f32s(2.0),
            simd.splat_f32s(4.0),
            simd.splat_f32s(8.0),
        );
        [
            simd.add_f32s(m[0], simd.add_f32s(near, far)),
            simd.mul_add_f32s(two, far_odd, near_odd),
            simd.mul_add_f32s(four, far, near),
            simd.add_f32s(simd.mul_add_f32s(eight, far_odd, near_odd), m[5]),
        ]
    }
}

impl Transform<4, 6> for OutputGrad<6> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
        let (two, four, eight) = (
            simd.splat_f32s(2.0),
            simd.splat_f32s(4.0),
            simd.splat_f32s(8.0),
        );
        let (even, odd) = (simd.add_f32s(y[0], y[2]), simd.add_f32s(y[1], y[3]));
        let far_even = simd.mul_add_f32s(four, y[2], y[0]);
        let far_odd = simd.mul_add_f32s(eight, y[3], simd.mul_f32s(two, y[1]));
        [
            y[0],
            simd.add_f32s(even, odd),
            simd.sub_f32s(even, odd),
            simd.add_f32s(far_even, far_odd),
            simd.sub_f32s(far_even, far_odd),
            y[3],
        ]
    }
}

impl Transform<6, 3> for KernelGrad<6> {
    #[inline(always)]
    fn along<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 3] {
        let by = |factor: f32, value| simd.mul_f32s(simd.splat_f32s(factor), value);
        let (near, near_odd) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[2], m[1]));
        let (far, far_odd) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
        let ends = by(-1.0 / 6.0, near);
        [
            simd.add_f32s(by(0.25, m[0]), simd.add_f32s(ends, by(1.0 / 24.0, far))),
            simd.add_f32s(by(1.0 / 6.0, near_odd), by(1.0 / 12.0, far_odd)),
            simd.add_f32s(simd.add_f32s(ends, by(1.0 / 6.0, far)), m[5]),
        ]
    }
}

/// Where a tile of vectors lies in a slice.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// The first value of its first vector.
    pub start: usize,
    /// Values from one row of vectors to the next.
    pub row: usize,
    /// Values from one vector of a row to the next.
    pub column: usize,
}

/// Transforms a tile along both sides: first every column, then every row. Of the result these rows and the first `columns` are written.
/// `half` is room for what is between the two.
#[inline(always)]
pub(super) fn transform<S: Simd, T: Transform<FROM, TO>, const FROM: usize, const TO: usize>(
    simd: S,
    half: &mut [[S::f32s; FROM]; TO],
    (from, at): (&[f32], Layout),
    (to, put): (&mut [f32], Layout),
    (rows, columns): (Range<usize>, usize),
) {
    let lanes = lanes::<S>();
    let from = &from[at.start..][..(FROM - 1) * (at.row + at.column) + lanes];
    for column in 0..FROM {
        let mut line = [simd.splat_f32s(0.0); FROM];
        for row in 0..FROM {
            line[row] = S::as_simd_f32s(&from[row * at.row + column * at.column..][..lanes]).0[0];
        }
        let line = T::along(simd, line);
        for row in 0..TO {
            half[row][column] = line[row];
        }
    }
    for row in 0..TO {
        if !rows.contains(&row) {
            continue;
        }
        let line = T::along(simd, half[row]);
        let to = &mut to[put.start + row * put.row..];
        for column in 0..TO {
            if column >= columns {
                break;
            }
            S::as_mut_simd_f32s(&mut to[column * put.column..][..lanes]).0[0] = line[column];
        }
    }
}

/// Transforms every channel of the tiles that start at `starts` of framed memory, whose rows are `pitch` values long, and writes these
/// `rows` of positions, position by position, `spacing` values apart, one row of `channels` values per tile.
#[inline(always)]
pub(super) fn scatter<S: Simd, T: Transform<FROM, N>, const FROM: usize, const N: usize>(
    simd: S,
    framed: &[f32],
    starts: &[usize],
    (pitch, channels): (usize, usize),
    spacing: usize,
    rows: &Range<usize>,
    to: &mut [f32],
) {
    let mut half = [[simd.splat_f32s(0.0); FROM]; N];
    for (tile, &start) in starts.iter().enumerate() {
        let mut channel = 0;
        while channel < channels {
            let at = Layout {
                start: start + channel,
                row: pitch,
                column: channels,
            };
            let put = Layout {
                start: tile * channels + channel,
                row: N * spacing,
                column: spacing,
            };
            let keep = (rows.clone(), N);
            transform::<S, T, FROM, N>(simd, &mut half, (framed, at), (to, put), keep);
            channel += lanes::<S>();
        }
    }
}
