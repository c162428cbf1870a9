//! The results of a method, aggregated over its runs.

use serde::Serialize;
use stagger_data::shown_text;

use super::run::{PlannedRun, RunResult, RunState, read_run};
use super::staleness::StageStaleness;
use super::statistics::{Spread, mean, median};
use crate::environment::Environment;

/// The request of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Model, data set and other common conditions, for people.
    pub title: String,
    /// The command line.
    pub command: String,
    /// The methods, as the user wrote them.
    pub methods: Vec<String>,
    /// Slow-downs of the stages in percent, in the order in which they are shown; `[0]` for none.
    pub slowdowns_percent: Vec<f64>,
    /// The method that speed-ups are relative to.
    pub baseline: String,
    /// What was emulated, where the stages of all runs slept instead of computing.
    pub emulated: Option<String>,
    /// Test accuracy in percent; the time to reach it is reported.
    pub target_top1: Option<f64>,
    /// All runs, in the order in which they are run.
    pub runs: Vec<PlannedRun>,
}

/// A comparison and its results.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The request.
    pub plan: Plan,
    /// The state of each run of the plan.
    pub states: Vec<RunState>,
    /// A result per slow-down and method: all methods of the first slow-down, then those of the next.
    pub results: Vec<MethodResult>,
    /// The hosts and builds of the runs, without duplicates.
    pub environments: Vec<Environment>,
}

/// A run that failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedRun {
    /// Its seed.
    pub seed: u64,
    /// The cause.
    pub error: String,
}

/// A method at one slow-down.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodResult {
    /// The method, as the user wrote it.
    pub method: String,
    /// The same in full notation, from its runs.
    pub schedule: Option<String>,
    /// Copies of each stage, from its runs, too: `1`, or `2,1` where stages differ.
    pub replicas: Option<String>,
    /// Slow-down of the stages in percent; 0 for none.
    pub slowdown_percent: f64,
    /// Number of runs in the plan.
    pub runs: usize,
    /// Number of runs that completed.
    pub done: usize,
    /// Samples per second, the median over the seeds.
    pub images_per_second: Option<f64>,
    /// Samples per second relative to the baseline at the same seed and slow-down, the median over the seeds.
    pub speedup: Option<f64>,
    /// Samples per second relative to the same method without slow-down.
    pub share_of_unslowed: Option<f64>,
    /// Share of its training time in which each stage computed, the mean over the seeds.
    pub busy_shares: Vec<f64>,
    /// One minus the mean busy share of the stages.
    pub bubble_share: Option<f64>,
    /// Peak resident memory in bytes, the maximum over the seeds.
    pub peak_memory_bytes: Option<u64>,
    /// Staleness of each stage, over all seeds.
    pub staleness: Vec<StageStaleness>,
    /// ‖w − w_fwd‖/‖w‖ of each stage where it was measured, the mean over the seeds.
    pub gaps: Vec<Option<f64>>,
    /// Test accuracy of the last evaluation, in percent.
    pub final_top1: Option<Spread>,
    /// Highest test accuracy, in percent.
    pub best_top1: Option<Spread>,
    /// Seconds of training to the target accuracy, the median over the seeds that reached it.
    pub seconds_to_target: Option<f64>,
    /// Number of seeds that reached it.
    pub reached_target: usize,
    /// The runs that failed.
    pub failures: Vec<FailedRun>,
}

impl Comparison {
    /// What of the runs is in no table and report, as it cannot be read: a sentence for each.
    pub fn faults(&self) -> impl Iterator<Item = String> {
        let results = self.states.iter().filter_map(RunState::result);
        let faults = results.filter_map(|run| run.fault.as_deref());
        faults.map(|why| {
            format!(
                "the report lacks host and build of a run, which is kept: {}",
                shown_text(why)
            )
        })
    }

    /// Reads the folders of all runs of a plan.
    pub fn read(plan: Plan) -> Self {
        let states: Vec<RunState> = plan.runs.iter().map(|run| read_run(&run.folder)).collect();
        let mut comparison = Self {
            environments: environments(&states),
            plan,
            states,
            results: Vec::new(),
        };
        for &slowdown in &comparison.plan.slowdowns_percent {
            for method in &comparison.plan.methods {
                let result = comparison.sum_up(method, slowdown);
                comparison.results.push(result);
            }
        }
        let unslowed: Vec<(String, f64)> = comparison
            .results
            .iter()
            .filter(|result| result.slowdown_percent == 0.0)
            .filter_map(|result| Some((result.method.clone(), result.images_per_second?)))
            .collect();
        for result in &mut comparison.results {
            let own = unslowed.iter().find(|(method, _)| *method == result.method);
            result.share_of_unslowed = result
                .images_per_second
                .zip(own)
                .map(|(rate, (_, own))| rate / own);
        }
        comparison
    }

    /// The completed runs of a method at a slow-down, with their seeds.
    pub fn done(&self, method: &str, slowdown_percent: f64) -> Vec<(u64, &RunResult)> {
        self.of(method, slowdown_percent)
            .filter_map(|(run, state)| Some((run.seed, state.result()?)))
            .collect()
    }

    /// The results at the lowest slow-down, which the charts of single methods show.
    pub fn at_least_slowdown(&self) -> &[MethodResult] {
        &self.results[..self.plan.methods.len().min(self.results.len())]
    }

    fn of<'a, 'm>(
        &'a self,
        method: &'m str,
        slowdown_percent: f64,
    ) -> impl Iterator<Item = (&'a PlannedRun, &'a RunState)> + use<'a, 'm> {
        let all = self.plan.runs.iter().zip(&self.states);
        all.filter(move |(run, _)| run.method == method && run.slowdown_percent == slowdown_percent)
    }

    fn sum_up(&self, method: &str, slowdown_percent: f64) -> MethodResult {
        let done = self.done(method, slowdown_percent);
        let baseline = self.done(&self.plan.baseline, slowdown_percent);
        let each = |number: fn(&RunResult) -> Option<f64>| -> Vec<f64> {
            done.iter().filter_map(|(_, run)| number(run)).collect()
        };
        let speedups: Vec<f64> = done
            .iter()
            .filter_map(|(seed, run)| {
                let (_, other) = baseline.iter().find(|(other, _)| other == seed)?;
                Some(run.progress.images_per_second? / other.progress.images_per_second?)
            })
            .collect();
        let target = self.plan.target_top1;
        let times: Vec<f64> = done
            .iter()
            .filter_map(|(_, run)| run.progress.seconds_to(target?))
            .collect();
        let failures = self.of(method, slowdown_percent).filter_map(failed);
        let stages = done.first().map_or(0, |(_, run)| run.busy_shares.len());
        let over_stages = |number: &dyn Fn(&RunResult, usize) -> Option<f64>| {
            let of_stage = |stage| -> Option<f64> {
                let found = done.iter().filter_map(|(_, run)| number(run, stage));
                mean(&found.collect::<Vec<_>>())
            };
            (0..stages).map(of_stage).collect::<Vec<_>>()
        };
        let busy = over_stages(&|run, stage| run.busy_shares.get(stage).copied());
        MethodResult {
            method: method.to_owned(),
            schedule: done.first().and_then(|(_, run)| run.schedule.clone()),
            replicas: done.first().map(|(_, run)| run.replicas.clone()),
            slowdown_percent,
            runs: self.of(method, slowdown_percent).count(),
            done: done.len(),
            images_per_second: median(&each(|run| run.progress.images_per_second)),
            speedup: median(&speedups),
            share_of_unslowed: None,
            busy_shares: busy.into_iter().flatten().collect(),
            bubble_share: mean(&each(|run| Some(run.bubble_share()))),
            peak_memory_bytes: done
                .iter()
                .filter_map(|(_, run)| run.peak_memory_bytes)
                .max(),
            staleness: staleness(&done),
            gaps: over_stages(&|run, stage| run.gaps.get(stage).copied().flatten()),
            final_top1: Spread::of(&each(RunResult::final_top1)),
            best_top1: Spread::of(&each(RunResult::best_top1)),
            seconds_to_target: median(&times),
            reached_target: times.len(),
            failures: failures.collect(),
        }
    }
}

fn failed((run, state): (&PlannedRun, &RunState)) -> Option<FailedRun> {
    match state {
        RunState::Failed(error) => Some(FailedRun {
            seed: run.seed,
            error: error.clone(),
        }),
        _ => None,
    }
}

fn staleness(done: &[(u64, &RunResult)]) -> Vec<StageStaleness> {
    let stages = done.first().map_or(0, |(_, run)| run.staleness.len());
    let of_stage = |stage: usize| {
        let mut sum = StageStaleness::default();
        let mut means = Vec::new();
        for found in done.iter().filter_map(|(_, run)| run.staleness.get(stage)) {
            sum.add(found.max, &found.counts);
            means.push(found.mean);
        }
        sum.mean = mean(&means).unwrap_or_default();
        sum
    };
    (0..stages).map(of_stage).collect()
}

fn environments(states: &[RunState]) -> Vec<Environment> {
    let mut found: Vec<Environment> = Vec::new();
    for environment in states
        .iter()
        .filter_map(|state| state.result()?.environment.as_ref())
    {
        if !found.contains(environment) {
            found.push(environment.clone());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::compare::fixtures::{comparison, straggling};

    #[test]
    fn speedups_are_taken_seed_by_seed() {
        let (_folder, comparison) = comparison();
        let [bp, dsp] = &comparison.results[..] else {
            panic!("two methods")
        };
        assert_eq!((bp.runs, bp.done, dsp.runs, dsp.done), (2, 2, 3, 2));
        assert_eq!(bp.speedup, Some(1.0));
        // Seed 1: 20 over 10. Seed 2: 20 over 8.
        assert_eq!(dsp.images_per_second, Some(20.0));
        assert_eq!(dsp.speedup, Some(2.25));
        let spread = dsp.final_top1.unwrap();
        assert_eq!((spread.mean, spread.count), (71.0, 2));
        assert_eq!(dsp.failures.len(), 1);
        assert_eq!(dsp.failures[0].error, "out of memory");
        assert_eq!(dsp.reached_target, 2);
        assert_eq!(dsp.staleness[0].counts, [6, 6, 48]);
        assert_eq!(comparison.environments.len(), 1);
    }

    #[test]
    fn under_a_slowdown_a_method_is_beside_itself_and_the_baseline() {
        let (_folder, comparison) = straggling();
        let rates: Vec<_> = comparison
            .results
            .iter()
            .map(|result| {
                (
                    result.slowdown_percent,
                    result.images_per_second.unwrap(),
                    result.speedup.unwrap(),
                    result.share_of_unslowed.unwrap(),
                )
            })
            .collect();
        assert_eq!(
            rates,
            [
                (0.0, 10.0, 1.0, 1.0),
                (0.0, 20.0, 2.0, 1.0),
                (100.0, 5.0, 1.0, 0.5),
                (100.0, 16.0, 3.2, 0.8)
            ]
        );
        assert_eq!(comparison.at_least_slowdown().len(), 2);
    }
}
