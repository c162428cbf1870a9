//! One stage at work: executes the actions of its program, one after the other.

mod announcements;
mod clipping;
mod evaluate;
mod hops;
mod kept;
mod micro_batch;
pub mod passes;
mod resume;
mod ring;
mod siblings;
mod synthesis;
mod times;
mod values;
mod versions;

use std::sync::Arc;
use std::time::{Duration, Instant};

use stagger_engine::{EngineError, Stage, StageState};
use stagger_schedule::{Action, GradientSource, StagePolicy};
use stagger_transport::sync::mpsc::Sender;
use stagger_transport::{LinkError, Mark, StopSignal};

use crate::board::{Board, Line};
use crate::cargo::Cargo;
use crate::event::{Acted, Event};
use crate::fault::Fault;
use crate::feed::StageFeed;
use crate::host::Reported;
use crate::interrupt::Interrupt;
use crate::plan::{OnNonFinite, Plan};
use crate::ports::Ports;
use crate::snapshot::{PipelineState, StageSnapshot};
use crate::stage_optimizer::StageRate;
use crate::straggler::Disturbance;
use announcements::Announcements;
use clipping::Clipping;
use hops::Hops;
use kept::{BatchInWork, Kept};
use micro_batch::{BatchScore, SplitInputs, SplitLabels, Unit};
use ring::StageRing;
use siblings::Siblings;
use stagger_schedule::Place;
use synthesis::Synthesis;
use times::{Times, timed};
use versions::Versions;

pub(crate) struct Worker<S: Stage> {
    place: Place,
    policy: StagePolicy,
    /// Micro-batches of a batch, M.
    micro_batches: usize,
    stage: S,
    hops: Hops<S::Activation>,
    /// The other replicas of the stage, where there are any.
    siblings: Option<Siblings<S::Activation>>,
    /// How the gradient is clipped, where that is by the norm over all stages.
    clipping: Option<Clipping<Cargo<S::Activation>>>,
    inputs: Option<SplitInputs>,
    labels: Option<SplitLabels>,
    rate: StageRate,
    /// Factor of the gradient that goes down, where the schedule shrinks it.
    shrinking: Option<f64>,
    versions: Versions<S>,
    synthesis: Option<Synthesis<S>>,
    disturbance: Disturbance,
    /// Whether it emits the logits of evaluations.
    tells_logits: bool,
    /// Batches whose gradients it emits.
    gradients_at: Vec<usize>,
    /// Whether evaluations are also made by the running mean of the weights.
    has_average: bool,
    stop: StopSignal,
    version: usize,
    kept: Kept<S>,
    batch: BatchInWork<S>,
    announcements: Announcements,
    on_non_finite: OnNonFinite,
    /// Batches in a row whose loss is not finite.
    skipped_in_a_row: usize,
    /// Of the batch whose loss the last stage is computing.
    score: BatchScore,
    events: Sender<Reported>,
    /// The number of its place.
    number: usize,
    line: Line,
    clock: Instant,
}

/// What a worker needs besides its stage.
pub(crate) struct WorkerContext<T> {
    /// The number of the worker's place.
    pub number: usize,
    pub ports: Ports<Cargo<T>>,
    pub feed: StageFeed,
    pub interrupt: Interrupt,
    pub stop: StopSignal,
    pub events: Sender<Reported>,
    pub board: Arc<Board>,
}

/// What an action gives, besides its effect on the stage and its messages.
#[derive(Default)]
struct Done {
    /// What stage 0 has announced: with the input of a forward, or as another replica says with an update.
    mark: Option<Mark>,
    /// For a backward: see [`Acted::staleness`].
    staleness: Option<usize>,
    /// For a backward: see [`Acted::gap`].
    gap: Option<f64>,
}

impl<S: Stage> Worker<S> {
    /// The worker of a built stage, where the plan starts or resumes.
    ///
    /// # Errors
    /// When the stage cannot do what the schedule asks of it beyond its program, or cannot resume from the plan's snapshot.
    pub fn new(
        plan: &Plan,
        mut stage: S,
        context: WorkerContext<S::Activation>,
    ) -> Result<Self, Fault> {
        let WorkerContext {
            number,
            mut ports,
            feed,
            interrupt,
            stop,
            events,
            board,
        } = context;
        if !plan.on_non_finite.suits(&plan.schedule) {
            return Err(Fault::Program {
                what: "leaving out batches where their passes cannot be taken back",
            });
        }
        if plan.clip_norm.is_some() && !plan.schedule.is_synchronous() {
            return Err(Fault::Program {
                what: "clipping over all stages where they do not wait for each other",
            });
        }
        let place = plan.replicas.place(number);
        let index = place.stage;
        let signal = stop.clone();
        stage.watch_stop(Arc::new(move || signal.is_raised()));
        let policy = plan.schedule.policy(index);
        let micro_batches = plan.schedule.micro_batches();
        let versions = Versions::new(plan, index);
        if let Some(keep) = versions.drift(policy.staleness) {
            stage.track_drift(keep);
        }
        if let Some(keep) = plan.average {
            stage.track_average(keep);
        }
        let synthesis = (policy.gradient == GradientSource::Synthetic && !ports.above.is_empty())
            .then(|| Synthesis::of(&stage))
            .transpose()?;
        let below = index
            .checked_sub(1)
            .map(|below| plan.schedule.policy(below));
        let learns_below = below.is_some_and(|below| below.gradient == GradientSource::Synthetic);
        if plan.replicas.any() && plan.schedule.synthesizes() {
            return Err(Fault::Program {
                what: "synthesizers on a stage with replicas",
            });
        }
        let line = Line::new(&board, number);
        let siblings = match ports.ring.take() {
            None => None,
            Some(links) => {
                let ring = StageRing::new(links, place, line.clone());
                if plan.sync_batch_norm {
                    stage.normalize_across(Arc::new(ring.clone()))?;
                }
                Some(Siblings::new(ring, place, plan.sync_batch_norm))
            }
        };
        let clipping = Clipping::of(plan, ports.chain.take());
        let sent_down = if learns_below { micro_batches } else { 0 };
        let mut hops = Hops::new(ports, line.clone(), (policy.in_flight, sent_down));
        if !place.is_first() {
            // It hears of a halt with the update before it, when its neighbours may have ended already.
            hops.expect_halt();
        }
        let mut worker = Self {
            place,
            number,
            policy,
            micro_batches,
            stage,
            hops,
            siblings,
            clipping,
            inputs: feed
                .inputs
                .map(|whole| SplitInputs::new(whole, micro_batches, place)),
            labels: feed
                .labels
                .map(|whole| SplitLabels::new(whole, micro_batches, place)),
            rate: StageRate::new(plan, index),
            shrinking: plan
                .schedule
                .corrections()
                .shrinking
                .map(|shrinking| shrinking.beta),
            versions,
            synthesis,
            tells_logits: plan.logits,
            gradients_at: plan.gradients_at.clone(),
            has_average: plan.average.is_some(),
            disturbance: Disturbance::new(&plan.stragglers, plan.seed, index),
            stop,
            version: 0,
            kept: Kept::default(),
            batch: BatchInWork::default(),
            announcements: Announcements::new(plan, interrupt),
            on_non_finite: plan.on_non_finite,
            skipped_in_a_row: 0,
            score: BatchScore::default(),
            events,
            line,
            clock: Instant::now(),
        };
        if let Some(snapshot) = &plan.resume {
            worker.resume(plan, snapshot)?;
        }
        Ok(worker)
    }

    /// Sets the common start of the run, from which events count.
    pub fn start_clock(&mut self, clock: Instant) {
        self.clock = clock;
        if let Some(siblings) = &self.siblings {
            siblings.ring.start_clock(clock);
        }
    }

    /// Number of updates made.
    pub fn version(&self) -> usize {
        self.version
    }

    /// Executes one action and emits its events. Gives what stage 0 has announced, where it becomes known with it.
    pub fn execute(&mut self, action: Action) -> Result<Option<Mark>, Fault> {
        self.check_stop()?;
        let started_at = self.clock.elapsed();
        self.line.begins(action);
        let mut times = Times::default();
        let done = self.perform(action, &mut times)?;
        self.line.completes(action);
        if done.mark.is_some_and(|mark| mark.halts) {
            self.hops.expect_halt();
        }
        self.emit(Event::Acted(Acted {
            stage: self.place.stage,
            action,
            started_at,
            ended_at: self.clock.elapsed(),
            waits: times.waits,
            transfer: times.transfer,
            delayed: times.delayed,
            staleness: done.staleness,
            gap: done.gap,
        }));
        Ok(done.mark)
    }

    fn perform(&mut self, action: Action, times: &mut Times) -> Result<Done, Fault> {
        match action {
            Action::Forward { batch, micro } => return self.forward(Unit { batch, micro }, times),
            Action::Backward { batch, micro } => {
                return self.backward(Unit { batch, micro }, times);
            }
            Action::WeightGradients { batch, micro } => {
                self.complete(Unit { batch, micro }, times)?;
            }
            Action::Recompute { batch, micro } => self.recompute(Unit { batch, micro }, times)?,
            Action::Learn { batch, micro } => self.learn(Unit { batch, micro }, times)?,
            Action::Update { version } => return self.update(version, times),
            Action::Evaluate { version } => self.evaluate(version, times)?,
            Action::Snapshot { version } => self.snapshot(version, times)?,
        }
        Ok(Done::default())
    }

    /// Says that the program is over, and emits what the stage has measured of its kernels, if it has.
    pub fn end(&mut self) {
        self.line.ends();
        if let Some(profile) = self.stage.profile() {
            self.emit(Event::Profiled {
                stage: self.place.stage,
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

    fn update(&mut self, version: usize, times: &mut Times) -> Result<Done, Fault> {
        if version != self.version {
            return Err(Fault::Program {
                what: "an update out of turn",
            });
        }
        if !self.kept.halves.is_empty() {
            return Err(Fault::Program {
                what: "an update without all gradients of weights",
            });
        }
        let mut batch = std::mem::take(&mut self.batch);
        let mark = self.unite(version, &mut batch, times)?;
        if !batch.is_void {
            self.tell_gradients(version)?;
        }
        self.clip(version, batch.is_void, times)?;
        let started = Instant::now();
        if batch.is_void {
            self.skip_step(batch.statistics_before);
        } else {
            self.step(version, batch.largest_gap)?;
        }
        self.straggle(version, started.elapsed(), times)?;
        self.is_at(version + 1);
        Ok(Done {
            mark,
            ..Done::default()
        })
    }

    /// Emits the gradients of a batch, where they are asked for, before they are clipped. Replicas have the same.
    fn tell_gradients(&mut self, batch: usize) -> Result<(), Fault> {
        if self.gradients_at.binary_search(&batch).is_ok() && self.place.is_first() {
            let names = self.stage.parameter_names();
            let gradients = names.into_iter().zip(self.stage.export_gradients()?);
            self.emit(Event::Gradients {
                stage: self.place.stage,
                batch,
                gradients: gradients.collect(),
            });
        }
        Ok(())
    }

    /// Puts the stage at a version.
    fn is_at(&mut self, version: usize) {
        self.version = version;
        if let Some(siblings) = &self.siblings {
            siblings.ring.is_at(version);
        }
    }

    fn snapshot(&mut self, version: usize, times: &mut Times) -> Result<(), Fault> {
        // Other replicas have the same parameters and the same optimizer state.
        let export = |worker: &mut Self, _: &mut Times| match worker.place.is_first() {
            true => Ok(worker.stage.export()?),
            false => Ok(StageState::default()),
        };
        let (state, statistics) = self.at_mean_statistics(version, times, export)?;
        let snapshot = Arc::new(StageSnapshot {
            state,
            pipeline: PipelineState {
                statistics,
                ..self.pipeline_state()?
            },
            replicas: Vec::new(),
        });
        self.emit(Event::Snapshot {
            stage: self.place.stage,
            version,
            snapshot,
        });
        Ok(())
    }

    /// Runs a computation, and sleeps after it where the stage straggles with this batch.
    fn compute<R>(
        &mut self,
        unit: Unit,
        times: &mut Times,
        work: impl FnOnce(&mut S) -> Result<R, EngineError>,
    ) -> Result<R, Fault> {
        let started = Instant::now();
        let (result, waited) = self.pass(times, work)?;
        let computed = started.elapsed().saturating_sub(waited);
        self.straggle(unit.batch, computed, times)?;
        Ok(result)
    }

    /// Sleeps as a straggler does after `computed` of work.
    fn straggle(
        &mut self,
        batch: usize,
        computed: Duration,
        times: &mut Times,
    ) -> Result<(), Fault> {
        let delay = self.disturbance.delay(batch, computed);
        let due = self.disturbance.due(delay);
        if due.is_zero() {
            return Ok(());
        }
        let started = Instant::now();
        if self.stop.sleep(due) {
            return Err(LinkError::Stopped.into());
        }
        let slept = started.elapsed();
        self.disturbance.has_slept(due, slept);
        times.delayed += slept.min(delay);
        Ok(())
    }

    /// Brings what a link has carried to the stage, if it is not there.
    fn land(&self, cargo: Cargo<S::Activation>, times: &mut Times) -> Result<S::Activation, Fault> {
        match cargo {
            Cargo::Device(tensor) => {
                timed(&mut times.transfer, || self.stage.take_over(tensor)).map_err(Fault::from)
            }
            Cargo::Host(host) => {
                timed(&mut times.transfer, || self.stage.upload(host)).map_err(Fault::from)
            }
        }
    }

    /// The number that dropout is keyed by: that of the replica's share over the whole run.
    fn pass_of(&self, unit: Unit) -> usize {
        unit.number(self.micro_batches) * self.place.of + self.place.replica
    }

    fn emit(&self, event: Event) {
        // The receiver has gone only when the run is being torn down.
        let place = self.number;
        let _ = self.events.send(Reported { place, event });
    }
}
