//! Every way to train that is tried.

use std::path::Path;

use stagger_model::Model;
use stagger_plan::{DeviceProfile, Distribution, LeastStaleness, Profile};
use stagger_runtime::{Replicas, Straggler};
use stagger_schedule::{MAX_REPLICAS, Schedule};

use super::candidate::{Layout, is_too_large};
use super::devices::{by_speed, fastest};
use super::layouts::uneven;
use super::{AS_GOOD, Candidate, Planning, engine};
use crate::balance::{ToCut, cut_of_profile};
use crate::durations::DurationsError;
use crate::error::Error;
use crate::job::{samples_of_share, stragglers};
use crate::refusal::Refusal;

/// What momentum keeps, in values per parameter.
pub(super) const MOMENTUM_SLOTS: usize = 1;

/// Batches that are simulated of DSP, at least, to find the least staleness that keeps the busiest stage working.
const STALENESS_BATCHES: usize = 1200;

/// Batches over which the mean slowdown of a device is taken.
const SLOWED_BATCHES: usize = 600;

/// The most micro-batches that a batch is tried in.
const MOST_MICRO_BATCHES: usize = 64;

/// A micro-batch has at least this part of the samples that the profile was measured with. Times are taken to be in proportion to
/// samples, which those of kernels with little to do are not.
const LEAST_PART: usize = 16;

/// Ways to deal devices out to stages with different numbers of replicas that are simulated at most, the most promising first.
const MOST_UNEVEN: usize = 24;

/// Candidates.
#[derive(Default)]
pub(super) struct Found {
    pub candidates: Vec<Candidate>,
    /// How many were simulated: more than there are candidates, as of one method with several numbers of micro-batches one is kept.
    pub simulated: usize,
    /// What fits no devices.
    pub too_large: Vec<String>,
    /// What was not simulated, as it cannot be as fast as what was.
    pub left_out: usize,
}

impl Found {
    fn fastest(&self) -> f64 {
        let rates = self.candidates.iter().map(|one| one.images_per_second);
        rates.fold(0.0, f64::max)
    }
}

/// A search over methods and devices.
pub(super) struct Search<'a> {
    pub planning: &'a Planning,
    pub model: &'a Model,
    pub profile: &'a Profile,
    pub batch_size: usize,
}

impl Search<'_> {
    /// All methods on one to all devices; those that have replicas on all pipelines with as many of each stage; and then on the most
    /// promising ones of those whose stages have different numbers of them.
    pub fn everything(&self) -> Result<Found, Error> {
        let mut found = Found::default();
        let all = self.profile.devices.len();
        let order = by_speed(&self.seconds()?);
        let most_stages = all.min(self.model.blocks.len());
        for count in 1..=most_stages {
            let layout = Layout {
                devices: &fastest(&order, count),
                replicas: &Replicas::none(count),
            };
            self.try_all(layout, None, &mut found)?;
        }
        // Replicas wait for the slowest of them, so those of a stage are as fast as each other where that can be.
        let of_share = samples_of_share(self.model)?;
        let most_replicas = (self.batch_size / of_share).min(MAX_REPLICAS);
        for stages in 1..=most_stages {
            for replicas in 2..=(all / stages).min(most_replicas) {
                let replicas = self.replicas(&[replicas], stages)?;
                let layout = Layout {
                    devices: &order[..replicas.places()],
                    replicas: &replicas,
                };
                self.try_all(layout, None, &mut found)?;
            }
        }
        let uneven = uneven(all, most_stages);
        let mut layouts = Vec::new();
        for counts in uneven
            .iter()
            .filter(|counts| counts.iter().all(|&count| count <= most_replicas))
        {
            let replicas = self.replicas(counts, counts.len())?;
            let seconds = self.slowest_stage(&replicas, &order)?;
            layouts.push((seconds, replicas));
        }
        layouts.sort_by(|(a, one): &(f64, Replicas), (b, other)| {
            a.total_cmp(b).then(one.places().cmp(&other.places()))
        });
        found.left_out += layouts.len().saturating_sub(MOST_UNEVEN);
        for (_, replicas) in layouts.iter().take(MOST_UNEVEN) {
            let layout = Layout {
                devices: &order[..replicas.places()],
                replicas,
            };
            let needed = AS_GOOD * found.fastest() / self.batch_size as f64;
            self.try_all(layout, Some(needed), &mut found)?;
        }
        Ok(found)
    }

    fn replicas(&self, counts: &[usize], stages: usize) -> Result<Replicas, Refusal> {
        Replicas::new(counts, stages).map_err(Refusal::Replicas)
    }

    /// What a method that recomputes nothing would take for a batch in its slowest stage, whatever fits into memory, in seconds: no
    /// method is much faster.
    fn slowest_stage(&self, replicas: &Replicas, order: &[usize]) -> Result<f64, Error> {
        let mut profile = self.profile.clone();
        profile.devices = (order[..replicas.places()].iter())
            .map(|&device| DeviceProfile {
                memory_bytes: None,
                ..self.profile.devices[device].clone()
            })
            .collect();
        let schedule = Schedule::parse("pipedream", Some(replicas.stages()))?;
        let run = ToCut {
            model: self.model,
            schedule: &schedule,
            replicas: Some(replicas),
            batch_size: self.batch_size,
            optimizer_slots: MOMENTUM_SLOTS,
            computes: None,
        };
        let path: &Path = &self.planning.profile;
        let (_, seconds) = cut_of_profile(&profile, path, &run)?;
        Ok(seconds.into_iter().fold(0.0, f64::max))
    }

    /// The methods that are tried on a layout, but for DSP.
    fn methods(&self, layout: Layout<'_>) -> Result<Vec<String>, Error> {
        let stages = layout.stages();
        let most = layout.replicas.most();
        if stages == 1 {
            return Ok(vec![match most {
                1 => "bp".to_owned(),
                replicas => format!("dp({replicas})"),
            }]);
        }
        let mut notations = vec!["pipedream".to_owned()];
        if layout.replicas.any() {
            notations.push("bp".to_owned());
        }
        for micro_batches in self.micro_batches(most)? {
            notations.push(format!("gpipe({micro_batches})"));
            notations.push(format!("1f1b({micro_batches})"));
            notations.push(format!("zb({micro_batches})"));
            if micro_batches >= stages {
                notations.push(format!("2bw({micro_batches})"));
            }
        }
        Ok(notations)
    }

    /// Numbers of micro-batches: 2, 4, 8 and so on, as long as each share of one has samples enough. More of them fill a pipeline better,
    /// but batch normalisation then sees few samples, and kernels have less to do at a time.
    fn micro_batches(&self, replicas: usize) -> Result<Vec<usize>, Error> {
        let measured = self.profile.samples.div_ceil(LEAST_PART);
        let least = samples_of_share(self.model)?.max(measured);
        let most = (self.batch_size / (replicas * least.max(1))).min(MOST_MICRO_BATCHES);
        let powers = std::iter::successors(Some(2_usize), |m| m.checked_mul(2));
        Ok(powers.take_while(|&m| m <= most).collect())
    }

    /// Tries all methods on a layout, except those that cannot reach `needed` batches per second.
    fn try_all(
        &self,
        layout: Layout<'_>,
        needed: Option<f64>,
        found: &mut Found,
    ) -> Result<(), Error> {
        if !self.has_one_engine_per_stage(layout) {
            return Ok(());
        }
        let mut notations = self.methods(layout)?;
        if layout.stages() > 1 {
            notations.extend(self.stale(layout, needed)?);
        }
        let first = found.candidates.len();
        for notation in notations {
            let schedule = Schedule::parse(&notation, Some(layout.stages()))?;
            match self.draft(&schedule, layout) {
                Ok(draft)
                    if needed.is_some_and(|needed| draft.most_batches_per_second < needed) =>
                {
                    found.left_out += 1;
                }
                Ok(draft) => {
                    let candidate = self.candidate(&schedule, layout, draft)?;
                    found.simulated += 1;
                    found.candidates.push(candidate);
                }
                Err(error) if is_too_large(&error) => {
                    let replicas = layout.replicas;
                    found
                        .too_large
                        .push(match (layout.stages(), replicas.counts().as_slice()) {
                            (1, [1]) => format!("{notation} on 1 device"),
                            (stages, [1]) => format!("{notation} on {stages} devices"),
                            (1, [replicas]) => format!("{notation} on {replicas} devices"),
                            (stages, [replicas]) => {
                                format!(
                                    "{notation} on {stages} stages with {replicas} replicas of each"
                                )
                            }
                            (stages, _) => {
                                format!("{notation} on {stages} stages with {replicas} replicas")
                            }
                        });
                }
                Err(error) => return Err(error),
            }
        }
        let tried = found.candidates.split_off(first);
        found.candidates.extend(one_of_each(tried));
        Ok(())
    }

    /// DSP with the least staleness there is, and with the least that keeps the busiest stage working.
    fn stale(&self, layout: Layout<'_>, needed: Option<f64>) -> Result<Vec<String>, Error> {
        let staleness: Vec<String> = (0..layout.stages()).rev().map(|m| m.to_string()).collect();
        let least = format!("dsp(m={})", staleness.join(","));
        let schedule = Schedule::parse(&least, None)?;
        let draft = match self.draft(&schedule, layout) {
            // More staleness lets the slowest stage do no more.
            Ok(draft) if needed.is_some_and(|needed| draft.most_batches_per_second < needed) => {
                return Ok(vec![least]);
            }
            Ok(draft) => draft,
            Err(error) if is_too_large(&error) => return Ok(vec![least]),
            Err(error) => return Err(error),
        };
        let search = LeastStaleness {
            // There are many layouts.
            batches: (50_000 / layout.stages()).max(STALENESS_BATCHES),
            ..LeastStaleness::default()
        };
        let busy = search.search(&draft.times)?;
        let busy = busy.is_enough.then(|| busy.schedule.to_string());
        Ok(match busy {
            Some(busy) if busy != least => vec![least, busy],
            _ => vec![least],
        })
    }

    /// The stragglers, each of a device that there is without added ones.
    pub fn stragglers(&self) -> Result<Vec<Straggler>, Refusal> {
        let devices = self.profile.devices.len() - self.planning.added.len();
        stragglers(&self.planning.stragglers, devices).map_err(|refusal| match refusal {
            Refusal::Straggler { text, stage, last } => Refusal::StragglingDevice {
                text,
                device: stage,
                last,
            },
            other => other,
        })
    }

    /// The seed and the number by which a device is slowed down: an added one as the one that it is like, at other batches.
    pub fn straggling_as(&self, seed: u64, device: usize) -> (u64, usize) {
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
            let batches = 0..SLOWED_BATCHES;
            let slowed = batches.map(|batch| slowdown(&stragglers, seed, device, batch));
            let slowdown = slowed.sum::<f64>() / SLOWED_BATCHES as f64;
            self.batch_seconds(&self.profile.devices[number]) * (1.0 + slowdown)
        };
        let seconds: Vec<f64> = (0..self.profile.devices.len()).map(seconds).collect();
        if let Some(device) = seconds.iter().position(|&seconds| seconds <= 0.0) {
            let what = format!("a batch on device {device}");
            return Err(DurationsError::NoTime { what }.into());
        }
        Ok(seconds)
    }

    /// What backpropagation of a batch takes on a device alone.
    fn batch_seconds(&self, device: &DeviceProfile) -> f64 {
        let scale = self.batch_size as f64 / self.profile.samples.max(1) as f64;
        let seconds = |times: &[Distribution]| Distribution::sum(times).mean();
        let passes = seconds(&device.recompute) + seconds(&device.backward);
        scale * passes + seconds(&device.update)
    }

    /// Images per second of backpropagation on the fastest device, with what slows it down in the mean.
    pub fn alone(&self) -> Result<f64, Error> {
        let least = self.seconds()?.into_iter().fold(f64::INFINITY, f64::min);
        Ok(self.batch_size as f64 / least.max(f64::MIN_POSITIVE))
    }

    /// Whether each stage has replicas on one engine, as runs have them.
    fn has_one_engine_per_stage(&self, layout: Layout<'_>) -> bool {
        let engine = |device: &usize| engine(&self.profile.devices[*device], &self.profile.dtype);
        (0..layout.stages()).all(|stage| {
            let places = layout.replicas.places_of(stage..stage + 1);
            let mut engines = layout.devices[places].iter().map(engine);
            let first = engines.next();
            engines.all(|engine| Some(engine) == first)
        })
    }
}

/// Of candidates on one layout those without micro-batches, and of each method with micro-batches the one with the fewest of those that
/// are as fast as its fastest, but for a hundredth.
fn one_of_each(tried: Vec<Candidate>) -> Vec<Candidate> {
    let method = |one: &Candidate| one.schedule.split('(').next().map(str::to_owned);
    let mut kept: Vec<Candidate> = Vec::new();
    let mut methods = Vec::new();
    for one in &tried {
        if one.micro_batches == 1 {
            kept.push(one.clone());
            continue;
        }
        let name = method(one);
        if methods.contains(&name) {
            continue;
        }
        let alike = tried.iter().filter(|other| method(other) == name);
        let rates = alike.clone().map(|other| other.images_per_second);
        let fastest = rates.fold(0.0, f64::max);
        let as_good = alike.filter(|other| other.images_per_second >= AS_GOOD * fastest);
        kept.extend(as_good.min_by_key(|other| other.micro_batches).cloned());
        methods.push(name);
    }
    kept
}

/// By what share of its own time a device is slower for a batch.
pub(super) fn slowdown(stragglers: &[Straggler], seed: u64, device: usize, batch: usize) -> f64 {
    let of = stragglers.iter();
    of.map(|straggler| straggler.slowdown(seed, device, batch))
        .sum()
}
