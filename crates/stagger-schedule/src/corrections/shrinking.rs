//! Gradient shrinking: lower stages, which are staler, get smaller gradients.

/// The gradient that a stage sends down is multiplied by [`beta`](Shrinking::beta), so that stage
/// `k` of `K` sees `β^(K−1−k)` times its gradient.
///
/// Source: Zhuang, Wang, Liu, Lin, "Fully Decoupled Neural Network Learning Using Delayed
/// Gradients" (FDG), arXiv 1906.09108. We have not seen the full text; that the factor applies once
/// per boundary is our reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shrinking {
    /// β, with 0 < β ≤ 1; 1 changes nothing.
    pub beta: f64,
}

impl Shrinking {
    /// By how much the gradient at a stage is shrunk in all: `β^(K−1−k)`.
    ///
    /// ```
    /// use stagger_schedule::Shrinking;
    ///
    /// assert_eq!(Shrinking { beta: 0.5 }.at(1, 4), 0.25);
    /// ```
    pub fn at(self, stage: usize, stages: usize) -> f64 {
        let boundaries = stages.saturating_sub(stage + 1);
        self.beta.powf(boundaries as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_stage_is_not_shrunk() {
        let shrinking = Shrinking { beta: 0.5 };
        let all: Vec<f64> = (0..4).map(|stage| shrinking.at(stage, 4)).collect();
        assert_eq!(all, [0.125, 0.25, 0.5, 1.0]);
    }
}
