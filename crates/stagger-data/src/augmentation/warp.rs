//! Shears, shifts and rotations of an image: each pixel is the nearest one of where it comes from, and black comes in from outside.

use super::exact::sin_cos;

/// Where the pixels of an image come from. Rows go down and columns right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Warp {
    /// Each row comes from `(row + ½) · share` further right.
    ShearX(f64),
    /// Each column comes from `(column + ½) · share` further down.
    ShearY(f64),
    /// Moves so many pixels right.
    TranslateX(isize),
    /// Moves so many pixels down.
    TranslateY(isize),
    /// Turns counter-clockwise about the centre, by degrees of at most 45.
    Rotate(f64),
}

impl Warp {
    /// Makes the image `to` of `from`; both have planes of this height and width.
    pub fn apply(self, size: [usize; 2], from: &[u8], to: &mut [u8]) {
        let [height, width] = size;
        let origin = self.origin(size);
        for row in 0..height {
            for column in 0..width {
                let [y, x] = origin(row, column);
                let source = inside(y, height).zip(inside(x, width));
                for plane in (0..to.len()).step_by(height * width) {
                    to[plane + row * width + column] =
                        source.map_or(0, |(row, column)| from[plane + row * width + column]);
                }
            }
        }
    }

    /// Row and column that those of the result come from.
    fn origin(self, [height, width]: [usize; 2]) -> impl Fn(usize, usize) -> [f64; 2] {
        let rotation = match self {
            Self::Rotate(degrees) => sin_cos(degrees * (std::f64::consts::PI / 180.0)),
            _ => [0.0, 1.0],
        };
        let centre = [height, width].map(|side| (side as f64 - 1.0) / 2.0);
        move |row, column| {
            let [y, x] = [row as f64, column as f64];
            match self {
                Self::ShearX(share) => [y, x + share * (y + 0.5)],
                Self::ShearY(share) => [y + share * (x + 0.5), x],
                Self::TranslateX(right) => [y, x - right as f64],
                Self::TranslateY(down) => [y - down as f64, x],
                Self::Rotate(_) => {
                    let [sine, cosine] = rotation;
                    let [down, right] = [y - centre[0], x - centre[1]];
                    [
                        sine * right + cosine * down + centre[0],
                        cosine * right - sine * down + centre[1],
                    ]
                }
            }
        }
    }
}

/// The nearest of `length` pixels, halves to the even one.
fn inside(at: f64, length: usize) -> Option<usize> {
    let nearest = at.round_ties_even();
    (nearest >= 0.0 && nearest < length as f64).then_some(nearest as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn warped(warp: Warp, size: [usize; 2]) -> Vec<u8> {
        let from: Vec<u8> = (1..=(size[0] * size[1]) as u8).collect();
        let mut to = vec![99; from.len()];
        warp.apply(size, &from, &mut to);
        to
    }

    #[test]
    fn shifts_and_shears_by_hand() {
        let size = [2, 3];
        assert_eq!(warped(Warp::TranslateX(1), size), [0, 1, 2, 0, 4, 5]);
        assert_eq!(warped(Warp::TranslateX(-2), size), [3, 0, 0, 6, 0, 0]);
        assert_eq!(warped(Warp::TranslateY(1), size), [0, 0, 0, 1, 2, 3]);
        assert_eq!(warped(Warp::TranslateY(-9), size), [0; 6]);
        // Row 0 comes from 0.3 further right, row 1 from 0.9.
        assert_eq!(warped(Warp::ShearX(0.6), size), [1, 2, 3, 5, 6, 0]);
        // By ½ and 3/2: halves to the even one.
        assert_eq!(warped(Warp::ShearX(1.0), size), [1, 3, 3, 6, 6, 0]);
        // Columns come from 0.3, 0.9 and 1.5 further down: the last from row 1.5, the even one of which is 2.
        assert_eq!(warped(Warp::ShearY(0.6), size), [1, 5, 0, 4, 0, 0]);
        assert_eq!(warped(Warp::ShearY(-0.6), size), [1, 0, 0, 4, 2, 3]);
    }

    #[test]
    fn rotations_turn_counter_clockwise() {
        let size = [3, 3];
        assert_eq!(warped(Warp::Rotate(0.0), size), [1, 2, 3, 4, 5, 6, 7, 8, 9]);
        // By 45 degrees the corners come from outside, and the others move one on: right to the upper right.
        assert_eq!(warped(Warp::Rotate(44.0), size)[4], 5);
        // 5 × 5, the pixel right of the centre by two comes to (1.73 right, 1 up) by 30 degrees.
        let size = [5, 5];
        let mut from = vec![0; 25];
        from[2 * 5 + 4] = 200;
        let mut to = vec![0; 25];
        Warp::Rotate(30.0).apply(size, &from, &mut to);
        assert_eq!(to[5 + 4], 200, "{to:?}");
        Warp::Rotate(-30.0).apply(size, &from, &mut to);
        assert_eq!(to[3 * 5 + 4], 200, "{to:?}");
    }

    proptest! {
        #[test]
        fn nothing_but_pixels_and_black(
            height in 1usize..20, width in 1usize..20, amount in -0.3f64..0.3, kind in 0u8..5,
        ) {
            let warp = match kind {
                0 => Warp::ShearX(amount),
                1 => Warp::ShearY(amount),
                2 => Warp::TranslateX((amount * 50.0) as isize),
                3 => Warp::TranslateY((amount * 50.0) as isize),
                _ => Warp::Rotate(amount * 100.0),
            };
            let from = vec![7; 3 * height * width];
            let mut to = vec![1; from.len()];
            warp.apply([height, width], &from, &mut to);
            prop_assert!(to.iter().all(|&pixel| pixel == 7 || pixel == 0));
            let plane = height * width;
            prop_assert_eq!(&to[..plane], &to[plane..2 * plane]);
        }
    }
}
