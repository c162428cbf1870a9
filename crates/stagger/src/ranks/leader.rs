//! Rank 0: asks the others whether they can, orders stretches of training, and lets them go.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use stagger_runtime::{Interrupt, Plan, RunError};
use stagger_transport::wire::Format;
use stagger_transport::{Placement, Ranks, World};

use super::command_line::CommandDifference;
use super::order::{Answer, Order, Stretch};
use super::{Facts, ORDERS, RanksError};
use crate::block_times::{self, BlockTimes};
use crate::config_file;
use crate::error::Error;
use crate::job::Job;
use crate::profiling::{self, RoundTrips};
use crate::stages::Options;

/// Lets the other ranks of a world go, where rank 0 finds out that there is no run.
pub fn dismiss(world: World) {
    drop(Leader::new(world, Interrupt::new()));
}

/// The other ranks of a run, as rank 0 leads them. When it is dropped, they end.
pub(crate) struct Leader {
    world: World,
    answers: Mutex<Receiver<(usize, Result<Answer, RanksError>)>>,
    placement: OnceLock<Placement>,
    /// Stretches ordered so far.
    stretches: AtomicU32,
}

impl Leader {
    /// Leads the ranks of a world. A rank that is asked to end, or for a snapshot, asks this run.
    pub fn new(world: World, interrupt: Interrupt) -> Self {
        let (answers_in, answers) = channel();
        let receive = move |from, frame: Vec<u8>| match super::read(&frame) {
            Ok(Answer::Interrupted) => {
                interrupt.request();
            }
            Ok(Answer::Snapshot) => interrupt.request_snapshot(),
            answer => {
                // A receiver that is gone has ended the run.
                let _ = answers_in.send((from, answer));
            }
        };
        world.open(ORDERS, Arc::new(receive));
        Self {
            world,
            answers: Mutex::new(answers),
            placement: OnceLock::new(),
            stretches: AtomicU32::new(0),
        }
    }

    /// Number of processes.
    pub fn ranks(&self) -> usize {
        self.world.size()
    }

    /// Makes sure that every rank was started with this command line, as far as their programs have told them.
    pub fn compare(&self, own: Option<&[String]>) -> Result<(), RanksError> {
        self.tell_all(&Order::Introduce)?;
        self.answers_of_all(|rank, answer| {
            let Answer::Introduced {
                host,
                command_line: Some(other),
            } = answer
            else {
                return Ok(());
            };
            match own.and_then(|own| CommandDifference::first(own, &other)) {
                Some(differs) => Err(RanksError::CommandLine {
                    rank,
                    host,
                    differs,
                }),
                None => Ok(()),
            }
        })
    }

    /// Has every rank prepare the job, and makes sure that all of them mean the same. Gives lines for people: which rank has
    /// which stages.
    pub fn prepare(&self, job: &Job, commit: Option<&str>) -> Result<Vec<String>, Error> {
        let ranks = self.world.size();
        let placement = super::placement(job, ranks)?;
        let config = config_file::write(&job.options)?;
        self.tell_all(&Order::Prepare { config })?;
        let own = Facts::of(job, commit, placement.stages_of(0));
        let mut facts = vec![Some(own.clone())];
        facts.resize(ranks, None);
        self.answers_of_all(|rank, answer| {
            let Answer::Prepared(found) = answer else {
                return Ok(());
            };
            if let Some((what, expected, there)) = own.differs(&found) {
                return Err(RanksError::Differs {
                    rank,
                    host: found.host.clone(),
                    what,
                    expected: expected.to_owned(),
                    found: there.to_owned(),
                });
            }
            if let Some(place) = facts.get_mut(rank) {
                *place = Some(found);
            }
            Ok(())
        })?;
        let mut lines = Vec::new();
        // The first rank whose bits depend on its processor.
        let mut first: Option<(usize, &str)> = None;
        for (rank, facts) in facts.iter().flatten().enumerate() {
            let what = job.replicas.names(placement.stages_of(rank));
            let mut line = format!("rank {rank} on {}: {what}", facts.host);
            if let Some(own) = facts.instructions.as_deref() {
                let (other, expected) = *first.get_or_insert((rank, own));
                if own != expected {
                    line.push_str(&format!(
                        "; it computes with {own} and rank {other} with {expected}, so the last bits depend on which rank has which stage"
                    ));
                }
            }
            lines.push(line);
        }
        // A run is prepared once.
        let _ = self.placement.set(placement);
        Ok(lines)
    }

    /// Has every rank measure the blocks of the job's model so many times, all ranks at the same time. What they take at each place.
    pub fn measure(&self, job: &Job, rounds: usize) -> Result<Vec<BlockTimes>, Error> {
        let config = config_file::write(&job.options)?;
        self.tell_all(&Order::Measure { config, rounds })?;
        let blocks = job.model.blocks.len();
        let placement = super::placement(job, self.world.size())?;
        let mut times: Vec<Vec<BlockTimes>> = vec![Vec::new(); self.world.size()];
        let own = block_times::measure(job, placement.stages_of(0), rounds)?;
        times[0] = of_rank(0, &super::own_host(), own);
        self.answers_of_all(|rank, answer| {
            let (Answer::Measured { host, places }, Some(found)) = (answer, times.get_mut(rank))
            else {
                return Ok(());
            };
            let wrong = |what: String| RanksError::Message { what };
            let expected = placement.stages_of(rank).len();
            if places.len() != expected {
                let found = places.len();
                return Err(wrong(format!(
                    "rank {rank} has measured for {found} places and has {expected}"
                )));
            }
            if let Some(fault) = places.iter().find_map(|times| times.fault(blocks)) {
                return Err(wrong(format!("rank {rank} has measured {fault}")));
            }
            *found = of_rank(rank, &host, places);
            Ok(())
        })?;
        Ok(times.concat())
    }

    /// Has all ranks exchange messages over each hop of the job, one hop after the other. What these take on each.
    pub fn measure_hops(&self, job: &Job, rounds: usize) -> Result<Vec<RoundTrips>, Error> {
        let config = config_file::write(&job.options)?;
        let stretch = self.stretches.fetch_add(1, Ordering::Relaxed) + 1;
        self.world.forget_before(stretch);
        self.tell_all(&Order::MeasureHops {
            config,
            stretch,
            rounds,
        })?;
        let own = super::transport(&self.world, job, stretch)?;
        let mut hops = profiling::round_trips(job, &own, rounds)?;
        self.answers_of_all(|rank, answer| {
            let Answer::MeasuredHops(found) = answer else {
                return Ok(());
            };
            if let Some(fault) = found.iter().find_map(RoundTrips::fault) {
                let what = format!("rank {rank} has measured {fault}");
                return Err(RanksError::Message { what });
            }
            hops.extend(found);
            Ok(())
        })?;
        hops.sort_by_key(|hop| hop.stage);
        Ok(hops)
    }

    /// The places of this rank.
    pub fn places(&self, job: &Job) -> Result<Range<usize>, RanksError> {
        Ok(super::placement(job, self.world.size())?.stages_of(0))
    }

    /// Waits until every other rank has answered an order, and gives each answer to `take`.
    fn answers_of_all(
        &self,
        mut take: impl FnMut(usize, Answer) -> Result<(), RanksError>,
    ) -> Result<(), RanksError> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let mut awaited: BTreeSet<usize> = (1..self.world.size()).collect();
        while !awaited.is_empty() {
            let (rank, answer) = answers.recv().map_err(|_| RanksError::Left)?;
            match answer? {
                Answer::Refused { host, sentence } => {
                    return Err(RanksError::Refused {
                        rank,
                        host,
                        sentence,
                    });
                }
                Answer::Interrupted | Answer::Snapshot => {}
                answer => {
                    take(rank, answer)?;
                    awaited.remove(&rank);
                }
            }
        }
        Ok(())
    }

    /// Has every rank train its stages by this plan, and gives the transport to the stages of rank 0.
    pub fn order(
        &self,
        plan: &Plan,
        options: &Options<'_>,
        format: Format,
    ) -> Result<Ranks, RunError> {
        let failed = |what: &str| RunError::Rank {
            rank: 0,
            message: what.to_owned(),
        };
        let placement = self.placement.get().cloned();
        let placement = placement.ok_or(failed("the other ranks have not been prepared"))?;
        let number = self.stretches.fetch_add(1, Ordering::Relaxed) + 1;
        self.world.forget_before(number);
        for rank in 1..self.world.size() {
            let stages = plan.replicas.stages_of(&placement.stages_of(rank));
            let stretch = Stretch::of(number, plan, options, stages);
            let order = Order::Train(Box::new(stretch)).frame();
            let frame = order.map_err(|error| failed(&error.to_string()))?;
            self.world.post(rank, frame);
        }
        Ok(Ranks {
            world: self.world.clone(),
            placement,
            stretch: number,
            format,
        })
    }

    fn tell_all(&self, order: &Order<'_>) -> Result<(), RanksError> {
        let frame = order.frame()?;
        for rank in 1..self.world.size() {
            self.world.post(rank, frame.clone());
        }
        Ok(())
    }
}

/// What a rank has measured, with devices named by where they are.
fn of_rank(rank: usize, host: &str, mut places: Vec<BlockTimes>) -> Vec<BlockTimes> {
    for times in &mut places {
        times.device = format!("{} on rank {rank} ({host})", times.device);
    }
    places
}

impl Drop for Leader {
    fn drop(&mut self) {
        // An order without content can be written.
        let _ = self.tell_all(&Order::End);
        self.world.close(ORDERS);
    }
}

impl fmt::Debug for Leader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leader")
            .field("world", &self.world)
            .finish_non_exhaustive()
    }
}
