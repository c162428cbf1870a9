//! One way to train on paper: how it is cut, what it takes, and what it reaches.

use std::path::Path;
use std::sync::Arc;

use stagger_model::{Cut, CutError, MemoryLimit};
use stagger_plan::theory::rate_share;
use stagger_plan::{Pipeline, Profile, Simulation, Times};
use stagger_runtime::{Replicas, Straggler};
use stagger_schedule::{Convergence, Place, Schedule};

use super::Candidate;
use super::devices::{links_between, slowest};
use super::search::{MOMENTUM_SLOTS, Search, slowdown};
use crate::balance::{ToCut, check_profile, cut_of_profile};
use crate::durations::DurationsError;
use crate::error::Error;
use crate::job::summary_inputs;
use crate::refusal::Refusal;

/// Batches that are simulated of a candidate without micro-batches, behind a warm-up.
const BATCHES: usize = 600;
const WARMUP: usize = 100;

/// Micro-batches of a batch from which on fewer batches are simulated, in proportion: a batch of many takes as long as many batches.
const FEW_MICRO_BATCHES: usize = 8;

/// Batches that are simulated at least, behind a warm-up of a sixth of them.
const LEAST_BATCHES: usize = 120;

/// Devices in stages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout<'a> {
    /// Of stage 0 and its replicas first.
    pub devices: &'a [usize],
    /// Copies of each stage.
    pub replicas: &'a Replicas,
}

impl Layout<'_> {
    pub fn stages(&self) -> usize {
        self.replicas.stages()
    }
}

/// A candidate before it is simulated.
pub(super) struct Draft {
    pub cut: Cut,
    pub times: Times,
    /// Batches per second that its slowest place allows, if nothing holds that up or slows it down: it reaches no more.
    pub most_batches_per_second: f64,
}

impl Search<'_> {
    /// The profile of these devices and of the links between them, in their order.
    pub fn profile_of(&self, layout: Layout<'_>) -> Profile {
        let all = self.profile.devices.len();
        let mut profile = self.profile.clone();
        let devices = layout.devices.iter();
        profile.devices = devices
            .map(|&device| self.profile.devices[device].clone())
            .collect();
        profile.links = match layout.replicas.any() {
            // Which link is between which replicas is not known.
            true => slowest(&profile.links).into_iter().cloned().collect(),
            false => links_between(&profile.links, layout.devices, all),
        };
        // Whole stages were measured on all devices, in the order of their numbers.
        let are_alike = || (self.profile.devices.windows(2)).all(|pair| pair[0] == pair[1]);
        if !layout.devices.iter().copied().eq(0..all) && !are_alike() {
            profile.stages = None;
        }
        profile
    }

    /// How a method is cut on these devices, and what its stages take.
    ///
    /// # Errors
    /// [`CutError::Memory`] where no cut fits; when the profile is one of something else.
    pub fn draft(&self, schedule: &Schedule, layout: Layout<'_>) -> Result<Draft, Error> {
        let profile = self.profile_of(layout);
        let run = ToCut {
            model: self.model,
            schedule,
            replicas: Some(layout.replicas),
            batch_size: self.batch_size,
            optimizer_slots: MOMENTUM_SLOTS,
            computes: None,
        };
        let path: &Path = &self.planning.profile;
        check_profile(&profile, path, &run).map_err(DurationsError::from)?;
        let (cut, _) = cut_of_profile(&profile, path, &run)?;
        let micro_batches = schedule.micro_batches();
        let samples = self.batch_size.div_ceil(micro_batches);
        let pipeline =
            Pipeline::of_replicas(&profile, schedule, layout.replicas, cut.stages(), samples)
                .map_err(|source| DurationsError::from(source).of_file(path))?;
        let times = Times::new(&pipeline, micro_batches, self.planning.seed);
        Ok(Draft {
            cut,
            times: self.slowed(times, layout)?,
            most_batches_per_second: most_batches_per_second(&pipeline, schedule),
        })
    }

    /// The same with the devices slowed down that are to be. Each place has a device of its own.
    fn slowed(&self, times: Times, layout: Layout<'_>) -> Result<Times, Refusal> {
        let seed = self.planning.seed;
        let stragglers: Vec<Straggler> = self.stragglers()?;
        if stragglers.is_empty() {
            return Ok(times);
        }
        let devices: Vec<(u64, usize)> = (layout.devices.iter())
            .map(|&device| self.straggling_as(seed, device))
            .collect();
        let replicas = layout.replicas.clone();
        Ok(times.slowed_by(Arc::new(move |place: Place, batch| {
            let number = replicas.number(place.stage, place.replica);
            let (seed, device) = devices.get(number).copied().unwrap_or((seed, number));
            slowdown(&stragglers, seed, device, batch)
        })))
    }

    /// What comes of a draft.
    ///
    /// # Errors
    /// When it cannot be simulated.
    pub fn candidate(
        &self,
        schedule: &Schedule,
        layout: Layout<'_>,
        draft: Draft,
    ) -> Result<Candidate, Error> {
        let Draft { cut, times, .. } = draft;
        let (warmup, batches) = self.length(schedule);
        let simulation = Simulation {
            schedule,
            times: &times,
            batches: warmup + batches + schedule.lead(),
            warmup,
        };
        let simulated = simulation.run(|_| {})?;
        let batches_per_second = simulated.lasting_batches_per_second();
        // It would stand behind all others.
        if batches_per_second <= 0.0 {
            let what = format!("{schedule} by this profile");
            return Err(DurationsError::NoTime { what }.into());
        }
        let policies = schedule.policies();
        let staleness = policies.iter().map(|policy| policy.staleness).max();
        let staleness = staleness.unwrap_or_default();
        let is_covered = !layout.replicas.any() && Convergence::of(schedule).is_ok();
        Ok(Candidate {
            rate_share: is_covered.then(|| rate_share(staleness, 1.0)),
            memory_bytes: self.memory(schedule, &cut, layout.replicas)?,
            schedule: schedule.to_string(),
            stages: schedule.stages(),
            replicas: layout.replicas.clone(),
            micro_batches: schedule.micro_batches(),
            devices: layout.devices.to_vec(),
            cut,
            images_per_second: batches_per_second * self.batch_size as f64,
            staleness,
        })
    }

    /// Batches of the warm-up, and those that are counted. Stragglers are drawn for batches, so that these are never fewer.
    fn length(&self, schedule: &Schedule) -> (usize, usize) {
        let micro_batches = schedule.micro_batches();
        if micro_batches <= FEW_MICRO_BATCHES || !self.planning.stragglers.is_empty() {
            return (WARMUP, BATCHES);
        }
        let batches = (BATCHES * FEW_MICRO_BATCHES / micro_batches).max(LEAST_BATCHES);
        (batches / 6, batches)
    }

    /// What the stage that needs most needs, by its shapes, in bytes.
    fn memory(&self, schedule: &Schedule, cut: &Cut, replicas: &Replicas) -> Result<u64, Error> {
        let costs = self.model.block_costs()?;
        let inputs = summary_inputs(schedule);
        let mut most = 0;
        for (number, (blocks, stage)) in cut.stages().iter().zip(inputs).enumerate() {
            let limit = MemoryLimit {
                bytes: 0,
                stage,
                batch_size: self.batch_size.div_ceil(replicas.of(number)),
                optimizer_slots: MOMENTUM_SLOTS,
            };
            let cost = costs[blocks.clone()].iter().copied().sum();
            most = most.max(limit.needs(&cost, &self.model.stage_input_shape(blocks.start)?));
        }
        Ok(most)
    }
}

/// One by what its slowest place takes for a batch in the mean.
fn most_batches_per_second(pipeline: &Pipeline, schedule: &Schedule) -> f64 {
    let recomputes = schedule.recomputes();
    let micro_batches = schedule.micro_batches() as f64;
    let places = pipeline.places.iter().enumerate();
    let seconds = places.map(|(number, times)| {
        let recompute = match recomputes[pipeline.replicas.place(number).stage] {
            true => times.recompute.mean(),
            false => 0.0,
        };
        let passes = times.forward.mean() + recompute + times.backward.mean();
        micro_batches * passes + times.update.mean()
    });
    1.0 / seconds.fold(f64::MIN_POSITIVE, f64::max)
}

/// Whether no cut fits the memory of the devices.
pub(super) fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::Cut(CutError::Memory { .. }))
}
