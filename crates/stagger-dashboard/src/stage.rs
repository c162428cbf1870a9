//! What is seen of a stage.

use stagger_report::StageSummary;

/// What is seen of a stage; `None` is what is not known.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StageSeen {
    /// What it does, in words.
    pub doing: Option<String>,
    /// Whether that is to wait.
    pub is_waiting: bool,
    /// Activations on their way to the stage above, in micro-batches, and the length of that queue.
    pub up: Option<(usize, usize)>,
    /// The same of gradients that come down from it.
    pub down: Option<(usize, usize)>,
    /// Share of its time in which it computes, 0 to 1.
    pub busy: Option<f64>,
    /// What it waits for most, in words, and the share of its time.
    pub waits: Option<(&'static str, f64)>,
    /// Mean updates between forward and backward.
    pub staleness: Option<f64>,
    /// How far its weights move in between, as a share of their length.
    pub gap: Option<f64>,
    /// Whether it is slowed down on purpose.
    pub is_delayed: bool,
}

impl StageSeen {
    /// Takes over what an epoch says. Shares that are of a shorter and newer time stay.
    pub fn take(&mut self, summary: &StageSummary, is_live: bool) {
        self.staleness = Some(summary.staleness_mean).filter(|mean| mean.is_finite());
        self.gap = summary.gap_mean.filter(|gap| gap.is_finite());
        self.is_delayed = !summary.delayed.is_zero();
        if !is_live {
            let busy = Some(summary.busy_share).filter(|share| share.is_finite());
            self.busy = busy.map(|share| share.clamp(0.0, 1.0));
            let parts = [summary.loader, summary.receive, summary.send];
            let busy = summary.forward
                + summary.recompute
                + summary.backward
                + summary.weights
                + summary.update
                + summary.transfer;
            let whole = busy + summary.waited + summary.unaccounted;
            self.waits = most(parts.map(|part| part.as_secs_f64()), whole.as_secs_f64());
        }
    }
}

/// The largest wait for loader, neighbour's message or neighbour's room, as a share of the whole; `None` below a percent.
pub(crate) fn most(seconds: [f64; 3], whole: f64) -> Option<(&'static str, f64)> {
    let named = ["loader", "receive", "send"].into_iter().zip(seconds);
    let (name, most) = named.max_by(|a, b| a.1.total_cmp(&b.1))?;
    let share = most / whole;
    (share >= 0.01).then_some((name, share.min(1.0)))
}
