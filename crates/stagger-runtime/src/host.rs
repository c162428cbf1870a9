//! What one process of a run does: it hosts stages and replicas of stages, a thread each, and hears of the others' through its
//! [`Peers`].

mod failure;
mod merge;
mod peers;
mod runner;
mod watch;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use stagger_engine::{EngineError, Optimizer, Stage};
use stagger_transport::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use stagger_transport::sync::{KeptOpen, spawn_named, thread};
use stagger_transport::{Transport, stop_channel};

use crate::board::Board;
use crate::cargo::Cargo;
use crate::event::Event;
use crate::fault::{EventError, RunError};
use crate::feed::Feeds;
use crate::interrupt::Interrupt;
use crate::plan::{Outcome, Plan};
use crate::ports::connect;
use failure::StopOnDrop;
use merge::Merge;
use runner::Runner;
use stagger_schedule::Place;
use watch::{Heard, Watch};

pub(crate) use failure::Failure;
pub(crate) use peers::{Alone, End, Peers, Reported, Reports};

/// A process and its stages.
pub(crate) struct Host<'a, P> {
    pub plan: &'a Plan,
    /// The places of this process.
    pub places: Range<usize>,
    pub interrupt: &'a Interrupt,
    pub peers: &'a P,
}

impl<P: Peers> Host<'_, P> {
    /// Runs the stages to the end of their programs, to an interrupt, or to the first failure.
    pub fn run<S, B>(
        &self,
        transport: &impl Transport<Cargo<S::Activation>>,
        build: B,
        feeds: Feeds,
        mut on_event: impl FnMut(Event) -> Result<(), EventError>,
    ) -> Result<Outcome, RunError>
    where
        S: Stage,
        B: Fn(Place, Optimizer) -> Result<S, EngineError> + Sync,
    {
        let plan = self.plan;
        let stages = plan.schedule.stages();
        let (stop_source, stop) = stop_channel();
        let failure = Arc::new(Failure::new(stop_source));
        let board = Arc::new(Board::new(&plan.replicas));
        let (events_in, events_out) = channel();
        let (ready_in, ready_out) = sync_channel(plan.replicas.places());
        self.peers.listen(Reports {
            events: events_in.clone(),
            ready: ready_in.clone(),
            failure: Arc::clone(&failure),
            board: Arc::clone(&board),
        });
        let report = |error: RunError| {
            failure.keep(error, |error| self.peers.failed(error));
            failure.stop();
        };
        let (replicas, places) = (&plan.replicas, self.places.clone());
        let ports = connect(plan, places.clone(), transport, &stop);
        let ports = ports.unwrap_or_else(|error| {
            report(error);
            Vec::new()
        });
        let feeds = feeds.split(replicas, places.clone());

        let (clock, own_ends) = thread::scope(|scope| {
            // Should `on_event` panic, the scope joins the stages before it passes the panic on.
            let _release = StopOnDrop(&failure, self.peers);
            let open = KeptOpen::of(scope);
            let mut threads = Vec::with_capacity(places.len());
            let mut starts = Vec::with_capacity(places.len());
            for (number, (ports, feed)) in places.zip(ports.into_iter().zip(feeds)) {
                let place = replicas.place(number);
                // With room: the main thread never waits for a stage that has failed.
                let (start_in, start_out) = sync_channel(1);
                starts.push(start_in);
                let runner = Runner {
                    plan,
                    number,
                    seen: match self.peers.hears() {
                        true => 0..replicas.places(),
                        false => self.places.clone(),
                    },
                    interrupt: self.interrupt.clone(),
                    stop: stop.clone(),
                    events: events_in.clone(),
                    board: Arc::clone(&board),
                    ready: ready_in.clone(),
                    start: start_out,
                    report: &report,
                };
                let build = &build;
                let work = move || runner.run(build, ports, feed);
                let name = match place.of {
                    1 => format!("stage-{}", place.stage),
                    _ => format!("stage-{}.{}", place.stage, place.replica),
                };
                match spawn_named(scope, name, work) {
                    Ok(thread) => threads.push(thread),
                    Err(cause) => report(RunError::Spawn {
                        stage: place.stage,
                        cause,
                    }),
                }
            }
            drop((events_in, ready_in));

            let clock = self.start(&ready_out, starts);
            // Events from before a stage's failure are still delivered, but not to a receiver that has failed itself.
            let mut listens = true;
            if clock.is_some()
                && self.peers.hears()
                && let Err(error) = on_event(Event::Started { stages })
            {
                listens = false;
                report(RunError::Event(error));
            }
            let mut watch = Watch::new(plan.stall_timeout, self.peers);
            let mut merge = Merge::new(replicas);
            let mut ready = VecDeque::new();
            while let Some(event) = next_event(&mut ready, || {
                let heard = watch.next(&events_out, &board)?;
                Some(match heard {
                    Heard::Event(reported) => match self.peers.pass_on(reported) {
                        Some(reported) => merge.take(reported),
                        None => Vec::new(),
                    },
                    Heard::Stall(stall) => vec![Event::Stalled(stall)],
                })
            }) {
                if !listens {
                    continue;
                }
                let stall = match &event {
                    Event::Stalled(stall) => Some(stall.clone()),
                    _ => None,
                };
                if let Err(error) = on_event(event) {
                    listens = false;
                    report(RunError::Event(error));
                }
                if let Some(stall) = stall {
                    report(RunError::Stalled(Box::new(stall)));
                }
            }
            open.close();
            let ends = threads.into_iter();
            let ends = ends.filter_map(|thread| thread.join().ok().flatten());
            (clock, ends.collect::<Vec<End>>())
        });
        let wall = clock.map(|clock| clock.elapsed());
        let ends = self.peers.ends(&own_ends);
        if let Some(error) = failure.take() {
            return Err(error);
        }
        let end = own_ends
            .into_iter()
            .chain(ends)
            .max_by_key(|end| end.version);
        let (wall, end) = wall.zip(end).ok_or(RunError::Deadlock {
            what: "no stage reported its end".into(),
        })?;
        Ok(Outcome {
            version: end.version,
            interrupted: end.interrupted,
            ended_by: None,
            wall,
        })
    }

    /// Waits until all stages are built, then starts the common clock. `None` when one could not be built: its thread has
    /// dropped its end of `ready` by then, after reporting why.
    fn start(&self, ready: &Receiver<()>, stages: Vec<SyncSender<Instant>>) -> Option<Instant> {
        let all = self.plan.replicas.places();
        for _ in 0..self.peers.awaited(self.places.len(), all) {
            ready.recv().ok()?;
        }
        let clock = self.peers.start()?;
        for stage in stages {
            stage.send(clock).ok()?;
        }
        Some(clock)
    }
}

/// The next event to tell of, of those that are `ready` or else of what `more` hears; `None` when nothing more comes.
fn next_event(
    ready: &mut VecDeque<Event>,
    mut more: impl FnMut() -> Option<Vec<Event>>,
) -> Option<Event> {
    loop {
        if let Some(event) = ready.pop_front() {
            return Some(event);
        }
        ready.extend(more()?);
    }
}
