//! Collects the stages' parts of each snapshot.

use std::collections::BTreeMap;
use std::sync::Arc;

use stagger_runtime::Event;
use stagger_runtime::snapshot::StageSnapshot;

use crate::stage_tally::percent;

/// Snapshots of which some stages have not given their part yet. Several versions may be incomplete at once.
#[derive(Debug, Default)]
pub(crate) struct SnapshotParts {
    stages: usize,
    pending: BTreeMap<usize, Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    parts: BTreeMap<usize, Arc<StageSnapshot>>,
    test_top1: Option<f64>,
}

/// A snapshot with the parts of all stages.
#[derive(Debug)]
pub(crate) struct Complete {
    pub version: usize,
    /// From stage 0 up.
    pub stages: Vec<Arc<StageSnapshot>>,
    /// Top-1 test accuracy of this version in percent, if it was evaluated. A stage evaluates a version before it takes the
    /// snapshot, so the accuracy is known before the last stage's part.
    pub test_top1: Option<f64>,
}

impl SnapshotParts {
    /// Takes the next event. Returns the snapshot that it completes.
    pub fn event(&mut self, event: &Event) -> Option<Complete> {
        match event {
            Event::Started { stages } => self.stages = *stages,
            Event::Evaluated {
                version,
                samples,
                correct_top1,
                ..
            } => {
                let pending = self.pending.entry(*version).or_default();
                pending.test_top1 = Some(percent(*correct_top1, *samples));
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
        None
    }

    fn take(&mut self, version: usize) -> Option<Complete> {
        // Every stage passes the versions in order, so earlier ones that are still pending were only evaluated.
        let later = self.pending.split_off(&(version + 1));
        let mut earlier = std::mem::replace(&mut self.pending, later);
        let complete = earlier.remove(&version)?;
        Some(Complete {
            version,
            stages: complete.parts.into_values().collect(),
            test_top1: complete.test_top1,
        })
    }
}
