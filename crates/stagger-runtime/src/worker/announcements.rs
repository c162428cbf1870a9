//! What stage 0 announces to all stages with its activations.

use std::time::Duration;

use stagger_transport::Mark;

use super::micro_batch::Unit;
use crate::interrupt::Interrupt;
use crate::plan::Plan;

/// Decides at which versions there is an unplanned snapshot, and where the run halts.
pub(super) struct Announcements {
    /// Batches of the whole run: its last version is not announced, as it ends there anyway.
    batches: usize,
    /// Time between two snapshots by the clock.
    interval: Option<Duration>,
    /// When the last snapshot by the clock was announced.
    last: Duration,
    interrupt: Interrupt,
    /// Whether the halt has been announced.
    halted: bool,
}

impl Announcements {
    pub fn new(plan: &Plan, interrupt: Interrupt) -> Self {
        Self {
            batches: plan.horizon.batches,
            interval: plan.snapshot_interval,
            last: Duration::ZERO,
            interrupt,
            halted: false,
        }
    }

    /// What to announce with a batch, if anything: no stage has made the update of that batch yet.
    pub fn next(&mut self, unit: Unit, now: Duration) -> Option<Mark> {
        let version = unit.batch + 1;
        if unit.micro > 0 || self.halted || version >= self.batches {
            return None;
        }
        let halts = self.interrupt.is_requested();
        // Both are looked at, so that neither is put off by the other.
        let due = self.is_due(now) | self.interrupt.take_snapshot_request();
        self.halted = halts;
        (halts || due).then_some(Mark { version, halts })
    }

    /// Whether a snapshot by the clock is due; the next one then comes an interval later.
    fn is_due(&mut self, now: Duration) -> bool {
        let due = self
            .interval
            .is_some_and(|interval| now.saturating_sub(self.last) >= interval);
        if due {
            self.last = now;
        }
        due
    }
}
