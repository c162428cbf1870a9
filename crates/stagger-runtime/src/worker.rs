//! One stage at work: executes the actions of its program, one after the other.

mod evaluate;
mod hops;
mod micro_batch;
mod passes;
mod resume;
mod synthesis;
mod versions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use stagger_engine::Stage;
use stagger_schedule::{Action, GradientSource, Rescheduling, Shrinking, StagePolicy};
use stagger_transport::sync::mpsc::Sender;
use stagger_transport::{Link, LinkError, Mark, StopSignal};

use crate::board::{Board, WaitsFor};
use crate::event::{Event, Waits};
use crate::fault::Fault;
use crate::feed::{Feeds, Inputs, Labels};
use crate::interrupt::Interrupt;
use crate::plan::{OnNonFinite, Plan};
use crate::snapshot::StageSnapshot;
use crate::straggler::Disturbance;
use hops::{Announcements, InFlight, SentLog};
use micro_batch::{BatchScore, SplitInputs, SplitLabels, Unit};
use passes::{KeptGraph, KeptInput};
use synthesis::Synthesis;
use versions::Versions;

/// A stage's ends of the two hops beside it.
pub(crate) struct Ports<T> {
    pub below: Option<Box<dyn Link<T>>>,
    pub above: Option<Box<dyn Link<T>>>,
}

pub(crate) struct Worker<S: Stage> {
    index: usize,
    policy: StagePolicy,
    /// Micro-batches of a batch, M.
    micro_batches: usize,
    stage: S,
    ports: Ports<S::Activation>,
    inputs: Option<SplitInputs>,
    labels: Option<SplitLabels>,
    learning_rate: Arc<dyn Fn(usize) -> f64 + Send + Sync>,
    /// What the stage takes of the common learning rate: 1 unless its momentum is its own.
    rate_share: f64,
    rescheduling: Option<Rescheduling>,
    shrinking: Option<Shrinking>,
    versions: Versions<S>,
    synthesis: Option<Synthesis<S>>,
    disturbance: Disturbance,
    interrupt: Interrupt,
    stop: StopSignal,
    version: usize,
    kept_inputs: VecDeque<KeptInput<S>>,
    kept_graphs: VecDeque<KeptGraph<S>>,
    sent_up: SentLog<S::Activation>,
    sent_down: SentLog<S::Activation>,
    /// Inputs that were in flight where the run was resumed.
    arrived: VecDeque<InFlight<S::Activation>>,
    /// Gradients that were.
    returned: VecDeque<InFlight<S::Activation>>,
    announcements: Announcements,
    on_non_finite: OnNonFinite,
    /// Batches in a row whose loss is not finite.
    skipped_in_a_row: usize,
    /// Whether the update of the batch in work is left out.
    void: bool,
    /// The running statistics before the passes of the batch in work, where its update may be left out.
    statistics_before: Option<S::Statistics>,
    /// What stage 0 has announced with the current action's input.
    mark: Option<Mark>,
    /// Whether the run is to halt at a version ahead.
    halts: bool,
    /// Of the batch whose micro-batches the last stage is judging.
    score: BatchScore,
    events: Sender<Event>,
    board: Arc<Board>,
    clock: Instant,
    /// Time spent waiting within the current action.
    waits: Waits,
    /// Time spent bringing inputs to the device within the current action.
    transfer: Duration,
    /// Time slept as a straggler within the current action.
    delayed: Duration,
    /// Counted staleness of the current action, when it is a backward.
    staleness: Option<usize>,
    /// Measured gap of the current action, when it is a backward and was sampled.
    gap: Option<f64>,
}

/// Inputs on stage 0, labels on stage K−1.
pub(crate) type Feed = (Option<Box<dyn Inputs>>, Option<Box<dyn Labels>>);

/// Everything around a stage that is not the stage.
pub(crate) struct Seat<T> {
    pub index: usize,
    pub ports: Ports<T>,
    pub feed: Feed,
    pub interrupt: Interrupt,
    pub stop: StopSignal,
    pub events: Sender<Event>,
    pub board: Arc<Board>,
}

/// Gives stage 0 the inputs and stage K−1 the labels.
pub(crate) fn deal_feeds(feeds: Feeds, stages: usize) -> Vec<Feed> {
    let mut dealt: Vec<_> = (0..stages).map(|_| (None, None)).collect();
    if let Some(first) = dealt.first_mut() {
        first.0 = Some(feeds.inputs);
    }
    if let Some(last) = dealt.last_mut() {
        last.1 = Some(feeds.labels);
    }
    dealt
}

impl<S: Stage> Worker<S> {
    /// The worker of a built stage in its seat, where the plan starts or goes on.
    ///
    /// # Errors
    /// When the stage cannot do what the schedule asks of it beyond its program, or cannot go on from the plan's snapshot.
    pub fn new(plan: &Plan, mut stage: S, seat: Seat<S::Activation>) -> Result<Self, Fault> {
        let Seat {
            index,
            ports,
            feed,
            interrupt,
            stop,
            events,
            board,
        } = seat;
        let policy = plan.schedule.policy(index);
        let corrections = plan.schedule.corrections();
        let micro_batches = plan.schedule.micro_batches();
        let versions = Versions::new(plan, index);
        if let Some(keep) = versions.drift(policy.staleness) {
            stage.track_drift(keep);
        }
        let synthesis = (policy.gradient == GradientSource::Synthetic && ports.above.is_some())
            .then(|| Synthesis::of(&stage))
            .transpose()?;
        let below = index
            .checked_sub(1)
            .map(|below| plan.schedule.policy(below));
        let learns_below = below.is_some_and(|below| below.gradient == GradientSource::Synthetic);
        if !plan.on_non_finite.suits(&plan.schedule) {
            return Err(Fault::Program {
                what: "leaving out batches where their passes cannot be taken back",
            });
        }
        let mut worker = Self {
            index,
            policy,
            micro_batches,
            stage,
            ports,
            inputs: feed.0.map(|whole| SplitInputs::new(whole, micro_batches)),
            labels: feed.1.map(|whole| SplitLabels::new(whole, micro_batches)),
            learning_rate: Arc::clone(&plan.learning_rate),
            rate_share: plan
                .schedule
                .momentum(index, plan.momentum)
                .map_or(1.0, |own| (1.0 - own) / (1.0 - plan.momentum)),
            rescheduling: corrections.rescheduling,
            shrinking: corrections.shrinking,
            versions,
            synthesis,
            disturbance: Disturbance::new(&plan.stragglers, plan.seed, index),
            interrupt,
            stop,
            version: 0,
            kept_inputs: VecDeque::new(),
            kept_graphs: VecDeque::new(),
            sent_up: SentLog::new(policy.in_flight),
            sent_down: SentLog::new(if learns_below { micro_batches } else { 0 }),
            arrived: VecDeque::new(),
            returned: VecDeque::new(),
            announcements: Announcements::new(plan),
            on_non_finite: plan.on_non_finite,
            skipped_in_a_row: 0,
            void: false,
            statistics_before: None,
            mark: None,
            halts: false,
            score: BatchScore::default(),
            events,
            board,
            clock: Instant::now(),
            waits: Waits::default(),
            transfer: Duration::ZERO,
            delayed: Duration::ZERO,
            staleness: None,
            gap: None,
        };
        if let Some(snapshot) = &plan.resume {
            worker.resume(plan, snapshot)?;
        }
        Ok(worker)
    }

    /// Sets the common start of the run, from which events count.
    pub fn start_clock(&mut self, clock: Instant) {
        self.clock = clock;
    }

    /// Number of updates made.
    pub fn version(&self) -> usize {
        self.version
    }

    /// Executes one action and emits its events. Gives what stage 0 has announced with it.
    pub fn execute(&mut self, action: Action) -> Result<Option<Mark>, Fault> {
        self.check_stop()?;
        let started_at = self.clock.elapsed();
        self.waits = Waits::default();
        self.transfer = Duration::ZERO;
        self.delayed = Duration::ZERO;
        self.staleness = None;
        self.gap = None;
        self.mark = None;
        self.board.begins(self.index, action);
        match action {
            Action::Forward { batch, micro } => self.forward(Unit { batch, micro })?,
            Action::Recompute { batch, micro } => self.recompute(Unit { batch, micro })?,
            Action::Backward { batch, micro } => self.backward(Unit { batch, micro })?,
            Action::Learn { batch, micro } => self.learn(Unit { batch, micro })?,
            Action::Update { version } => self.update(version)?,
            Action::Evaluate { version } => self.evaluate(version)?,
            Action::Snapshot { version } => self.snapshot(version)?,
        }
        self.board.completes(self.index, action);
        self.halts |= self.mark.is_some_and(|mark| mark.halts);
        self.emit(Event::Acted {
            stage: self.index,
            action,
            started_at,
            ended_at: self.clock.elapsed(),
            waits: self.waits,
            transfer: self.transfer,
            delayed: self.delayed,
            staleness: self.staleness,
            gap: self.gap,
        });
        Ok(self.mark)
    }

    /// Says that the program is over, and emits what the stage has measured of its kernels, if it has.
    pub fn end(&mut self) {
        self.board.ends(self.index);
        if let Some(profile) = self.stage.profile() {
            self.emit(Event::Profiled {
                stage: self.index,
                profile,
            });
        }
    }

    /// Links notice a stop only when they are used; a single stage has none.
    fn check_stop(&self) -> Result<(), Fault> {
        if self.stop.is_raised() {
            Err(LinkError::Stopped.into())
        } else {
            Ok(())
        }
    }

    fn update(&mut self, version: usize) -> Result<(), Fault> {
        if version != self.version {
            return Err(Fault::Program {
                what: "an update out of turn",
            });
        }
        let started = Instant::now();
        if std::mem::take(&mut self.void) {
            self.leave_out_step();
        } else {
            self.step(version)?;
            self.statistics_before = None;
        }
        self.straggle(version, started.elapsed())?;
        self.version += 1;
        Ok(())
    }

    fn snapshot(&mut self, version: usize) -> Result<(), Fault> {
        let snapshot = Arc::new(StageSnapshot {
            state: self.stage.export()?,
            pipeline: self.pipeline_state()?,
        });
        self.emit(Event::Snapshot {
            stage: self.index,
            version,
            snapshot,
        });
        Ok(())
    }

    fn emit(&self, event: Event) {
        // Nobody listens any more only when the run is being torn down.
        let _ = self.events.send(event);
    }
}

/// A stage's line on the board.
struct Line<'a> {
    board: &'a Board,
    stage: usize,
}

impl Line<'_> {
    /// Adds the time of a wait to `account`, and says meanwhile what is waited for.
    fn waits<R>(&self, waits_for: WaitsFor, account: &mut Duration, work: impl FnOnce() -> R) -> R {
        self.board.waits(self.stage, Some(waits_for));
        let result = timed(account, work);
        self.board.waits(self.stage, None);
        result
    }
}

/// Adds the time of `work` to `account`.
fn timed<R>(account: &mut Duration, work: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = work();
    *account += start.elapsed();
    result
}
