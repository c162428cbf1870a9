//! How long everything takes that the stages of a run do.

mod error;

use std::ops::Range;

use stagger_schedule::{Place, Replicas, Schedule};

use crate::distribution::Distribution;
use crate::profile::{DeviceProfile, LinkProfile, Profile, StageTimes};
use crate::times::ring_steps;

pub use error::PipelineError;
pub(crate) use error::counted;

/// Stages and replicas of stages with their durations, and what lies between them.
#[derive(Clone, Debug, PartialEq)]
pub struct Pipeline {
    /// Copies of each stage.
    pub replicas: Replicas,
    /// Each place, stage by stage: passes are of a replica's share of a micro-batch. Without replicas these are the stages.
    pub places: Vec<StageTimes>,
    /// Each link between stages, stage by stage, in the order of [`Replicas::pairs`]: without replicas, that above stage k. Messages
    /// have the rows that the two ends share.
    pub hops: Vec<HopTimes>,
    /// The links between the replicas of each stage.
    pub rings: Vec<RingTimes>,
}

/// What a message takes from a stage to its neighbour. A link carries one message at a time in each direction.
#[derive(Clone, Debug, PartialEq)]
pub struct HopTimes {
    /// How long an activation of a micro-batch occupies the link, in seconds.
    pub activation: Distribution,
    /// How long a gradient does, in seconds.
    pub gradient: Distribution,
    /// Seconds from the end of sending to the arrival; the acknowledgement takes as long.
    pub latency: Distribution,
}

impl HopTimes {
    /// A hop between threads: nothing moves.
    pub const NONE: Self = Self {
        activation: Distribution::ZERO,
        gradient: Distribution::ZERO,
        latency: Distribution::ZERO,
    };
}

/// What a message takes from a replica to the next one of its stage, when they sum up their gradients: in 2 (R − 1) steps each
/// of R replicas sends an R-th of them.
#[derive(Clone, Debug, PartialEq)]
pub struct RingTimes {
    /// How long a message occupies the link, in seconds.
    pub occupies: Distribution,
    /// Seconds from the end of sending to the arrival.
    pub latency: Distribution,
}

impl RingTimes {
    /// A sum that takes no time.
    pub const NONE: Self = Self {
        occupies: Distribution::ZERO,
        latency: Distribution::ZERO,
    };

    /// Seconds of a sum over so many replicas that come to it at the same time, if every message takes its mean time.
    #[must_use]
    pub fn seconds(&self, replicas: usize) -> f64 {
        ring_steps(replicas) as f64 * (self.occupies.mean() + self.latency.mean())
    }
}

impl Pipeline {
    /// One of each stage.
    #[must_use]
    pub fn without_replicas(stages: Vec<StageTimes>, hops: Vec<HopTimes>) -> Self {
        Self {
            replicas: Replicas::none(stages.len()),
            rings: vec![RingTimes::NONE; stages.len()],
            places: stages,
            hops,
        }
    }

    /// Stages that take equally long for a micro-batch under this schedule: `step` seconds, of which a forward pass is one part,
    /// a recompute where there is one another, and a backward pass two. Updates and transfers take no time.
    #[must_use]
    pub fn equal(schedule: &Schedule, step: f64) -> Self {
        let times = |recomputes: bool| {
            let part = step / if recomputes { 4.0 } else { 3.0 };
            StageTimes {
                forward: Distribution::Constant(part),
                recompute: Distribution::Constant(part),
                backward: Distribution::Constant(2.0 * part),
                weights_share: None,
                update: Distribution::ZERO,
                learn: Distribution::ZERO,
            }
        };
        let stages: Vec<StageTimes> = schedule.recomputes().into_iter().map(times).collect();
        let hops = vec![HopTimes::NONE; stages.len() - 1];
        Self::without_replicas(stages, hops)
    }

    /// The stages of a pipeline that has one of each, with replicas that are as fast as these: passes and messages take time in
    /// proportion to the rows of a micro-batch of `samples` that are each replica's. Where that is not known, shares are equal. Sums
    /// of gradients take no time.
    ///
    /// # Panics
    /// When the replicas are those of another number of stages.
    #[must_use]
    pub fn shared_out(&self, replicas: &Replicas, samples: Option<usize>) -> Self {
        let place = |number: usize| {
            let place = replicas.place(number);
            self.places[place.stage].for_share(share(place, samples))
        };
        let hops = |stage: usize| {
            shares_of_links(replicas, stage, samples).map(move |share| HopTimes {
                activation: self.hops[stage].activation.times(share),
                gradient: self.hops[stage].gradient.times(share),
                latency: self.hops[stage].latency.clone(),
            })
        };
        Self {
            places: (0..replicas.places()).map(place).collect(),
            hops: (0..replicas.stages() - 1).flat_map(hops).collect(),
            rings: vec![RingTimes::NONE; replicas.stages()],
            replicas: replicas.clone(),
        }
    }

    /// What a profile says of the stages of a schedule that are cut like this, for micro-batches of `samples`. A stage that keeps
    /// its graph builds it in the forward pass, which takes what a recompute takes.
    ///
    /// Stages that were measured whole with this cut take what they took then; others take the sum of their blocks, by
    /// [`Profile::calibrated`]. Passes and
    /// transfers of other numbers of samples take time in proportion.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn of(
        profile: &Profile,
        schedule: &Schedule,
        cut: &[Range<usize>],
        samples: usize,
    ) -> Result<Self, PipelineError> {
        Self::of_replicas(profile, schedule, &Replicas::none(cut.len()), cut, samples)
    }

    /// The same with replicas that share each micro-batch out by rows. They run on the profile's only device, on that of their stage,
    /// or each on its own where there is one for each place. Gradients are summed up over links like the slowest of the profile.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn of_replicas(
        profile: &Profile,
        schedule: &Schedule,
        replicas: &Replicas,
        cut: &[Range<usize>],
        samples: usize,
    ) -> Result<Self, PipelineError> {
        let stages = cut.len();
        for found in [schedule.stages(), replicas.stages()] {
            if found != stages {
                return Err(PipelineError::Stages {
                    expected: found,
                    found: stages,
                });
            }
        }
        let expected = cut.last().map_or(0, |last| last.end);
        let found = profile.blocks.len();
        if expected != found {
            return Err(PipelineError::Blocks { expected, found });
        }
        let calibrated = profile.clone().calibrated();
        let whole = Whole {
            profile: &calibrated,
            recomputes: schedule.recomputes(),
            replicas,
            cut,
            scale: samples as f64 / profile.samples.max(1) as f64,
        };
        let place = |number: usize| {
            let place = replicas.place(number);
            let times = whole.times(number, place.stage)?;
            Ok(times.for_share(share(place, Some(samples))))
        };
        let hops = (0..stages.saturating_sub(1))
            .map(|stage| whole.hops(stage, samples))
            .collect::<Result<Vec<_>, _>>()?;
        let pipeline = Self {
            places: (0..replicas.places())
                .map(place)
                .collect::<Result<_, _>>()?,
            hops: hops.into_iter().flatten().collect(),
            rings: (0..stages).map(|stage| whole.ring(stage)).collect(),
            replicas: replicas.clone(),
        };
        pipeline.check()?;
        Ok(pipeline)
    }

    /// Sizes, speeds and numbers of samples are factors of times, which may become longer by them than clocks count.
    fn check(&self) -> Result<(), PipelineError> {
        let limited = |what: String, times: &[&Distribution]| {
            let means = times.iter().map(|time| time.mean());
            let is_too_long = |mean: &f64| mean.is_nan() || *mean > LONGEST_SECONDS;
            match means.into_iter().find(is_too_long) {
                Some(seconds) => Err(PipelineError::TooLong { what, seconds }),
                None => Ok(()),
            }
        };
        for (number, place) in self.places.iter().enumerate() {
            let passes = [&place.forward, &place.recompute, &place.backward];
            let what = format!("a pass of place {number}");
            limited(
                what,
                &[passes.as_slice(), &[&place.update, &place.learn]].concat(),
            )?;
        }
        for hop in &self.hops {
            let what = "a message between stages".to_owned();
            limited(what, &[&hop.activation, &hop.gradient, &hop.latency])?;
        }
        for ring in &self.rings {
            let what = "a message between replicas".to_owned();
            limited(what, &[&ring.occupies, &ring.latency])?;
        }
        Ok(())
    }
}

impl Pipeline {
    /// Has all messages arrive this much later than they are sent: those between stages, and those between replicas.
    pub fn set_latency(&mut self, latency: &Distribution) {
        let of_hops = self.hops.iter_mut().map(|hop| &mut hop.latency);
        let of_rings = self.rings.iter_mut().map(|ring| &mut ring.latency);
        of_hops
            .chain(of_rings)
            .for_each(|of| latency.clone_into(of));
    }

    /// Sets for how many seconds an activation or a gradient of a whole micro-batch of `samples` samples occupies a link. A link to or
    /// from a replica is occupied in proportion to the rows that it carries; without `samples` these are equal shares.
    pub fn set_transfers(&mut self, transfer: &Distribution, samples: Option<usize>) {
        let stages = 0..self.replicas.stages() - 1;
        let shares = stages.flat_map(|stage| shares_of_links(&self.replicas, stage, samples));
        for (hop, share) in self.hops.iter_mut().zip(shares) {
            hop.activation = transfer.times(share);
            hop.gradient = hop.activation.clone();
        }
    }

    /// The same with everything always taking its mean time.
    #[must_use]
    pub fn means(&self) -> Self {
        let mean = |time: &Distribution| Distribution::Constant(time.mean());
        let place = |times: &StageTimes| StageTimes {
            forward: mean(&times.forward),
            recompute: mean(&times.recompute),
            backward: mean(&times.backward),
            weights_share: times.weights_share,
            update: mean(&times.update),
            learn: mean(&times.learn),
        };
        let hop = |times: &HopTimes| HopTimes {
            activation: mean(&times.activation),
            gradient: mean(&times.gradient),
            latency: mean(&times.latency),
        };
        let ring = |times: &RingTimes| RingTimes {
            occupies: mean(&times.occupies),
            latency: mean(&times.latency),
        };
        Self {
            replicas: self.replicas.clone(),
            places: self.places.iter().map(place).collect(),
            hops: self.hops.iter().map(hop).collect(),
            rings: self.rings.iter().map(ring).collect(),
        }
    }
}

/// The share of a micro-batch that is a replica's.
fn share(place: Place, samples: Option<usize>) -> f64 {
    match samples {
        Some(samples) if samples > 0 => place.rows(samples).len() as f64 / samples as f64,
        _ => 1.0 / place.of as f64,
    }
}

/// The share of a micro-batch that crosses each link between a stage and the one above.
fn shares_of_links(
    replicas: &Replicas,
    stage: usize,
    samples: Option<usize>,
) -> impl Iterator<Item = f64> {
    let of = replicas.of(stage).max(replicas.of(stage + 1));
    (0..of).map(move |replica| share(Place { stage, replica, of }, samples))
}

/// Stages as a profile has them, with whole micro-batches.
struct Whole<'a> {
    profile: &'a Profile,
    recomputes: Vec<bool>,
    replicas: &'a Replicas,
    cut: &'a [Range<usize>],
    /// Samples of a micro-batch, in those of the profile's.
    scale: f64,
}

impl Whole<'_> {
    fn times(&self, place: usize, stage: usize) -> Result<StageTimes, PipelineError> {
        let Self {
            profile,
            scale,
            cut,
            ..
        } = *self;
        let sizes = cut.iter().map(ExactSizeIterator::len);
        let measured = (profile.stages.as_ref())
            .filter(|measured| sizes.eq(measured.cut.iter().copied()))
            .and_then(|measured| measured.times.get(stage));
        if let Some(times) = measured {
            let forward = match self.recomputes[stage] {
                true => &times.forward,
                false => &times.recompute,
            };
            let of_blocks = || self.weights_share(self.device(place, stage).ok()?, stage);
            return Ok(StageTimes {
                forward: forward.times(scale),
                recompute: times.recompute.times(scale),
                backward: times.backward.times(scale),
                weights_share: times.weights_share.or_else(of_blocks),
                ..times.clone()
            });
        }
        let device = self.device(place, stage)?;
        let blocks = &cut[stage];
        let sum = |of: &[Distribution]| Distribution::sum(&of[blocks.clone()]);
        let forward = match self.recomputes[stage] {
            true => &device.forward,
            false => &device.recompute,
        };
        Ok(StageTimes {
            forward: sum(forward).times(scale),
            recompute: sum(&device.recompute).times(scale),
            backward: sum(&device.backward).times(scale),
            weights_share: self.weights_share(device, stage),
            update: sum(&device.update),
            learn: Distribution::ZERO,
        })
    }

    fn device(&self, place: usize, stage: usize) -> Result<&DeviceProfile, PipelineError> {
        let devices = &self.profile.devices;
        let number = match devices.len() {
            1 => 0,
            found if found == self.cut.len() => stage,
            found if found == self.replicas.places() => place,
            found => return Err(PipelineError::devices(found, self.replicas)),
        };
        Ok(&devices[number])
    }

    /// The part of a stage's backward pass that gradients of weights are, where it was measured of its blocks.
    fn weights_share(&self, device: &DeviceProfile, stage: usize) -> Option<f64> {
        let (mut weights, mut all) = (0.0_f64, 0.0_f64);
        for block in self.cut[stage].clone() {
            let backward = device.backward[block].mean();
            weights += device.weights_share.get(block)? * backward;
            all += backward;
        }
        (all > 0.0).then_some((weights / all).min(1.0))
    }

    /// The links above a stage.
    fn hops(&self, stage: usize, samples: usize) -> Result<Vec<HopTimes>, PipelineError> {
        let shares = shares_of_links(self.replicas, stage, Some(samples));
        let stages = self.cut.len();
        let links = &self.profile.links;
        let link = match links.len() {
            0 => return Ok(shares.map(|_| HopTimes::NONE).collect()),
            1 => &links[0],
            found if found == stages - 1 => &links[stage],
            found => {
                return Err(PipelineError::Count {
                    what: "links",
                    found,
                    expected: stages - 1,
                    stages,
                });
            }
        };
        let output = &self.profile.blocks[self.cut[stage].end - 1];
        let bytes = output.output_bytes as f64 * self.scale;
        let hop = |share: f64| {
            let occupies = link.per_megabyte.times(share * bytes / 1e6);
            HopTimes {
                activation: occupies.clone(),
                gradient: occupies,
                latency: link.latency.clone(),
            }
        };
        Ok(shares.map(hop).collect())
    }

    /// The links between the replicas of a stage.
    fn ring(&self, stage: usize) -> RingTimes {
        let of = self.replicas.of(stage);
        if of == 1 {
            return RingTimes::NONE;
        }
        let blocks = &self.profile.blocks[self.cut[stage].clone()];
        let sizes = blocks.iter().map(|block| block.parameter_bytes);
        let bytes = sizes.fold(0, u64::saturating_add);
        let megabytes = bytes as f64 / of as f64 / 1e6;
        let mean = |link: &&LinkProfile| link.latency.mean() + megabytes * link.per_megabyte.mean();
        let links = self.profile.links.iter();
        let slowest = links.max_by(|one, other| mean(one).total_cmp(&mean(other)));
        slowest.map_or(RingTimes::NONE, |link| RingTimes {
            occupies: link.per_megabyte.times(megabytes),
            latency: link.latency.clone(),
        })
    }
}

/// A year: stages may have many blocks of up to a day each.
const LONGEST_SECONDS: f64 = 366.0 * 86_400.0;
