//! How much staleness DSP needs to keep its stages busy.

use stagger_schedule::{MAX_STALENESS, NotationError, Schedule};

use crate::simulation::{Simulated, Simulation, SimulationError};
use crate::times::Times;

/// Batches times stages of a simulated run, where they are more than 2,000 batches.
const MOST_WORK: usize = 1_000_000;

/// Hops that get less staleness each by itself; of more hops, as many groups of neighbours do.
const GROUPS: usize = 32;

/// What the least staleness is searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LeastStaleness {
    /// The share of the time, 0 to 1, for which the stage with the most work has to be busy in the long run.
    pub share: f64,
    /// Batches of each simulated run that are counted. Random times need many: over 2,000 batches a share
    /// of 98 % may look like 99 %. Many stages get fewer, 2,000 at the least, as every stage costs as much as the others.
    pub batches: usize,
    /// Batches before those that are counted.
    pub warmup: usize,
    /// The largest difference in staleness of two neighbours that is tried.
    pub most_per_hop: usize,
    /// Whether stages send the gradient of their input before they compute those of their weights: `dsp + split`.
    pub split: bool,
}

impl Default for LeastStaleness {
    fn default() -> Self {
        Self {
            share: 0.99,
            batches: 20_000,
            warmup: 1000,
            most_per_hop: 256,
            split: false,
        }
    }
}

/// A schedule that was found, and what it reaches.
#[derive(Clone, Debug)]
pub struct FoundStaleness {
    /// DSP with the least staleness that reaches the share, or else with the most that was tried.
    pub schedule: Schedule,
    /// What it reaches.
    pub simulated: Simulated,
    /// Whether that is the share that was asked for.
    pub is_enough: bool,
}

/// Why nothing was found.
#[derive(Debug, thiserror::Error)]
pub enum StalenessError {
    /// The schedule has no notation.
    #[error(transparent)]
    Notation(#[from] NotationError),
    /// It cannot be simulated.
    #[error(transparent)]
    Simulation(#[from] SimulationError),
}

impl LeastStaleness {
    /// Searches the least staleness of DSP over stages with these durations. First all hops get the same difference in staleness,
    /// as small as it can be; then each in turn gets less, from the lowest up, as long as the share is kept. More than 32 hops
    /// do so in 32 groups of neighbours, as every step is a simulation of all stages. Both queues of each hop have room for all that
    /// is in flight there (benchmarks/queues says why).
    ///
    /// What counts is the rate of the slowest stage. Upper stages are busy for as long as the batches last that lower ones were ahead
    /// at the start, which says nothing about the long run.
    ///
    /// Replicas wait for each other before every update, so that none of them may ever be busy for that share of the time. Where
    /// there are any, the rate has to be that share of what the most staleness that is tried reaches.
    ///
    /// Queues bound how far stages drift apart, so more in flight is never slower. The search is greedy, hop by hop: another
    /// combination may have less staleness.
    ///
    /// # Errors
    /// [`StalenessError`], when the stages are more than a schedule may have.
    pub fn search(&self, times: &Times) -> Result<FoundStaleness, StalenessError> {
        let hops = times.stages() - 1;
        let largest = self.most_per_hop.min(MAX_STALENESS / hops.max(1)).max(1);
        let ceiling = match times.replicas().any() {
            true => {
                let most = self.simulate(&vec![largest; hops], times, None)?;
                Some(most.simulated.lasting_batches_per_second())
            }
            false => None,
        };
        let simulate = |gaps: &[usize]| self.simulate(gaps, times, ceiling);
        let mut gaps = vec![1; hops];
        let mut found = simulate(&gaps)?;
        if hops == 0 {
            return Ok(found);
        }
        // Doubling, then halving the interval.
        let mut too_little = 0;
        while !found.is_enough && gaps[0] < largest {
            too_little = gaps[0];
            gaps.fill((2 * too_little).min(largest));
            found = simulate(&gaps)?;
        }
        if !found.is_enough {
            return Ok(found);
        }
        let mut enough = gaps[0];
        while enough - too_little > 1 {
            let middle = too_little + (enough - too_little) / 2;
            gaps.fill(middle);
            let tried = simulate(&gaps)?;
            if tried.is_enough {
                (enough, found) = (middle, tried);
            } else {
                too_little = middle;
            }
        }
        gaps.fill(enough);
        let groups = hops.min(GROUPS);
        for group in (0..groups).map(|group| group * hops / groups..(group + 1) * hops / groups) {
            let (mut too_little, mut enough) = (0, gaps[group.start]);
            while enough - too_little > 1 {
                let middle = too_little + (enough - too_little) / 2;
                gaps[group.clone()].fill(middle);
                let tried = simulate(&gaps)?;
                if tried.is_enough {
                    (enough, found) = (middle, tried);
                } else {
                    too_little = middle;
                }
            }
            gaps[group].fill(enough);
        }
        Ok(found)
    }

    /// Whether a share is enough is seen from the batches per second that are the most, or else from the busiest stage.
    fn simulate(
        &self,
        gaps: &[usize],
        times: &Times,
        ceiling: Option<f64>,
    ) -> Result<FoundStaleness, StalenessError> {
        let schedule = dsp(gaps, self.split && !gaps.is_empty())?;
        let batches = self.batches.min((MOST_WORK / schedule.stages()).max(2000));
        let simulated = Simulation {
            schedule: &schedule,
            times,
            batches: self.warmup + batches + schedule.lead(),
            warmup: self.warmup,
        }
        .run(|_| {})?;
        Ok(FoundStaleness {
            is_enough: match ceiling {
                Some(most) => simulated.lasting_batches_per_second() >= self.share * most,
                None => simulated.lasting_busiest_share() >= self.share,
            },
            schedule,
            simulated,
        })
    }
}

/// DSP whose neighbours differ in staleness by these numbers, from the lowest hop up.
fn dsp(gaps: &[usize], split: bool) -> Result<Schedule, NotationError> {
    let mut staleness: Vec<String> = vec!["0".to_owned()];
    let mut sum = 0;
    for gap in gaps.iter().rev() {
        sum += gap;
        staleness.insert(0, sum.to_string());
    }
    let split = if split { " + split" } else { "" };
    Schedule::parse(&format!("dsp(m={}){split}", staleness.join(",")), None)
}
