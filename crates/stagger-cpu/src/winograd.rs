//! Convolutions with 3×3 kernels and stride 1 by fewer multiplications: Winograd's minimal filtering.
//!
//! Tiles of `M×M` outputs are computed from `N×N` inputs, `N = M + 2`, as `Aᵀ·[(G·g·Gᵀ) ⊙ (Bᵀ·d·B)]·A` (Lavin and Gray,
//! arXiv 1509.09308, §4). The sums over channels run between the transforms, as one matrix product per position of the tile, and take
//! `N²` multiplications per tile instead of `9·M²`: 2.25 times fewer for `M = 2`, 4 times fewer for `M = 4`. The gradient of the input is
//! such a convolution itself; that of the weight is the transpose of the formula, `Gᵀ·[(A·dy·Aᵀ) ⊙ (Bᵀ·d·B)]·G`.
//!
//! A tile's bits depend on its values alone, not on the number of samples or on its place among the tiles that run together.

mod convolve;
mod tiling;
mod weight_grad;

use stagger_engine::layered::Convolution;

use crate::padded::Frame;

pub(crate) use convolve::{Convolve, convolve};
pub(crate) use weight_grad::WeightGrad;

/// How many outputs a tile has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tile {
    /// F(2×2, 3×3)
    Two,
    /// F(4×4, 3×3)
    Four,
}

/// Channels and outputs have to be multiples of this: whole vectors of every instruction set, so that all machines choose alike.
const CHANNELS: usize = 16;

impl Tile {
    /// Multiplications per channel and output for an image with outputs of these sides.
    fn products(self, [height, width]: [usize; 2]) -> usize {
        let (inputs, outputs): (usize, usize) = match self {
            Self::Two => (4, 2),
            Self::Four => (6, 4),
        };
        height.div_ceil(outputs) * width.div_ceil(outputs) * inputs * inputs
    }
}

/// The tile for a convolution `[O, C, k, k]` with outputs of these sides, `[H', W']`, or `None` where direct sums take no more
/// multiplications, or channels do not fill vectors. It goes by the shapes of one image: not by the number of samples, so that micro-batches
/// have the same, and not by the machine.
pub(crate) fn tile(
    geometry: Convolution,
    [outputs, channels, kernel, _]: [usize; 4],
    sides: [usize; 2],
) -> Option<Tile> {
    let whole = |channels: usize| channels > 0 && channels.is_multiple_of(CHANNELS);
    let suits =
        geometry.winograd && kernel == 3 && geometry.stride == 1 && geometry.padding < kernel;
    if !suits || !whole(channels) || !whole(outputs) {
        return None;
    }
    let direct = 9 * sides[0] * sides[1];
    let (two, four) = (Tile::Two.products(sides), Tile::Four.products(sides));
    if four < two && four < direct {
        Some(Tile::Four)
    } else {
        (two < direct).then_some(Tile::Two)
    }
}

/// The tile for the gradient of the weight: sums of large tiles are four times the weight, and where that is long they cost more than the
/// multiplications.
pub(crate) fn weight_tile(
    geometry: Convolution,
    weight: [usize; 4],
    sides: [usize; 2],
) -> Option<Tile> {
    let tile = tile(geometry, weight, sides)?;
    let [outputs, channels, ..] = weight;
    if outputs * channels <= LONG {
        return Some(tile);
    }
    (Tile::Two.products(sides) < 9 * sides[0] * sides[1]).then_some(Tile::Two)
}

/// Products of channels and outputs up to which the sums of large tiles stay near the processor.
const LONG: usize = 1 << 16;

/// How the tiles of a group of images lie in framed memory.
struct Grid {
    /// Images in a full group.
    samples: usize,
    /// Tiles per column and row of an image.
    rows: usize,
    columns: usize,
    /// Where the tiles of a full group start in the framed memory, row by row.
    starts: Vec<usize>,
}

impl Grid {
    /// Tiles that start every `step` pixels of the frame; groups of at least `tiles` tiles where there are that many.
    fn new(
        frame: &Frame,
        (rows, columns): (usize, usize),
        step: usize,
        tiles: usize,
        samples: usize,
    ) -> Self {
        let samples = tiles.div_ceil((rows * columns).max(1)).min(samples).max(1);
        let mut starts = Vec::with_capacity(samples * rows * columns);
        for sample in 0..samples {
            for row in 0..rows {
                let start = frame.start(sample, row * step);
                starts.extend((0..columns).map(|column| start + column * step * frame.channels));
            }
        }
        Self {
            samples,
            rows,
            columns,
            starts,
        }
    }

    /// Sample, row and column of a tile.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (line, column) = (tile / self.columns, tile % self.columns);
        (line / self.rows, line % self.rows, column)
    }
}

/// Values between the matrices of two positions: a few more than the matrix has, since lines that lie a power of two apart push each
/// other out of the first-level cache.
fn spaced(len: usize) -> usize {
    len + CHANNELS
}

#[cfg(test)]
mod tests {
    use super::*;

    const GEOMETRY: Convolution = Convolution {
        stride: 1,
        padding: 1,
        groups: 1,
        winograd: true,
    };

    #[test]
    fn tiles_are_those_of_the_fewest_multiplications() {
        let of = |side| tile(GEOMETRY, [16, 16, 3, 3], [side, side]);
        let found: Vec<_> = (1..=8).map(of).collect();
        let (two, four) = (Some(Tile::Two), Some(Tile::Four));
        assert_eq!(found, [None, two, four, four, two, two, four, four]);
    }

    #[test]
    fn others_are_summed_directly() {
        let sides = [8, 8];
        for weight in [
            [16, 16, 1, 1],
            [16, 16, 5, 5],
            [16, 3, 3, 3],
            [24, 16, 3, 3],
        ] {
            assert_eq!(tile(GEOMETRY, weight, sides), None, "{weight:?}");
        }
        let weight = [16, 16, 3, 3];
        for geometry in [
            Convolution {
                stride: 2,
                ..GEOMETRY
            },
            Convolution {
                padding: 3,
                ..GEOMETRY
            },
            Convolution {
                winograd: false,
                ..GEOMETRY
            },
        ] {
            assert_eq!(tile(geometry, weight, sides), None, "{geometry:?}");
        }
    }

    #[test]
    fn gradients_of_long_weights_have_small_tiles() {
        let of = |channels| weight_tile(GEOMETRY, [channels, channels, 3, 3], [14, 14]);
        assert_eq!((of(256), of(272)), (Some(Tile::Four), Some(Tile::Two)));
    }
}
