//! Ending a run before its last batch as if it had been planned to end there: after some time, at an accuracy, or when that no
//! longer rises.

use std::time::{Duration, Instant};

use stagger_runtime::{EarlyEnd, Interrupt, Outcome};

use super::session::StartPoint;
use crate::job::Job;
use crate::options::TrainingOptions;

/// The accuracy that is enough, and for how long one is waited for that is better than the best.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Goals {
    /// Top-1 accuracy, in percent.
    target: Option<f64>,
    /// Evaluations.
    patience: Option<usize>,
}

impl Goals {
    pub fn of(options: &TrainingOptions) -> Self {
        Self {
            target: options.target,
            patience: options.patience,
        }
    }

    /// Which of them the evaluations up to `version` have met; `best` is the version and the top-1 accuracy, in percent, of the best of
    /// them, and `evaluate_at` has the versions of all.
    pub fn met(
        self,
        best: Option<(usize, f64)>,
        version: usize,
        evaluate_at: &[usize],
    ) -> Option<EarlyEnd> {
        let (at, top1) = best?;
        if self.target.is_some_and(|target| top1 >= target) {
            return Some(EarlyEnd::Target);
        }
        let waited = evaluations_since(at, version, evaluate_at);
        (self.patience.is_some_and(|most| waited >= most)).then_some(EarlyEnd::Patience)
    }
}

/// Evaluations behind that of version `best`, up to `version`. While the stages halt there may be more of them than `--patience` waits for.
pub fn evaluations_since(best: usize, version: usize, evaluate_at: &[usize]) -> usize {
    let since = |mark: &&usize| best < **mark && **mark <= version;
    evaluate_at.iter().filter(since).count()
}

/// Asks a run to end when it should.
pub struct Ending<'a> {
    limit: Option<Duration>,
    began: Instant,
    goals: Goals,
    evaluate_at: &'a [usize],
    interrupt: &'a Interrupt,
    /// What was the first to ask.
    asked: Option<EarlyEnd>,
}

impl<'a> Ending<'a> {
    /// Time is counted from now. What the run has trained before it was resumed does not count: the limit is that of this
    /// process, as batch systems give it.
    pub fn new(job: &'a Job, interrupt: &'a Interrupt) -> Self {
        Self {
            limit: job.time_limit,
            began: Instant::now(),
            goals: Goals::of(&job.options),
            evaluate_at: &job.horizon.evaluate_at,
            interrupt,
            asked: None,
        }
    }

    /// To be called before training, as a run that was killed may have had all that it was to reach. Gives the line on that.
    pub fn begin(&mut self, from: &StartPoint) -> Option<String> {
        // A snapshot is taken before its version is evaluated, and that evaluation is still to count.
        let evaluated = match from.is_unevaluated() {
            true => from.version().saturating_sub(1),
            false => from.version(),
        };
        self.evaluated(from.progress.best, evaluated)
    }

    /// To be called now and then.
    pub fn look(&mut self) {
        if self
            .limit
            .is_some_and(|limit| self.began.elapsed() >= limit)
        {
            self.limit = None;
            self.ask(EarlyEnd::TimeLimit);
        }
    }

    /// To be called after every evaluation, with the best so far. Gives the line on why the run ends, where it is to end now.
    pub fn evaluated(&mut self, best: Option<(usize, f64)>, version: usize) -> Option<String> {
        let end = self.goals.met(best, version, self.evaluate_at)?;
        let (at, top1) = best?;
        self.ask(end).then(|| match end {
            EarlyEnd::Patience => format!(
                "the test accuracy of version {at}, {top1:.1} %, is still the best: the run ends"
            ),
            _ => format!("the test accuracy of version {at}, {top1:.1} %, is enough: the run ends"),
        })
    }

    /// Whether this is the first that asks; an interrupt from outside may have been before it.
    fn ask(&mut self, end: EarlyEnd) -> bool {
        let is_first = !self.interrupt.request();
        if is_first {
            self.asked = Some(end);
        }
        is_first
    }

    /// What cut the run short, if it was none of the interrupts from outside.
    pub fn of(&self, outcome: &Outcome) -> Option<EarlyEnd> {
        self.asked.filter(|_| outcome.interrupted)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use stagger_report::EndedEpoch;
    use stagger_runtime::snapshot::Snapshot;

    use super::*;

    #[test]
    fn an_evaluation_that_is_still_to_be_made_does_not_count() {
        let interrupt = Interrupt::new();
        let ending = || Ending {
            limit: None,
            began: Instant::now(),
            goals: Goals {
                target: None,
                patience: Some(1),
            },
            evaluate_at: &[3, 6, 9],
            interrupt: &interrupt,
            asked: None,
        };
        let mut from = StartPoint {
            snapshot: Some(Arc::new(Snapshot {
                version: 6,
                stages: Vec::new(),
            })),
            ..StartPoint::default()
        };
        from.progress.best = Some((3, 50.0));
        from.progress.epoch.ended = Some(EndedEpoch::default());
        assert_eq!(ending().begin(&from), None);
        from.progress.epoch.ended = None;
        assert!(ending().begin(&from).is_some());
    }

    #[test]
    fn goals_are_met_by_the_best_evaluation_and_by_those_after_it() {
        let marks = [10, 20, 30, 40];
        let goals = |target, patience| Goals { target, patience };
        let target = goals(Some(80.0), None);
        assert_eq!(target.met(None, 10, &marks), None);
        assert_eq!(target.met(Some((10, 79.9)), 40, &marks), None);
        assert_eq!(
            target.met(Some((20, 80.0)), 20, &marks),
            Some(EarlyEnd::Target)
        );
        let patience = goals(None, Some(2));
        assert_eq!(patience.met(Some((10, 50.0)), 20, &marks), None);
        assert_eq!(patience.met(Some((10, 50.0)), 29, &marks), None);
        assert_eq!(
            patience.met(Some((10, 50.0)), 30, &marks),
            Some(EarlyEnd::Patience)
        );
        assert_eq!(patience.met(Some((30, 50.0)), 30, &marks), None);
        assert_eq!(Goals::default().met(Some((10, 100.0)), 40, &marks), None);
    }
}
