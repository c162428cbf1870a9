//! The constants of docs/theory.md for the smooth network, proven on a region of weights.
//!
//! The region is `‖W_k‖ ≤ ω_k` for every stage, with any `b_k`; activations lie in `[−1, 1]^3`. With `τ = max |tanh''|`,
//! `|tanh'| ≤ 1`, and a sample's `‖(x, 1)‖ ≤ b`, `z = W x + b`:
//!
//! ```text
//! ∂_x f = diag(tanh' z) W                      ‖∂_x f‖ ≤ ω = a
//! ∂_w f (V, c) = diag(tanh' z) (V x + c)       ‖∂_w f‖ ≤ b
//! tanh' z moves by τ ω per unit of x, and by τ b per unit of w:
//! ∂_x f by τ ω ω = p per unit of x, and by τ b ω + 1 = q per unit of w
//! ∂_w f by 1 + τ ω b = q per unit of x, and by τ b b = t per unit of w
//! ```
//!
//! The gradient of the cross-entropy has norm `√2` at most, and its Hessian `diag(s) − s sᵀ` has norm 1/2 at most.

use super::network::{SIZE, Stage, WIDTH};

/// Just above the largest `|tanh''|`, which is `4 / (3 √3)`.
const TAU: f64 = 0.769_800_358_92;

/// Of one stage, in the letters of docs/theory.md (5).
#[derive(Clone, Copy, Debug)]
pub struct OfStage {
    pub a: f64,
    pub b: f64,
    pub p: f64,
    pub q: f64,
    pub t: f64,
}

#[derive(Clone, Debug)]
pub struct Constants {
    pub stages: Vec<OfStage>,
    /// `h`.
    pub curvature: f64,
    /// `γ_0, …, γ_K`.
    pub upstream: Vec<f64>,
    /// `B`.
    pub bias: Matrix,
    /// `M`.
    pub turning: Matrix,
    /// An upper bound of `‖M‖`.
    pub smoothness: f64,
    /// `ω_k`.
    radii: Vec<f64>,
}

impl Constants {
    /// Those of the region around these weights.
    pub fn around(weights: &[Stage], slack: f64) -> Self {
        let radii: Vec<f64> = weights
            .iter()
            .map(|stage| operator_norm(stage) + slack)
            .collect();
        let b = (WIDTH as f64 + 1.0).sqrt();
        let of_stage = |&radius: &f64| OfStage {
            a: radius,
            b,
            p: TAU * radius * radius,
            q: 1.0 + TAU * radius * b,
            t: TAU * b * b,
        };
        let stages: Vec<OfStage> = radii.iter().map(of_stage).collect();
        let mut upstream = vec![2.0_f64.sqrt()];
        for stage in stages.iter().rev() {
            upstream.push(stage.a * upstream[upstream.len() - 1]);
        }
        upstream.reverse();
        let mut constants = Self {
            stages,
            curvature: 0.5,
            upstream,
            bias: Matrix(Vec::new()),
            turning: Matrix(Vec::new()),
            smoothness: 0.0,
            radii,
        };
        let count = constants.stages.len();
        let columns = |of: &dyn Fn(&[f64]) -> Vec<f64>| {
            let column = |i| of(&(0..count).map(|k| f64::from(k == i)).collect::<Vec<_>>());
            Matrix::of_columns((0..count).map(column).collect())
        };
        let bias = columns(&|moves| constants.right_sides(moves, 0.0).2);
        let turning = columns(&|moves| constants.right_sides(moves, 1.0).2);
        constants.bias = bias;
        constants.smoothness = turning.norm_bound();
        constants.turning = turning;
        constants
    }

    /// The right sides of (6), (8) and (9), with equality, for `Δ = moves`: `δ_0…δ_K`, `ε_0…ε_K`, and the bounds on the gradients.
    /// `moving` is 1 where Jacobians move with the weights, too, as in Lemma 2, and 0 where not.
    pub fn right_sides(&self, moves: &[f64], moving: f64) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
        let count = self.stages.len();
        let mut points = vec![0.0];
        for (k, stage) in self.stages.iter().enumerate() {
            points.push(stage.a * points[k] + stage.b * moves[k]);
        }
        let mut pulled = vec![0.0; count + 1];
        let mut gradients = vec![0.0; count];
        pulled[count] = self.curvature * points[count];
        for (k, stage) in self.stages.iter().enumerate().rev() {
            let (above, shift, turn) = (self.upstream[k + 1], points[k], moving * moves[k]);
            pulled[k] = stage.a * pulled[k + 1] + above * (stage.p * shift + stage.q * turn);
            gradients[k] = stage.b * pulled[k + 1] + above * (stage.q * shift + stage.t * turn);
        }
        (points, pulled, gradients)
    }

    /// `B_{ki}` in closed form, as written under Lemma 1.
    pub fn closed_form(&self, k: usize, i: usize) -> f64 {
        let count = self.stages.len();
        let gain = |range: std::ops::Range<usize>| {
            let stages = range.map(|j| self.stages[j].a);
            stages.product::<f64>()
        };
        let own = &self.stages[k];
        let from_loss = own.b * self.curvature * gain(k + 1..count) * gain(i + 1..count);
        let from_jacobian =
            |j: usize| gain(k + 1..j) * self.upstream[j + 1] * self.stages[j].p * gain(i + 1..j);
        let from_above: f64 = (i.max(k) + 1..count).map(from_jacobian).sum();
        let from_below = match i < k {
            true => self.upstream[k + 1] * own.q * gain(i + 1..k),
            false => 0.0,
        };
        self.stages[i].b * (from_loss + own.b * from_above + from_below)
    }

    /// `Γ_k`.
    pub fn largest_gradients(&self) -> Vec<f64> {
        let stages = self.stages.iter().zip(&self.upstream[1..]);
        stages.map(|(stage, above)| stage.b * above).collect()
    }

    /// Whether the constants hold at these weights.
    pub fn cover(&self, weights: &[Stage]) -> bool {
        let mut stages = weights.iter().zip(&self.radii);
        stages.all(|(stage, &radius)| operator_norm(stage) <= radius)
    }
}

/// An upper bound of `‖W‖`.
fn operator_norm(stage: &Stage) -> f64 {
    let rows = stage[..SIZE - WIDTH].chunks_exact(WIDTH);
    Matrix(rows.map(<[f64]>::to_vec).collect()).norm_bound()
}

/// By rows.
#[derive(Clone, Debug)]
pub struct Matrix(pub Vec<Vec<f64>>);

impl Matrix {
    fn of_columns(columns: Vec<Vec<f64>>) -> Self {
        let row = |k| columns.iter().map(|column| column[k]).collect();
        Self((0..columns[0].len()).map(row).collect())
    }

    pub fn times(&self, vector: &[f64]) -> Vec<f64> {
        let dot = |row: &Vec<f64>| row.iter().zip(vector).map(|(a, b)| a * b).sum();
        self.0.iter().map(dot).collect()
    }

    /// The matrix with its columns scaled.
    pub fn scaled(&self, factors: &[f64]) -> Self {
        let row = |row: &Vec<f64>| row.iter().zip(factors).map(|(a, b)| a * b).collect();
        Self(self.0.iter().map(row).collect())
    }

    /// An upper bound of the spectral norm: the smaller of the Frobenius norm and `√(‖·‖₁ ‖·‖_∞)`.
    pub fn norm_bound(&self) -> f64 {
        let absolute = |row: &Vec<f64>| row.iter().map(|value| value.abs()).sum::<f64>();
        let rows = self.0.iter().map(absolute).fold(0.0, f64::max);
        let column = |i: usize| self.0.iter().map(|row| row[i].abs()).sum::<f64>();
        let columns = (0..self.0[0].len()).map(column).fold(0.0, f64::max);
        let squares = self.0.iter().flatten().map(|value| value * value);
        squares.sum::<f64>().sqrt().min((rows * columns).sqrt())
    }
}
