//! Sums over the events of a whole run, to compare throughputs.

use stagger_runtime::Event;
use stagger_schedule::Action;

use crate::stage_tally::{StageTally, bubble_share, percent, rate};
use crate::summary::{RunSummary, StageSummary};

/// Throughput, busy shares and best accuracy of a run.
///
/// The first `skip` batches, which fill the pipeline and the caches, are not counted. Each stage's clock starts at the end
/// of its update of the last of these batches and stops at the end of its last training action; evaluations and snapshots
/// in between are left out.
///
/// Of a run that goes on after what counts ([`RunTally::within`]) each stage's clock stops at the end of its update of the last batch that
/// does, and the slowest stage's is the wall time: the last stage, whose clock it is otherwise, may be faster for as long as the others
/// were ahead of it, however long it takes them to do as much.
#[derive(Clone, Debug)]
pub struct RunTally {
    skip: usize,
    /// Batches from there on do not count.
    until: Option<usize>,
    stages: Vec<StageInRun>,
    batches: usize,
    samples: usize,
    best_test_top1: Option<(usize, f64)>,
}

#[derive(Clone, Debug)]
struct StageInRun {
    tally: StageTally,
    /// Whether it has updated with the last of the skipped batches.
    counts: bool,
    /// Whether it has updated with the last batch that counts.
    has_ended: bool,
}

impl RunTally {
    /// A tally that does not count the first `skip` batches.
    pub fn new(skip: usize) -> Self {
        Self {
            skip,
            until: None,
            stages: Vec::new(),
            batches: 0,
            samples: 0,
            best_test_top1: None,
        }
    }

    /// Counts the `batches` that follow the first `skip`. The run may train more after them, which are not counted.
    pub fn within(skip: usize, batches: usize) -> Self {
        Self {
            until: Some(skip.saturating_add(batches)),
            ..Self::new(skip)
        }
    }

    /// The same for a resumed run, with its best evaluation so far.
    #[must_use]
    pub fn with_best(mut self, best_test_top1: Option<(usize, f64)>) -> Self {
        self.best_test_top1 = best_test_top1;
        self
    }

    /// Version and top-1 test accuracy, in percent, of the best evaluation so far.
    pub fn best(&self) -> Option<(usize, f64)> {
        self.best_test_top1
    }

    /// Takes the next event.
    pub fn event(&mut self, event: &Event) {
        match *event {
            Event::Started { stages } => {
                let counts = self.skip == 0;
                self.stages = vec![
                    StageInRun {
                        tally: StageTally::default(),
                        counts,
                        has_ended: false,
                    };
                    stages
                ];
            }
            Event::Acted(acted) => {
                let Some(stage) = self.stages.get_mut(acted.stage) else {
                    return;
                };
                if stage.has_ended {
                    return;
                }
                stage.tally.add(acted);
                let Action::Update { version } = acted.action else {
                    return;
                };
                if version == self.skip.wrapping_sub(1) {
                    stage.tally.cut();
                    stage.counts = true;
                }
                stage.has_ended = self.until.is_some_and(|until| version + 1 >= until);
            }
            Event::Trained { batch, samples, .. }
                if batch >= self.skip && self.until.is_none_or(|until| batch < until) =>
            {
                self.batches += 1;
                self.samples += samples;
            }
            Event::Evaluated {
                version,
                samples,
                correct_top1,
                ..
            } => {
                let top1 = percent(correct_top1, samples);
                if self.best_test_top1.is_none_or(|(_, best)| top1 > best) {
                    self.best_test_top1 = Some((version, top1));
                }
            }
            _ => {}
        }
    }

    /// The sums so far.
    pub fn summary(&self) -> RunSummary {
        let of_stage = |stage: &StageInRun| stage.counts.then(|| stage.tally.clone());
        let tallies: Vec<_> = self
            .stages
            .iter()
            .map(|stage| of_stage(stage).unwrap_or_default())
            .collect();
        let mut walls = tallies.iter().map(StageTally::wall);
        let wall = match self.until {
            Some(_) => walls.max(),
            None => walls.next_back(),
        };
        let wall = wall.unwrap_or_default();
        let stages: Vec<StageSummary> = tallies.iter().map(StageTally::summary).collect();
        RunSummary {
            batches: self.batches,
            samples: self.samples,
            images_per_second: rate(self.samples, wall),
            wall,
            bubble_share: bubble_share(&stages),
            stages,
            best_test_top1: self.best_test_top1,
        }
    }
}
