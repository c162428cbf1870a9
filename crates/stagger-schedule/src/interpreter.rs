//! The meaning of a schedule: which action can run when.
//!
//! [`Interpreter`] runs the programs of all stages one action at a time, on one thread, over FIFO
//! queues of the lengths in the policies. It moves batch numbers instead of tensors. The runtime
//! must behave as if it ran in one of these orders, and since the programs form a Kahn process
//! network, all of them give the same numbers (docs/algorithm.md, "Facts" 1).

mod channel;
mod deadlock;

pub use deadlock::{Deadlock, Wait, Waiting};

use std::collections::VecDeque;

use crate::action::Unit;
use crate::{Action, GradientSource, Horizon, Program, Schedule, StagePolicy};
use channel::Channel;

/// Picks one of the stages that can run, by its index in the list it is given.
type Choose = Box<dyn FnMut(&[usize]) -> usize + Send>;

/// Runs the programs of all stages in one order: an iterator over `(stage, action)`.
///
/// When `(stage, action)` is yielded, everything the action takes is there, so a driver that keeps
/// one queue of tensors per hop and direction can carry it out at once:
///
/// | action of stage k | takes | gives |
/// | --- | --- | --- |
/// | `Forward` | the next activation from stage k−1, if k > 0 | an activation to k+1, if k < K−1 |
/// | `Recompute` | – | – |
/// | `Backward` | the next gradient from stage k+1, if k < K−1 and no synthesizer guesses it | a gradient to k−1, if k > 0 |
/// | `WeightGradients` | what `Backward` of the same micro-batch has put off | – |
/// | `Learn` | the next gradient from stage k+1 | – |
/// | `Update` | – | – |
/// | `Evaluate` | evaluation outputs of stage k−1 at the same version | the same for stage k+1 |
/// | `Snapshot` | – | – |
///
/// A stage that has sent more than a queue holds stays in the sending action until the receiver
/// has taken enough: the action has happened, but the stage does not go on. A queue of length 0 is
/// thus a rendezvous.
///
/// `Evaluate` waits for the stage below, in a lane of its own. *While a stage waits there it keeps
/// accepting activations*, into an inbox that is read before the queue. Otherwise a stage below
/// that is busy sending, as it is with c = 1 and m = 2, could never reach its own `Evaluate`. The
/// inbox never holds more than the activations that are in flight at that version, m_k − m_{k+1}
/// for DSP (docs/algorithm.md, "Facts" 4). `Snapshot` is local and needs nothing of the kind.
///
/// ```
/// use stagger_schedule::{Horizon, Interpreter, Schedule};
///
/// let schedule = Schedule::parse("bp", Some(2))?;
/// let order: Vec<String> = Interpreter::new(&schedule, &Horizon::of(1))
///     .map(|step| step.map(|(stage, action)| format!("{stage}:{action}")))
///     .collect::<Result<_, _>>()?;
/// assert_eq!(order.join(" "), "0:F0 1:F0 1:B0 0:B0 1:U0 0:U0");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Interpreter {
    stages: Vec<Running>,
    /// Activations up and gradients down, between stage k and k+1.
    hops: Vec<Hop>,
    choose: Choose,
    /// The stages that can run; kept to spare allocations.
    ready: Vec<usize>,
    deadlocked: bool,
}

/// A stage in the middle of its program.
struct Running {
    program: Box<dyn Program>,
    gradient: GradientSource,
    splits: bool,
    /// Micro-batches whose backward pass has run its first half, in order.
    pending: VecDeque<Unit>,
    next: Option<Action>,
    /// The version this stage has evaluated last.
    evaluated: Option<usize>,
}

struct Hop {
    activations: Channel,
    gradients: Channel,
}

impl Interpreter {
    /// Always runs the uppermost stage that can run, which keeps least in flight.
    pub fn new(schedule: &Schedule, horizon: &Horizon) -> Self {
        Interpreter::with_order(schedule, horizon, |ready| ready.len() - 1)
    }

    /// Runs the stage that `choose` picks. It gets the stages that can run, in ascending order and
    /// never none, and returns an index into that list; one beyond its end counts as its last.
    pub fn with_order(
        schedule: &Schedule,
        horizon: &Horizon,
        choose: impl FnMut(&[usize]) -> usize + Send + 'static,
    ) -> Self {
        let stages = (0..schedule.stages())
            .map(|stage| (schedule.policy(stage), schedule.program(stage, horizon)))
            .collect();
        Interpreter::of_programs(stages, choose)
    }

    /// Runs any programs over the queues of any policies, from stage 0 up.
    pub fn of_programs(
        stages: Vec<(StagePolicy, Box<dyn Program>)>,
        choose: impl FnMut(&[usize]) -> usize + Send + 'static,
    ) -> Self {
        let hops = stages
            .iter()
            .map(|(policy, _)| Hop {
                activations: Channel::new(policy.forward_queue),
                gradients: Channel::new(policy.backward_queue),
            })
            .take(stages.len().saturating_sub(1))
            .collect();
        let start = |(policy, mut program): (StagePolicy, Box<dyn Program>)| Running {
            next: program.next(),
            program,
            gradient: policy.gradient,
            splits: policy.split.is_some(),
            pending: VecDeque::new(),
            evaluated: None,
        };
        Interpreter {
            stages: stages.into_iter().map(start).collect(),
            hops,
            choose: Box::new(choose),
            ready: Vec::new(),
            deadlocked: false,
        }
    }

    /// The number of activations between `stage` and the one above: sent and not yet used.
    ///
    /// # Panics
    ///
    /// If there is no stage above `stage`.
    pub fn activations_in_flight(&self, stage: usize) -> usize {
        self.hops[stage].activations.len()
    }

    /// The number of gradients between `stage` and the one above: sent and not yet used.
    ///
    /// # Panics
    ///
    /// If there is no stage above `stage`.
    pub fn gradients_in_flight(&self, stage: usize) -> usize {
        self.hops[stage].gradients.len()
    }

    /// What keeps a stage from running its next action, if anything.
    fn wait(&self, stage: usize, action: Action) -> Option<Wait> {
        let above = self.hops.get(stage);
        let below = stage.checked_sub(1).map(|below| &self.hops[below]);
        if above.is_some_and(|hop| hop.activations.is_overfull()) {
            return Some(Wait::RoomAbove);
        }
        if below.is_some_and(|hop| hop.gradients.is_overfull()) {
            return Some(Wait::RoomBelow);
        }
        let gradient = |batch, micro| {
            let head = Some(Unit { batch, micro });
            above
                .filter(|hop| hop.gradients.head() != head)
                .map(|_| Wait::Gradient { batch, micro })
        };
        match action {
            Action::Forward { batch, micro } => below
                .filter(|hop| hop.activations.head() != Some(Unit { batch, micro }))
                .map(|_| Wait::Activation { batch, micro }),
            Action::Backward { batch, micro } => match self.stages[stage].gradient {
                GradientSource::Above => gradient(batch, micro),
                GradientSource::Synthetic => None,
            },
            Action::WeightGradients { batch, micro } => {
                let pending = self.stages[stage].pending.front();
                (pending != Some(&Unit { batch, micro }))
                    .then_some(Wait::FirstHalf { batch, micro })
            }
            Action::Learn { batch, micro } => gradient(batch, micro),
            Action::Evaluate { version } => below
                .filter(|_| self.stages[stage - 1].evaluated < Some(version))
                .map(|_| Wait::Evaluation { version }),
            Action::Update { .. } => {
                let pending = self.stages[stage].pending.front();
                pending.map(|&Unit { batch, micro }| Wait::SecondHalf { batch, micro })
            }
            Action::Recompute { .. } | Action::Snapshot { .. } => None,
        }
    }

    /// Moves the micro-batches that an action takes and gives.
    fn run(&mut self, stage: usize, action: Action) {
        match action {
            Action::Forward { batch, micro } => {
                if stage > 0 {
                    self.hops[stage - 1].activations.take();
                }
                if let Some(hop) = self.hops.get_mut(stage) {
                    hop.activations.send(Unit { batch, micro });
                }
            }
            Action::Backward { batch, micro } => {
                if self.stages[stage].gradient == GradientSource::Above {
                    self.take_gradient(stage);
                }
                if stage > 0 {
                    self.hops[stage - 1].gradients.send(Unit { batch, micro });
                }
                if self.stages[stage].splits {
                    self.stages[stage].pending.push_back(Unit { batch, micro });
                }
            }
            Action::WeightGradients { .. } => {
                self.stages[stage].pending.pop_front();
            }
            Action::Learn { .. } => self.take_gradient(stage),
            Action::Evaluate { version } => self.stages[stage].evaluated = Some(version),
            Action::Recompute { .. } | Action::Update { .. } | Action::Snapshot { .. } => {}
        }
    }

    fn take_gradient(&mut self, stage: usize) {
        if let Some(hop) = self.hops.get_mut(stage) {
            hop.gradients.take();
        }
    }

    /// Lists the stages that can run. A stage that waits in `Evaluate` empties its queue, which
    /// may free the stage below; that one comes later in the list, so it is listed downwards.
    fn find_ready(&mut self) {
        self.ready.clear();
        for stage in (0..self.stages.len()).rev() {
            let Some(action) = self.stages[stage].next else {
                continue;
            };
            match self.wait(stage, action) {
                None => self.ready.push(stage),
                Some(Wait::Evaluation { .. }) => self.hops[stage - 1].activations.accept_all(),
                Some(_) => {}
            }
        }
        self.ready.reverse();
    }

    fn deadlock(&self) -> Option<Deadlock> {
        let waiting: Vec<Waiting> = self
            .stages
            .iter()
            .enumerate()
            .filter_map(|(stage, running)| {
                let action = running.next?;
                let wait = self.wait(stage, action)?;
                Some(Waiting {
                    stage,
                    action,
                    wait,
                })
            })
            .collect();
        (!waiting.is_empty()).then_some(Deadlock { waiting })
    }
}

impl Iterator for Interpreter {
    type Item = Result<(usize, Action), Deadlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.deadlocked {
            return None;
        }
        self.find_ready();
        let Some(&last) = self.ready.last() else {
            let deadlock = self.deadlock()?;
            self.deadlocked = true;
            return Some(Err(deadlock));
        };
        let index = (self.choose)(&self.ready);
        let stage = self.ready.get(index).copied().unwrap_or(last);
        let running = &mut self.stages[stage];
        let action = running.next?;
        running.next = running.program.next();
        self.run(stage, action);
        Some(Ok((stage, action)))
    }
}

impl std::fmt::Debug for Interpreter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let next: Vec<_> = self.stages.iter().map(|running| running.next).collect();
        f.debug_struct("Interpreter")
            .field("next", &next)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_of_a_waiting_stage_holds_what_is_in_flight_at_that_version() {
        let horizon = Horizon {
            batches: 30,
            evaluate_at: vec![3, 11],
            snapshot_at: vec![11],
            ..Horizon::default()
        };
        for notation in ["dsp(1,0;2,0)", "dsp(0,0;4,0)", "dsp(0,2,0,0;6,5,2,0)"] {
            let schedule = Schedule::parse(notation, None).unwrap();
            let gaps: Vec<_> = schedule
                .policies()
                .iter()
                .map(|p| p.forward_queue + p.backward_queue)
                .collect();
            // The lower stages run ahead as far as they can.
            let mut run = Interpreter::with_order(&schedule, &horizon, |_| 0);
            let mut most = vec![0; run.hops.len()];
            while let Some(step) = run.next() {
                step.unwrap();
                for (most, hop) in most.iter_mut().zip(&run.hops) {
                    *most = hop.activations.accepted().max(*most);
                }
            }
            assert_eq!(most, gaps[..run.hops.len()], "{notation}");
        }
    }
}
