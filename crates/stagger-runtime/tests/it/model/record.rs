//! What a run leaves behind.

use std::collections::BTreeMap;

use stagger_runtime::snapshot::{Snapshot, StageSnapshot};
use stagger_runtime::{Acted, Event};
use stagger_schedule::Action;

use super::STAGES;

/// What a run does, in terms that do not depend on timing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Per stage: actions besides snapshots, with counted staleness.
    pub actions: BTreeMap<usize, Vec<(Action, Option<usize>)>>,
    pub losses: BTreeMap<usize, u32>,
    pub synthesized: BTreeMap<(usize, usize), u64>,
    pub skipped: Vec<usize>,
    pub evaluations: BTreeMap<usize, u64>,
    pub snapshots: BTreeMap<(usize, usize), StageSnapshot>,
}

impl Record {
    pub fn take(&mut self, event: Event) {
        match event {
            Event::Acted(Acted {
                stage,
                action,
                staleness,
                ..
            }) if !matches!(action, Action::Snapshot { .. }) => {
                let actions = self.actions.entry(stage).or_default();
                actions.push((action, staleness));
            }
            Event::Synthesized {
                stage, batch, loss, ..
            } => {
                // One per micro-batch; the last one stands for all.
                self.synthesized.insert((stage, batch), loss.to_bits());
            }
            Event::Trained { batch, loss, .. } => {
                assert_eq!(self.losses.insert(batch, loss.to_bits()), None, "twice");
            }
            Event::Skipped { batch, .. } => self.skipped.push(batch),
            Event::Evaluated { version, loss, .. } => {
                let found = self.evaluations.insert(version, loss.to_bits());
                assert_eq!(found, None, "twice");
            }
            Event::Snapshot {
                stage,
                version,
                snapshot,
            } => {
                let snapshot = StageSnapshot::clone(&snapshot);
                let found = self.snapshots.insert((version, stage), snapshot);
                assert_eq!(found, None, "twice");
            }
            _ => {}
        }
    }

    /// Adds what a run did that went on from this one.
    pub fn extend(&mut self, rest: Self) {
        for (stage, actions) in rest.actions {
            self.actions.entry(stage).or_default().extend(actions);
        }
        self.losses.extend(rest.losses);
        self.synthesized.extend(rest.synthesized);
        self.skipped.extend(rest.skipped);
        self.evaluations.extend(rest.evaluations);
        self.snapshots.extend(rest.snapshots);
    }

    pub fn snapshot(&self, version: usize) -> Snapshot {
        let stages = (0..STAGES).map(|stage| self.snapshots[&(version, stage)].clone());
        Snapshot {
            version,
            stages: stages.collect(),
        }
    }
}
