//! How many copies of each stage there are, and which rows of a batch each of them has.
//!
//! Every batch is shared out over the replicas of a stage: each has a run of its rows, in the order of the replicas. Weights and
//! optimizer state of the replicas are equal to the bit, as all of them make the same update, of the sum of their gradients. What
//! one replica of one stage is, the host calls a *place*: places are numbered stage by stage.

use std::fmt;
use std::ops::Range;

use crate::Schedule;

/// Replicas of each stage: 1 or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas(Vec<usize>);

/// Why a pipeline cannot have so many replicas.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplicasError {
    /// Numbers for another number of stages.
    #[error(
        "{found} numbers of replicas are given; expected one for all stages, or {stages}, one for each"
    )]
    Stages {
        /// Of the schedule.
        stages: usize,
        /// Numbers given.
        found: usize,
    },
    /// A stage without any.
    #[error("stage {stage} has no replica; every stage needs 1 or more")]
    None {
        /// The stage.
        stage: usize,
    },
    /// Neighbours whose shares of a batch may not fit into each other where rows do not go evenly.
    #[error(
        "stage {stage} has {below} replicas and stage {} has {above}: two neighbours need equal numbers, or one of them 1",
        stage + 1
    )]
    Neighbours {
        /// The lower one.
        stage: usize,
        /// Its replicas.
        below: usize,
        /// Those of the stage above.
        above: usize,
    },
}

/// One replica of one stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The stage.
    pub stage: usize,
    /// Which of its replicas.
    pub replica: usize,
    /// Replicas of the stage.
    pub of: usize,
}

impl Replicas {
    /// One of each stage.
    #[must_use]
    pub fn none(stages: usize) -> Self {
        Self(vec![1; stages])
    }

    /// So many replicas of each of `stages` stages, from stage 0 up; one number stands for all of them.
    ///
    /// # Errors
    /// [`ReplicasError`] when there are other numbers than stages, or when they do not suit each other.
    pub fn new(counts: &[usize], stages: usize) -> Result<Self, ReplicasError> {
        let counts = match *counts {
            [all] => vec![all; stages],
            _ => counts.to_vec(),
        };
        if counts.len() != stages {
            let found = counts.len();
            return Err(ReplicasError::Stages { stages, found });
        }
        if let Some(stage) = counts.iter().position(|&count| count == 0) {
            return Err(ReplicasError::None { stage });
        }
        for (stage, pair) in counts.windows(2).enumerate() {
            let (below, above) = (pair[0], pair[1]);
            if below != above && below != 1 && above != 1 {
                return Err(ReplicasError::Neighbours {
                    stage,
                    below,
                    above,
                });
            }
        }
        Ok(Self(counts))
    }

    /// The numbers, as [`Replicas::new`] takes them: one where all are equal.
    #[must_use]
    pub fn counts(&self) -> Vec<usize> {
        match self.0.as_slice() {
            [first, rest @ ..] if rest.iter().all(|count| count == first) => vec![*first],
            all => all.to_vec(),
        }
    }

    /// Replicas of a stage.
    ///
    /// # Panics
    /// When there is no such stage.
    #[must_use]
    pub fn of(&self, stage: usize) -> usize {
        self.0[stage]
    }

    /// Stages.
    #[must_use]
    pub fn stages(&self) -> usize {
        self.0.len()
    }

    /// Whether any stage has more than one.
    #[must_use]
    pub fn any(&self) -> bool {
        self.0.iter().any(|&count| count > 1)
    }

    /// The most of any stage.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.iter().copied().max().unwrap_or(1)
    }

    /// Places: replicas of all stages together.
    #[must_use]
    pub fn places(&self) -> usize {
        self.0.iter().sum()
    }

    /// The places of a run of stages.
    ///
    /// # Panics
    /// When the range reaches beyond the last stage.
    #[must_use]
    pub fn places_of(&self, stages: Range<usize>) -> Range<usize> {
        let first = |stage: usize| self.0[..stage].iter().sum::<usize>();
        first(stages.start)..first(stages.end)
    }

    /// The number of a place.
    ///
    /// # Panics
    /// When there is no such stage.
    #[must_use]
    pub fn number(&self, stage: usize, replica: usize) -> usize {
        self.places_of(0..stage).end + replica
    }

    /// The place of that number; the last one for a number that there is not.
    #[must_use]
    pub fn place(&self, number: usize) -> Place {
        let mut replica = number.min(self.places().saturating_sub(1));
        let mut stages = self.0.iter().copied().enumerate();
        let here = stages.find(|&(_, of)| {
            let found = replica < of;
            if !found {
                replica -= of;
            }
            found
        });
        let (stage, of) = here.unwrap_or((0, 1));
        Place { stage, replica, of }
    }

    /// What people call these places: `stage 0`, `stages 1 to 3`, or each replica by its name.
    #[must_use]
    pub fn names(&self, places: Range<usize>) -> String {
        match places.len() {
            _ if self.any() => {
                let all: Vec<String> = places.map(|place| self.place(place).to_string()).collect();
                all.join(", ")
            }
            1 => format!("stage {}", places.start),
            _ => format!(
                "stages {} to {}",
                places.start,
                places.end.saturating_sub(1)
            ),
        }
    }

    /// The stages of these places, those that are only in part among them included.
    #[must_use]
    pub fn stages_of(&self, places: &Range<usize>) -> Range<usize> {
        if places.is_empty() {
            return 0..0;
        }
        self.place(places.start).stage..self.place(places.end - 1).stage + 1
    }

    /// Which replicas of stage k (first) and stage k+1 (second) share rows, in the order of these. Each pair has a link.
    ///
    /// # Panics
    /// When there are no such stages.
    pub fn pairs(&self, stage: usize) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (below, above) = (self.0[stage], self.0[stage + 1]);
        let most = below.max(above);
        (0..most).map(move |part| (part * below / most, part * above / most))
    }

    /// How many activations and how many gradients each link between stage k and stage k+1 holds: as many as the schedule says, and
    /// beside replicas all that the programs of the two can have between them. No send waits there: a replica that waits
    /// for the others of its stage takes nothing in meanwhile, and with shorter queues they could all wait for each other.
    ///
    /// # Panics
    /// When there are no such stages.
    #[must_use]
    pub fn queues(&self, stage: usize, schedule: &Schedule) -> (usize, usize) {
        let below = schedule.policy(stage);
        if self.0[stage].max(self.0[stage + 1]) == 1 {
            return (below.forward_queue, below.backward_queue);
        }
        let above = schedule.policy(stage + 1);
        let batches = below.staleness.saturating_sub(above.staleness) + 2;
        let units = batches * schedule.micro_batches() + below.in_flight;
        (
            units.max(below.forward_queue),
            units.max(below.backward_queue),
        )
    }
}

impl Place {
    /// The rows of this replica among those of a micro-batch: as even as whole rows allow.
    #[must_use]
    pub fn rows(self, rows: usize) -> Range<usize> {
        self.replica * rows / self.of..(self.replica + 1) * rows / self.of
    }

    /// Whether it is the one that speaks for its stage.
    #[must_use]
    pub fn is_first(self) -> bool {
        self.replica == 0
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.of {
            1 => write!(f, "stage {}", self.stage),
            of => write!(f, "stage {} (replica {} of {of})", self.stage, self.replica),
        }
    }
}

/// As a person writes it: `2`, or `2,1,1`.
impl fmt::Display for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<String> = self.counts().iter().map(usize::to_string).collect();
        f.write_str(&counts.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_numbered_stage_by_stage() {
        let replicas = Replicas::new(&[2, 1, 3], 3).unwrap();
        let places = (0..replicas.places()).map(|number| replicas.place(number));
        let found: Vec<_> = places.map(|place| (place.stage, place.replica)).collect();
        assert_eq!(found, [(0, 0), (0, 1), (1, 0), (2, 0), (2, 1), (2, 2)]);
        for (number, (stage, replica)) in found.into_iter().enumerate() {
            assert_eq!(replicas.number(stage, replica), number);
        }
        assert_eq!(replicas.places_of(1..3), 2..6);
        assert_eq!(replicas.stages_of(&(1..3)), 0..2);
    }

    #[test]
    fn shares_are_whole_and_neighbours_meet() {
        for (counts, expected) in [
            ([2, 1], vec![(0, 0), (1, 0)]),
            ([1, 2], vec![(0, 0), (0, 1)]),
            ([2, 2], vec![(0, 0), (1, 1)]),
        ] {
            let replicas = Replicas::new(&counts, 2).unwrap();
            assert_eq!(replicas.pairs(0).collect::<Vec<_>>(), expected);
        }
        for (of, rows) in (1..5).flat_map(|of| (0..20).map(move |rows| (of, rows))) {
            let share = |replica| {
                let stage = 0;
                Place { stage, replica, of }.rows(rows)
            };
            let all: Vec<usize> = (0..of).flat_map(share).collect();
            assert_eq!(all, (0..rows).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let refused = |counts: &[usize], stages| Replicas::new(counts, stages).unwrap_err();
        assert_eq!(
            refused(&[2, 1], 3),
            ReplicasError::Stages {
                stages: 3,
                found: 2
            }
        );
        assert_eq!(refused(&[1, 0], 2), ReplicasError::None { stage: 1 });
        assert_eq!(
            refused(&[2, 3], 2).to_string(),
            "stage 0 has 2 replicas and stage 1 has 3: two neighbours need equal numbers, or one of them 1"
        );
        assert_eq!(Replicas::new(&[2], 3).unwrap().to_string(), "2");
        assert_eq!(Replicas::new(&[2, 1, 1], 3).unwrap().to_string(), "2,1,1");
    }
}
