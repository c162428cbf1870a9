//! Weight prediction: run forward where the parameters will be when the gradient comes.

/// Forward at `ŵ = w − a·v`, with `v` the momentum buffer of SGD (`v ← γ·v + g`, `w ← w − η·v`)
/// and `a` the [`coefficient`](Prediction::coefficient).
///
/// Source: Chen, Yang, Cheng, "Efficient and Robust Parallel DNN Training through Model Parallelism
/// on Multi-GPU Platform" (SpecTrain), arXiv 1809.02839, for the linear form. The geometric form
/// follows from letting `v` decay while no gradient comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// `a = η·s`: each of the `s` updates to come is like the last one.
    Linear,
    /// `a = η·(γ + γ² + … + γ^s) = η·(γ − γ^{s+1}) / (1 − γ)`: the `s` updates to come without
    /// their gradients, so each is `γ` times the one before.
    Geometric,
}

impl Prediction {
    /// How many momentum buffers the parameters are ahead after `staleness` updates.
    ///
    /// `learning_rate` is η, `momentum` is γ with 0 ≤ γ ≤ 1.
    pub fn coefficient(self, learning_rate: f64, staleness: usize, momentum: f64) -> f64 {
        let steps = staleness as f64;
        match self {
            Prediction::Geometric if momentum < 1.0 => {
                learning_rate * (momentum - momentum.powf(steps + 1.0)) / (1.0 - momentum)
            }
            // At γ = 1 the geometric sum is `s`.
            Prediction::Linear | Prediction::Geometric => learning_rate * steps,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found}, not {expected}");
    }

    #[test]
    fn the_linear_form_repeats_the_last_update() {
        assert_close(Prediction::Linear.coefficient(0.1, 4, 0.9), 0.4);
        assert_close(Prediction::Linear.coefficient(0.1, 0, 0.9), 0.0);
    }

    #[test]
    fn the_geometric_form_lets_it_decay() {
        // 0.1 · (0.9 + 0.81 + 0.729)
        assert_close(Prediction::Geometric.coefficient(0.1, 3, 0.9), 0.2439);
        assert_close(Prediction::Geometric.coefficient(0.1, 0, 0.9), 0.0);
        assert_close(Prediction::Geometric.coefficient(0.1, 3, 0.0), 0.0);
        assert_close(Prediction::Geometric.coefficient(0.1, 3, 1.0), 0.3);
    }
}
