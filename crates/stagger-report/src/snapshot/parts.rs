//! Collects the stages' parts of each snapshot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stagger_runtime::Event;
use stagger_runtime::snapshot::StageSnapshot;

use crate::stage_tally::percent;

/// Snapshots of which some stages have not given their part yet. Several versions may be incomplete at once.
///
/// A stage takes the snapshot of a version before it evaluates it. Events of several processes may come in another order, and
/// are put back into this one.
#[derive(Debug, Default)]
pub(crate) struct SnapshotParts {
    stages: usize,
    pending: BTreeMap<usize, Pending>,
    /// The last version that is complete.
    complete: Option<usize>,
    /// Versions whose evaluation is part of the run.
    evaluate_at: BTreeSet<usize>,
}

#[derive(Debug, Default)]
struct Pending {
    parts: BTreeMap<usize, Arc<StageSnapshot>>,
    test_top1: Option<f64>,
}

/// What has become known of a version.
#[derive(Debug)]
pub(crate) enum Known {
    /// All stages have taken its snapshot.
    Snapshot(Complete),
    /// It is evaluated; its snapshot is known already.
    Evaluation(Evaluation),
}

/// A snapshot with the parts of all stages.
#[derive(Debug)]
pub(crate) struct Complete {
    pub version: usize,
    /// From stage 0 up.
    pub stages: Vec<Arc<StageSnapshot>>,
}

/// What a version scores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Evaluation {
    pub version: usize,
    /// Top-1 test accuracy in percent.
    pub test_top1: f64,
}

impl SnapshotParts {
    /// Parts of a run that evaluates these versions. Evaluations of others, such as that of a run that its time limit has ended,
    /// are left out: a run that goes on does not know of them.
    pub fn evaluated_at(versions: &[usize]) -> Self {
        Self {
            evaluate_at: versions.iter().copied().collect(),
            ..Self::default()
        }
    }

    /// The same of a run that resumes from the snapshot of a version.
    #[must_use]
    pub fn resumed_at(mut self, version: usize) -> Self {
        self.complete = Some(version);
        self
    }

    /// Takes the next event. Returns what becomes known with it.
    pub fn event(&mut self, event: &Event) -> Vec<Known> {
        match event {
            Event::Started { stages } => self.stages = *stages,
            Event::Evaluated {
                version,
                samples,
                correct_top1,
                ..
            } if self.evaluate_at.contains(version) => {
                let (version, test_top1) = (*version, percent(*correct_top1, *samples));
                if self.complete == Some(version) {
                    return vec![Known::Evaluation(Evaluation { version, test_top1 })];
                }
                self.pending.entry(version).or_default().test_top1 = Some(test_top1);
            }
            Event::Snapshot {
                stage,
                version,
                snapshot,
            } => {
                let pending = self.pending.entry(*version).or_default();
                pending.parts.insert(*stage, Arc::clone(snapshot));
                if pending.parts.len() == self.stages {
                    return self.take(*version);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn take(&mut self, version: usize) -> Vec<Known> {
        // Every stage passes the versions in order, so earlier ones that are still pending were only evaluated.
        let later = self.pending.split_off(&(version + 1));
        let mut earlier = std::mem::replace(&mut self.pending, later);
        let Some(complete) = earlier.remove(&version) else {
            return Vec::new();
        };
        self.complete = Some(version);
        let mut known = vec![Known::Snapshot(Complete {
            version,
            stages: complete.parts.into_values().collect(),
        })];
        let evaluation = complete.test_top1;
        known.extend(
            evaluation.map(|test_top1| Known::Evaluation(Evaluation { version, test_top1 })),
        );
        known
    }
}
