//! Cutting a model by what its blocks take where they will run (`balance = "profile"`).

use std::ops::Range;
use std::time::Instant;

use stagger_engine::{Activation, EngineError, HostTensor, Stage, StageSpec};
use stagger_model::{Balance, BlockCosts, StageWork};

use crate::error::Error;
use crate::job::Job;
use crate::ranks::Leader;
use crate::stages;

/// Times that each block is measured; the first does not count.
const ROUNDS: usize = 4;

/// Cuts the job's model again where its balance is to be measured: every process measures all blocks on each of its engines and
/// devices, and each stage goes by the slowest of its own. Gives a line for people. From then on the job's balance says the
/// number of blocks of each stage.
///
/// # Errors
/// When a block cannot be built or run, here or on another rank.
pub fn resolve(
    job: &mut Job,
    leader: Option<&Leader>,
    commit: Option<&str>,
) -> Result<Option<String>, Error> {
    let balance = job.options.balance.as_deref().map(str::parse::<Balance>);
    if !matches!(balance, Some(Ok(Balance::Profile))) {
        return Ok(None);
    }
    let measured = match leader {
        Some(leader) => {
            // What differs between ranks is told before anything is measured.
            leader.prepare(job, commit)?;
            leader.measure(job)?
        }
        None => measure(job, 0..job.replicas.places())?,
    };
    let of_stages = of_stages(job, &measured);
    let recomputes = job.schedule.recomputes();
    let work: Vec<StageWork<'_>> = (of_stages.iter().zip(&recomputes).enumerate())
        .map(|(stage, (&measured, &recompute))| StageWork {
            recompute,
            replicas: job.replicas.of(stage),
            measured: Some(measured),
        })
        .collect();
    job.cut = Balance::Profile.cut_for(&job.model, &work)?;
    job.options.balance = Some(job.cut.to_string());
    let times: Vec<String> = (job.cut.stages().iter().zip(&work))
        .zip(&of_stages)
        .map(|((blocks, work), costs)| {
            let seconds = costs.stage(blocks.clone(), work.recompute) / work.replicas as f64;
            format!("{:.1}", 1e3 * seconds)
        })
        .collect();
    Ok(Some(format!(
        "balance profile: blocks {}, measured to take {} ms per micro-batch",
        job.cut,
        times.join(", ")
    )))
}

/// The costs that each stage goes by, of those of all places.
fn of_stages<'a>(job: &Job, measured: &'a [BlockCosts]) -> Vec<&'a BlockCosts> {
    let whole = |costs: &BlockCosts| costs.stage(0..costs.forward.len(), false);
    let slowest = |stage: usize| {
        let own = &measured[job.replicas.places_of(stage..stage + 1)];
        let others = own[1..].iter();
        others.fold(&own[0], |slowest, costs| {
            match whole(costs) > whole(slowest) {
                true => costs,
                false => slowest,
            }
        })
    };
    (0..job.schedule.stages()).map(slowest).collect()
}

/// What the blocks of the job's model take here on the engine and the device of each of these places, in seconds per micro-batch.
/// Places on the same device share one measurement.
///
/// # Errors
/// When a block cannot be built or run.
pub fn measure(job: &Job, places: Range<usize>) -> Result<Vec<BlockCosts>, Error> {
    let first = places.start;
    let mut measured: Vec<BlockCosts> = Vec::with_capacity(places.len());
    for place in places {
        let same = (first..place).find(|&before| job.engine.at(before) == job.engine.at(place));
        measured.push(match same {
            Some(before) => measured[before - first].clone(),
            None => stages::measure_blocks(job, place).map_err(|source| Error::Measuring {
                model: job.model.name.clone(),
                source: Box::new(source),
            })?,
        });
    }
    Ok(measured)
}

/// Measures blocks that `build` builds as stages of their own, on this thread: one after the other, several times over, so that
/// what else the machine does meets all of them alike. The median of each counts.
pub fn measure_with<S: Stage>(
    job: &Job,
    build: impl Fn(&StageSpec<'_>) -> Result<S, EngineError>,
) -> Result<BlockCosts, EngineError> {
    let samples = (job.batch_size / job.schedule.micro_batches()).max(1);
    let mut blocks = Vec::new();
    for block in 0..job.model.blocks.len() {
        let spec = StageSpec {
            precision: job.precision,
            ..StageSpec::new(&job.model, block..block + 1, job.seed)
        };
        let stage = build(&spec)?;
        let mut shape = job.model.stage_input_shape(block)?;
        shape.insert(0, samples);
        let value = |at: usize| (at.wrapping_mul(2_654_435_761) % 1_024) as f32 / 512.0 - 1.0;
        let values = (0..shape.iter().product()).map(value).collect();
        let input = stage.upload(HostTensor::new(shape, values)?)?;
        blocks.push((stage, input, Vec::new(), Vec::new()));
    }
    for round in 0..ROUNDS {
        for (stage, input, forward, backward) in &mut blocks {
            let started = Instant::now();
            drop(stage.forward(input, 0)?);
            let forwarded = started.elapsed().as_secs_f64();
            let (output, graph) = stage.record(input, 0)?;
            // Any gradient of that shape will do.
            let grad = stage.upload(output.to_host()?)?;
            drop(output);
            let started = Instant::now();
            stage.backward(graph, grad)?;
            let pulled = started.elapsed().as_secs_f64();
            stage.discard_gradients();
            if round > 0 {
                forward.push(forwarded);
                backward.push(pulled);
            }
        }
    }
    let mut costs = BlockCosts {
        forward: Vec::new(),
        backward: Vec::new(),
    };
    for (_, _, forward, backward) in blocks {
        costs.forward.push(median(forward));
        costs.backward.push(median(backward));
    }
    Ok(costs)
}

/// The middle one, of an odd number of values.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::TrainingOptions;
    use crate::training::Training;

    #[test]
    fn a_stage_goes_by_the_slowest_of_its_own_places() {
        let options = TrainingOptions {
            replicas: Some(vec![2, 1, 2]),
            stages: Some(3),
            ..TrainingOptions::default()
        };
        let job = Training::new().options(options).check().unwrap();
        let costs = |seconds: f64| BlockCosts {
            forward: vec![seconds; 5],
            backward: vec![seconds; 5],
        };
        let measured: Vec<BlockCosts> = [2.0, 3.0, 9.0, 5.0, 4.0].map(costs).to_vec();
        let found = of_stages(&job, &measured);
        assert_eq!(found, [&measured[1], &measured[2], &measured[3]]);
    }

    /// Places that share a device share its times.
    #[test]
    fn a_device_is_measured_once() {
        let options = TrainingOptions {
            batch_size: Some(2),
            ..TrainingOptions::default()
        };
        let job = Training::new().options(options).check().unwrap();
        let found = measure(&job, 0..2).unwrap();
        assert_eq!(found[0], found[1]);
        assert_ne!(
            found[0],
            measure(&job, 0..1).unwrap()[0],
            "two measurements"
        );
    }
}
