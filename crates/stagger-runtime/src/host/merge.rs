//! One event of what the replicas of a stage report.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::event::Event;
use crate::host::Reported;
use crate::snapshot::{PipelineState, StageSnapshot};
use stagger_schedule::Replicas;

/// Lets the events of the first replica of each stage pass, and completes its snapshots by what the others hold.
///
/// Events of a stage stay in order: those behind a snapshot wait until all of its parts have come.
pub(super) struct Merge {
    replicas: Replicas,
    /// By stage: events of the first replica, from a snapshot on that is not complete.
    held: Vec<VecDeque<Event>>,
    /// By stage and version: what the replicas from the second on hold.
    parts: BTreeMap<(usize, usize), Vec<Option<PipelineState>>>,
}

impl Merge {
    pub fn new(replicas: &Replicas) -> Self {
        Self {
            replicas: replicas.clone(),
            held: (0..replicas.stages()).map(|_| VecDeque::new()).collect(),
            parts: BTreeMap::new(),
        }
    }

    /// What there is to pass on when a place has reported something.
    pub fn take(&mut self, Reported { place, event }: Reported) -> Vec<Event> {
        let place = self.replicas.place(place);
        if place.of == 1 {
            return vec![event];
        }
        let stage = place.stage;
        match event {
            Event::Snapshot {
                version, snapshot, ..
            } if !place.is_first() => {
                let parts = self.parts.entry((stage, version)).or_default();
                parts.resize(place.of - 1, None);
                // The worker has given its only handle away.
                parts[place.replica - 1] = Some(Arc::unwrap_or_clone(snapshot).pipeline);
            }
            // Numbers are those of all replicas; times are those of the first.
            _ if !place.is_first() => return Vec::new(),
            event => self.held[stage].push_back(event),
        }
        self.release(stage)
    }

    /// Events of a stage up to the first snapshot that is not complete.
    fn release(&mut self, stage: usize) -> Vec<Event> {
        let mut released = Vec::new();
        while let Some(event) = self.held[stage].front() {
            if let Event::Snapshot { version, .. } = event
                && !self.is_whole(stage, *version)
            {
                break;
            }
            let event = self.held[stage].pop_front();
            released.extend(event.map(|event| self.completed(event)));
        }
        released
    }

    /// Whether all other replicas have given their part of a snapshot.
    fn is_whole(&self, stage: usize, version: usize) -> bool {
        let parts = self.parts.get(&(stage, version));
        parts.is_some_and(|parts| parts.iter().all(Option::is_some))
    }

    /// The event as it is passed on: a snapshot with what the other replicas hold.
    fn completed(&mut self, event: Event) -> Event {
        let Event::Snapshot {
            stage,
            version,
            snapshot,
        } = event
        else {
            return event;
        };
        let parts = self.parts.remove(&(stage, version)).unwrap_or_default();
        let first = Arc::unwrap_or_clone(snapshot);
        Event::Snapshot {
            stage,
            version,
            snapshot: Arc::new(StageSnapshot {
                replicas: parts.into_iter().flatten().collect(),
                ..first
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(place: usize, skipped_in_a_row: usize) -> Reported {
        let pipeline = PipelineState {
            skipped_in_a_row,
            ..PipelineState::default()
        };
        let snapshot = StageSnapshot {
            pipeline,
            ..StageSnapshot::default()
        };
        Reported {
            place,
            event: Event::Snapshot {
                stage: 0,
                version: 4,
                snapshot: Arc::new(snapshot),
            },
        }
    }

    fn interrupted(place: usize) -> Reported {
        let event = Event::Interrupted { batch: 7 };
        Reported { place, event }
    }

    #[test]
    fn a_snapshot_waits_for_its_parts_and_what_follows_for_it() {
        let mut merge = Merge::new(&Replicas::new(&[3], 1).unwrap());
        assert_eq!(merge.take(interrupted(0)).len(), 1);
        assert!(merge.take(interrupted(1)).is_empty());
        assert!(merge.take(snapshot(2, 20)).is_empty());
        assert!(merge.take(snapshot(0, 0)).is_empty());
        assert!(merge.take(interrupted(0)).is_empty());
        let released = merge.take(snapshot(1, 10));
        let [Event::Snapshot { snapshot, .. }, Event::Interrupted { .. }] = released.as_slice()
        else {
            panic!("{released:?}");
        };
        let parts = snapshot.replicas.iter();
        let found: Vec<_> = parts.map(|part| part.skipped_in_a_row).collect();
        assert_eq!(found, [10, 20]);
    }
}
