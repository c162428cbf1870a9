//! How long the blocks of a model take on the engines and devices of a job, measured one by one.

use std::ops::Range;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use stagger_engine::{Activation, EngineError, HostTensor, Stage, StageSpec};
use stagger_plan::{DeviceProfile, Distribution};

use crate::balance::ComputesAt;
use crate::error::Error;
use crate::job::{Job, PlaceEngine};
use crate::stages;

/// What the blocks of a model take on one device, in seconds: of each block as many times as it was measured. Passes are those of
/// a micro-batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct BlockTimes {
    /// What people call the device: `cpu`, `cuda:1`.
    pub device: String,
    /// The engine on it: `cpu`, `torch`.
    pub engine: String,
    /// Threads that computed, on a processor.
    pub threads: Option<usize>,
    /// Whether engine `cpu` made its sums by Winograd's method.
    pub winograd: Option<bool>,
    pub forward: Vec<Vec<f64>>,
    pub recompute: Vec<Vec<f64>>,
    pub backward: Vec<Vec<f64>>,
    /// The part of each block's backward that the gradients of its weights are.
    pub weights_share: Vec<f64>,
    pub update: Vec<Vec<f64>>,
}

impl BlockTimes {
    /// As a profile has them.
    pub fn into_profile(self) -> DeviceProfile {
        let all = |times: Vec<Vec<f64>>| times.into_iter().map(Distribution::Samples).collect();
        DeviceProfile {
            name: self.device,
            engine: Some(self.engine),
            threads: self.threads,
            winograd: self.winograd,
            forward: all(self.forward),
            recompute: all(self.recompute),
            backward: all(self.backward),
            weights_share: self.weights_share,
            update: all(self.update),
            memory_bytes: None,
        }
    }

    /// Says what is wrong with times that another process sends, of which there have to be some for each of `blocks` blocks.
    pub fn fault(&self, blocks: usize) -> Option<String> {
        let passes = [
            ("forward", &self.forward),
            ("recompute", &self.recompute),
            ("backward", &self.backward),
            ("update", &self.update),
        ];
        let of_passes = passes.into_iter().find_map(|(pass, times)| {
            let is_time = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
            let is_sound = |times: &Vec<f64>| !times.is_empty() && times.iter().all(is_time);
            if times.len() != blocks {
                let found = times.len();
                return Some(format!("{found} {pass} times for {blocks} blocks"));
            }
            let at = times.iter().position(|times| !is_sound(times))?;
            Some(format!("no {pass} times of block {at}"))
        });
        of_passes.or_else(|| {
            let is_share = |share: &f64| (0.0..=1.0).contains(share);
            let are_sound =
                self.weights_share.len() == blocks && self.weights_share.iter().all(is_share);
            (!are_sound).then(|| format!("no shares of weights for {blocks} blocks"))
        })
    }
}

/// Measures the blocks of the job's model here, on the engine and the device of each of these places, so many times. Places on the
/// same device share one measurement.
///
/// # Errors
/// When a block cannot be built or run.
pub(crate) fn measure(
    job: &Job,
    places: Range<usize>,
    rounds: usize,
) -> Result<Vec<BlockTimes>, Error> {
    let first = places.start;
    let mut measured: Vec<BlockTimes> = Vec::with_capacity(places.len());
    for place in places {
        let same = (first..place).find(|&before| job.engine.at(before) == job.engine.at(place));
        measured.push(match same {
            Some(before) => measured[before - first].clone(),
            None => {
                stages::measure_blocks(job, place, rounds).map_err(|source| Error::Measuring {
                    model: job.model.name.clone(),
                    source: Box::new(source),
                })?
            }
        });
    }
    Ok(measured)
}

/// Samples of a micro-batch of the job, over all replicas.
pub(crate) fn micro_batch(job: &Job) -> usize {
    (job.batch_size / job.schedule.micro_batches()).max(1)
}

/// A block as a stage of its own.
struct Measured<S: Stage> {
    stage: S,
    input: S::Activation,
    /// Of forward, recompute, backward and update.
    times: [Vec<f64>; 4],
    /// Seconds of all first halves of backward passes that were measured, and of the second halves.
    halves: [f64; 2],
}

/// In one of so many rounds a backward pass is run in halves, too: what is asked of it is which part of a pass they are.
const HALVES_EVERY: usize = 4;

/// Measures blocks that `build` builds as stages of their own, on this thread: one after the other, in so many rounds, so that what
/// else the machine does meets all of them alike. A round before these, in which engines make what they keep, does not count.
pub(crate) fn measure_with<S: Stage>(
    job: &Job,
    place: PlaceEngine,
    rounds: usize,
    build: impl Fn(&StageSpec<'_>) -> Result<S, EngineError>,
) -> Result<BlockTimes, EngineError> {
    let samples = micro_batch(job);
    let mut blocks: Vec<Measured<S>> = Vec::new();
    for block in 0..job.model.blocks.len() {
        let spec = StageSpec {
            optimizer: job.optimizer.clone(),
            winograd: job.options.winograd.unwrap_or(true),
            precision: job.precision,
            ..StageSpec::new(&job.model, block..block + 1, job.seed)
        };
        let stage = build(&spec)?;
        // What the block below gives, in the order in memory that the engine leaves it in: another one would be changed in every pass.
        let input = match blocks.last_mut() {
            Some(Measured { stage, input, .. }) => stage.forward(input, 0)?,
            None => stage.upload(images(job, samples)?)?,
        };
        let times = Default::default();
        blocks.push(Measured {
            stage,
            input,
            times,
            halves: [0.0; 2],
        });
    }
    for round in 0..=rounds {
        for block in &mut blocks {
            let found = block.round()?;
            if round % HALVES_EVERY == 1 {
                block.halve()?;
            }
            if round > 0 {
                for (times, seconds) in block.times.iter_mut().zip(found) {
                    times.push(seconds);
                }
            }
        }
    }
    let computes = ComputesAt::of(place, &job.options);
    let mut found = BlockTimes {
        device: place.to_string(),
        engine: computes.engine,
        threads: computes.threads,
        winograd: computes.winograd,
        forward: Vec::new(),
        recompute: Vec::new(),
        backward: Vec::new(),
        weights_share: Vec::new(),
        update: Vec::new(),
    };
    for block in blocks {
        let [forward, recompute, backward, update] = block.times;
        found.forward.push(forward);
        found.recompute.push(recompute);
        found.backward.push(backward);
        found.update.push(update);
        let [inputs, weights] = block.halves;
        let share = weights / (inputs + weights);
        found.weights_share.push(match share.is_finite() {
            true => share,
            false => 0.5,
        });
    }
    Ok(found)
}

impl<S: Stage> Measured<S> {
    /// Seconds of a forward pass, of one that builds a graph, of the backward pass through that, and of an update.
    fn round(&mut self) -> Result<[f64; 4], EngineError> {
        let Self { stage, input, .. } = self;
        let started = Instant::now();
        // Any gradient of that shape will do for the backward pass, but not the graph's own output, of which it may keep a handle.
        let grad = stage.forward(input, 0)?;
        wait(stage)?;
        let forward = started.elapsed().as_secs_f64();
        // A stage that recomputes leaves out what only its output needs. That is a part of its last block, and blocks are added up:
        // most of them are recomputed whole.
        let started = Instant::now();
        let (output, graph) = stage.record(input, 0)?;
        drop(output);
        wait(stage)?;
        let recompute = started.elapsed().as_secs_f64();
        let started = Instant::now();
        stage.backward(graph, grad)?;
        wait(stage)?;
        let backward = started.elapsed().as_secs_f64();
        // At a rate of 0 the optimizer computes all that it does, and weights stay what they are in any number of rounds.
        let started = Instant::now();
        stage.update(0.0)?;
        wait(stage)?;
        let update = started.elapsed().as_secs_f64();
        Ok([forward, recompute, backward, update])
    }

    /// Measures both halves of a backward pass.
    fn halve(&mut self) -> Result<(), EngineError> {
        let Self {
            stage,
            input,
            halves: [inputs, weights],
            ..
        } = self;
        let grad = stage.forward(input, 0)?;
        let (output, graph) = stage.record(input, 0)?;
        drop(output);
        wait(stage)?;
        let started = Instant::now();
        let (_, pending) = stage.backward_input(graph, grad)?;
        wait(stage)?;
        *inputs += started.elapsed().as_secs_f64();
        let started = Instant::now();
        stage.backward_weights(pending)?;
        wait(stage)?;
        *weights += started.elapsed().as_secs_f64();
        stage.discard_gradients();
        Ok(())
    }
}

/// A batch for the first block.
fn images(job: &Job, samples: usize) -> Result<HostTensor, EngineError> {
    let mut shape = job.model.stage_input_shape(0)?;
    shape.insert(0, samples);
    let value = |at: usize| (at.wrapping_mul(2_654_435_761) % 1_024) as f32 / 512.0 - 1.0;
    let values = (0..shape.iter().product()).map(value).collect();
    HostTensor::new(shape, values)
}

/// Waits for a device that computes by itself: what is read from it comes after all that it was told before.
fn wait<S: Stage>(stage: &S) -> Result<(), EngineError> {
    let value = HostTensor::new(vec![1, 1], vec![0.0])?;
    stage.upload(value)?.to_host().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TrainingOptions;
    use crate::training::Training;

    fn job() -> Job {
        let options = TrainingOptions {
            batch_size: Some(2),
            ..TrainingOptions::default()
        };
        Training::new().options(options).check().unwrap()
    }

    /// Places that share a device share its times.
    #[test]
    fn a_device_is_measured_once() {
        let job = job();
        let found = measure(&job, 0..2, 3).unwrap();
        assert_eq!(found[0], found[1]);
        let again = measure(&job, 0..1, 3).unwrap();
        assert_ne!(found[0], again[0], "two measurements");
        assert_eq!((&*found[0].device, &*found[0].engine), ("cpu", "cpu"));
        for times in [&found[0].forward, &found[0].recompute, &found[0].backward] {
            assert_eq!(times.len(), job.model.blocks.len());
            assert!(times.iter().all(|times| times.len() == 3));
            assert!(times.iter().flatten().all(|&seconds| seconds > 0.0));
        }
        // The head has a linear layer, and all other blocks have convolutions.
        let shares = &found[0].weights_share;
        assert_eq!(shares.len(), job.model.blocks.len());
        assert!(
            shares.iter().all(|share| (0.0..1.0).contains(share)),
            "{shares:?}"
        );
        assert_eq!(found[0].fault(job.model.blocks.len()), None);
    }

    #[test]
    fn times_of_another_process_are_checked() {
        let blocks = job().model.blocks.len();
        let mut times = measure(&job(), 0..1, 1).unwrap().remove(0);
        assert_eq!(times.fault(7).unwrap(), "5 forward times for 7 blocks");
        let share = std::mem::replace(&mut times.weights_share[1], 2.0);
        let fault = times.fault(blocks).unwrap();
        assert_eq!(fault, "no shares of weights for 5 blocks");
        times.weights_share[1] = share;
        times.backward[3][0] = f64::NAN;
        assert_eq!(times.fault(blocks).unwrap(), "no backward times of block 3");
        times.backward[3].clear();
        assert_eq!(times.fault(blocks).unwrap(), "no backward times of block 3");
    }
}
