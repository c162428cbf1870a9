//! Curves of a run.

use stagger_report::run_report::Thinned;

/// Batches and numbers beyond these are none of a run, and a picture would not come to an end with them.
const MOST_BATCHES: f64 = 1e15;
const MOST: f64 = 1e12;

/// A number over the batches of a run, in few points, and its last values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curve {
    points: Thinned,
    last: Option<(f64, f64)>,
}

impl Curve {
    /// Adds a number at its batch or version. One that is not finite, that is absurdly large, or that does not come after those before,
    /// is left out.
    pub fn push(&mut self, at: usize, y: f64) {
        let x = at as f64;
        let is_sane = x < MOST_BATCHES && y.abs() < MOST;
        if is_sane && self.last.is_none_or(|(before, _)| before < x) {
            self.points.push(x, y);
            self.last = Some((x, y));
        }
    }

    /// Drops what is at this batch or later: the run has gone back.
    pub fn cut(&mut self, from: usize) {
        self.points.cut(from as f64);
        self.last = self.points.points().pop();
    }

    /// Batches and means, at most a few hundred.
    pub fn points(&self) -> Vec<(f64, f64)> {
        self.points.points()
    }

    /// The last batch and its number.
    pub fn last(&self) -> Option<(f64, f64)> {
        self.last
    }

    pub fn is_empty(&self) -> bool {
        self.last.is_none()
    }
}
