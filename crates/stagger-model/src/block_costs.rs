//! How long each block takes, estimated from the layers or measured.

use std::ops::Range;

use crate::cost::Cost;
use crate::cut_error::CutError;
use crate::error::ModelError;
use crate::model::Model;

/// Estimates time from a [`Cost`], in multiply-adds: one for each, plus a price for each element of the layers
/// that are bound by memory instead of arithmetic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CostModel {
    /// Multiply-adds that take as long as one element of normalisation, ReLU, residual addition or pooling.
    ///
    /// The default of 200 is a rough figure for engine `cpu`, whose convolutions take fewer multiplications than these, and transforms
    /// per element instead: residual blocks of ResNet-20 with 16, 32 and 64 channels, which have as many multiply-adds (4.7 M) and 82,
    /// 41 and 20 thousand elements, took 32.5, 18.4 and 13.4 ms per step on one Zen 4 core. Other machines differ; measured costs
    /// replace it.
    pub multiply_adds_per_element: f64,
    /// Time of the backward pass over that of the forward pass: 2, since a convolution forms the gradient of its
    /// input and of its weight.
    pub backward: f64,
}

impl Default for CostModel {
    fn default() -> Self {
        Self {
            multiply_adds_per_element: 200.0,
            backward: 2.0,
        }
    }
}

impl CostModel {
    /// For convolutions by direct sums, as those of libtorch. Of a ResNet-20 training step on one Zen 5 core with oneDNN about 61 % went
    /// into convolutions (40.6 M multiply-adds per sample forward) and the rest into its 492 thousand elements, hence
    /// (39 / 61) · 40.6 M / 492 k ≈ 53.
    pub const DIRECT_SUMS: Self = Self {
        multiply_adds_per_element: 50.0,
        backward: 2.0,
    };

    /// The time of a forward pass, in multiply-adds.
    pub fn forward(&self, cost: &Cost) -> f64 {
        cost.multiply_adds as f64 + self.multiply_adds_per_element * cost.elementwise as f64
    }
}

/// The time that each block takes for one micro-batch, in any one unit: estimated with a [`CostModel`] or measured.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockCosts {
    /// Forward pass of each block that keeps no graph: that of a stage which recomputes.
    pub forward: Vec<f64>,
    /// Forward pass that builds the graph.
    pub recompute: Vec<f64>,
    /// Backward pass.
    pub backward: Vec<f64>,
    /// A micro-batch's share of the update.
    pub update: Vec<f64>,
}

impl BlockCosts {
    /// Costs estimated from the layers, in multiply-adds per sample. A recomputation takes as long as a forward pass, and an
    /// update nothing.
    ///
    /// # Errors
    /// [`ModelError::Shape`] when a layer does not fit, which a checked model rules out.
    pub fn estimate(model: &Model, by: &CostModel) -> Result<Self, ModelError> {
        let forward: Vec<f64> = model
            .block_costs()?
            .iter()
            .map(|cost| by.forward(cost))
            .collect();
        let backward = forward.iter().map(|time| time * by.backward).collect();
        Ok(Self {
            recompute: forward.clone(),
            update: vec![0.0; forward.len()],
            forward,
            backward,
        })
    }

    /// The time that a stage of these blocks takes for one micro-batch: the pass that builds the graph, backward, its share of the
    /// update, and a forward pass before these if it recomputes.
    ///
    /// # Panics
    /// When the range reaches beyond the last block.
    pub fn stage(&self, blocks: Range<usize>, recompute: bool) -> f64 {
        let sum = |of: &[f64]| of[blocks.clone()].iter().sum::<f64>();
        let once = sum(&self.recompute) + sum(&self.backward) + sum(&self.update);
        if recompute {
            sum(&self.forward) + once
        } else {
            once
        }
    }

    /// The times of stages that begin with this block: of one block, of two, and so on to the last block. Each is what
    /// [`stage`](Self::stage) gives for it.
    pub(crate) fn stages_from(
        &self,
        first: usize,
        recompute: bool,
    ) -> impl Iterator<Item = f64> + '_ {
        let blocks = first..self.recompute.len();
        blocks.scan([0.0; 4], move |sums, block| {
            let passes = [&self.forward, &self.recompute, &self.backward, &self.update];
            for (sum, pass) in sums.iter_mut().zip(passes) {
                *sum += pass[block];
            }
            let [forward, build, backward, update] = *sums;
            let once = build + backward + update;
            Some(if recompute { forward + once } else { once })
        })
    }

    /// Checks that there is one sensible cost for each of `blocks` blocks.
    ///
    /// # Errors
    /// [`CutError::CostCount`] or [`CutError::CostValue`].
    pub fn validate(&self, blocks: usize) -> Result<(), CutError> {
        for (pass, costs) in [
            ("forward", &self.forward),
            ("recompute", &self.recompute),
            ("backward", &self.backward),
            ("update", &self.update),
        ] {
            if costs.len() != blocks {
                return Err(CutError::CostCount {
                    pass,
                    expected: blocks,
                    found: costs.len(),
                });
            }
            if let Some(block) = costs
                .iter()
                .position(|cost| !cost.is_finite() || *cost < 0.0)
            {
                return Err(CutError::CostValue {
                    pass,
                    block,
                    found: costs[block].to_string(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_priced_in_multiply_adds() {
        let cost = Cost {
            multiply_adds: 1000,
            elementwise: 10,
            ..Cost::default()
        };
        assert_eq!(CostModel::default().forward(&cost), 3000.0);
        assert_eq!(CostModel::DIRECT_SUMS.forward(&cost), 1500.0);
        let arithmetic = CostModel {
            multiply_adds_per_element: 0.0,
            ..CostModel::default()
        };
        assert_eq!(arithmetic.forward(&cost), 1000.0);
    }

    #[test]
    fn recomputing_costs_one_more_forward() {
        let costs = BlockCosts {
            forward: vec![1.0, 3.0],
            recompute: vec![1.25, 3.25],
            backward: vec![2.0, 6.0],
            update: vec![0.5, 1.0],
        };
        assert_eq!(costs.stage(0..2, false), 14.0);
        assert_eq!(costs.stage(0..2, true), 18.0);
        assert_eq!(costs.stage(1..2, true), 13.25);
    }

    #[test]
    fn stages_that_grow_cost_what_whole_ones_do() {
        // Numbers that binary fractions do not hold, so that the order of sums counts.
        let costs = |factor: f64| -> Vec<f64> { (1..8).map(|k| factor / f64::from(k)).collect() };
        let costs = BlockCosts {
            forward: costs(0.1),
            recompute: costs(0.3),
            backward: costs(0.7),
            update: costs(0.01),
        };
        for recompute in [false, true] {
            for first in 0..7 {
                let whole = (first + 1..=7).map(|end| costs.stage(first..end, recompute));
                assert!(costs.stages_from(first, recompute).eq(whole), "{first}");
            }
        }
    }

    #[test]
    fn measured_costs_are_checked() {
        let message = |forward: Vec<f64>| {
            let costs = BlockCosts {
                forward,
                recompute: vec![1.0, 1.0],
                backward: vec![1.0, 1.0],
                update: vec![0.0, 0.0],
            };
            costs.validate(2).unwrap_err().to_string()
        };
        assert!(message(vec![1.0]).contains("2 forward costs, one per block, but gets 1"));
        assert!(message(vec![1.0, f64::NAN]).contains("forward cost of block 1 is NaN"));
        assert!(message(vec![-1.0, 0.0]).contains("forward cost of block 0 is -1"));
    }
}
