//! `stagger bench`.

mod report;
mod synthetic;

use anyhow::bail;
use stagger_report::{RunTally, peak_resident_bytes, reset_peak_resident, resident_bytes};
use stagger_runtime::{Event, Interrupt};
use stagger_schedule::{Action, Horizon};

use super::{build, print};
use crate::failure::Failure;
use crate::flags::bench::BenchArgs;
use crate::flags::low::TrainValues;
use crate::flags::{defaults, high};
use report::Measured;

/// Batches after which memory has reached what a run needs.
const SETTLED: usize = 100;

/// Trains on fixed random images, and says how fast.
pub fn run(arguments: &BenchArgs) -> Result<(), Failure> {
    let shape = high::input_shape(&arguments.input)?;
    let total = match arguments.batches.checked_add(arguments.warmup) {
        _ if arguments.batches == 0 => {
            return Err(
                anyhow::anyhow!("--batches is 0; give a whole number of at least 1").into(),
            );
        }
        Some(total) => total,
        None => return Err(anyhow::anyhow!("--batches and --warmup are too large").into()),
    };
    let job = high::assemble(values(arguments), |_| {
        if arguments.classes == 0 {
            bail!("--classes is 0; give a whole number of at least 1");
        }
        Ok(synthetic::split(
            shape,
            arguments.classes,
            arguments.batch_size,
        ))
    })?;
    build::check_specs(&job)?;

    reset_peak_resident();
    let last = job.schedule.stages() - 1;
    let mut tally = RunTally::new(arguments.warmup);
    let mut update_ends = Vec::with_capacity(total);
    let mut profiles = Vec::new();
    let mut settled_bytes = None;
    let outcome = build::run(
        &job,
        &build::plan(&job, job.schedule.clone(), Horizon::of(total)),
        build::Options {
            states: None,
            profile: arguments.profile_ops,
        },
        synthetic::feeds(&job, arguments.seed),
        &Interrupt::new(),
        |event| {
            tally.event(&event);
            match event {
                Event::Acted {
                    stage,
                    action: Action::Update { .. },
                    ended_at,
                    ..
                } if stage == last => {
                    update_ends.push(ended_at);
                    if update_ends.len() == SETTLED {
                        settled_bytes = resident_bytes();
                    }
                }
                Event::Profiled { stage, profile } => profiles.push((stage, profile)),
                _ => {}
            }
            Ok(())
        },
    );
    outcome.map_err(|error| Failure::Run(error.into()))?;
    let measured = Measured {
        summary: tally.summary(),
        seconds: report::intervals(&update_ends, arguments.warmup),
        peak_resident_bytes: peak_resident_bytes(),
        settled_resident_bytes: settled_bytes,
        resident_bytes: resident_bytes(),
        profiles,
        batches: total,
    };
    if arguments.json {
        print(&format!("{}\n", report::json(&job, &measured)))?;
    } else {
        print(&report::table(&job, &measured))?;
    }
    Ok(())
}

fn values(arguments: &BenchArgs) -> TrainValues {
    TrainValues {
        model: Some(arguments.model.clone()),
        dataset: Some(synthetic::NAME.into()),
        stages: Some(arguments.stages),
        schedule: Some(arguments.schedule.clone()),
        balance: Some(arguments.balance.clone()),
        engine: Some(arguments.engine.clone()),
        dtype: Some(arguments.dtype.clone()),
        device: arguments.device.clone(),
        devices: arguments.devices.clone(),
        threads_per_stage: arguments.threads_per_stage,
        tf32: arguments.tf32,
        deterministic: arguments.deterministic,
        epochs: Some(1),
        batch_size: Some(arguments.batch_size),
        optimizer: Some("momentum".into()),
        lr: Some(arguments.lr),
        lr_schedule: Some("constant".into()),
        warmup_batches: Some(0),
        seed: Some(arguments.seed),
        ..defaults::train()
    }
}
