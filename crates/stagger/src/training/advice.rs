//! What a run has shown that would make the next one faster.

use std::ops::Range;

use stagger_model::{Balance, BlockCosts, Cut, StageWork};
use stagger_plan::{Distribution, HopTimes, Pipeline, StageTimes, Times, exact_period};
use stagger_report::{RunSummary, StageSummary};

use crate::balance::cost_model;
use crate::job::Job;

/// Fewer batches say little about the time of a stage.
const LEAST_BATCHES: usize = 20;

/// A smaller gain may be chance.
const LEAST_GAIN: f64 = 1.03;

/// A line on another cut, where the run's stages have taken so unequally long that one would be faster. Block times are the model's
/// estimates, scaled to what their stage has taken; so the devices are taken to be as fast as each other.
///
/// There is none where that does not hold: a straggler slows down a stage, whatever blocks it has; and frozen stages, which only run
/// forward, would freeze other blocks.
pub fn advice(job: &Job, speed: &RunSummary) -> Option<String> {
    let has_frozen = job.options.freeze_stages.is_some_and(|stages| stages > 0);
    if speed.batches < LEAST_BATCHES
        || job.replicas.any()
        || job.emulated().is_some()
        || has_frozen
        || !job.stragglers.is_empty()
    {
        return None;
    }
    let recomputes = job.schedule.recomputes();
    let costs = scaled(job, speed, &recomputes)?;
    let work = |&recompute: &bool| StageWork {
        recompute,
        replicas: 1,
        measured: Some(&costs),
        memory: None,
    };
    let work: Vec<StageWork<'_>> = recomputes.iter().map(work).collect();
    let better = Balance::Profile.cut_for(&job.model, &work).ok()?;
    let period = |cut: &Cut| {
        let times = Times::new(
            &pipeline(&costs, cut, &recomputes),
            job.schedule.micro_batches(),
            0,
        );
        exact_period(&job.schedule, &times).ok()
    };
    let gain = period(&job.cut)? / period(&better)?;
    if better == job.cut || gain < LEAST_GAIN {
        return None;
    }
    let shares = speed.stages.iter().enumerate();
    let shares: Vec<String> = shares
        .map(|(stage, summary)| format!("stage {stage} works {:.0} %", 100.0 * summary.busy_share))
        .collect();
    Some(format!(
        "{}: --balance {better} would give about {gain:.2} times the images/s",
        shares.join(", ")
    ))
}

/// Estimated block times in seconds per micro-batch, scaled so that each stage takes what it has taken, without its artificial delays.
fn scaled(job: &Job, speed: &RunSummary, recomputes: &[bool]) -> Option<BlockCosts> {
    let mut costs = BlockCosts::estimate(&job.model, &cost_model(&job.options)).ok()?;
    let micro_batches = (speed.batches * job.schedule.micro_batches()) as f64;
    let stages = job.cut.stages().iter().zip(&speed.stages).zip(recomputes);
    for ((blocks, summary), &recompute) in stages {
        let taken = worked(summary) / micro_batches;
        let factor = taken / costs.stage(blocks.clone(), recompute);
        if !(factor.is_finite() && factor > 0.0) {
            return None;
        }
        for block in blocks.clone() {
            for pass in [
                &mut costs.forward,
                &mut costs.recompute,
                &mut costs.backward,
            ] {
                pass[block] *= factor;
            }
        }
    }
    Some(costs)
}

/// Seconds in which a stage has computed.
fn worked(summary: &StageSummary) -> f64 {
    let parts = [
        summary.forward,
        summary.recompute,
        summary.backward,
        summary.weights,
        summary.update,
    ];
    let all: f64 = parts.iter().map(std::time::Duration::as_secs_f64).sum();
    all - summary.delayed.as_secs_f64()
}

fn pipeline(costs: &BlockCosts, cut: &Cut, recomputes: &[bool]) -> Pipeline {
    let sum =
        |of: &[f64], blocks: &Range<usize>| Distribution::Constant(of[blocks.clone()].iter().sum());
    let stage = |(blocks, &recompute): (&Range<usize>, &bool)| StageTimes {
        forward: match recompute {
            true => sum(&costs.forward, blocks),
            false => sum(&costs.recompute, blocks),
        },
        recompute: sum(&costs.recompute, blocks),
        backward: sum(&costs.backward, blocks),
        weights_share: None,
        update: Distribution::ZERO,
        learn: Distribution::ZERO,
    };
    let stages: Vec<StageTimes> = cut.stages().iter().zip(recomputes).map(stage).collect();
    let hops = vec![HopTimes::NONE; stages.len() - 1];
    Pipeline::without_replicas(stages, hops)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::options::TrainingOptions;
    use crate::training::Training;

    fn job(schedule: &str, balance: &str) -> Job {
        let options = TrainingOptions {
            schedule: Some(schedule.into()),
            stages: Some(2),
            balance: Some(balance.into()),
            ..TrainingOptions::default()
        };
        Training::new().options(options).check().unwrap()
    }

    /// A run in which every block has taken as long as it is estimated to.
    fn as_estimated(job: &Job, batches: usize) -> RunSummary {
        let costs = BlockCosts::estimate(&job.model, &cost_model(&job.options)).unwrap();
        let recomputes = job.schedule.recomputes();
        let times: Vec<f64> = (job.cut.stages().iter().zip(&recomputes))
            .map(|(blocks, &recompute)| costs.stage(blocks.clone(), recompute))
            .collect();
        let slowest = times.iter().copied().fold(0.0, f64::max);
        let stage = |time: &f64| StageSummary {
            busy_share: time / slowest,
            backward: Duration::from_secs_f64(batches as f64 * 0.1 * time / slowest),
            ..StageSummary::default()
        };
        RunSummary {
            batches,
            samples: batches,
            images_per_second: 1.0,
            wall: Duration::from_secs(1),
            stages: times.iter().map(stage).collect(),
            bubble_share: 0.0,
            best_test_top1: None,
        }
    }

    #[test]
    fn a_bad_cut_is_told_with_a_better_one() {
        let bad = job("dsp", "1,4");
        let said = advice(&bad, &as_estimated(&bad, 100)).unwrap();
        assert_eq!(
            said,
            "stage 0 works 20 %, stage 1 works 100 %: --balance 2,3 would give about 1.23 times the images/s"
        );
    }

    #[test]
    fn nothing_is_said_where_nothing_would_be_faster() {
        let good = job("dsp", "2,3");
        assert_eq!(advice(&good, &as_estimated(&good, 100)), None);
        // Stages of backpropagation take turns, however they are cut.
        let turns = job("bp", "1,4");
        assert_eq!(advice(&turns, &as_estimated(&turns, 100)), None);
        let short = job("dsp", "1,4");
        assert_eq!(advice(&short, &as_estimated(&short, 19)), None);
    }

    /// Another cut would freeze other blocks, and a straggler slows down a stage, whatever blocks it has.
    #[test]
    fn nothing_is_said_where_stages_do_not_take_what_blocks_do() {
        let bad = job("dsp", "1,4");
        let with = |options: TrainingOptions| {
            let options = options.or(bad.options.clone());
            let job = Training::new().options(options).check().unwrap();
            advice(&job, &as_estimated(&job, 100))
        };
        assert_ne!(with(TrainingOptions::default()), None);
        let frozen = |stages| TrainingOptions {
            freeze_stages: Some(stages),
            ..TrainingOptions::default()
        };
        assert_eq!(with(frozen(1)), None);
        assert_ne!(with(frozen(0)), None);
        let slowed = TrainingOptions {
            straggler: Some(vec!["stage=1,slowdown=100%".into()]),
            ..TrainingOptions::default()
        };
        assert_eq!(with(slowed), None);
    }
}
