//! A line of many numbers in few points.

/// Fewest points of a full line; it has at most twice as many.
pub const POINTS: usize = 200;

/// Means of neighbouring numbers: of each, then of two, of four, as there come more.
#[derive(Clone, Debug)]
pub struct Thinned {
    /// Numbers in a full point.
    group: usize,
    points: Vec<Point>,
}

#[derive(Clone, Copy, Debug)]
struct Point {
    last_x: f64,
    sum: f64,
    count: usize,
}

impl Default for Thinned {
    fn default() -> Self {
        Self {
            group: 1,
            points: Vec::new(),
        }
    }
}

impl Thinned {
    /// Adds a number at its place, which comes after those before.
    pub fn push(&mut self, x: f64, y: f64) {
        match self.points.last_mut() {
            Some(point) if point.count < self.group => {
                *point = Point {
                    last_x: x,
                    sum: point.sum + y,
                    count: point.count + 1,
                };
            }
            _ => self.points.push(Point {
                last_x: x,
                sum: y,
                count: 1,
            }),
        }
        let is_full = |point: &Point| point.count == self.group;
        if self.points.len() == 2 * POINTS && self.points.last().is_some_and(is_full) {
            let pair = |pair: &[Point]| Point {
                last_x: pair[1].last_x,
                sum: pair[0].sum + pair[1].sum,
                count: pair[0].count + pair[1].count,
            };
            self.points = self.points.chunks_exact(2).map(pair).collect();
            self.group *= 2;
        }
    }

    /// Drops the means of numbers at this place or later, also those that have earlier numbers in them.
    pub fn cut(&mut self, from: f64) {
        self.points.retain(|point| point.last_x < from);
        if self.points.is_empty() {
            self.group = 1;
        }
    }

    /// Numbers that a point is the mean of; the last point may be of fewer.
    #[must_use]
    pub fn group(&self) -> usize {
        self.group
    }

    /// The means, each at the place of its last number.
    #[must_use]
    pub fn points(&self) -> Vec<(f64, f64)> {
        let mean = |point: &Point| (point.last_x, point.sum / point.count as f64);
        self.points.iter().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn points_are_the_means_of_their_numbers(count in 0..5000_usize) {
            let mut thinned = Thinned::default();
            for x in 0..count {
                thinned.push(x as f64, (x * x) as f64);
            }
            let points = thinned.points();
            prop_assert!(points.len() <= 2 * POINTS);
            prop_assert!(count < POINTS || points.len() >= POINTS);
            prop_assert_eq!(points.len(), count.div_ceil(thinned.group()));
            for (at, (x, y)) in points.into_iter().enumerate() {
                let first = at * thinned.group();
                let end = (first + thinned.group()).min(count);
                prop_assert_eq!(x, (end - 1) as f64);
                let sum: usize = (first..end).map(|x| x * x).sum();
                prop_assert!((y - sum as f64 / (end - first) as f64).abs() < 1e-6 * (1.0 + y));
            }
        }
    }
}
