//! The run along which constants are measured: that of the runtime, with copies of the weights of chosen versions.

use std::collections::{BTreeMap, BTreeSet};

use stagger_engine::StageState;
use stagger_runtime::{Event, Interrupt, Plan};
use stagger_schedule::{Convergence, Horizon};

use crate::error::Error;
use crate::job::Job;
use crate::stages;

/// Versions that are measured, where there are as many updates.
const VERSIONS: usize = 6;

/// Versions of a run that are measured, and the weights that this takes.
#[derive(Debug)]
pub(super) struct Versions {
    measured: Vec<usize>,
    /// `m_k`.
    staleness: Vec<usize>,
    is_stashed: bool,
    /// By version and stage.
    states: BTreeMap<(usize, usize), StageState>,
}

/// Versions that are measured along so many updates: evenly spaced, the first among them.
pub(super) fn measured(steps: usize) -> BTreeSet<usize> {
    let count = steps.min(VERSIONS);
    (0..count).map(|at| at * steps / count).collect()
}

/// The versions, each of a stage, that are needed to measure these: them, the next ones, and the stale ones.
pub(super) fn kept(measured: &BTreeSet<usize>, staleness: &[usize]) -> BTreeSet<(usize, usize)> {
    let mut kept = BTreeSet::new();
    for &n in measured {
        for (k, m) in staleness.iter().enumerate() {
            kept.extend([(n, k), (n + 1, k), (n.saturating_sub(*m), k)]);
        }
    }
    kept
}

/// The weights around one version, by stage.
#[derive(Debug)]
pub(super) struct Version<'a> {
    pub now: Vec<&'a StageState>,
    pub next: Vec<&'a StageState>,
    /// Those of the forward passes, where they are others.
    pub stale: Option<Vec<&'a StageState>>,
    /// Whether backward passes run at them, too.
    pub is_stashed: bool,
}

impl Versions {
    /// Trains for so many updates, from these states or the initial ones, and keeps what is [`measured`] of them.
    pub fn train(
        job: &Job,
        convergence: Convergence,
        states: Option<&[StageState]>,
        steps: usize,
    ) -> Result<Self, Error> {
        let policies = job.schedule.policies();
        let staleness: Vec<usize> = policies.iter().map(|policy| policy.staleness).collect();
        let measured = measured(steps);
        let kept = kept(&measured, &staleness);
        let at: BTreeSet<usize> = kept.iter().map(|&(version, _)| version).collect();
        let horizon = Horizon {
            snapshot_at: at.into_iter().collect(),
            ..Horizon::of(steps)
        };
        let plan = Plan {
            stall_timeout: job.stall_timeout,
            ..stages::plan(job, job.schedule.clone(), horizon, 1.0)
        };
        let mut found = BTreeMap::new();
        stages::run(
            job,
            &plan,
            stages::Options {
                states,
                ..stages::Options::default()
            },
            stages::feeds(job, 0..steps)?,
            &Interrupt::new(),
            |event| {
                if let Event::Snapshot {
                    stage,
                    version,
                    snapshot,
                } = event
                    && kept.contains(&(version, stage))
                {
                    let state = snapshot.state.clone().without_optimizer();
                    found.insert((version, stage), state);
                }
                Ok(())
            },
        )?;
        Ok(Self {
            measured: measured.into_iter().collect(),
            staleness,
            is_stashed: convergence == Convergence::Stashed,
            states: found,
        })
    }

    pub fn stages(&self) -> usize {
        self.staleness.len()
    }

    pub fn measured(&self) -> impl Iterator<Item = usize> + '_ {
        self.measured.iter().copied()
    }

    /// The weights around version `n`, one of those that are measured.
    pub fn at(&self, n: usize) -> Version<'_> {
        let of = |behind: &dyn Fn(usize) -> usize| {
            let states = (0..self.stages()).filter_map(|k| self.states.get(&(behind(k), k)));
            states.collect()
        };
        let is_stale = n > 0 && self.staleness.iter().any(|m| *m > 0);
        Version {
            now: of(&|_| n),
            next: of(&|_| n + 1),
            stale: is_stale.then(|| of(&|k| n.saturating_sub(self.staleness[k]))),
            is_stashed: self.is_stashed,
        }
    }
}

#[cfg(test)]
impl Versions {
    /// As if all forward passes had run at the newest weights.
    pub fn forget_staleness(&mut self) {
        self.staleness.fill(0);
    }
}
