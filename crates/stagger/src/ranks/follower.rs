//! A rank that is not rank 0: prepares and trains as it is ordered.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use stagger_runtime::Interrupt;
use stagger_transport::World;

use super::order::{Answer, Order, Stretch};
use super::{Facts, ORDERS, Origin, RanksError};
use crate::block_times;
use crate::config_file;
use crate::error::Error;
use crate::job::{Given, Job};
use crate::limits;
use crate::profiling;
use crate::refusal::Spelling;
use crate::stages;

/// How often a follower looks whether it has been asked for something.
const LOOK: Duration = Duration::from_millis(50);

/// Follows rank 0 until it lets this rank go. `interrupt` is passed on to it.
pub(crate) fn follow(
    world: &World,
    given: &Given,
    origin: Origin<'_>,
    interrupt: &Interrupt,
) -> Result<(), Error> {
    let (orders_in, orders) = channel();
    let receive = move |from: usize, frame: Vec<u8>| {
        if from == 0 {
            // A receiver that is gone has ended.
            let _ = orders_in.send(frame);
        }
    };
    world.open(ORDERS, Arc::new(receive));
    let _watch = InterruptWatch::start(world, interrupt);
    let mut job = None;
    loop {
        let frame = orders.recv().map_err(|_| RanksError::Left)?;
        match super::read(&frame)? {
            Order::Prepare { config } => {
                let answer = match prepare(world, &config, given) {
                    Ok((prepared, places)) => {
                        let facts = Facts::of(&prepared, origin.commit, places);
                        job = Some(prepared);
                        Answer::Prepared(facts)
                    }
                    Err(error) => refused(&error),
                };
                world.post(0, super::write(&answer)?);
            }
            Order::Measure { config, rounds } => {
                let measured = prepare(world, &config, given)
                    .and_then(|(job, places)| block_times::measure(&job, places, rounds));
                let answer = match measured {
                    Ok(places) => Answer::Measured {
                        host: super::own_host(),
                        places,
                    },
                    Err(error) => refused(&error),
                };
                world.post(0, super::write(&answer)?);
            }
            Order::MeasureHops {
                config,
                stretch,
                rounds,
            } => {
                world.forget_before(stretch);
                let measured = prepare(world, &config, given).and_then(|(job, _)| {
                    let own = super::transport(world, &job, stretch)?;
                    profiling::round_trips(&job, &own, rounds)
                });
                let answer = match measured {
                    Ok(hops) => Answer::MeasuredHops(hops),
                    Err(error) => refused(&error),
                };
                world.post(0, super::write(&answer)?);
            }
            Order::Train(stretch) => {
                let what = "a stretch was ordered before it was said what the run is".to_owned();
                let job = job.as_ref().ok_or(RanksError::Message { what })?;
                train(world, job, &stretch)?;
            }
            Order::Introduce => {
                let answer = Answer::Introduced {
                    host: super::own_host(),
                    command_line: origin.command_line.map(<[String]>::to_vec),
                };
                world.post(0, super::write(&answer)?);
            }
            Order::End => return Ok(()),
        }
    }
}

fn refused(error: &Error) -> Answer {
    Answer::Refused {
        host: super::own_host(),
        sentence: error.sentence(Spelling::Flags),
    }
}

/// The run as this rank is to take part in it, and the places that it has.
fn prepare(world: &World, config: &str, given: &Given) -> Result<(Job, Range<usize>), Error> {
    let options = config_file::parse(config).map_err(|what| RanksError::Message { what })?;
    let job = Job::new(options, given)?;
    let places = super::placement(&job, world.size())?.stages_of(world.rank());
    stages::check(&job, places.clone())?;
    limits::check(&job, places.clone(), false, 0)?;
    Ok((job, places))
}

/// Trains a stretch. Rank 0 hears what goes wrong in it, and says what comes next.
fn train(world: &World, job: &Job, stretch: &Stretch<'_>) -> Result<(), Error> {
    let number = stretch.number;
    world.forget_before(number);
    let ranks = super::transport(world, job, number)?;
    let plan = stretch.plan(job)?;
    let places = ranks.placement.stages_of(world.rank());
    let from = (plan.resume.as_ref()).map_or(0, |from| from.next_batch(&plan.schedule));
    let batches = from.min(plan.horizon.batches)..plan.horizon.batches;
    let feeds = stages::feeds_of(job, plan.replicas.stages_of(&places), batches)?;
    // What fails there is told by rank 0.
    let _ = stages::follow(job, &ranks, &plan, stretch.options(), feeds);
    Ok(())
}

/// Tells rank 0 when this process is asked to end, or for a snapshot.
struct InterruptWatch(Arc<AtomicBool>);

impl InterruptWatch {
    fn start(world: &World, interrupt: &Interrupt) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (world, interrupt, over) = (world.clone(), interrupt.clone(), Arc::clone(&is_over));
        let watch = move || {
            let tell = |what: &Answer| {
                if let Ok(frame) = super::write(what) {
                    world.post(0, frame);
                }
            };
            while !over.load(Ordering::Relaxed) {
                if interrupt.take_snapshot_request() {
                    tell(&Answer::Snapshot);
                }
                if interrupt.is_requested() {
                    return tell(&Answer::Interrupted);
                }
                thread::sleep(LOOK);
            }
        };
        // Without it this rank cannot pass an interrupt on; everything else works.
        let _ = thread::Builder::new()
            .name("interrupt".to_owned())
            .spawn(watch);
        Self(is_over)
    }
}

impl Drop for InterruptWatch {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
