//! Every way to train that is tried.

use std::path::Path;
use std::sync::Arc;

use stagger_model::{Cut, CutError, MemoryLimit, Model};
use stagger_plan::theory::rate_share;
use stagger_plan::{
    DeviceProfile, Distribution, LeastStaleness, Pipeline, Profile, Simulation, Times,
};
use stagger_runtime::{Replicas, Straggler};
use stagger_schedule::{Convergence, MAX_REPLICAS, Place, Schedule};

use super::devices::{by_speed, fastest, slowest};
use super::{Candidate, Planning};
use crate::balance::{ToCut, check_profile, cut_of_profile};
use crate::durations::DurationsError;
use crate::error::Error;
use crate::job::{samples_of_share, stragglers, summary_inputs};
use crate::refusal::Refusal;

/// What momentum keeps, in values per parameter.
const MOMENTUM_SLOTS: usize = 1;

/// Batches that are simulated of each candidate, behind a warm-up.
const BATCHES: usize = 600;
const WARMUP: usize = 100;

/// Numbers of micro-batches that pipelines of micro-batches are tried with. More of them fill a pipeline better, but batch
/// normalisation then sees few samples, and kernels have less to do at a time.
const MICRO_BATCHES: [usize; 2] = [4, 8];

/// Candidates.
#[derive(Default)]
pub(super) struct Found {
    pub candidates: Vec<Candidate>,
    /// What fits no devices.
    pub too_large: Vec<String>,
}

/// A search over methods and devices.
pub(super) struct Search<'a> {
    pub planning: &'a Planning,
    pub model: &'a Model,
    pub profile: &'a Profile,
    pub batch_size: usize,
}

/// Devices in stages.
#[derive(Clone, Copy)]
struct Layout<'a> {
    /// Of stage 0 and its replicas first.
    devices: &'a [usize],
    /// Copies of each stage.
    replicas: usize,
}

impl Layout<'_> {
    fn stages(&self) -> usize {
        self.devices.len() / self.replicas
    }
}

impl Search<'_> {
    /// All methods on one to all devices, and those that have replicas on all pipelines with as many of each stage.
    pub fn everything(&self) -> Result<Found, Error> {
        let mut found = Found::default();
        let all = self.profile.devices.len();
        let order = by_speed(&self.seconds()?);
        let most_stages = all.min(self.model.blocks.len());
        for count in 1..=most_stages {
            let layout = Layout {
                devices: &fastest(&order, count),
                replicas: 1,
            };
            self.pipelines(layout, &mut found)?;
        }
        // Replicas wait for the slowest of them, so those of a stage are as fast as each other where that can be.
        let of_share = samples_of_share(self.model)?;
        let most_replicas = (self.batch_size / of_share).min(MAX_REPLICAS);
        for stages in 1..=most_stages {
            for replicas in 2..=(all / stages).min(most_replicas) {
                let layout = Layout {
                    devices: &order[..stages * replicas],
                    replicas,
                };
                self.replicated(layout, &mut found)?;
            }
        }
        Ok(found)
    }

    /// All methods over a stage on each of these devices.
    fn pipelines(&self, layout: Layout<'_>, found: &mut Found) -> Result<(), Error> {
        let stages = layout.stages();
        let mut notations = Vec::new();
        if stages == 1 {
            notations.push("bp".to_owned());
        } else {
            notations.push("pipedream".to_owned());
            for micro_batches in MICRO_BATCHES.into_iter().filter(|&m| m <= self.batch_size) {
                notations.push(format!("gpipe({micro_batches})"));
                notations.push(format!("1f1b({micro_batches})"));
                notations.push(format!("zb({micro_batches})"));
                if micro_batches >= stages {
                    notations.push(format!("2bw({micro_batches})"));
                }
            }
            notations.extend(self.stale(layout)?);
        }
        self.try_all(notations, layout, found)
    }

    /// Methods over stages with replicas.
    fn replicated(&self, layout: Layout<'_>, found: &mut Found) -> Result<(), Error> {
        let notations = match layout.stages() {
            1 => vec![format!("dp({})", layout.replicas)],
            _ => {
                let mut notations = vec!["bp".to_owned(), "pipedream".to_owned()];
                notations.extend(self.stale(layout)?);
                notations
            }
        };
        self.try_all(notations, layout, found)
    }

    fn try_all(
        &self,
        notations: Vec<String>,
        layout: Layout<'_>,
        found: &mut Found,
    ) -> Result<(), Error> {
        for notation in notations {
            let stages = layout.stages();
            let schedule = Schedule::parse(&notation, Some(stages))?;
            match self.candidate(&schedule, layout) {
                Ok(candidate) => found.candidates.push(candidate),
                Err(Error::Cut(CutError::Memory { .. })) => {
                    found.too_large.push(match (stages, layout.replicas) {
                        (stages, 1) => format!("{notation} on {stages}"),
                        (1, replicas) => format!("{notation} on {replicas}"),
                        (stages, replicas) => {
                            format!("{notation} on {stages} with {replicas} replicas of each")
                        }
                    });
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// DSP with the least staleness there is, and with the least that keeps the busiest stage working.
    fn stale(&self, layout: Layout<'_>) -> Result<Vec<String>, Error> {
        let staleness: Vec<String> = (0..layout.stages()).rev().map(|m| m.to_string()).collect();
        let least = format!("dsp(m={})", staleness.join(","));
        let schedule = Schedule::parse(&least, None)?;
        let (times, _) = match self.times(&schedule, layout) {
            Ok(found) => found,
            Err(Error::Cut(CutError::Memory { .. })) => return Ok(vec![least]),
            Err(error) => return Err(error),
        };
        let search = LeastStaleness {
            // There are many layouts.
            batches: (50_000 / layout.stages()).max(2 * BATCHES),
            ..LeastStaleness::default()
        };
        let busy = search.search(&times)?;
        let busy = busy.is_enough.then(|| busy.schedule.to_string());
        Ok(match busy {
            Some(busy) if busy != least => vec![least, busy],
            _ => vec![least],
        })
    }

    /// What the stages take on these devices, and how they are cut.
    fn times(&self, schedule: &Schedule, layout: Layout<'_>) -> Result<(Times, Cut), Error> {
        let stages = layout.stages();
        let mut profile = self.profile.clone();
        profile.devices = (layout.devices.iter())
            .map(|&device| self.profile.devices[device].clone())
            .collect();
        if layout.replicas > 1 {
            // Which link is between which replicas is not known.
            profile.links = slowest(&profile.links).into_iter().cloned().collect();
        } else if profile.links.len() != 1 {
            profile.links.truncate(stages - 1);
        }
        let replicas = Replicas::new(&[layout.replicas], stages).map_err(Refusal::Replicas)?;
        let run = ToCut {
            model: self.model,
            schedule,
            replicas: Some(&replicas),
            batch_size: self.batch_size,
            optimizer_slots: MOMENTUM_SLOTS,
        };
        let path: &Path = &self.planning.profile;
        check_profile(&profile, path, &run).map_err(DurationsError::from)?;
        let (cut, _) = cut_of_profile(&profile, path, &run)?;
        let samples = self.batch_size.div_ceil(schedule.micro_batches());
        let pipeline = Pipeline::of_replicas(&profile, schedule, &replicas, cut.stages(), samples)
            .map_err(DurationsError::from)?;
        let times = Times::new(&pipeline, schedule.micro_batches(), self.planning.seed);
        Ok((self.slowed(times, layout)?, cut))
    }

    /// The same with the devices slowed down that are to be. Each place has a device of its own.
    fn slowed(&self, times: Times, layout: Layout<'_>) -> Result<Times, Refusal> {
        let seed = self.planning.seed;
        let stragglers = self.stragglers()?;
        if stragglers.is_empty() {
            return Ok(times);
        }
        let devices: Vec<(u64, usize)> = (layout.devices.iter())
            .map(|&device| self.straggling_as(seed, device))
            .collect();
        Ok(times.slowed_by(Arc::new(move |place: Place, batch| {
            let number = place.stage * place.of + place.replica;
            let (seed, device) = devices.get(number).copied().unwrap_or((seed, number));
            slowdown(&stragglers, seed, device, batch)
        })))
    }

    /// The stragglers, each of a device that there is without added ones.
    fn stragglers(&self) -> Result<Vec<Straggler>, Refusal> {
        let devices = self.profile.devices.len() - self.planning.added.len();
        stragglers(&self.planning.stragglers, devices)
    }

    /// The seed and the number by which a device is slowed down: an added one as the one that it is like, at other batches.
    fn straggling_as(&self, seed: u64, device: usize) -> (u64, usize) {
        let first_added = self.profile.devices.len() - self.planning.added.len();
        match device.checked_sub(first_added) {
            Some(added) => (
                seed.wrapping_add(1 + added as u64),
                self.planning.added[added],
            ),
            None => (seed, device),
        }
    }

    /// What the whole network takes on each device, with its mean slowdown.
    fn seconds(&self) -> Result<Vec<f64>, Error> {
        let stragglers = self.stragglers()?;
        let seconds = |number: usize| {
            let (seed, device) = self.straggling_as(self.planning.seed, number);
            let slowed = (0..BATCHES).map(|batch| slowdown(&stragglers, seed, device, batch));
            let slowdown = slowed.sum::<f64>() / BATCHES as f64;
            self.batch_seconds(&self.profile.devices[number]) * (1.0 + slowdown)
        };
        Ok((0..self.profile.devices.len()).map(seconds).collect())
    }

    /// What backpropagation of a batch takes on a device alone.
    fn batch_seconds(&self, device: &DeviceProfile) -> f64 {
        let scale = self.batch_size as f64 / self.profile.samples.max(1) as f64;
        let seconds = |times: &[Distribution]| Distribution::sum(times).mean();
        let passes = seconds(&device.recompute) + seconds(&device.backward);
        scale * passes + seconds(&device.update)
    }

    fn candidate(&self, schedule: &Schedule, layout: Layout<'_>) -> Result<Candidate, Error> {
        let (times, cut) = self.times(schedule, layout)?;
        let simulation = Simulation {
            schedule,
            times: &times,
            batches: WARMUP + BATCHES + schedule.lead(),
            warmup: WARMUP,
        };
        let simulated = simulation.run(|_| {})?;
        let policies = schedule.policies();
        let share = self.batch_size.div_ceil(layout.replicas);
        let staleness = policies.iter().map(|policy| policy.staleness).max();
        let staleness = staleness.unwrap_or_default();
        let is_covered = layout.replicas == 1 && Convergence::of(schedule).is_ok();
        Ok(Candidate {
            rate_share: is_covered.then(|| rate_share(staleness, 1.0)),
            memory_bytes: self.memory(schedule, &cut, share)?,
            schedule: schedule.to_string(),
            stages: schedule.stages(),
            replicas: layout.replicas,
            micro_batches: schedule.micro_batches(),
            devices: layout.devices.to_vec(),
            cut,
            images_per_second: simulated.lasting_batches_per_second() * self.batch_size as f64,
            staleness,
        })
    }

    /// What the stage that needs most needs, by its shapes, in bytes.
    fn memory(&self, schedule: &Schedule, cut: &Cut, batch_size: usize) -> Result<u64, Error> {
        let costs = self.model.block_costs()?;
        let inputs = summary_inputs(schedule);
        let mut most = 0;
        for (blocks, stage) in cut.stages().iter().zip(inputs) {
            let limit = MemoryLimit {
                bytes: 0,
                stage,
                batch_size,
                optimizer_slots: MOMENTUM_SLOTS,
            };
            let cost = costs[blocks.clone()].iter().copied().sum();
            most = most.max(limit.needs(&cost, &self.model.stage_input_shape(blocks.start)?));
        }
        Ok(most)
    }

    /// Images per second of backpropagation on the fastest device, without stragglers.
    pub fn alone(&self) -> f64 {
        let seconds = (self.profile.devices.iter()).map(|device| self.batch_seconds(device));
        let least = seconds.fold(f64::INFINITY, f64::min);
        self.batch_size as f64 / least.max(f64::MIN_POSITIVE)
    }
}

/// By what share of its own time a device is slower for a batch.
fn slowdown(stragglers: &[Straggler], seed: u64, device: usize, batch: usize) -> f64 {
    let of = stragglers.iter();
    of.map(|straggler| straggler.slowdown(seed, device, batch))
        .sum()
}
