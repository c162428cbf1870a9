//! Cutting a model by what its blocks take where they will run: measured now (`balance = "profile"`), or read from a file.

mod computes;
mod estimate;
mod file;
mod misfit;

use stagger_model::{Balance, BlockCosts, CostModel, Cut, CutError, StageWork};

use crate::block_times::{self, BlockTimes};
use crate::error::Error;
use crate::job::Job;
use crate::ranks::Leader;

pub(crate) use computes::{Computes, ComputesAt};
pub(crate) use estimate::cost_model;
pub use estimate::{Estimate, EstimateFor, UnmeasuredCut, cut_without_measuring};
pub use file::cut_by_profile;
pub(crate) use file::{
    FirstCut, ToCut, check_profile, cut_of_profile, read_profile, unread_memory,
};
pub use misfit::ProfileMisfit;

/// Times that each block is measured for a run that is about to begin.
const ROUNDS: usize = 3;

/// The cut of a run that is being prepared. What is to be measured is measured when
/// everything else is known to be right; until then the cut is an estimate.
///
/// # Errors
/// When the balance, or the profile in its file, does not fit the run.
pub(crate) fn first_cut(
    balance: &Balance,
    run: &ToCut<'_>,
    estimate: &CostModel,
) -> Result<FirstCut, Error> {
    let estimated = BlockCosts::estimate(run.model, estimate).map_err(CutError::from)?;
    let work = |(stage, recompute)| StageWork {
        recompute,
        replicas: run.replicas.map_or(1, |replicas| replicas.of(stage)),
        measured: Some(&estimated),
        memory: None,
    };
    let recomputes = run.schedule.recomputes().into_iter();
    let work: Vec<StageWork<'_>> = recomputes.enumerate().map(work).collect();
    let cut = match balance {
        Balance::File(path) => return file::by_file(path, run),
        Balance::Profile => Balance::Auto.cut_for(run.model, &work)?,
        said => said.cut_for(run.model, &work)?,
    };
    Ok(FirstCut {
        cut,
        line: None,
        misfit: None,
    })
}

/// Cuts the job's model again where its balance is to be measured: every process measures all blocks on each of its engines and
/// devices, and each stage goes by the slowest of its own. Gives a line for people, also on a cut by a file. From then on the job's
/// balance says the number of blocks of each stage.
///
/// # Errors
/// When a block cannot be built or run, here or on another rank.
pub fn resolve(
    job: &mut Job,
    leader: Option<&Leader>,
    commit: Option<&str>,
) -> Result<Option<String>, Error> {
    if let Some(line) = job.cut_note.take() {
        return Ok(Some(line));
    }
    if !is_to_be_measured(job) {
        return Ok(None);
    }
    let measured = measure(job, leader, commit, ROUNDS)?;
    Ok(Some(cut_by(job, &measured)?))
}

/// Whether the job's cut waits for a measurement.
pub fn is_to_be_measured(job: &Job) -> bool {
    let balance = job.options.balance.as_deref().map(str::parse::<Balance>);
    matches!(balance, Some(Ok(Balance::Profile)))
}

/// What the blocks take at each place of the job.
pub fn measure(
    job: &Job,
    leader: Option<&Leader>,
    commit: Option<&str>,
    rounds: usize,
) -> Result<Vec<BlockTimes>, Error> {
    match leader {
        Some(leader) => {
            // What differs between ranks is told before anything is measured.
            leader.prepare(job, commit)?;
            leader.measure(job, rounds)
        }
        None => block_times::measure(job, 0..job.replicas.places(), rounds),
    }
}

/// Cuts the job's model by what was measured at each place. Gives a line for people.
pub fn cut_by(job: &mut Job, measured: &[BlockTimes]) -> Result<String, Error> {
    let costs: Vec<BlockCosts> = costs(job, measured);
    let of_stages = of_stages(job, &costs);
    let (cut, times) = best(job, &of_stages, &Balance::Profile)?;
    job.options.balance = Some(cut.to_string());
    job.cut = cut;
    Ok(format!(
        "balance profile: blocks {}, measured to take {} ms per micro-batch",
        job.cut,
        milliseconds(&times)
    ))
}

/// The costs of each place, per micro-batch.
fn costs(job: &Job, measured: &[BlockTimes]) -> Vec<BlockCosts> {
    let micro_batches = job.schedule.micro_batches();
    let cost = |times: &BlockTimes| times.clone().into_profile().block_costs(1.0, micro_batches);
    measured.iter().map(cost).collect()
}

/// What each place of the job's stages is measured to take, of the slowest place of each stage.
pub fn slowest_of_stages<'a>(job: &Job, measured: &'a [BlockTimes]) -> Vec<&'a BlockTimes> {
    let costs = costs(job, measured);
    let stages = 0..job.schedule.stages();
    stages
        .map(|stage| &measured[slowest(job, &costs, stage)])
        .collect()
}

/// The cut of the job's model by this balance, and what its stages take by these costs.
pub fn best(
    job: &Job,
    of_stages: &[&BlockCosts],
    balance: &Balance,
) -> Result<(Cut, Vec<f64>), Error> {
    let recomputes = job.schedule.recomputes();
    let estimated = BlockCosts::estimate(&job.model, &cost_model(&job.options));
    let estimated = estimated.map_err(CutError::from)?;
    let stages = of_stages.iter().zip(&recomputes).enumerate();
    let work: Vec<StageWork<'_>> = stages
        .map(|(stage, (&measured, &recompute))| StageWork {
            recompute,
            replicas: job.replicas.of(stage),
            // Any other balance is to be what it is without them.
            measured: Some(match balance {
                Balance::Profile => measured,
                _ => &estimated,
            }),
            memory: None,
        })
        .collect();
    let cut = balance.cut_for(&job.model, &work)?;
    let stages = cut.stages().iter().zip(&work).zip(of_stages);
    let times = stages.map(|((blocks, work), costs)| {
        costs.stage(blocks.clone(), work.recompute) / work.replicas.max(1) as f64
    });
    let times = times.collect();
    Ok((cut, times))
}

/// The costs that each stage goes by, of those of all places.
fn of_stages<'a>(job: &Job, measured: &'a [BlockCosts]) -> Vec<&'a BlockCosts> {
    let stages = 0..job.schedule.stages();
    stages
        .map(|stage| &measured[slowest(job, measured, stage)])
        .collect()
}

/// The slowest place of a stage; the first of equals.
fn slowest(job: &Job, measured: &[BlockCosts], stage: usize) -> usize {
    let whole = |place: usize| {
        let costs = &measured[place];
        costs.stage(0..costs.forward.len(), false)
    };
    let mut places = job.replicas.places_of(stage..stage + 1);
    let first = places.next().unwrap_or_default();
    places.fold(first, |slowest, place| {
        match whole(place) > whole(slowest) {
            true => place,
            false => slowest,
        }
    })
}

/// `12.3, 11.8`.
fn milliseconds(seconds: &[f64]) -> String {
    let times: Vec<String> = (seconds.iter())
        .map(|seconds| format!("{:.1}", 1e3 * seconds))
        .collect();
    times.join(", ")
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
            recompute: vec![seconds; 5],
            backward: vec![seconds; 5],
            update: vec![0.0; 5],
        };
        let measured: Vec<BlockCosts> = [2.0, 3.0, 9.0, 5.0, 4.0].map(costs).to_vec();
        let found = of_stages(&job, &measured);
        assert_eq!(found, [&measured[1], &measured[2], &measured[3]]);
    }

    /// A run with the cut by a profile and a question for that cut both say that another engine was measured.
    #[test]
    fn a_profile_of_another_engine_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        let names = ["stem", "layer1.0", "layer2.0", "layer3.0", "head"];
        let blocks = names.map(|name| {
            serde_json::json!({"name": name, "parameter_bytes": 1, "output_bytes": 1, "graph_bytes": 1})
        });
        let balance = path.to_str().unwrap().to_owned();
        let told_of = |device: serde_json::Value, dtype: &str| {
            let times = [0.01; 5];
            let mut text = serde_json::json!({
                "format": 1, "model": "resnet8", "input": [3, 32, 32], "classes": 10, "samples": 8, "dtype": dtype, "blocks": blocks,
                "devices": [{"name": "d", "forward": times, "recompute": times, "backward": times, "update": times}],
            });
            let of_device = device.as_object().unwrap().clone();
            text["devices"][0]
                .as_object_mut()
                .unwrap()
                .extend(of_device);
            std::fs::write(&path, text.to_string()).unwrap();
            let options = TrainingOptions {
                model: Some("resnet8".to_owned()),
                balance: Some(balance.clone()),
                ..TrainingOptions::default()
            };
            let job = crate::bench::job(options, [3, 32, 32], 10).unwrap();
            let estimate = EstimateFor::default().estimate(2).unwrap();
            let balance = Balance::File(path.clone());
            let cut = cut_without_measuring(&balance, &job.model, &job.schedule, 8, &estimate);
            assert_eq!(cut.unwrap().misfit, job.cut_misfit);
            job.cut_misfit
        };
        let told =
            |engine: Option<&str>, dtype| told_of(serde_json::json!({"engine": engine}), dtype);
        assert_eq!(told(Some("cpu"), "f32"), None);
        assert_eq!(told(None, "f32"), None);
        assert_eq!(
            told(Some("torch"), "f32").unwrap(),
            format!(
                "balance {balance}: the profile is of engine torch, and the run computes with engine cpu: better measure a profile of that"
            )
        );
        let of_format = "the profile is of bf16, and the run computes in f32";
        assert!(told(None, "bf16").unwrap().contains(of_format));
        let direct = serde_json::json!({"engine": "cpu", "winograd": false});
        let of_sums = "the profile is of direct sums, and the run computes by Winograd's method";
        assert!(told_of(direct, "f32").unwrap().contains(of_sums));
        let same = serde_json::json!({"engine": "cpu", "threads": 1, "winograd": true});
        assert_eq!(told_of(same, "f32"), None);
    }

    /// What no run has is no profile of one.
    #[test]
    fn profiles_of_what_no_run_computes_with_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.json");
        let told = |dtype: &str, devices: &[serde_json::Value]| {
            let devices: Vec<_> = (devices.iter())
                .map(|device| {
                    let mut whole = serde_json::json!({
                        "name": "d", "forward": [1.0], "recompute": [1.0], "backward": [1.0], "update": [1.0],
                    });
                    let own = device.as_object().unwrap().clone();
                    whole.as_object_mut().unwrap().extend(own);
                    whole
                })
                .collect();
            let text = serde_json::json!({
                "format": 1, "model": "a", "input": [3, 8, 8], "classes": 10, "samples": 8, "dtype": dtype,
                "blocks": [{"name": "b", "parameter_bytes": 1, "output_bytes": 1, "graph_bytes": 1}], "devices": devices,
                "links": [],
            });
            std::fs::write(&path, text.to_string()).unwrap();
            read_profile(&path)
                .map(drop)
                .map_err(|error| error.to_string())
        };
        let of = |engine: &str, threads: usize, winograd: Option<bool>| serde_json::json!({"engine": engine, "threads": threads, "winograd": winograd});
        let both = [of("cpu", 2, Some(false)), of("torch", 2, None)];
        assert_eq!(told("f32", &both), Ok(()));
        let unknown = serde_json::json!({"winograd": true});
        for (dtype, devices, expected) in [
            (
                "f32",
                vec![of("cpu", 1, None), of("cpu", 1025, None)],
                "device 1 has 1025 threads",
            ),
            (
                "f32",
                vec![of("torch", 1, Some(true))],
                "device 0 has winograd",
            ),
            ("bf16", vec![unknown.clone()], "device 0 has winograd"),
            (
                "f32",
                vec![of("cpu", 1, None), of("torch", 2, None)],
                "different threads",
            ),
            (
                "f32",
                vec![of("cpu", 1, Some(false)), unknown],
                "different winograd",
            ),
        ] {
            let error = told(dtype, &devices).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    /// Winograd's method makes blocks of many channels cheaper than those of few, so that a stage takes more of them.
    #[test]
    fn an_estimate_goes_by_how_sums_are_made() {
        let cut = |winograd| {
            let options = TrainingOptions {
                model: Some("resnet110".to_owned()),
                winograd: Some(winograd),
                ..TrainingOptions::default()
            };
            let job = Training::new().options(options).check().unwrap();
            job.cut.sizes()
        };
        assert_eq!(cut(true), [16, 40]);
        assert_eq!(cut(false), [20, 36]);
    }
}
