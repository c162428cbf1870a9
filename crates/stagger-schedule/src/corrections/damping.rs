//! Gap-aware damping: the further the parameters have moved, the less a gradient counts.

/// The gradient of a batch is multiplied by `1 / (1 + G / s)`, with the gap
/// `G = ‖w_now − w_forward‖` of the stage and the mean length `s` of its updates.
///
/// Source: Barkai, Hakimi, Schuster, "Gap Aware Mitigation of Gradient Staleness", ICLR 2020,
/// arXiv 1909.10802. There the gap is taken per parameter and in units of the largest step; here
/// it is one number per stage, in units of the mean step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damping;

impl Damping {
    /// The factor of the gradient, in `0 ..= 1`; 1 without a gap, and while no step is known.
    ///
    /// `gap` and `mean_step` are norms in the same units, both at least 0.
    pub fn factor(self, gap: f64, mean_step: f64) -> f64 {
        if mean_step > 0.0 {
            1.0 / (1.0 + gap / mean_step)
        } else {
            1.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_of_three_steps_leaves_a_quarter() {
        assert_eq!(Damping.factor(0.75, 0.25), 0.25);
        assert_eq!(Damping.factor(0.0, 0.25), 1.0);
        assert_eq!(Damping.factor(0.0, 0.0), 1.0);
        assert_eq!(Damping.factor(1.0, 0.0), 1.0);
    }
}
