//! How fast a schedule can be at best, against one device.

use super::{Lock, Locks};
use crate::timeline::Timeline;
use crate::{Action, Kept, Schedule, StagePolicy};

/// Cost of a backward pass, in forward passes.
const BACKWARD: u32 = 2;

/// Work of a stage per micro-batch, in forward passes of that stage: forward 1, backward 2, and
/// recompute 1 where only the input is kept.
pub fn step_cost(policy: &StagePolicy) -> u32 {
    match policy.kept {
        Kept::Graph => 1 + BACKWARD,
        Kept::Input => 2 + BACKWARD,
    }
}

/// Upper bound on the throughput, relative to backpropagation on one of the devices.
///
/// Assumes equal devices, a network that can be cut anywhere so that all stages have the same
/// work, free transfers and no jitter. A schedule that then keeps all stages busy reaches
/// `3 · Σ_k 1 / cost_k`, with the costs of [`step_cost`]: 1.75 for two stages of which the lower
/// one recomputes. Backpropagation over stages has 1.
///
/// For schedules that are not lock-free the rate is found by running the dataflow, so that it is
/// exact to within about 1 %.
pub fn ideal_speedup(schedule: &Schedule) -> f64 {
    let policies = schedule.policies();
    let all_busy = all_busy(&policies);
    let locks = Locks::of(&policies);
    if locks
        .all()
        .iter()
        .all(|lock| matches!(lock, Lock::Removed | Lock::Void))
    {
        return all_busy;
    }
    all_busy * busy_share(schedule, &policies)
}

/// The speed-up if no stage ever waits.
pub(super) fn all_busy(policies: &[StagePolicy]) -> f64 {
    f64::from(step_cost_without_recompute()) * sum_of_rates(policies)
}

/// What recompute adds to the work, as a share of the work without, when all stages take the same
/// time: a stage of cost `a` then holds a share of the network proportional to `1 / a`.
pub(super) fn extra_compute(policies: &[StagePolicy]) -> f64 {
    let without = f64::from(step_cost_without_recompute());
    policies.len() as f64 / (without * sum_of_rates(policies)) - 1.0
}

fn step_cost_without_recompute() -> u32 {
    1 + BACKWARD
}

fn sum_of_rates(policies: &[StagePolicy]) -> f64 {
    policies
        .iter()
        .map(|policy| 1.0 / f64::from(step_cost(policy)))
        .sum()
}

/// The share of the time in which a stage works, in the steady state of the dataflow, when every
/// stage works [`STEP`] ticks per micro-batch. Synchronous first batches are left out.
fn busy_share(schedule: &Schedule, policies: &[StagePolicy]) -> f64 {
    /// Divisible by every step cost, 3 and 4.
    const STEP: u64 = 12;
    let duration = |stage: usize, action| {
        let forward = STEP / u64::from(step_cost(&policies[stage]));
        match action {
            Action::Forward { .. } | Action::Recompute { .. } => forward,
            Action::Backward { .. } if policies[stage].split.is_none() => {
                u64::from(BACKWARD) * forward
            }
            // Both halves of a split backward pass cost the same.
            Action::Backward { .. } | Action::WeightGradients { .. } => {
                u64::from(BACKWARD) * forward / 2
            }
            Action::Learn { .. }
            | Action::Update { .. }
            | Action::Evaluate { .. }
            | Action::Snapshot { .. } => 0,
        }
    };
    // The rhythm repeats after a number of micro-batches that divides m + 1 of some stage; 120 is a
    // multiple of most small ones. The first span is the run-in, the second one is measured.
    let micro_batches = schedule.micro_batches();
    let span = 120_usize
        .div_ceil(micro_batches)
        .max(2 * (policies[0].staleness + 1));
    let updates: Vec<u64> = Timeline::steady(schedule, 2 * span, duration)
        .filter(|event| event.stage == 0 && matches!(event.action, Action::Update { .. }))
        .map(|event| event.end)
        .collect();
    // Both ends are updates in the steady state; the drain, which runs faster, comes after.
    let drain = policies[0].staleness;
    let measured = updates
        .get(2 * span - 1 - drain)
        .zip(updates.get(span - 1 - drain));
    measured.map_or(1.0, |(last, first)| {
        let ticks = last - first;
        ((span * micro_batches) as u64 * STEP) as f64 / ticks as f64
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speedup(notation: &str, stages: usize) -> f64 {
        ideal_speedup(&Schedule::parse(notation, Some(stages)).unwrap())
    }

    fn assert_close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() < 0.005,
            "found {found}, expected {expected}"
        );
    }

    #[test]
    fn two_stages_with_one_recompute_reach_one_and_three_quarters() {
        assert_close(speedup("dsp", 2), 1.75);
    }

    #[test]
    fn backpropagation_gains_nothing() {
        for stages in 1..=5 {
            assert_close(speedup("bp", stages), 1.0);
        }
    }

    #[test]
    fn without_jitter_one_unit_of_staleness_per_hop_is_enough() {
        for (notation, stages) in [
            ("dsp(m=1,0)", 2),
            ("dsp(m=2,1,0)", 3),
            ("dsp(m=3,2,1,0)", 4),
        ] {
            assert_close(speedup(notation, stages), speedup("dsp", stages));
        }
    }

    #[test]
    fn less_staleness_than_that_is_slower() {
        let part = speedup("dsp(m=1,1,0)", 3);
        assert!(part > 1.0 && part < speedup("dsp", 3) - 0.05, "{part}");
    }

    #[test]
    fn the_dataflow_of_a_lock_free_schedule_keeps_all_stages_busy() {
        for stages in 2..=5 {
            let schedule = Schedule::parse("dsp", Some(stages)).unwrap();
            assert_close(busy_share(&schedule, &schedule.policies()), 1.0);
        }
    }

    #[test]
    fn recompute_adds_a_seventh_on_two_stages() {
        let schedule = Schedule::parse("dsp", Some(2)).unwrap();
        assert_close(extra_compute(&schedule.policies()), 1.0 / 7.0);
    }

    #[test]
    fn a_flush_costs_its_bubble() {
        for notation in ["gpipe(4)", "1f1b(4)"] {
            assert_close(speedup(notation, 3), 3.0 * 4.0 / 6.0);
        }
        assert_close(speedup("gpipe(1)", 3), 1.0);
    }

    /// `(K−1)(F+B−W)` of `M(F+B+W) + (K−1)(F+B−W)`, with `F = B = W`.
    #[test]
    fn split_backward_passes_leave_a_third_of_it() {
        for (stages, micro_batches) in [(2, 2), (3, 4), (4, 4), (4, 8), (5, 7)] {
            let (k, m) = (stages as f64, micro_batches as f64);
            let busy = 3.0 * m / (3.0 * m + k - 1.0);
            assert_close(speedup(&format!("zb({micro_batches})"), stages), k * busy);
        }
        assert_close(speedup("zb(4)", 1), 1.0);
    }

    #[test]
    fn methods_that_run_ahead_keep_all_stages_busy() {
        for stages in 2..=5 {
            for notation in ["pipedream", "ddg", "2bw(8)", "fdg", "adl(4)", "dni"] {
                assert_close(speedup(notation, stages), stages as f64);
            }
            for notation in ["fr", "pipemare", "pipemare(sync=7)", "dsp + accumulate(3)"] {
                assert_close(speedup(notation, stages), speedup("dsp", stages));
            }
        }
    }

    #[test]
    fn so_does_their_dataflow() {
        for notation in ["fdg", "adl(4)", "dni", "dsp + accumulate(3)"] {
            let schedule = Schedule::parse(notation, Some(4)).unwrap();
            assert_close(busy_share(&schedule, &schedule.policies()), 1.0);
        }
    }
}
