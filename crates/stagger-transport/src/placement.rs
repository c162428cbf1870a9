//! Which process runs which stages.

use std::ops::Range;

/// Stages shared out over ranks: each has a run of consecutive stages, in the order of the ranks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The first stage of each rank, and at the end the number of stages.
    bounds: Vec<usize>,
}

/// Fewer stages than ranks: some would have nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{stages} {} cannot be shared out over {ranks} processes: each needs one at least",
    if *stages == 1 { "stage" } else { "stages" }
)]
pub struct TooFewStages {
    /// Stages.
    pub stages: usize,
    /// Processes.
    pub ranks: usize,
}

impl Placement {
    /// Shares stages out as evenly as they go; the first ranks have one more where they do not go evenly.
    ///
    /// # Errors
    /// When there are fewer stages than ranks, or no ranks.
    pub fn even(stages: usize, ranks: usize) -> Result<Self, TooFewStages> {
        if stages < ranks || ranks == 0 {
            return Err(TooFewStages { stages, ranks });
        }
        let (each, more) = (stages / ranks, stages % ranks);
        let bounds = (0..=ranks).map(|rank| rank * each + rank.min(more));
        Ok(Self {
            bounds: bounds.collect(),
        })
    }

    /// Number of processes.
    pub fn ranks(&self) -> usize {
        self.bounds.len() - 1
    }

    /// Number of stages, K.
    pub fn stages(&self) -> usize {
        self.bounds.last().copied().unwrap_or_default()
    }

    /// The stages of a rank; none for a rank that does not exist.
    pub fn stages_of(&self, rank: usize) -> Range<usize> {
        match self.bounds.get(rank..rank + 2) {
            Some(&[from, to]) => from..to,
            _ => 0..0,
        }
    }

    /// The rank that has a stage; the last one for a stage beyond the last.
    pub fn rank_of(&self, stage: usize) -> usize {
        let above = self.bounds.iter().position(|&first| first > stage);
        above.unwrap_or(self.ranks()).saturating_sub(1)
    }
}

#[cfg(all(test, not(feature = "shuttle")))]
mod tests {
    use super::*;

    #[test]
    fn stages_are_shared_out_evenly_and_in_order() {
        for ranks in 1..6 {
            for stages in ranks..20 {
                let placement = Placement::even(stages, ranks).unwrap();
                let all: Vec<usize> = (0..ranks)
                    .flat_map(|rank| placement.stages_of(rank))
                    .collect();
                assert_eq!(all, (0..stages).collect::<Vec<_>>());
                let sizes = (0..ranks).map(|rank| placement.stages_of(rank).len());
                let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
                assert!(least > 0 && most - least <= 1);
                for stage in 0..stages {
                    let rank = placement.rank_of(stage);
                    assert!(placement.stages_of(rank).contains(&stage));
                }
            }
        }
        assert_eq!(
            Placement::even(2, 4).unwrap_err().to_string(),
            "2 stages cannot be shared out over 4 processes: each needs one at least"
        );
    }
}
