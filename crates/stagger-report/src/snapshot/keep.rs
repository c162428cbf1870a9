//! Which snapshots of a run stay.

use std::collections::BTreeSet;

/// Which snapshots stay while newer ones are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The newest so many, at least one, and the one with the best test accuracy, the earliest if several are equal.
    Newest(usize),
    /// What a run needs that may roll back: where it goes back to must not depend on how far its stages and the disk have come.
    ForRollbacks {
        /// The number of snapshots that it may go back to, at least one.
        newest: usize,
        /// Versions that it takes snapshots of by plan, in ascending order.
        planned: Vec<usize>,
        /// The most batches that a stage has forwarded and not yet made its update with.
        lead: usize,
    },
}

impl Keep {
    /// Whether no snapshot may be left out.
    pub fn is_for_rollbacks(&self) -> bool {
        matches!(self, Self::ForRollbacks { .. })
    }

    /// The versions to go back to, oldest first, for a run whose loss is not finite from a version on: those whose snapshots
    /// all stages have taken by then, however fast each of them is. Other runs have none.
    pub fn candidates(&self, diverged_at: usize) -> &[usize] {
        let Self::ForRollbacks {
            newest,
            planned,
            lead,
        } = self
        else {
            return &[];
        };
        let end = match diverged_at.checked_sub(*lead) {
            Some(last) => planned.partition_point(|version| *version <= last),
            None => 0,
        };
        &planned[end.saturating_sub((*newest).max(1))..end]
    }

    /// The versions to keep, of snapshots in ascending order with their test accuracies.
    pub(super) fn of(&self, snapshots: &[(usize, Option<f64>)]) -> BTreeSet<usize> {
        let mut kept = BTreeSet::new();
        match self {
            Self::Newest(newest) => {
                let older = snapshots.len().saturating_sub((*newest).max(1));
                kept.extend(snapshots[older..].iter().map(|(version, _)| *version));
                kept.extend(best_until(usize::MAX, snapshots));
            }
            Self::ForRollbacks { lead, .. } => {
                let Some((last, _)) = snapshots.last() else {
                    return kept;
                };
                kept.insert(*last);
                // The run has not diverged before this version, so that it goes back to one of these or a later one.
                kept.extend(self.candidates(*last));
                let settled = last.checked_sub(*lead);
                let later = snapshots.iter().map(|(version, _)| *version);
                kept.extend(
                    later.filter(|version| settled.is_none_or(|settled| *version > settled)),
                );
                // With each goes what its best weights are restored from.
                let bests: Vec<usize> = kept
                    .iter()
                    .filter_map(|version| best_until(*version, snapshots))
                    .collect();
                kept.extend(bests);
            }
        }
        kept
    }
}

/// The version with the best test accuracy until another, the earliest if several are equal.
fn best_until(end: usize, snapshots: &[(usize, Option<f64>)]) -> Option<usize> {
    let mut best: Option<(f64, usize)> = None;
    for (version, top1) in snapshots.iter().filter(|(version, _)| *version <= end) {
        if let Some(top1) = top1.filter(|top1| best.is_none_or(|(best, _)| *top1 > best)) {
            best = Some((top1, *version));
        }
    }
    best.map(|(_, version)| version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_the_best_stay() {
        let snapshots = [
            (1, Some(5.0)),
            (2, Some(9.0)),
            (3, None),
            (4, Some(9.0)),
            (5, None),
        ];
        let kept = |keep| Vec::from_iter(Keep::Newest(keep).of(&snapshots));
        assert_eq!(kept(0), [2, 5]);
        assert_eq!(kept(2), [2, 4, 5]);
        assert_eq!(kept(9), [1, 2, 3, 4, 5]);
    }

    fn rollbacks(newest: usize) -> Keep {
        Keep::ForRollbacks {
            newest,
            planned: (1..=20).map(|version| 2 * version).collect(),
            lead: 3,
        }
    }

    #[test]
    fn a_run_goes_back_to_what_all_stages_have_taken() {
        assert_eq!(rollbacks(2).candidates(11), [6, 8]);
        assert_eq!(rollbacks(2).candidates(10), [4, 6]);
        assert_eq!(rollbacks(0).candidates(10), [6]);
        assert_eq!(rollbacks(2).candidates(5), [2]);
        assert_eq!(rollbacks(2).candidates(4), [0; 0]);
        assert_eq!(rollbacks(2).candidates(2), [0; 0]);
        assert_eq!(Keep::Newest(2).candidates(9), [0; 0]);
    }

    /// However often and however late snapshots are removed, those to go back to are there, and the best until each.
    #[test]
    fn what_a_run_goes_back_to_does_not_depend_on_the_disk() {
        for newest in 1..4 {
            let keep = rollbacks(newest);
            for pauses in 1_usize..64 {
                let mut there: Vec<(usize, Option<f64>)> = Vec::new();
                for version in 1..=30 {
                    // Odd ones are by the clock or an interrupt.
                    let top1 = [None, Some(50.0), Some(40.0)][version % 3];
                    if version % 2 == 0 || version % 7 == 0 {
                        there.push((version, top1));
                    }
                    if pauses >> (version % 6) & 1 == 1 {
                        let kept = keep.of(&there);
                        there.retain(|(version, _)| kept.contains(version));
                    }
                    // The run may diverge now, or be a little further.
                    for candidate in keep.candidates(version) {
                        assert!(
                            there.iter().any(|(at, _)| at == candidate),
                            "{candidate} at {version}"
                        );
                    }
                }
            }
        }
    }
}
