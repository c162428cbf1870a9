//! Nesterov look-ahead whose momentum rises with staleness.

/// The optimizer runs with Nesterov's look-ahead, and the momentum of a stage rises from the
/// run's own, at no staleness, to [`largest_momentum`](LookAhead::largest_momentum) at the stalest
/// stage, in proportion to the staleness.
///
/// Source of the idea: Ajanthan, Ramasinghe, Zuo, Avraham, Long, "Nesterov Method for Asynchronous
/// Pipeline Parallel Optimization", ICML 2025, arXiv 2505.01099: the look-ahead moves the
/// parameters to about where a delayed gradient belongs, the more so the nearer momentum is to 1.
/// The linear rise over stages is our choice, and so is the learning rate that goes with it: a stage
/// takes the share `(1 − γ_k) / (1 − γ)` of the common one, so that a lasting gradient moves all
/// stages as far as without.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LookAhead {
    /// The momentum at the stalest stage, below 1.
    pub largest_momentum: f64,
}

impl LookAhead {
    /// The momentum of a stage: `γ + (γ_largest − γ) · m / m_largest`, never below `base`, which is
    /// the run's own γ.
    pub fn momentum(self, base: f64, staleness: usize, largest_staleness: usize) -> f64 {
        if largest_staleness == 0 {
            return base;
        }
        let rise = (self.largest_momentum - base).max(0.0);
        base + rise * staleness.min(largest_staleness) as f64 / largest_staleness as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn momentum_rises_in_proportion_to_staleness() {
        let look_ahead = LookAhead {
            largest_momentum: 0.75,
        };
        assert_eq!(look_ahead.momentum(0.5, 0, 4), 0.5);
        assert_eq!(look_ahead.momentum(0.5, 2, 4), 0.625);
        assert_eq!(look_ahead.momentum(0.5, 4, 4), 0.75);
        assert_eq!(look_ahead.momentum(0.5, 0, 0), 0.5);
        assert_eq!(look_ahead.momentum(0.9, 4, 4), 0.9, "never below the base");
    }
}
