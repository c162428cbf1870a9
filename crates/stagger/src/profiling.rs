//! Measuring what a pipeline's blocks, stages and links take, for a [`Profile`].

mod hops;
mod stage_times;

use stagger_model::{Balance, BlockCosts, Cut, elements};
use stagger_plan::{BlockSize, LinkProfile, MeasuredStages, Profile, StageTimes};
use stagger_report::RunTally;
use stagger_runtime::{Event, Interrupt};
use stagger_schedule::Horizon;
use stagger_transport::{Bytes, Threads, World};

use crate::balance;
use crate::bench::{self, synthetic};
use crate::block_times::{BlockTimes, micro_batch};
use crate::error::Error;
use crate::job::{Job, TransportChoice};
use crate::limits;
use crate::options::TrainingOptions;
use crate::ranks::{self, Leader, Origin};
use crate::refusal::{Refusal, check_most};
use crate::stages;
use crate::training::{refuse_unused_transport, set_stages};

pub(crate) use hops::{RoundTrips, round_trips};
use stage_times::StageSamples;

/// Times that messages go over a hop and back.
const ROUND_TRIPS: usize = 30;

/// All that is measured stands in the file, which has to be read again.
const MOST_ROUNDS: usize = 10_000;
const MOST_BATCHES: usize = 100_000;

/// What to measure. Nothing is written.
#[derive(Clone, Debug)]
pub struct Profiling {
    /// Model, schedule, engine and the like, as for [`Bench`](crate::bench::Bench); no stage can be emulated or slowed down. Without a
    /// balance, the stages that are measured whole are cut by what the blocks have taken.
    pub options: TrainingOptions,
    /// Channels, height and width of an image.
    pub shape: [usize; 3],
    /// Number of classes, at least 1.
    pub classes: usize,
    /// Times that each block is measured, 1 to 10,000.
    pub rounds: usize,
    /// Batches of the run that whole stages are measured in, 1 to 100,000.
    pub batches: usize,
    /// Batches before those, which do not count.
    pub warmup: usize,
    /// The commit of the program, which ranks of a run have to agree on.
    pub commit: Option<String>,
    /// The words that this process was started with, without the program's name. Ranks that have others are refused; without this they
    /// are not compared.
    pub command_line: Option<Vec<String>>,
}

/// A finished measurement.
#[derive(Clone, Debug)]
pub struct Profiled {
    /// What ran.
    pub job: Job,
    /// What was measured.
    pub profile: Profile,
    /// Of the run that whole stages were measured in.
    pub images_per_second: f64,
    /// What the profile expects of cuts into the job's stages: its own first, then those by `auto` and `uniform`.
    pub forecasts: Vec<Forecast>,
    /// Lines for people: which rank has which stages, and what was not measured.
    pub notes: Vec<String>,
}

/// What block times say about a cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// How the cut is made: `profile`, `auto`, `uniform`.
    pub balance: &'static str,
    /// The cut.
    pub cut: Cut,
    /// What each stage takes for a micro-batch, in seconds; of a stage with replicas, what one of them takes for its share.
    pub seconds: Vec<f64>,
}

impl Forecast {
    /// What the slowest stage takes, in seconds: no pipeline is faster.
    #[must_use]
    pub fn slowest(&self) -> f64 {
        self.seconds.iter().copied().fold(0.0, f64::max)
    }
}

impl Profiling {
    /// Measures. Over a `world` of several ranks, this is rank 0, and each of the others has to [follow](Profiling::follow).
    ///
    /// # Errors
    /// As [`Training::run`](crate::Training::run).
    pub fn run(&self, world: Option<World>) -> Result<Profiled, Error> {
        // From here on the other ranks are let go, whatever happens.
        let several = world.filter(|world| world.size() > 1);
        let leader = several.map(|world| Leader::new(world, Interrupt::new()));
        let leader = leader.as_ref();
        if let Some(leader) = leader {
            leader.compare(self.command_line.as_deref())?;
        }
        if self.options.emulate.is_some() {
            return Err(Refusal::NothingToMeasure.into());
        }
        let stragglers = self.options.straggler.iter().flatten();
        if stragglers.count() > 0 {
            return Err(Refusal::PausesMeasured.into());
        }
        let ranks = leader.map_or(1, Leader::ranks);
        refuse_unused_transport(&self.options, ranks)?;
        let mut options = TrainingOptions {
            balance: Some(self.options.balance.clone().unwrap_or("profile".into())),
            ..self.options.clone()
        };
        if let Some(leader) = leader {
            set_stages(&mut options, leader.ranks());
        }
        for (option, value) in [
            ("rounds", self.rounds),
            ("batches", self.batches),
            ("classes", self.classes),
        ] {
            if value == 0 {
                return Err(Refusal::Zero { option }.into());
            }
        }
        for (option, found, most, expected) in [
            ("rounds", self.rounds, MOST_ROUNDS, "at most 10000"),
            ("batches", self.batches, MOST_BATCHES, "at most 100000"),
            ("warmup", self.warmup, MOST_BATCHES, "at most 100000"),
        ] {
            let kind = "a number that anything is measured in";
            check_most(option, found, most, kind, expected)?;
        }
        let mut job = bench::job(options, self.shape, self.classes)?;
        if !job.batch_size.is_multiple_of(job.schedule.micro_batches()) {
            // A profile has the times of one size.
            return Err(Refusal::Value {
                option: "batch_size",
                found: job.batch_size.to_string(),
                kind: "a number of samples that the micro-batches of the schedule share alike",
                expected: "a multiple of their number",
            }
            .into());
        }
        let places = match leader {
            Some(leader) => leader.places(&job)?,
            None => 0..job.replicas.places(),
        };
        stages::check(&job, places.clone())?;
        limits::check(&job, places, false, 0)?;

        let commit = self.commit.as_deref();
        let measured = balance::measure(&job, leader, commit, self.rounds)?;
        if balance::is_to_be_measured(&job) {
            balance::cut_by(&mut job, &measured)?;
        }
        let mut notes = match leader {
            // They have to know the cut.
            Some(leader) => leader.prepare(&job, commit)?,
            None => Vec::new(),
        };
        notes.extend(job.cut_misfit.take());
        let (samples, images_per_second) = self.run_whole(&job, leader)?;
        let links = links(&job, leader, &samples)?;
        let stages = match has_gpu(&job) {
            true => {
                notes.push(
                    "whole stages are not in the profile: a GPU computes on after an action has ended, so that actions say little \
                     of its time"
                        .to_owned(),
                );
                None
            }
            false => Some(MeasuredStages {
                cut: job.cut.sizes(),
                times: whole_stages(&job, samples),
            }),
        };
        let profile = Profile {
            format: Profile::FORMAT,
            model: job.model.name.clone(),
            network: job.options.network.clone(),
            input: job.model.input,
            classes: job.model.classes,
            samples: micro_batch(&job),
            dtype: job.precision.to_string(),
            blocks: block_sizes(&job)?,
            devices: devices(&job, &measured)
                .into_iter()
                .map(BlockTimes::into_profile)
                .collect(),
            links,
            stages,
        };
        Ok(Profiled {
            forecasts: forecasts(&job, &profile)?,
            job,
            profile,
            images_per_second,
            notes,
        })
    }

    /// Takes part in the measurement of rank 0, until that ends: to be called on the other ranks of the world, with the same shape
    /// and classes.
    ///
    /// # Errors
    /// When rank 0 sends what this build does not understand.
    pub fn follow(&self, world: &World, interrupt: &Interrupt) -> Result<(), Error> {
        let batch_size = bench::batch_size(&self.options);
        let given = bench::given(self.shape, self.classes, batch_size);
        let origin = Origin {
            commit: self.commit.as_deref(),
            command_line: self.command_line.as_deref(),
        };
        ranks::follow(world, &given, origin, interrupt)
    }

    /// Trains on random images with all stages at the same time. Gives what their actions took, and the images per second.
    fn run_whole(&self, job: &Job, leader: Option<&Leader>) -> Result<(StageSamples, f64), Error> {
        let counted = self.warmup..self.batches.saturating_add(self.warmup);
        // As for `stagger bench`: until no stage is ahead any more.
        let total = counted.end.saturating_add(job.schedule.lead());
        let mut samples = StageSamples::new(job.schedule.stages(), counted);
        let mut tally = RunTally::within(self.warmup, self.batches);
        stages::run(
            job,
            &stages::plan(job, job.schedule.clone(), Horizon::of(total), 1.0),
            stages::Options {
                leader,
                ..stages::Options::default()
            },
            synthetic::feeds(job, job.seed),
            &Interrupt::new(),
            |event| {
                tally.event(&event);
                if let Event::Acted(acted) = &event {
                    samples.add(acted);
                }
                Ok(())
            },
        )?;
        Ok((samples, tally.summary().images_per_second))
    }
}

fn has_gpu(job: &Job) -> bool {
    let mut places = 0..job.replicas.places();
    places.any(|place| job.engine.at(place).cuda().is_some())
}

/// What stages take for whole micro-batches. What one of several replicas has taken is for its share.
fn whole_stages(job: &Job, samples: StageSamples) -> Vec<StageTimes> {
    let times = samples.times().into_iter().enumerate();
    let whole = times.map(|(stage, times)| times.for_share(job.replicas.of(stage) as f64));
    whole.collect()
}

/// The hops between the stages: each of them over ranks, and within one process one for all, which are alike.
fn links(
    job: &Job,
    leader: Option<&Leader>,
    samples: &StageSamples,
) -> Result<Vec<LinkProfile>, Error> {
    let hops = job.schedule.stages().saturating_sub(1);
    let found: Vec<RoundTrips> = match (leader, job.transport) {
        _ if hops == 0 => Vec::new(),
        (Some(leader), _) => leader.measure_hops(job, ROUND_TRIPS)?,
        (None, TransportChoice::Threads) => {
            let found = hops::over(job, &Threads, 0, ROUND_TRIPS)?;
            found.into_iter().collect()
        }
        (None, TransportChoice::Bytes) => {
            let format = job.wire_format;
            let found = hops::over(job, &Bytes { format }, 0, ROUND_TRIPS)?;
            found.into_iter().collect()
        }
    };
    let link = |hop: &RoundTrips| {
        let mut link = hop.link();
        // A message from another process or device is brought to the stage's own, which is no part of the stage's times.
        let landing = samples.landing(hop.stage + 1) / (hop.bytes as f64 / 1e6);
        if let stagger_plan::Distribution::Samples(times) = &mut link.per_megabyte {
            times.iter_mut().for_each(|seconds| *seconds += landing);
        }
        link
    };
    Ok(found.iter().map(link).collect())
}

/// The devices of the stages: one for all where they are alike, and else that of the slowest replica of each.
fn devices(job: &Job, measured: &[BlockTimes]) -> Vec<BlockTimes> {
    let of_stages = balance::slowest_of_stages(job, measured);
    match of_stages.split_first() {
        Some((first, others)) if others.iter().all(|other| other == first) => {
            vec![(*first).clone()]
        }
        _ => of_stages.into_iter().cloned().collect(),
    }
}

/// Room that the blocks take by their shapes, f32.
fn block_sizes(job: &Job) -> Result<Vec<BlockSize>, Error> {
    let samples = micro_batch(job) as u64;
    let costs = job.model.block_costs()?;
    let blocks = job.model.blocks.iter().zip(costs).enumerate();
    blocks
        .map(|(at, (block, cost))| {
            let output = elements(&job.model.stage_input_shape(at + 1)?);
            Ok(BlockSize {
                name: block.name.clone(),
                parameter_bytes: cost.parameter_bytes(),
                output_bytes: output.saturating_mul(4).saturating_mul(samples),
                graph_bytes: cost.activation_bytes().saturating_mul(samples),
            })
        })
        .collect()
}

fn forecasts(job: &Job, profile: &Profile) -> Result<Vec<Forecast>, Error> {
    let costs = profile.block_costs(profile.samples, job.schedule.micro_batches());
    let of_stages: Vec<&BlockCosts> = (0..job.schedule.stages())
        .map(|stage| &costs[stage.min(costs.len() - 1)])
        .collect();
    let cuts = [
        ("profile", Balance::Profile),
        ("auto", Balance::Auto),
        ("uniform", Balance::Uniform),
    ];
    cuts.into_iter()
        .map(|(name, balance)| {
            let (cut, seconds) = balance::best(job, &of_stages, &balance)?;
            Ok(Forecast {
                balance: name,
                cut,
                seconds,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stagger_runtime::{Acted, Waits};
    use stagger_schedule::Action;

    use super::*;

    /// What one of two replicas takes for its half of a micro-batch is half of what a device takes for all of it; an update is the same
    /// on every replica.
    #[test]
    fn times_of_replicas_become_those_of_whole_micro_batches() {
        let options = TrainingOptions {
            model: Some("resnet8".to_owned()),
            schedule: Some("bp".to_owned()),
            replicas: Some(vec![2, 1]),
            batch_size: Some(8),
            ..TrainingOptions::default()
        };
        let job = bench::job(options, [1, 8, 8], 10).unwrap();
        assert_eq!(micro_batch(&job), 8);
        let mut samples = StageSamples::new(2, 0..1);
        let (batch, micro) = (0, 0);
        for stage in [0, 1] {
            for (action, seconds) in [
                (Action::Forward { batch, micro }, 3),
                (Action::Backward { batch, micro }, 5),
                (Action::Update { version: 0 }, 7),
            ] {
                samples.add(&Acted {
                    stage,
                    action,
                    started_at: Duration::ZERO,
                    ended_at: Duration::from_secs(seconds),
                    waits: Waits::default(),
                    transfer: Duration::ZERO,
                    delayed: Duration::ZERO,
                    staleness: None,
                    gap: None,
                });
            }
        }
        let found = whole_stages(&job, samples).into_iter().map(|times| {
            [times.forward, times.recompute, times.backward, times.update].map(|time| time.mean())
        });
        assert!(found.eq([[6.0, 6.0, 10.0, 7.0], [3.0, 3.0, 5.0, 7.0]]));
    }
}
