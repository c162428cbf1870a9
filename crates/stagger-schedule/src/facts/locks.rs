//! The three locks of backpropagation (docs/algorithm.md, "The locks of backpropagation") and where
//! a schedule still holds them.

use crate::{GradientSource, StagePolicy};

/// Which of the three locks a schedule removes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locks {
    /// A stage cannot start a batch before the stages below have finished it in the same step.
    /// Removed at a hop that has an activation in flight for the next step, and room for it in the
    /// queue, beside the one that removes the backward lock.
    pub forward: Lock,
    /// A stage cannot compute its gradient before the stages above have in the same step. Removed
    /// at a hop that has something in flight, and room for a gradient in the queue; and where a
    /// synthesizer guesses the gradient.
    pub backward: Lock,
    /// No stage may update before the whole backward pass of that batch is over. Removed at a hop
    /// that has something in flight: the upper stage can be ahead of the lower one by that much.
    pub update: Lock,
}

/// How far a lock is removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lock {
    /// There is only one stage.
    Void,
    /// Held at every hop.
    Held,
    /// Held at some hops: between stage k and k+1 for every k in the list.
    PartlyHeld(Vec<usize>),
    /// Removed at every hop.
    Removed,
}

impl Locks {
    /// Looks at every hop: at what is in flight at one version, and at the queues. `policies` are
    /// those of all stages, from stage 0 up.
    pub(super) fn of(policies: &[StagePolicy]) -> Self {
        let hops = &policies[..policies.len().saturating_sub(1)];
        let lock = |is_removed: fn(&StagePolicy) -> bool| {
            let held: Vec<usize> = (0..hops.len()).filter(|&k| !is_removed(&hops[k])).collect();
            match held.len() {
                _ if hops.is_empty() => Lock::Void,
                0 => Lock::Removed,
                count if count == hops.len() => Lock::Held,
                _ => Lock::PartlyHeld(held),
            }
        };
        Locks {
            forward: lock(|hop| {
                // A stage that waits for no gradient runs ahead as far as the queue lets it.
                let for_gradients = usize::from(hop.backward_queue > 0);
                hop.forward_queue > 0 && (guesses(hop) || hop.in_flight > for_gradients)
            }),
            backward: lock(|hop| guesses(hop) || (hop.backward_queue > 0 && hop.in_flight > 0)),
            update: lock(|hop| guesses(hop) || hop.in_flight > 0),
        }
    }

    /// Forward, backward and update lock, in this order.
    pub fn all(&self) -> [&Lock; 3] {
        [&self.forward, &self.backward, &self.update]
    }
}

fn guesses(hop: &StagePolicy) -> bool {
    hop.gradient == GradientSource::Synthetic
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

    #[test]
    fn queues_do_not_remove_locks_where_nothing_is_in_flight() {
        for notation in ["gpipe(4)", "1f1b(4)"] {
            assert_eq!(locks(notation, 3).all(), [&Lock::Held; 3], "{notation}");
        }
    }

    #[test]
    fn one_micro_batch_in_flight_leaves_the_forward_lock() {
        for notation in ["pipedream", "ddg", "fr", "pipemare", "2bw(4)"] {
            let locks = locks(notation, 3);
            let expected = [&Lock::Held, &Lock::Removed, &Lock::Removed];
            assert_eq!(locks.all(), expected, "{notation}");
        }
    }

    #[test]
    fn two_in_flight_and_synthesizers_remove_all() {
        for notation in ["fdg", "adl(4)", "dni", "dsp + accumulate(3)"] {
            assert_eq!(locks(notation, 3).all(), [&Lock::Removed; 3], "{notation}");
        }
    }
}
