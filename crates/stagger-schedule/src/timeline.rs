//! The actions of a run with their times, when every action takes a given time.

use crate::{Action, GradientSource, Horizon, Interpreter, Schedule};

/// An action and when it runs, in ticks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) stage: usize,
    pub(crate) action: Action,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// Runs a schedule without evaluations as a dataflow: an action starts as soon as its stage is
/// free and its inputs are there. Transfers take no time.
///
/// The order of the [`Interpreter`] does not matter: times follow from what an action takes, from
/// what its stage did before, and from when the queues had room.
pub(crate) struct Timeline<D> {
    order: Interpreter,
    duration: D,
    /// Where each stage takes its gradients from; the loss counts as a stage above the last.
    gradients_from: Vec<GradientSource>,
    /// When each stage finished its last action.
    free: Vec<u64>,
    /// Between stage k and k+1.
    activations: Vec<Times>,
    gradients: Vec<Times>,
}

/// When the micro-batches of a queue were sent and taken, in their order.
struct Times {
    capacity: usize,
    sent: Vec<u64>,
    taken: Vec<u64>,
}

impl Times {
    fn new(capacity: usize) -> Self {
        Times {
            capacity,
            sent: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// When the sender of the last batch could go on: once all but `capacity` batches were taken.
    fn room(&self) -> u64 {
        let over = self.sent.len().checked_sub(self.capacity + 1);
        over.and_then(|last| self.taken.get(last))
            .copied()
            .unwrap_or(0)
    }

    /// When the next batch to take was sent.
    fn arrival(&self) -> u64 {
        self.sent.get(self.taken.len()).copied().unwrap_or(0)
    }
}

impl<D: Fn(usize, Action) -> u64> Timeline<D> {
    /// A run of `batches` batches in which `duration(stage, action)` is the time of each action.
    pub(crate) fn new(schedule: &Schedule, batches: usize, duration: D) -> Self {
        let order = Interpreter::new(schedule, &Horizon::of(batches));
        Timeline::in_order(order, schedule, duration)
    }

    /// The same without the synchronous batches that a schedule may begin with.
    pub(crate) fn steady(schedule: &Schedule, batches: usize, duration: D) -> Self {
        let horizon = Horizon::of(batches);
        let stages = (0..schedule.stages())
            .map(|stage| {
                let program = schedule.steady_program(stage, &horizon);
                (schedule.policy(stage), program)
            })
            .collect();
        let order = Interpreter::of_programs(stages, |ready| ready.len() - 1);
        Timeline::in_order(order, schedule, duration)
    }

    fn in_order(order: Interpreter, schedule: &Schedule, duration: D) -> Self {
        let policies = schedule.policies();
        Timeline {
            order,
            duration,
            gradients_from: policies.iter().map(|p| p.gradient).collect(),
            free: vec![0; policies.len()],
            activations: policies
                .iter()
                .map(|p| Times::new(p.forward_queue))
                .collect(),
            gradients: policies
                .iter()
                .map(|p| Times::new(p.backward_queue))
                .collect(),
        }
    }

    /// Puts the next action of a stage in time.
    fn place(&mut self, stage: usize, action: Action) -> Event {
        let below = stage.checked_sub(1);
        let has_above = stage + 1 < self.free.len();
        let waits = self.gradients_from[stage] == GradientSource::Above;
        let mut start = self.free[stage].max(self.activations[stage].room());
        if let Some(below) = below {
            start = start.max(self.gradients[below].room());
        }
        let takes = match action {
            Action::Forward { .. } => below.map(|below| &mut self.activations[below]),
            Action::Backward { .. } if has_above && waits => Some(&mut self.gradients[stage]),
            Action::Learn { .. } if has_above => Some(&mut self.gradients[stage]),
            Action::Backward { .. }
            | Action::Learn { .. }
            | Action::WeightGradients { .. }
            | Action::Recompute { .. }
            | Action::Update { .. }
            | Action::Evaluate { .. }
            | Action::Snapshot { .. } => None,
        };
        if let Some(times) = takes {
            start = start.max(times.arrival());
            times.taken.push(start);
        }
        let end = start + (self.duration)(stage, action);
        let gives = match action {
            Action::Forward { .. } if has_above => Some(&mut self.activations[stage]),
            Action::Backward { .. } => below.map(|below| &mut self.gradients[below]),
            Action::Forward { .. }
            | Action::Learn { .. }
            | Action::WeightGradients { .. }
            | Action::Recompute { .. }
            | Action::Update { .. }
            | Action::Evaluate { .. }
            | Action::Snapshot { .. } => None,
        };
        if let Some(times) = gives {
            times.sent.push(end);
        }
        self.free[stage] = end;
        Event {
            stage,
            action,
            start,
            end,
        }
    }
}

impl<D: Fn(usize, Action) -> u64> Iterator for Timeline<D> {
    type Item = Event;

    /// The next event, in an order that fits the dataflow but is not sorted by time. Ends early if
    /// the schedule deadlocks, which no parsed one does.
    fn next(&mut self) -> Option<Event> {
        let (stage, action) = self.order.next()?.ok()?;
        Some(self.place(stage, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start times of the forward and backward passes of a stage, each taking one tick.
    fn starts(notation: &str, stage: usize, batches: usize) -> Vec<String> {
        let schedule = Schedule::parse(notation, Some(2)).unwrap();
        Timeline::new(&schedule, batches, |_, action| match action {
            Action::Forward { .. } | Action::Backward { .. } => 1,
            _ => 0,
        })
        .filter(|event| event.stage == stage && event.end > event.start)
        .map(|event| format!("{}@{}", event.action, event.start))
        .collect()
    }

    #[test]
    fn backpropagation_works_on_one_stage_at_a_time() {
        assert_eq!(starts("bp", 0, 2), ["F0@0", "B0@3", "F1@4", "B1@7"]);
        assert_eq!(starts("bp", 1, 2), ["F0@1", "B0@2", "F1@5", "B1@6"]);
    }

    #[test]
    fn one_unit_of_staleness_overlaps_two_stages() {
        assert_eq!(
            starts("dsp(0,0;1,0)", 0, 3),
            ["F0@0", "F1@1", "B0@3", "F2@4", "B1@5", "B2@7"]
        );
        assert_eq!(
            starts("dsp(0,0;1,0)", 1, 3),
            ["F0@1", "B0@2", "F1@3", "B1@4", "F2@5", "B2@6"]
        );
    }
}
