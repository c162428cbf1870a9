//! Which method, cut and staleness are fastest on given devices, by what was measured.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use stagger_model::{Cut, CutError, MemoryLimit, Model};
use stagger_plan::{
    DeviceProfile, Distribution, LeastStaleness, LinkProfile, Pipeline, Profile, RingSum,
    Simulation, StageTimes, Times, data_parallel_rate,
};
use stagger_schedule::Schedule;

use crate::balance::{ToCut, check_profile, cut_of_profile, read_profile};
use crate::durations::DurationsError;
use crate::error::Error;
use crate::job::{stragglers, summary_inputs};
use crate::refusal::Refusal;

/// What momentum keeps, in values per parameter.
const MOMENTUM_SLOTS: usize = 1;

/// Batches that are simulated of each candidate, behind a warm-up.
const BATCHES: usize = 600;
const WARMUP: usize = 100;

/// Plans that are at most this much slower than the fastest one are as good, and the one with the least staleness is taken.
const AS_GOOD: f64 = 0.99;

/// Numbers of micro-batches that pipelines of micro-batches are tried with. More of them fill a pipeline better, but batch
/// normalisation then sees few samples, and kernels have less to do at a time.
const MICRO_BATCHES: [usize; 2] = [4, 8];

/// What a plan is made for.
#[derive(Clone, Debug)]
pub struct Planning {
    /// The profile that says what blocks take.
    pub profile: PathBuf,
    /// Speed of each device in multiples of the profile's: that of its device of the same number, or of its only one. Empty for the
    /// profile's devices as they are.
    pub speeds: Vec<f64>,
    /// Memory of each device in bytes, or one number for all; empty for as much as the profile says, or without limit.
    pub memory: Vec<u64>,
    /// From the end of sending to arrival, for all links, instead of what the profile says.
    pub latency: Option<Distribution>,
    /// How long a million bytes occupy each link, in seconds, instead of what the profile says.
    pub per_megabyte: Option<f64>,
    /// Devices that are slowed down, each as [`Straggler`](stagger_runtime::Straggler) reads it.
    pub stragglers: Vec<String>,
    /// Samples per batch; those of the profile's micro-batch where it is not said.
    pub batch_size: Option<usize>,
    /// Seed of random times and of stragglers.
    pub seed: u64,
}

/// One way to train.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The method, in notation.
    pub schedule: String,
    /// Stages; 1 for data parallelism.
    pub stages: usize,
    /// The devices that it uses, by their numbers.
    pub devices: Vec<usize>,
    /// Blocks of each stage.
    pub cut: Cut,
    /// Images per second, simulated.
    pub images_per_second: f64,
    /// In how many micro-batches a batch travels.
    pub micro_batches: usize,
    /// The largest staleness of a stage, in batches.
    pub staleness: usize,
    /// What the stage that needs most needs by its shapes, in bytes.
    pub memory_bytes: u64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The network.
    pub model: Model,
    /// Samples per batch.
    pub batch_size: usize,
    /// Everything that fits, the fastest first.
    pub candidates: Vec<Candidate>,
    /// The one to take, by its place among the candidates: of those that are as fast as the fastest but for a hundredth, the one with
    /// the least staleness, then the fewest devices, the largest micro-batches, and the least memory.
    pub best: usize,
    /// Images per second of backpropagation on the fastest device alone, whether it fits there or not.
    pub alone_images_per_second: f64,
    /// Methods that fit no devices.
    pub too_large: Vec<String>,
}

impl Planning {
    /// Simulates every method on 1 to all devices.
    ///
    /// # Errors
    /// When the profile is wrong, or the devices or stragglers do not fit it; and when nothing fits into memory.
    pub fn run(&self) -> Result<Planned, Error> {
        let profile = read_profile(&self.profile).map_err(DurationsError::from)?;
        let model = Model::by_name(&profile.model, profile.input, profile.classes)?;
        let profile = self.with_devices(profile)?;
        let batch_size = self.batch_size.unwrap_or(profile.samples);
        if batch_size == 0 {
            return Err(Refusal::Zero {
                option: "batch_size",
            }
            .into());
        }
        let search = Search {
            planning: self,
            model: &model,
            profile: &profile,
            batch_size,
        };
        let mut found = Found::default();
        for count in 1..=profile.devices.len().min(model.blocks.len()) {
            search.pipelines(
                &fastest(&self.speeds, profile.devices.len(), count),
                &mut found,
            )?;
        }
        search.data_parallel(&mut found)?;
        let alone = search.alone()?;
        let mut candidates = found.candidates;
        candidates.sort_by(|a, b| b.images_per_second.total_cmp(&a.images_per_second));
        let Some(fastest) = candidates.first().map(|first| first.images_per_second) else {
            return Err(CutError::Memory {
                model: model.name.clone(),
                limits: profile
                    .devices
                    .iter()
                    .map(|device| device.memory_bytes)
                    .collect(),
            }
            .into());
        };
        let as_good = candidates.iter().enumerate();
        let as_good = as_good.filter(|(_, one)| one.images_per_second >= AS_GOOD * fastest);
        let best = as_good.min_by_key(|(_, one)| {
            (
                one.staleness,
                one.devices.len(),
                one.micro_batches,
                one.memory_bytes,
            )
        });
        Ok(Planned {
            best: best.map_or(0, |(at, _)| at),
            batch_size,
            candidates,
            alone_images_per_second: alone,
            too_large: found.too_large,
            model,
        })
    }

    /// The profile with the devices and links that are asked for.
    fn with_devices(&self, mut profile: Profile) -> Result<Profile, Error> {
        let measured = profile.devices.len();
        let wanted = match self.speeds.len() {
            // Whole stages may have been measured on equal devices.
            0 => {
                (profile.stages.as_ref()).map_or(measured, |stages| stages.cut.len().max(measured))
            }
            wanted => wanted,
        };
        let speeds = match self.speeds.is_empty() {
            true => vec![1.0; wanted],
            false => self.speeds.clone(),
        };
        if measured == 0 || (measured != 1 && measured < wanted) {
            return Err(Refusal::PlannedDevices {
                found: measured,
                expected: wanted,
            }
            .into());
        }
        if let Some(speed) = speeds
            .iter()
            .find(|speed| !(speed.is_finite() && **speed > 0.0))
        {
            return Err(Refusal::Value {
                option: "speeds",
                found: speed.to_string(),
                kind: "a speed",
                expected: "a number above 0, such as 0.5 for a device that takes twice as long",
            }
            .into());
        }
        if !matches!(self.memory.len(), 0 | 1) && self.memory.len() != wanted {
            return Err(Refusal::PlannedMemory {
                found: self.memory.len(),
                devices: wanted,
            }
            .into());
        }
        let device = |(number, speed): (usize, &f64)| {
            let own = &profile.devices[if measured == 1 { 0 } else { number }];
            let scaled =
                |times: &[Distribution]| times.iter().map(|time| time.times(1.0 / speed)).collect();
            let memory = self.memory.get(number).or(self.memory.first()).copied();
            DeviceProfile {
                name: own.name.clone(),
                forward: scaled(&own.forward),
                recompute: scaled(&own.recompute),
                backward: scaled(&own.backward),
                update: scaled(&own.update),
                memory_bytes: memory.or(own.memory_bytes),
            }
        };
        let devices = speeds.iter().enumerate().map(device).collect();
        profile.devices = devices;
        // Whole stages were measured on other devices.
        if speeds.iter().any(|speed| *speed != 1.0) {
            profile.stages = None;
        }
        let free = LinkProfile {
            latency: Distribution::ZERO,
            per_megabyte: Distribution::ZERO,
        };
        if self.latency.is_some() || self.per_megabyte.is_some() {
            let measured = profile.links.first().cloned().unwrap_or(free);
            profile.links = vec![LinkProfile {
                latency: self.latency.clone().unwrap_or(measured.latency),
                per_megabyte: match self.per_megabyte {
                    Some(seconds) => Distribution::Constant(seconds),
                    None => measured.per_megabyte,
                },
            }];
        }
        Ok(profile)
    }
}

/// So many of the devices, in their order: the fastest.
fn fastest(speeds: &[f64], devices: usize, count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..devices).collect();
    if !speeds.is_empty() {
        order.sort_by(|&a, &b| speeds[b].total_cmp(&speeds[a]).then(a.cmp(&b)));
    }
    order.truncate(count);
    order.sort_unstable();
    order
}

#[derive(Default)]
struct Found {
    candidates: Vec<Candidate>,
    too_large: Vec<String>,
}

struct Search<'a> {
    planning: &'a Planning,
    model: &'a Model,
    profile: &'a Profile,
    batch_size: usize,
}

impl Search<'_> {
    /// All methods over a stage on each of these devices.
    fn pipelines(&self, devices: &[usize], found: &mut Found) -> Result<(), Error> {
        let stages = devices.len();
        let mut notations = Vec::new();
        if stages == 1 {
            notations.push("bp".to_owned());
        } else {
            notations.push("pipedream".to_owned());
            for micro_batches in MICRO_BATCHES.into_iter().filter(|&m| m <= self.batch_size) {
                notations.push(format!("gpipe({micro_batches})"));
                notations.push(format!("1f1b({micro_batches})"));
                if micro_batches >= stages {
                    notations.push(format!("2bw({micro_batches})"));
                }
            }
            notations.extend(self.stale(devices)?);
        }
        for notation in notations {
            let schedule = Schedule::parse(&notation, Some(stages))?;
            match self.candidate(&schedule, devices) {
                Ok(candidate) => found.candidates.push(candidate),
                Err(Error::Cut(CutError::Memory { .. })) => {
                    found.too_large.push(format!("{notation} on {stages}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// DSP with the least staleness there is, and with the least that keeps the busiest stage working.
    fn stale(&self, devices: &[usize]) -> Result<Vec<String>, Error> {
        let staleness: Vec<String> = (0..devices.len()).rev().map(|m| m.to_string()).collect();
        let least = format!("dsp(m={})", staleness.join(","));
        let schedule = Schedule::parse(&least, None)?;
        let (times, _) = match self.times(&schedule, devices) {
            Ok(found) => found,
            Err(Error::Cut(CutError::Memory { .. })) => return Ok(vec![least]),
            Err(error) => return Err(error),
        };
        let search = LeastStaleness {
            batches: 2 * BATCHES,
            warmup: WARMUP,
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
    fn times(&self, schedule: &Schedule, devices: &[usize]) -> Result<(Times, Cut), Error> {
        let mut profile = self.profile.clone();
        profile.devices = devices
            .iter()
            .map(|&device| self.profile.devices[device].clone())
            .collect();
        if profile.links.len() != 1 {
            profile.links.truncate(devices.len() - 1);
        }
        let run = ToCut {
            model: self.model,
            schedule,
            replicas: None,
            batch_size: self.batch_size,
            optimizer_slots: MOMENTUM_SLOTS,
        };
        let path: &Path = &self.planning.profile;
        check_profile(&profile, path, &run).map_err(DurationsError::from)?;
        let (cut, _) = cut_of_profile(&profile, path, &run)?;
        let samples = self.batch_size.div_ceil(schedule.micro_batches());
        let pipeline = Pipeline::of(&profile, schedule, cut.stages(), samples)
            .map_err(DurationsError::from)?;
        Ok((
            self.slowed(&pipeline, schedule.micro_batches(), devices)?,
            cut,
        ))
    }

    /// The durations of a pipeline whose stage k is on the k-th of these devices.
    fn slowed(
        &self,
        pipeline: &Pipeline,
        micro_batches: usize,
        devices: &[usize],
    ) -> Result<Times, Refusal> {
        let seed = self.planning.seed;
        let times = Times::new(pipeline, micro_batches, seed);
        let stragglers = stragglers(&self.planning.stragglers, self.profile.devices.len())?;
        if stragglers.is_empty() {
            return Ok(times);
        }
        let devices = devices.to_vec();
        Ok(times.slowed_by(Arc::new(move |stage, batch| {
            let device = devices.get(stage).copied().unwrap_or(stage);
            let of = stragglers.iter();
            of.map(|straggler| straggler.slowdown(seed, device, batch))
                .sum()
        })))
    }

    fn candidate(&self, schedule: &Schedule, devices: &[usize]) -> Result<Candidate, Error> {
        let (times, cut) = self.times(schedule, devices)?;
        let simulation = Simulation {
            schedule,
            times: &times,
            batches: WARMUP + BATCHES + schedule.lead(),
            warmup: WARMUP,
        };
        let simulated = simulation.run(|_| {})?;
        let policies = schedule.policies();
        Ok(Candidate {
            memory_bytes: self.memory(schedule, &cut, self.batch_size)?,
            schedule: schedule.to_string(),
            stages: schedule.stages(),
            micro_batches: schedule.micro_batches(),
            devices: devices.to_vec(),
            cut,
            images_per_second: simulated.batches_per_second * self.batch_size as f64,
            staleness: policies
                .iter()
                .map(|policy| policy.staleness)
                .max()
                .unwrap_or_default(),
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

    /// The whole network on one device with a share of the batch.
    fn whole(&self, device: &DeviceProfile, samples: usize) -> StageTimes {
        let scale = samples as f64 / self.profile.samples.max(1) as f64;
        StageTimes {
            forward: Distribution::sum(&device.recompute).times(scale),
            recompute: Distribution::ZERO,
            backward: Distribution::sum(&device.backward).times(scale),
            update: Distribution::sum(&device.update),
            learn: Distribution::ZERO,
        }
    }

    /// Data parallelism over all devices.
    fn data_parallel(&self, found: &mut Found) -> Result<(), Error> {
        let devices: Vec<usize> = (0..self.profile.devices.len()).collect();
        let replicas = devices.len();
        if replicas < 2 || replicas > self.batch_size {
            return Ok(());
        }
        let schedule = Schedule::parse(&format!("dp({replicas})"), None)?;
        let samples = self.batch_size.div_ceil(replicas);
        let cut = Cut::new(self.model, &[self.model.blocks.len()])?;
        let memory = self.memory(&schedule, &cut, samples)?;
        let limits = self
            .profile
            .devices
            .iter()
            .map(|device| device.memory_bytes);
        if limits.flatten().any(|limit| limit < memory) {
            found
                .too_large
                .push(format!("dp({replicas}) on {replicas}"));
            return Ok(());
        }
        let stages = self.profile.devices.iter();
        let pipeline = Pipeline {
            stages: stages.map(|device| self.whole(device, samples)).collect(),
            hops: vec![stagger_plan::HopTimes::NONE; replicas - 1],
        };
        // The slowest link holds up the ring.
        let links = self.profile.links.iter();
        let slowest = |of: fn(&LinkProfile) -> f64| links.clone().map(of).fold(0.0, f64::max);
        let sum = RingSum {
            bytes: self
                .profile
                .blocks
                .iter()
                .map(|block| block.parameter_bytes)
                .sum(),
            latency: slowest(|link| link.latency.mean()),
            per_megabyte: slowest(|link| link.per_megabyte.mean()),
        };
        let times = self.slowed(&pipeline, 1, &devices)?;
        let rate = data_parallel_rate(&times, &sum, BATCHES);
        found.candidates.push(Candidate {
            schedule: schedule.to_string(),
            stages: 1,
            micro_batches: 1,
            devices,
            cut,
            images_per_second: rate * self.batch_size as f64,
            staleness: 0,
            memory_bytes: memory,
        });
        Ok(())
    }

    /// Images per second of backpropagation on the fastest device, without stragglers.
    fn alone(&self) -> Result<f64, Error> {
        let rate = |device: &DeviceProfile| {
            let times = self.whole(device, self.batch_size);
            let seconds = times.forward.mean() + times.backward.mean() + times.update.mean();
            self.batch_size as f64 / seconds.max(f64::MIN_POSITIVE)
        };
        Ok(self.profile.devices.iter().map(rate).fold(0.0, f64::max))
    }
}
