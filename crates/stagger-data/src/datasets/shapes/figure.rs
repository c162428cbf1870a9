//! The ten figures of `shapes`, as signed distances.
//!
//! A distance is negative inside, in pixels, and exact near straight edges; around corners it may
//! be too small (mitred), which antialiasing does not show. Only operations that IEEE 754 rounds
//! exactly are used, so that every platform draws the same bytes.

/// A figure; its position in [`Figure::ALL`] is its class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    Disc,
    Ring,
    Square,
    Frame,
    Triangle,
    Star,
    Cross,
    Crescent,
    Bar,
    Pair,
}

/// Cosine and sine of 72°.
const FIFTH: [f32; 2] = [0.309_017, 0.951_056_5];
/// Cosine and sine of 144°.
const TWO_FIFTHS: [f32; 2] = [-0.809_017, 0.587_785_25];
/// Sine of 60°.
const SIN_60: f32 = 0.866_025_4;

impl Figure {
    pub(super) const ALL: [Figure; 10] = [
        Figure::Disc,
        Figure::Ring,
        Figure::Square,
        Figure::Frame,
        Figure::Triangle,
        Figure::Star,
        Figure::Cross,
        Figure::Crescent,
        Figure::Bar,
        Figure::Pair,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Figure::Disc => "disc",
            Figure::Ring => "ring",
            Figure::Square => "square",
            Figure::Frame => "frame",
            Figure::Triangle => "triangle",
            Figure::Star => "star",
            Figure::Cross => "cross",
            Figure::Crescent => "crescent",
            Figure::Bar => "bar",
            Figure::Pair => "pair",
        }
    }

    /// Signed distance in pixels of the point (x, y) from the outline of the figure of
    /// circumradius `radius` around the origin.
    #[inline(always)]
    pub(super) fn distance(self, x: f32, y: f32, radius: f32) -> f32 {
        match self {
            Figure::Disc => length(x, y) - 0.9 * radius,
            Figure::Ring => (length(x, y) - 0.75 * radius).abs() - 0.2 * radius,
            Figure::Square => square(x, y) - 0.72 * radius,
            Figure::Frame => (square(x, y) - 0.58 * radius).abs() - 0.17 * radius,
            Figure::Triangle => {
                let slanted = SIN_60 * x.abs() - 0.5 * y;
                slanted.max(y) - 0.5 * radius
            }
            Figure::Star => star(x, y, radius),
            Figure::Cross => {
                let (x, y) = (x.abs(), y.abs());
                let (long, wide) = (x.max(y), x.min(y));
                (long - 0.95 * radius).max(wide - 0.26 * radius)
            }
            Figure::Crescent => {
                let outer = length(x, y) - 0.95 * radius;
                let bite = length(x - 0.55 * radius, y) - 0.8 * radius;
                outer.max(-bite)
            }
            Figure::Bar => (x.abs() - radius).max(y.abs() - 0.26 * radius),
            Figure::Pair => length(x.abs() - 0.58 * radius, y) - 0.4 * radius,
        }
    }
}

fn length(x: f32, y: f32) -> f32 {
    (x * x + y * y).sqrt()
}

fn square(x: f32, y: f32) -> f32 {
    x.abs().max(y.abs())
}

/// A pentagram is bounded by five lines; inside it a point is beyond at most one of them. So its
/// distance is the second largest of the five distances from the lines.
fn star(x: f32, y: f32, radius: f32) -> f32 {
    let x = x.abs();
    let mut largest = f32::NEG_INFINITY;
    let mut second = f32::NEG_INFINITY;
    for distance in [
        y,
        FIFTH[0] * y + FIFTH[1] * x,
        FIFTH[0] * y - FIFTH[1] * x,
        TWO_FIFTHS[0] * y + TWO_FIFTHS[1] * x,
        TWO_FIFTHS[0] * y - TWO_FIFTHS[1] * x,
    ] {
        second = second.max(largest.min(distance));
        largest = largest.max(distance);
    }
    second - FIFTH[0] * radius
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Area inside the figure of radius 1, counted on a grid.
    fn area(figure: Figure) -> f32 {
        let steps = 400;
        let inside = (0..steps * steps)
            .filter(|i| {
                let x = (i % steps) as f32 / 200.0 - 1.0 + 0.0025;
                let y = (i / steps) as f32 / 200.0 - 1.0 + 0.0025;
                figure.distance(x, y, 1.0) < 0.0
            })
            .count();
        inside as f32 * 4.0 / (steps * steps) as f32
    }

    #[test]
    fn areas_match_geometry() {
        use std::f32::consts::PI;
        let expected = [
            (Figure::Disc, PI * 0.81),
            (Figure::Ring, PI * (0.95f32.powi(2) - 0.55f32.powi(2))),
            (Figure::Square, 1.44 * 1.44),
            (Figure::Frame, 1.5 * 1.5 - 0.82 * 0.82),
            (Figure::Triangle, 1.299),
            (Figure::Star, 1.1226),
            (Figure::Cross, 2.0 * 1.9 * 0.52 - 0.52 * 0.52),
            (Figure::Bar, 2.0 * 0.52),
            (Figure::Pair, 2.0 * PI * 0.16),
        ];
        for (figure, area_expected) in expected {
            let found = area(figure);
            assert!(
                (found - area_expected).abs() < 0.02,
                "{figure:?}: {found}, {area_expected}"
            );
        }
    }

    #[test]
    fn every_figure_stays_within_its_radius() {
        for figure in Figure::ALL {
            for i in 0..360 {
                let angle = (i as f32).to_radians();
                let (x, y) = (1.12 * angle.cos(), 1.12 * angle.sin());
                assert!(
                    figure.distance(x * 10.0, y * 10.0, 10.0) > 0.0,
                    "{figure:?} at {i}°"
                );
            }
        }
    }

    #[test]
    fn distances_scale_with_the_radius() {
        for figure in Figure::ALL {
            let one = figure.distance(0.3, -0.4, 1.0);
            let ten = figure.distance(3.0, -4.0, 10.0);
            assert!((10.0 * one - ten).abs() < 1e-4, "{figure:?}: {one}, {ten}");
        }
    }
}
