//! What one stage did over a stretch of the run.

use std::time::Duration;

use stagger_runtime::{Acted, Waits};
use stagger_schedule::Action;

use crate::progress::StageProgress;
use crate::summary::StageSummary;

/// Running sums over a stage's training actions.
///
/// The stretch begins with the first training action, or where [`StageTally::cut`] ended the last
/// one. Evaluations and snapshots are no training: their time is left out of the wall.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageTally {
    /// Length of the stretch before the run was resumed.
    earlier: Duration,
    began: Option<Duration>,
    /// End of the last training action.
    ended: Duration,
    /// Time of evaluations and snapshots between two training actions.
    paused: Duration,
    /// The same since the last training action; counts once another one follows.
    paused_since: Duration,
    forward: Duration,
    recompute: Duration,
    backward: Duration,
    update: Duration,
    transfer: Duration,
    waits: Waits,
    delayed: Duration,
    gaps: usize,
    gap_sum: f64,
    staleness_counts: Vec<usize>,
}

impl StageTally {
    pub fn add(&mut self, acted: Acted) {
        let lasted = acted.lasted();
        let aside = acted.waits.total() + acted.transfer;
        let busy = lasted.saturating_sub(aside);
        match acted.action {
            Action::Forward { .. } => self.forward += busy,
            Action::Recompute { .. } => self.recompute += busy,
            // The lesson of a synthesizer is the price of not waiting for the gradient of a backward.
            Action::Backward { .. } | Action::Learn { .. } => self.backward += busy,
            Action::Update { .. } => self.update += busy,
            Action::Evaluate { .. } | Action::Snapshot { .. } => {
                if self.began.is_some() {
                    self.paused_since += lasted;
                }
                return;
            }
        }
        self.began.get_or_insert(acted.started_at);
        self.ended = acted.ended_at;
        self.paused += std::mem::take(&mut self.paused_since);
        self.transfer += acted.transfer;
        self.waits.loader += acted.waits.loader;
        self.waits.receive += acted.waits.receive;
        self.waits.send += acted.waits.send;
        self.delayed += acted.delayed;
        // Weights that have run away have no gap, and no mean of gaps should be that of one of theirs.
        if let Some(gap) = acted.gap.filter(|gap| gap.is_finite()) {
            self.gaps += 1;
            self.gap_sum += gap;
        }
        if let Some(staleness) = acted.staleness {
            if self.staleness_counts.len() <= staleness {
                self.staleness_counts.resize(staleness + 1, 0);
            }
            self.staleness_counts[staleness] += 1;
        }
    }

    /// Ends the stretch with the last training action; the next one begins there.
    pub fn cut(&mut self) -> StageTally {
        let next = Self {
            began: self.began.map(|_| self.ended),
            ended: self.ended,
            ..Self::default()
        };
        std::mem::replace(self, next)
    }

    /// Length of the stretch without evaluations and snapshots.
    pub fn wall(&self) -> Duration {
        let Some(began) = self.began else {
            return self.earlier;
        };
        let lasted = self.ended.saturating_sub(began).saturating_sub(self.paused);
        self.earlier + lasted
    }

    /// The stretch so far, to be continued in another process.
    pub fn progress(&self) -> StageProgress {
        StageProgress {
            wall: self.wall(),
            forward: self.forward,
            recompute: self.recompute,
            backward: self.backward,
            update: self.update,
            transfer: self.transfer,
            loader: self.waits.loader,
            receive: self.waits.receive,
            send: self.waits.send,
            delayed: self.delayed,
            gaps: self.gaps,
            gap_sum: self.gap_sum,
            staleness_counts: self.staleness_counts.clone(),
        }
    }

    /// Goes on with a stretch.
    pub fn resumed(progress: &StageProgress) -> Self {
        Self {
            earlier: progress.wall,
            forward: progress.forward,
            recompute: progress.recompute,
            backward: progress.backward,
            update: progress.update,
            transfer: progress.transfer,
            waits: Waits {
                loader: progress.loader,
                receive: progress.receive,
                send: progress.send,
            },
            delayed: progress.delayed,
            gaps: progress.gaps,
            gap_sum: progress.gap_sum,
            staleness_counts: progress.staleness_counts.clone(),
            ..Self::default()
        }
    }

    pub fn summary(&self) -> StageSummary {
        let computed = self.forward + self.recompute + self.backward + self.update;
        let busy = computed + self.transfer;
        let wall = self.wall();
        let counted = self.staleness_counts.iter().enumerate();
        let staleness_sum: usize = counted.map(|(staleness, count)| staleness * count).sum();
        let backwards = self.staleness_counts.iter().sum::<usize>();
        StageSummary {
            busy_share: share(busy, wall),
            forward: self.forward,
            recompute: self.recompute,
            backward: self.backward,
            update: self.update,
            transfer: self.transfer,
            waited: self.waits.total(),
            loader: self.waits.loader,
            receive: self.waits.receive,
            send: self.waits.send,
            unaccounted: wall.saturating_sub(busy + self.waits.total()),
            staleness_mean: staleness_sum as f64 / backwards.max(1) as f64,
            staleness_max: self.staleness_counts.len().saturating_sub(1),
            staleness_counts: self.staleness_counts.clone(),
            delayed: self.delayed,
            gap_mean: (self.gaps > 0).then(|| self.gap_sum / self.gaps as f64),
        }
    }
}

/// Part of `whole`; 0 of nothing.
fn share(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() {
        0.0
    } else {
        part.as_secs_f64() / whole.as_secs_f64()
    }
}

/// One minus the mean busy share: the share of time in which a stage waits.
pub(crate) fn bubble_share(stages: &[StageSummary]) -> f64 {
    let busy: f64 = stages.iter().map(|stage| stage.busy_share).sum();
    1.0 - busy / stages.len().max(1) as f64
}

/// Samples per second; 0 when no time has passed.
pub(crate) fn rate(samples: usize, wall: Duration) -> f64 {
    if wall.is_zero() {
        0.0
    } else {
        samples as f64 / wall.as_secs_f64()
    }
}

/// Percent that `part` is of `whole`; 0 of nothing.
pub(crate) fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acted(action: Action, from: u64, to: u64, waited: u64) -> Acted {
        Acted {
            stage: 0,
            action,
            started_at: Duration::from_secs(from),
            ended_at: Duration::from_secs(to),
            waits: Waits {
                receive: Duration::from_secs(waited),
                ..Waits::default()
            },
            transfer: Duration::ZERO,
            delayed: Duration::ZERO,
            staleness: None,
            gap: None,
        }
    }

    #[test]
    fn pauses_are_neither_busy_nor_wall() {
        let mut tally = StageTally::default();
        tally.add(acted(Action::Evaluate { version: 0 }, 0, 10, 9));
        assert_eq!(tally.wall(), Duration::ZERO);
        tally.add(acted(Action::Forward { batch: 0, micro: 0 }, 10, 14, 1));
        tally.add(acted(Action::Evaluate { version: 1 }, 14, 100, 50));
        tally.add(acted(Action::Backward { batch: 0, micro: 0 }, 101, 104, 0));
        // A pause at the end is followed by no training: not part of the stretch.
        tally.add(acted(Action::Snapshot { version: 1 }, 104, 200, 0));
        assert_eq!(tally.wall(), Duration::from_secs(8));
        let summary = tally.summary();
        assert_eq!(summary.forward, Duration::from_secs(3));
        assert_eq!(summary.waited, Duration::from_secs(1));
        assert_eq!(summary.busy_share, 6.0 / 8.0);
        // Between the evaluation and the backward nothing was booked.
        assert_eq!(summary.unaccounted, Duration::from_secs(1));
    }

    #[test]
    fn every_second_is_booked_once() {
        let mut tally = StageTally::default();
        let seconds = Duration::from_secs;
        tally.add(Acted {
            waits: Waits {
                loader: seconds(1),
                receive: seconds(2),
                send: seconds(3),
            },
            transfer: seconds(4),
            ..acted(Action::Forward { batch: 0, micro: 0 }, 0, 15, 0)
        });
        tally.add(acted(Action::Update { version: 0 }, 16, 20, 0));
        let found = tally.summary();
        assert_eq!(
            (found.loader, found.receive, found.send),
            (seconds(1), seconds(2), seconds(3))
        );
        assert_eq!((found.waited, found.transfer), (seconds(6), seconds(4)));
        assert_eq!((found.forward, found.update), (seconds(5), seconds(4)));
        assert_eq!(found.unaccounted, seconds(1));
        assert_eq!(found.busy_share, 13.0 / 20.0);
    }

    #[test]
    fn the_next_stretch_begins_where_the_last_one_was_cut() {
        let mut tally = StageTally::default();
        tally.add(acted(Action::Update { version: 0 }, 0, 4, 0));
        let first = tally.cut();
        assert_eq!(first.wall(), Duration::from_secs(4));
        assert_eq!(tally.wall(), Duration::ZERO);
        tally.add(acted(Action::Evaluate { version: 1 }, 4, 9, 0));
        tally.add(acted(Action::Update { version: 1 }, 10, 14, 0));
        // The second in between was spent neither training nor evaluating.
        assert_eq!(tally.wall(), Duration::from_secs(5));
        assert_eq!(tally.summary().busy_share, 0.8);
    }

    #[test]
    fn nothing_done_is_no_division_by_zero() {
        let summary = StageTally::default().summary();
        assert_eq!((summary.busy_share, summary.staleness_mean), (0.0, 0.0));
        assert_eq!(rate(5, Duration::ZERO), 0.0);
    }
}
