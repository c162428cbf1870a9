//! One stage at work: executes the actions of its program, one after the other.

mod evaluate;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;
use stagger_engine::Stage;
use stagger_schedule::{Action, Kept, StagePolicy};
use stagger_transport::{Content, Header, Lane, Link, LinkError, Message, StopSignal};

use crate::event::{Event, Waits};
use crate::fault::Fault;
use crate::feed::{Feeds, Inputs, Labels};
use crate::interrupt::Interrupt;
use crate::plan::Plan;

/// A stage's ends of the two hops beside it.
pub(crate) struct Ports<T> {
    pub below: Option<Box<dyn Link<T>>>,
    pub above: Option<Box<dyn Link<T>>>,
}

/// Whether a program goes on as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It does.
    Continue,
    /// The stream of batches ends before this one: shorten the program and drain.
    EndBefore(usize),
}

/// What is kept of a forward until its recompute.
struct KeptInput<T> {
    batch: usize,
    version: usize,
    input: T,
}

/// What is kept of the pass that built the graph until its backward.
struct KeptGraph<S: Stage> {
    batch: usize,
    /// Version at which the batch's forward ran.
    forward_version: usize,
    graph: S::Graph,
    /// On the last stage, the gradient of the loss.
    loss_grad: Option<S::Activation>,
}

pub(crate) struct Worker<S: Stage> {
    index: usize,
    policy: StagePolicy,
    stage: S,
    ports: Ports<S::Activation>,
    inputs: Option<Box<dyn Inputs>>,
    labels: Option<Box<dyn Labels>>,
    learning_rate: Arc<dyn Fn(usize) -> f64 + Send + Sync>,
    interrupt: Interrupt,
    stop: StopSignal,
    version: usize,
    kept_inputs: VecDeque<KeptInput<S::Activation>>,
    kept_graphs: VecDeque<KeptGraph<S>>,
    events: Sender<Event>,
    clock: Instant,
    /// Time spent waiting within the current action.
    waits: Waits,
    /// Time spent bringing inputs to the device within the current action.
    transfer: Duration,
    /// Counted staleness of the current action, when it is a backward.
    staleness: Option<usize>,
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
    /// Start of the run.
    pub clock: Instant,
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
    /// The worker of a built stage in its seat.
    pub fn new(plan: &Plan, stage: S, seat: Seat<S::Activation>) -> Self {
        let Seat {
            index,
            ports,
            feed,
            interrupt,
            stop,
            events,
            clock,
        } = seat;
        Self {
            index,
            policy: plan.schedule.policy(index),
            stage,
            ports,
            inputs: feed.0,
            labels: feed.1,
            learning_rate: Arc::clone(&plan.learning_rate),
            interrupt,
            stop,
            version: 0,
            kept_inputs: VecDeque::new(),
            kept_graphs: VecDeque::new(),
            events,
            clock,
            waits: Waits::default(),
            transfer: Duration::ZERO,
            staleness: None,
        }
    }

    /// Number of updates made.
    pub fn version(&self) -> usize {
        self.version
    }

    /// Executes one action and emits its events.
    pub fn execute(&mut self, action: Action) -> Result<Flow, Fault> {
        self.check_stop()?;
        let started_at = self.clock.elapsed();
        self.waits = Waits::default();
        self.transfer = Duration::ZERO;
        self.staleness = None;
        let flow = match action {
            Action::Forward { batch, .. } => self.forward(batch)?,
            Action::Recompute { batch, .. } => self.recompute(batch)?,
            Action::Backward { batch, .. } => self.backward(batch)?,
            // No schedule has synthesizers yet.
            Action::Learn { .. } => Flow::Continue,
            Action::Update { version } => self.update(version)?,
            Action::Evaluate { version } => self.evaluate(version)?,
            Action::Snapshot { version } => self.snapshot(version)?,
        };
        if flow == Flow::Continue {
            self.emit(Event::Acted {
                stage: self.index,
                action,
                started_at,
                ended_at: self.clock.elapsed(),
                waits: self.waits,
                transfer: self.transfer,
                staleness: self.staleness,
            });
        }
        Ok(flow)
    }

    /// Emits what the stage has measured of its kernels, if it has.
    pub fn report_profile(&mut self) {
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

    fn forward(&mut self, batch: usize) -> Result<Flow, Fault> {
        let Some(input) = self.take_input(batch)? else {
            self.send_up(Lane::Activation, batch, Content::End)?;
            return Ok(Flow::EndBefore(batch));
        };
        match self.policy.kept {
            Kept::Graph => {
                let output = self.build_graph(batch, self.version, &input)?;
                self.send_up(Lane::Activation, batch, Content::Payload(output))?;
            }
            Kept::Input => {
                // Nobody reads the last stage's output before its recompute.
                if self.ports.above.is_some() {
                    let output = self.stage.forward(&input, batch)?;
                    self.send_up(Lane::Activation, batch, Content::Payload(output))?;
                }
                self.kept_inputs.push_back(KeptInput {
                    batch,
                    version: self.version,
                    input,
                });
            }
        }
        Ok(Flow::Continue)
    }

    fn recompute(&mut self, batch: usize) -> Result<Flow, Fault> {
        let kept = self
            .kept_inputs
            .pop_front()
            .filter(|kept| kept.batch == batch);
        let kept = kept.ok_or(Fault::Program {
            what: "a recompute without a kept input",
        })?;
        if self.labels.is_some() {
            // The loss is taken from the output.
            self.build_graph(batch, kept.version, &kept.input)?;
        } else {
            let graph = self.stage.recompute(&kept.input, batch)?;
            self.kept_graphs.push_back(KeptGraph {
                batch,
                forward_version: kept.version,
                graph,
                loss_grad: None,
            });
        }
        Ok(Flow::Continue)
    }

    /// Runs the pass that builds the graph, with the loss on top of it on the last stage.
    fn build_graph(
        &mut self,
        batch: usize,
        forward_version: usize,
        input: &S::Activation,
    ) -> Result<S::Activation, Fault> {
        let (output, graph) = self.stage.record(input, batch)?;
        let loss_grad = match self.labels.as_mut() {
            None => None,
            Some(labels) => {
                let labels = labels.train(batch).map_err(Fault::Feed)?;
                let loss = self.stage.loss(&output, &labels)?;
                if !loss.value.is_finite() {
                    return Err(Fault::NonFiniteLoss { value: loss.value });
                }
                self.emit(Event::Trained {
                    batch,
                    samples: labels.len(),
                    loss: loss.value,
                    correct_top1: loss.correct_top1,
                    correct_top5: loss.correct_top5,
                    learning_rate: (self.learning_rate)(batch),
                    at: self.clock.elapsed(),
                });
                Some(loss.grad)
            }
        };
        self.kept_graphs.push_back(KeptGraph {
            batch,
            forward_version,
            graph,
            loss_grad,
        });
        Ok(output)
    }

    fn backward(&mut self, batch: usize) -> Result<Flow, Fault> {
        let kept = self
            .kept_graphs
            .pop_front()
            .filter(|kept| kept.batch == batch);
        let kept = kept.ok_or(Fault::Program {
            what: "a backward without a graph",
        })?;
        self.staleness = Some(self.version - kept.forward_version);
        let output_grad = match kept.loss_grad {
            Some(grad) => grad,
            None => self.receive_grad(batch)?,
        };
        let input_grad = self.stage.backward(kept.graph, output_grad)?;
        if let (Some(grad), Some(below)) = (input_grad, self.ports.below.as_mut()) {
            let header = header(Lane::Gradient, batch, self.version, self.clock);
            let message = Message {
                header,
                content: Content::Payload(grad),
            };
            timed(&mut self.waits.send, || below.send(message))?;
        }
        Ok(Flow::Continue)
    }

    fn update(&mut self, version: usize) -> Result<Flow, Fault> {
        if version != self.version {
            return Err(Fault::Program {
                what: "an update out of turn",
            });
        }
        self.stage.update((self.learning_rate)(version))?;
        self.version += 1;
        Ok(Flow::Continue)
    }

    fn snapshot(&mut self, version: usize) -> Result<Flow, Fault> {
        let state = self.stage.export()?;
        self.emit(Event::Snapshot {
            stage: self.index,
            version,
            state,
        });
        Ok(Flow::Continue)
    }

    /// The input of a training batch; `None` when the stream ends before it.
    fn take_input(&mut self, batch: usize) -> Result<Option<S::Activation>, Fault> {
        match (self.ports.below.as_mut(), self.inputs.as_mut()) {
            (Some(below), _) => {
                let message = timed(&mut self.waits.receive, || below.receive(Lane::Activation))?;
                expect_batch(&message, batch)?;
                Ok(match message.content {
                    Content::Payload(input) => Some(input),
                    Content::End => None,
                })
            }
            (None, Some(_)) if self.interrupt.is_requested() => {
                self.emit(Event::Interrupted { batch });
                Ok(None)
            }
            (None, Some(inputs)) => {
                let host = timed(&mut self.waits.loader, || inputs.train(batch));
                let host = host.map_err(Fault::Feed)?;
                Ok(Some(timed(&mut self.transfer, || self.stage.upload(host))?))
            }
            (None, None) => Err(Fault::Program {
                what: "a first stage without inputs",
            }),
        }
    }

    fn receive_grad(&mut self, batch: usize) -> Result<S::Activation, Fault> {
        let above = self.ports.above.as_mut();
        let above = above.ok_or(Fault::Program {
            what: "a last stage without labels",
        })?;
        let message = timed(&mut self.waits.receive, || above.receive(Lane::Gradient))?;
        expect_batch(&message, batch)?;
        match message.content {
            Content::Payload(grad) => Ok(grad),
            Content::End => Err(Fault::Program {
                what: "a gradient stream that ends early",
            }),
        }
    }

    /// Sends to the stage above; the last stage has none and keeps quiet.
    fn send_up(
        &mut self,
        lane: Lane,
        batch: usize,
        content: Content<S::Activation>,
    ) -> Result<(), Fault> {
        if let Some(above) = self.ports.above.as_mut() {
            let header = header(lane, batch, self.version, self.clock);
            timed(&mut self.waits.send, || {
                above.send(Message { header, content })
            })?;
        }
        Ok(())
    }

    fn emit(&self, event: Event) {
        // Nobody listens any more only when the run is being torn down.
        let _ = self.events.send(event);
    }
}

fn header(lane: Lane, batch: usize, version: usize, clock: Instant) -> Header {
    Header {
        lane,
        batch,
        version,
        sent_at: clock.elapsed(),
    }
}

fn expect_batch<T>(message: &Message<T>, expected: usize) -> Result<(), Fault> {
    let Header {
        lane, batch: found, ..
    } = message.header;
    if found == expected {
        Ok(())
    } else {
        Err(Fault::OutOfOrder {
            lane,
            expected,
            found,
        })
    }
}

/// Adds the time of `work` to `account`.
fn timed<R>(account: &mut Duration, work: impl FnOnce() -> R) -> R {
    let start = Instant::now();
    let result = work();
    *account += start.elapsed();
    result
}
