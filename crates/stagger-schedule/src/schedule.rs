//! A method on a number of stages.

use std::sync::Arc;

use crate::action::Action;
use crate::method::delayed_program;
use crate::split_program::SplitProgram;
use crate::{Corrections, ForwardWeights, GradientSource, Horizon, Method, Program, StagePolicy};

/// The largest number of stages.
pub const MAX_STAGES: usize = 1024;

/// The largest staleness and queue length, in batches.
pub const MAX_STALENESS: usize = 4096;

/// The largest number of replicas of a stage.
pub const MAX_REPLICAS: usize = 64;

/// The largest number of micro-batches per update.
pub const MAX_MICRO_BATCHES: usize = 1024;

/// A method on K stages, with what the notation adds to it: for every stage a program and a
/// policy.
///
/// [`Display`](std::fmt::Display) prints the canonical notation. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(crate) method: Arc<dyn Method>,
    /// Batches of the method in a batch of the schedule, at least 1.
    pub(crate) accumulated: usize,
    /// Corrections beside the method's own.
    pub(crate) added: Corrections,
    /// Whether backward passes that the method does not split are split.
    pub(crate) split: bool,
}

impl Schedule {
    /// The number of stages, K ≥ 1.
    pub fn stages(&self) -> usize {
        self.method.stages()
    }

    /// Copies of each stage that share every batch, where the notation says how many.
    pub fn replicas(&self) -> Option<usize> {
        self.method.replicas()
    }

    /// The name of the method in the notation: `dsp`.
    pub fn method_name(&self) -> &'static str {
        self.method.name()
    }

    /// The method itself.
    pub fn method(&self) -> &dyn Method {
        &*self.method
    }

    /// M: the number of micro-batches in which a batch travels. A batch is what one update sees.
    pub fn micro_batches(&self) -> usize {
        self.method.micro_batches().max(1) * self.accumulated
    }

    /// How many batches of the usual size are accumulated into one update: A with `accumulate(A)`
    /// in the notation, else 1.
    pub fn accumulated_batches(&self) -> usize {
        self.accumulated
    }

    /// In this many first batches no stage runs ahead of the batch that it pulls back, so nothing is
    /// stale, and nothing is in flight at a version; `usize::MAX` if that is so in the whole run.
    pub fn synchronous_batches(&self) -> usize {
        self.method.synchronous_batches()
    }

    /// Whether every stage makes all passes of a batch, and the update, before its first pass of the next batch, so that all stages
    /// are at one version at every update. Then they can agree on something that all gradients of a batch decide, such as the
    /// factor of clipping, without waiting for more than they wait for anyway.
    ///
    /// ```
    /// use stagger_schedule::Schedule;
    ///
    /// assert!(Schedule::parse("1f1b(4)", Some(3))?.is_synchronous());
    /// assert!(!Schedule::parse("dsp", Some(3))?.is_synchronous());
    /// # Ok::<(), stagger_schedule::NotationError>(())
    /// ```
    pub fn is_synchronous(&self) -> bool {
        let waits = |policy: &StagePolicy| {
            policy.staleness == 0 && policy.gradient == GradientSource::Above
        };
        self.policies().iter().all(waits)
    }

    /// What the stages do beyond their programs: for the method, and by the notation.
    pub fn corrections(&self) -> Corrections {
        self.method.corrections().or(self.added.clone())
    }

    /// The momentum of a stage that has one of its own, when the run's is `base`; see [`LookAhead`](crate::LookAhead).
    ///
    /// # Panics
    ///
    /// If `stage` is not below [`stages`](Schedule::stages).
    pub fn momentum(&self, stage: usize, base: f64) -> Option<f64> {
        let look_ahead = self.corrections().look_ahead?;
        let (own, largest) = (self.policy(stage).staleness, self.policy(0).staleness);
        Some(look_ahead.momentum(base, own, largest))
    }

    /// Whether the notation says that backward passes are split which the method itself does not split.
    pub fn is_split(&self) -> bool {
        self.split
    }

    /// Whether stages guess gradients with a synthesizer instead of waiting for them.
    pub fn synthesizes(&self) -> bool {
        let synthetic = |stage| self.policy(stage).gradient == GradientSource::Synthetic;
        (0..self.stages()).any(synthetic)
    }

    /// Queues, staleness and memory of a stage.
    ///
    /// # Panics
    ///
    /// If `stage` is not below [`stages`](Schedule::stages).
    pub fn policy(&self, stage: usize) -> StagePolicy {
        let mut policy = self.method.policy(stage, self.micro_batches());
        if self.corrections().prediction.is_some() && policy.staleness > 0 {
            policy.forward_weights = ForwardWeights::Predicted;
        }
        if self.split {
            policy.split = policy.split.or(Some(0));
        }
        policy
    }

    /// The policies of all stages, from stage 0 up.
    pub fn policies(&self) -> Vec<StagePolicy> {
        (0..self.stages()).map(|stage| self.policy(stage)).collect()
    }

    /// For each stage, from stage 0 up, whether it runs its forward pass twice. A cut that balances stages by
    /// time needs this.
    ///
    /// ```
    /// use stagger_schedule::Schedule;
    ///
    /// let schedule = Schedule::parse("dsp", Some(3))?;
    /// assert_eq!(schedule.recomputes(), [true, true, false]);
    /// # Ok::<(), stagger_schedule::NotationError>(())
    /// ```
    pub fn recomputes(&self) -> Vec<bool> {
        self.policies()
            .iter()
            .map(StagePolicy::recomputes)
            .collect()
    }

    /// Whether a run by this schedule gives the numbers of a run by the other one: they differ at most in the lengths of queues
    /// (docs/algorithm.md, "Facts" 2), in whether backward passes are split, or in name.
    pub fn gives_the_numbers_of(&self, other: &Schedule) -> bool {
        let without_queues = |policy: StagePolicy| StagePolicy {
            forward_queue: 0,
            backward_queue: 0,
            split: None,
            ..policy
        };
        let numbers = |schedule: &Schedule| {
            let policies = schedule.policies().into_iter().map(without_queues);
            (
                policies.collect::<Vec<_>>(),
                schedule.micro_batches(),
                schedule.replicas().unwrap_or(1),
                schedule.synchronous_batches(),
                schedule.corrections(),
            )
        };
        numbers(self) == numbers(other)
    }

    /// What a stage does, action by action.
    ///
    /// # Panics
    ///
    /// If `stage` is not below [`stages`](Schedule::stages).
    pub fn program(&self, stage: usize, horizon: &Horizon) -> Box<dyn Program> {
        self.taken_apart(self.method.program(stage, self.micro_batches(), horizon))
    }

    /// The program with the backward passes split that shall be.
    fn taken_apart(&self, program: Box<dyn Program>) -> Box<dyn Program> {
        match self.split {
            true => Box::new(SplitProgram::new(program)),
            false => program,
        }
    }

    /// The same without the synchronous batches that the schedule may begin with.
    pub fn steady_program(&self, stage: usize, horizon: &Horizon) -> Box<dyn Program> {
        match self.method.synchronous_batches() {
            0 | usize::MAX => self.program(stage, horizon),
            _ => {
                let (method, micro_batches) = (&*self.method, self.micro_batches());
                self.taken_apart(delayed_program(method, stage, micro_batches, 0, horizon))
            }
        }
    }

    /// By how many batches the stages' forward passes are ahead of their updates at most: when the last stage comes to batch `b`, all
    /// stages have made version `b - lead`.
    pub fn lead(&self) -> usize {
        let staleness = self.policies().into_iter().map(|policy| policy.staleness);
        let filled = staleness.max().unwrap_or_default() + self.stages() + self.accumulated;
        let horizon = Horizon::of(4 * filled + 16);
        let ahead = |stage| {
            let mut version = 0;
            let program = self.steady_program(stage, &horizon);
            let leads = program.filter_map(move |action| match action {
                Action::Update { version: from } => {
                    version = from + 1;
                    None
                }
                Action::Forward { batch, .. } => Some(batch.saturating_sub(version)),
                _ => None,
            });
            leads.max().unwrap_or_default()
        };
        (0..self.stages()).map(ahead).max().unwrap_or_default()
    }
}

/// A schedule of a method that the notation need not know.
impl From<Arc<dyn Method>> for Schedule {
    fn from(method: Arc<dyn Method>) -> Self {
        Schedule {
            method,
            accumulated: 1,
            added: Corrections::default(),
            split: false,
        }
    }
}
