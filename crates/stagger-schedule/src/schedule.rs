//! A method on a number of stages.

use std::fmt;
use std::sync::Arc;

use crate::method::delayed_program;
use crate::notation::{self, Fault};
use crate::{
    Corrections, ForwardWeights, GradientSource, Horizon, Method, NotationError, NotationProblem,
    Program, StagePolicy,
};
use crate::{methods, mitigations};

/// The largest number of stages.
pub const MAX_STAGES: usize = 64;

/// The largest staleness and queue length, in batches.
pub const MAX_STALENESS: usize = 1000;

/// The largest number of micro-batches per update.
pub const MAX_MICRO_BATCHES: usize = 1024;

/// A method on K stages, with what the notation adds to it: for every stage a program and a
/// policy.
///
/// [`Display`](fmt::Display) prints the canonical notation. Cloning is cheap.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub(crate) method: Arc<dyn Method>,
    /// Batches of the method in a batch of the schedule, at least 1.
    pub(crate) accumulated: usize,
    /// Corrections beside the method's own.
    pub(crate) added: Corrections,
}

impl Schedule {
    /// Reads a schedule from its notation, for `stages` stages if that number is known.
    ///
    /// The notation is the name of a method, with arguments in parentheses where it has any:
    ///
    /// | notation | meaning |
    /// | --- | --- |
    /// | `bp` | backpropagation, one stage at a time |
    /// | `gpipe(4)`, `1f1b(4)` | a batch travels in 4 micro-batches, with a flush after each batch |
    /// | `pipedream`, `ddg` | stale by K−1−k, with stashed weights |
    /// | `2bw(4)` | PipeDream-2BW: an update every 4 micro-batches, two weight buffers |
    /// | `pipemare(anneal=2000, decay=0.5, sync=0)` | stale by K−1−k, with PipeMare's T1, T2, T3 |
    /// | `fr` | Features Replay: stale by K−1−k, with recompute |
    /// | `fdg(beta=0.9)` | stale by 2(K−1−k), with stashed weights and shrunk gradients |
    /// | `adl(4, beta=0.9)` | the same with an update every 4 micro-batches |
    /// | `dni` | decoupled by synthetic gradients |
    /// | `dsp(1,1,0;4,2,0)` | DSP with queue lengths `c` and staleness `m` of every stage |
    /// | `dsp(m=4,2,0)` | the same `m`; both queues have room for all that is in flight |
    /// | `dsp` | the smallest lock-free DSP: `c = 1` and two units of `m` per hop |
    ///
    /// Mitigations of staleness follow behind plus signs, in any order:
    ///
    /// | notation | meaning |
    /// | --- | --- |
    /// | `+ accumulate(4)` | an update sees 4 batches; each travels alone |
    /// | `+ predict`, `+ predict(geometric)` | forward at predicted weights: [`Prediction`] |
    /// | `+ shrink(0.9)` | smaller gradients below: [`Shrinking`] |
    /// | `+ reschedule(2000)` | smaller learning rates at first: [`Rescheduling`] |
    /// | `+ gap-aware` | smaller gradients the further weights have moved: [`Damping`] |
    /// | `+ look-ahead`, `+ look-ahead(0.95)` | momentum that rises with staleness: [`LookAhead`] |
    ///
    /// Letter case and white space do not matter.
    ///
    /// [`Prediction`]: crate::Prediction
    /// [`Shrinking`]: crate::Shrinking
    /// [`Rescheduling`]: crate::Rescheduling
    /// [`Damping`]: crate::Damping
    /// [`LookAhead`]: crate::LookAhead
    ///
    /// ```
    /// use stagger_schedule::Schedule;
    ///
    /// let schedule = Schedule::parse("DSP", Some(3))?;
    /// assert_eq!(schedule.to_string(), "dsp(1,1,0;4,2,0)");
    ///
    /// let error = Schedule::parse("dsp(1,1,0;4,2)", None).unwrap_err();
    /// assert_eq!(error.column(), 11);
    /// # Ok::<(), stagger_schedule::NotationError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// If the text is not a schedule, describes an impossible one, does not fit `stages`, or needs
    /// `stages` and does not get it. The error names the column and shows a right example.
    pub fn parse(text: &str, stages: Option<usize>) -> Result<Self, NotationError> {
        let example = methods::default_example(stages);
        let (call, added) = notation::read(text).map_err(|fault| fault.in_text(text, &example))?;
        let entry = methods::find(&call.name).map_err(|fault| fault.in_text(text, &example))?;
        let example = (entry.example)(stages);
        let mut schedule = check_stages(stages)
            .and_then(|()| (entry.build)(&call.arguments, stages))
            .map(Schedule::from)
            .map_err(|fault| fault.in_text(text, &example))?;
        for call in &added {
            mitigations::add(call, &mut schedule).map_err(|fault| fault.in_text(text, &example))?;
        }
        Ok(schedule)
    }

    /// One right notation of every method, for `stages` stages if that number is known.
    pub fn examples(stages: Option<usize>) -> Vec<String> {
        methods::examples(stages)
    }

    /// The number of stages, K ≥ 1.
    pub fn stages(&self) -> usize {
        self.method.stages()
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

    /// During so many first batches no stage runs ahead of the batch it pulls back, so nothing is
    /// stale and nothing in flight at a version; `usize::MAX` if that is so in the whole run.
    pub fn synchronous_batches(&self) -> usize {
        self.method.synchronous_batches()
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

    /// Whether a run by this schedule gives the numbers of a run by the other one: they differ in the lengths of queues at
    /// most (DESIGN §2, fact 2), or in name.
    pub fn gives_the_numbers_of(&self, other: &Schedule) -> bool {
        let without_queues = |policy: StagePolicy| StagePolicy {
            forward_queue: 0,
            backward_queue: 0,
            ..policy
        };
        let numbers = |schedule: &Schedule| {
            let policies = schedule.policies().into_iter().map(without_queues);
            (
                policies.collect::<Vec<_>>(),
                schedule.micro_batches(),
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
        self.method.program(stage, self.micro_batches(), horizon)
    }

    /// The same without the synchronous batches that the schedule may begin with.
    pub(crate) fn steady_program(&self, stage: usize, horizon: &Horizon) -> Box<dyn Program> {
        match self.method.synchronous_batches() {
            0 | usize::MAX => self.program(stage, horizon),
            _ => delayed_program(&*self.method, stage, self.micro_batches(), 0, horizon),
        }
    }
}

/// A schedule of a method that the notation need not know.
impl From<Arc<dyn Method>> for Schedule {
    fn from(method: Arc<dyn Method>) -> Self {
        Schedule {
            method,
            accumulated: 1,
            added: Corrections::default(),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = mitigations::notation(self.accumulated, &self.added);
        f.pad(&(self.method.notation() + &added))
    }
}

/// The number of stages comes from beside the notation, so a wrong one is reported at its start.
fn check_stages(stages: Option<usize>) -> Result<(), Fault> {
    match stages {
        Some(found) if !(1..=MAX_STAGES).contains(&found) => {
            Err(Fault::at(1, NotationProblem::StageCount { found }))
        }
        _ => Ok(()),
    }
}
