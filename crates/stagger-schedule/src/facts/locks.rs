//! The three locks of backpropagation (DESIGN §1) and where a schedule still holds them.

use crate::StagePolicy;

/// Which of the three locks a schedule removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locks {
    /// A stage cannot start a batch before the stages below have finished it in the same step.
    /// Removed at a hop with `c ≥ 1`: the queue has activations for the next step.
    pub forward: Lock,
    /// A stage cannot compute its gradient before the stages above have in the same step. Removed
    /// at a hop with `b ≥ 1`: the queue has gradients for the next step.
    pub backward: Lock,
    /// No stage may update before the whole backward pass of that batch is over. Removed at a hop
    /// with `c + b ≥ 1`: the upper stage can be ahead of the lower one by that many updates.
    pub update: Lock,
}

/// How far a lock is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// There are no two stages that could lock each other.
    Void,
    /// Held at every hop.
    Held,
    /// Held at some hops: between stage k and k+1 for every k in the list.
    PartlyHeld(Vec<usize>),
    /// Removed at every hop.
    Removed,
}

impl Locks {
    /// Looks at the queues of every hop. `policies` are those of all stages, from stage 0 up.
    pub(super) fn of(policies: &[StagePolicy]) -> Self {
        let hops = &policies[..policies.len().saturating_sub(1)];
        let lock = |slack: fn(&StagePolicy) -> usize| {
            let held: Vec<usize> = (0..hops.len()).filter(|&k| slack(&hops[k]) == 0).collect();
            match held.len() {
                _ if hops.is_empty() => Lock::Void,
                0 => Lock::Removed,
                count if count == hops.len() => Lock::Held,
                _ => Lock::PartlyHeld(held),
            }
        };
        Locks {
            forward: lock(|hop| hop.forward_queue),
            backward: lock(|hop| hop.backward_queue),
            update: lock(|hop| hop.forward_queue + hop.backward_queue),
        }
    }

    /// Forward, backward and update lock, in this order.
    pub fn all(&self) -> [&Lock; 3] {
        [&self.forward, &self.backward, &self.update]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Facts, Schedule};

    fn locks(notation: &str, stages: usize) -> Locks {
        Facts::of(&Schedule::parse(notation, Some(stages)).unwrap()).locks
    }

    #[test]
    fn every_queue_of_the_smallest_lock_free_dsp_has_room() {
        assert_eq!(locks("dsp", 4).all(), [&Lock::Removed; 3]);
    }

    #[test]
    fn backpropagation_holds_all_locks() {
        assert_eq!(locks("bp", 2).all(), [&Lock::Held; 3]);
    }

    #[test]
    fn one_unit_of_staleness_leaves_one_of_two_locks() {
        let locks = locks("dsp(0,0;1,0)", 2);
        assert_eq!(locks.all(), [&Lock::Held, &Lock::Removed, &Lock::Removed]);
    }

    #[test]
    fn a_mixed_schedule_names_the_hops_that_hold() {
        let locks = locks("dsp(1,0,1,0;3,1,1,0)", 4);
        assert_eq!(locks.forward, Lock::PartlyHeld(vec![1]));
        assert_eq!(locks.backward, Lock::PartlyHeld(vec![1, 2]));
        assert_eq!(locks.update, Lock::PartlyHeld(vec![1]));
    }

    #[test]
    fn one_stage_has_no_locks() {
        assert_eq!(locks("bp", 1).all(), [&Lock::Void; 3]);
    }
}
