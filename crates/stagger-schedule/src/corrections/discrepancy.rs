//! Discrepancy correction: run backward nearer to where the forward pass was.

/// Backward at `w − m·δ`, with `δ ← q·δ + (1 − q)·(w_new − w_old)` the running mean of the updates
/// and `q = D^(1/m)` its [`keep`](Discrepancy::keep): after the `m` updates between the passes a
/// step has the share `D` left.
///
/// Source: Yang, Zhang, Li, Ré, Aberger, De Sa, "PipeMare: Asynchronous Pipeline Parallel DNN
/// Training" (T2), arXiv 1910.05124.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Discrepancy {
    /// `D`, with 0 < D < 1.
    pub decay: f64,
}

impl Discrepancy {
    /// `q = D^(1/m)`: the share of `δ` that is kept at every update. 0 without staleness, where
    /// there is nothing to correct.
    pub fn keep(self, staleness: usize) -> f64 {
        match staleness {
            0 => 0.0,
            m => self.decay.powf(1.0 / m as f64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_the_staleness_the_decay_is_left() {
        let discrepancy = Discrepancy { decay: 0.25 };
        assert_eq!(discrepancy.keep(0), 0.0);
        assert_eq!(discrepancy.keep(1), 0.25);
        assert_eq!(discrepancy.keep(2), 0.5);
        assert!((discrepancy.keep(4).powf(4.0) - 0.25).abs() < 1e-12);
    }
}
