//! The last weights of a run that has no folder.

use std::collections::BTreeMap;
use std::sync::Arc;

use stagger_engine::StageState;
use stagger_runtime::Event;
use stagger_runtime::snapshot::StageSnapshot;

/// Gathers the stages' snapshots of each version, and keeps the newest that is complete.
pub struct LastWeights {
    stages: usize,
    pending: BTreeMap<usize, Vec<Arc<StageSnapshot>>>,
    last: Option<Vec<Arc<StageSnapshot>>>,
}

impl LastWeights {
    /// For a run of so many stages.
    pub fn new(stages: usize) -> Self {
        Self {
            stages,
            pending: BTreeMap::new(),
            last: None,
        }
    }

    /// Takes the snapshot of a stage; other events are ignored.
    pub fn take(&mut self, event: &Event) {
        let Event::Snapshot {
            version, snapshot, ..
        } = event
        else {
            return;
        };
        let parts = self.pending.entry(*version).or_default();
        parts.push(Arc::clone(snapshot));
        if parts.len() == self.stages {
            self.last = self.pending.remove(version);
        }
    }

    /// Parameters and running statistics of all stages.
    pub fn state(&self) -> Option<StageState> {
        self.whole().map(StageState::without_optimizer)
    }

    /// The same with the running mean of the parameters, where the stages keep one.
    pub fn averaged(&self) -> Option<StageState> {
        self.whole()?.averaged()
    }

    fn whole(&self) -> Option<StageState> {
        let mut whole = StageState::default();
        for part in self.last.as_ref()? {
            whole.merge(part.state.clone());
        }
        Some(whole)
    }
}
