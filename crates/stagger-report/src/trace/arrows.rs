//! Which messages the actions of a run take and send, and when.

use std::collections::HashMap;
use std::time::Duration;

use stagger_runtime::Acted;
use stagger_schedule::Action;

/// When the parts of an action begin and end: waiting for its input, the work, waiting until its output has room.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    pub begins: Duration,
    pub ends: Duration,
}

impl Parts {
    pub(super) fn of(acted: &Acted) -> Self {
        let (starts_at, ends_at) = (acted.started_at, acted.ended_at);
        let begins = (starts_at + acted.waits.loader + acted.waits.receive).min(ends_at);
        let ends = ends_at.saturating_sub(acted.waits.send).max(begins);
        Self { begins, ends }
    }
}

/// A message: what sent it, and the hop, where hop h is between stages h and h + 1.
pub(super) type Message = (Action, usize);

/// Which messages actions take and send.
pub(super) struct Arrows {
    /// Of each stage, whether it guesses gradients, and learns from those that come: then it pulls back without one from above.
    learns: Vec<bool>,
    /// When each message was taken, in order: batches that were gone back over have several.
    taken: HashMap<Message, Vec<Duration>>,
}

impl Arrows {
    /// Those of actions in the order in which they started.
    pub(super) fn of(acted: &[Acted], stages: usize) -> Self {
        let mut arrows = Self {
            learns: vec![false; stages],
            taken: HashMap::new(),
        };
        for acted in acted {
            if let Action::Learn { .. } = acted.action {
                arrows.learns[acted.stage] = true;
            }
        }
        for acted in acted {
            if let Some(message) = arrows.taken_by(acted) {
                let times = arrows.taken.entry(message).or_default();
                times.push(Parts::of(acted).begins);
            }
        }
        arrows
    }

    pub(super) fn kind(action: Action) -> Option<&'static str> {
        match action {
            Action::Forward { .. } => Some("activation"),
            Action::Backward { .. } | Action::Learn { .. } => Some("gradient"),
            _ => None,
        }
    }

    pub(super) fn taken_by(&self, acted: &Acted) -> Option<Message> {
        let stage = acted.stage;
        let above = (stage + 1 < self.learns.len()).then_some(stage);
        match acted.action {
            Action::Forward { .. } => Some((acted.action, stage.checked_sub(1)?)),
            Action::Backward { .. } if self.learns[stage] => None,
            Action::Backward { .. } => Some((acted.action, above?)),
            // It has the name of the pass that it comes from.
            Action::Learn { batch, micro } => Some((Action::Backward { batch, micro }, above?)),
            _ => None,
        }
    }

    pub(super) fn sent_by(&self, acted: &Acted) -> Option<Message> {
        let stage = acted.stage;
        match acted.action {
            Action::Forward { .. } if stage + 1 < self.learns.len() => Some((acted.action, stage)),
            Action::Backward { .. } => Some((acted.action, stage.checked_sub(1)?)),
            _ => None,
        }
    }

    /// When a message left: within the work, and not in the wait behind it. A stage may be interrupted between sending and looking at
    /// its clock, so that by the stage's clock the message left after it was taken.
    pub(super) fn left_at(&self, message: Message, within: Parts) -> Duration {
        let at = within.ends.saturating_sub(Duration::from_nanos(1));
        let times = self.taken.get(&message).map_or(&[][..], Vec::as_slice);
        let taken = times.iter().find(|&&taken| taken >= within.begins);
        taken.map_or(at, |&taken| at.min(taken)).max(within.begins)
    }
}
