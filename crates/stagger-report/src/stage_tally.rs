//! Sums over the actions of one stage.

use std::time::Duration;

use stagger_runtime::Acted;
use stagger_schedule::Action;

use crate::progress::StageProgress;
use crate::saturating;
use crate::summary::StageSummary;

/// Running sums over the training actions of a stretch of the run, such as an epoch.
///
/// The stretch begins with the first training action, or where [`StageTally::cut`] ended the previous one. The time of
/// evaluations and snapshots is not part of its wall time.
#[derive(Clone, Debug, Default)]
pub(crate) struct StageTally {
    /// The sums. `wall` is the length of the stretch before the run was resumed.
    sums: StageProgress,
    began: Option<Duration>,
    /// End of the last training action.
    ended: Duration,
    /// Time of the evaluations and snapshots between its training actions.
    paused: Duration,
    /// The same after the last training action so far; counted when another one follows.
    paused_since: Duration,
}

impl StageTally {
    pub fn add(&mut self, acted: Acted) {
        let lasted = acted.lasted();
        let aside = acted.waits.total() + acted.transfer;
        let busy = lasted.saturating_sub(aside);
        let sums = &mut self.sums;
        match acted.action {
            Action::Forward { .. } => sums.forward += busy,
            Action::Recompute { .. } => sums.recompute += busy,
            // A synthesizer learns so that its stage need not wait for the gradient of a backward pass.
            Action::Backward { .. } | Action::Learn { .. } => sums.backward += busy,
            Action::WeightGradients { .. } => sums.weights += busy,
            Action::Update { .. } => sums.update += busy,
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
        sums.transfer += acted.transfer;
        sums.loader += acted.waits.loader;
        sums.receive += acted.waits.receive;
        sums.send += acted.waits.send;
        sums.delayed += acted.delayed;
        // After weights have diverged their gap is not finite; it would spoil the mean.
        if let Some(gap) = acted.gap.filter(|gap| gap.is_finite()) {
            sums.gaps += 1;
            sums.gap_sum += gap;
        }
        if let Some(staleness) = acted.staleness {
            if sums.staleness_counts.len() <= staleness {
                sums.staleness_counts.resize(staleness + 1, 0);
            }
            // A run may go on from a snapshot that says any count.
            let count = &mut sums.staleness_counts[staleness];
            *count = count.saturating_add(1);
        }
    }

    /// Ends the stretch at the end of the last training action, where the next one begins.
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
            return self.sums.wall;
        };
        let lasted = self.ended.saturating_sub(began).saturating_sub(self.paused);
        self.sums.wall + lasted
    }

    /// The sums so far, for [`StageTally::resumed`] in another process.
    pub fn progress(&self) -> StageProgress {
        StageProgress {
            wall: self.wall(),
            ..self.sums.clone()
        }
    }

    /// Continues the stretch of another process.
    pub fn resumed(progress: &StageProgress) -> Self {
        Self {
            sums: progress.clone(),
            ..Self::default()
        }
    }

    pub fn summary(&self) -> StageSummary {
        let sums = &self.sums;
        let computed = [
            sums.forward,
            sums.recompute,
            sums.backward,
            sums.weights,
            sums.update,
        ];
        let computed: Duration = computed.into_iter().sum();
        let busy = computed + sums.transfer;
        let waited = sums.loader + sums.receive + sums.send;
        let wall = self.wall();
        let counted = sums.staleness_counts.iter().enumerate();
        let staleness_sum =
            saturating::sum(counted.map(|(staleness, count)| staleness.saturating_mul(*count)));
        let backwards = saturating::sum(sums.staleness_counts.iter().copied());
        StageSummary {
            busy_share: ratio(busy.as_secs_f64(), wall.as_secs_f64()),
            forward: sums.forward,
            recompute: sums.recompute,
            backward: sums.backward,
            weights: sums.weights,
            update: sums.update,
            transfer: sums.transfer,
            waited,
            loader: sums.loader,
            receive: sums.receive,
            send: sums.send,
            unaccounted: wall.saturating_sub(busy + waited),
            staleness_mean: staleness_sum as f64 / backwards.max(1) as f64,
            staleness_max: sums.staleness_counts.len().saturating_sub(1),
            staleness_counts: sums.staleness_counts.clone(),
            delayed: sums.delayed,
            gap_mean: (sums.gaps > 0).then(|| sums.gap_sum / sums.gaps as f64),
        }
    }
}

/// `part` over `whole`; 0 of nothing.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// One minus the mean busy share: the mean share of time in which a stage waits.
pub(crate) fn bubble_share(stages: &[StageSummary]) -> f64 {
    let busy: f64 = stages.iter().map(|stage| stage.busy_share).sum();
    1.0 - busy / stages.len().max(1) as f64
}

/// Samples per second; 0 when no time has passed.
pub(crate) fn rate(samples: usize, wall: Duration) -> f64 {
    ratio(samples as f64, wall.as_secs_f64())
}

/// Percent that `part` is of `whole`; 0 of nothing.
pub(crate) fn percent(part: usize, whole: usize) -> f64 {
    ratio(100.0 * part as f64, whole as f64)
}

#[cfg(test)]
mod tests {
    use stagger_runtime::Waits;

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
        // No training follows this pause, so it is not part of the stretch.
        tally.add(acted(Action::Snapshot { version: 1 }, 104, 200, 0));
        assert_eq!(tally.wall(), Duration::from_secs(8));
        let summary = tally.summary();
        assert_eq!(summary.forward, Duration::from_secs(3));
        assert_eq!(summary.waited, Duration::from_secs(1));
        assert_eq!(summary.busy_share, 6.0 / 8.0);
        // The second between the evaluation and the backward belongs to no action.
        assert_eq!(summary.unaccounted, Duration::from_secs(1));
    }

    /// The field is there only where passes are split.
    #[test]
    fn second_halves_of_backward_passes_are_counted_apart() {
        let mut tally = StageTally::default();
        let (batch, micro) = (0, 0);
        tally.add(acted(Action::Backward { batch, micro }, 0, 5, 1));
        let whole = serde_json::to_string(&tally.summary()).unwrap();
        assert!(!whole.contains("weights_seconds"), "{whole}");
        tally.add(acted(Action::WeightGradients { batch, micro }, 5, 8, 0));
        let summary = tally.summary();
        let seconds = Duration::from_secs;
        assert_eq!(
            (summary.backward, summary.weights),
            (seconds(4), seconds(3))
        );
        assert_eq!(summary.busy_share, 7.0 / 8.0);
        let split = serde_json::to_string(&summary).unwrap();
        assert!(split.contains(r#""weights_seconds":3.0"#), "{split}");
        let again = StageTally::resumed(&tally.progress()).summary();
        assert_eq!(again.weights, seconds(3));
    }

    #[test]
    fn every_second_is_counted_once() {
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
        // It includes the second between the evaluation and the update, in which the stage did neither.
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
