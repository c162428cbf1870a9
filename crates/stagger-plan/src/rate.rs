//! The exact rate of a schedule whose actions always take the same time.
//!
//! Then a schedule is a marked graph: each action of a period is a node, what it has to wait for are edges, and an edge that leads
//! from one period to a later one carries as many tokens as periods lie between. A period takes as long as the cycle with the
//! largest time per token (Ramamoorthy and Ho 1980; Baccelli, Cohen, Olsder and Quadrat 1992).

mod howard;

use std::collections::BTreeMap;

use stagger_schedule::{Action, GradientSource, Horizon, Schedule};

use crate::pipeline::{Direction, Times};
use howard::{Edge, max_cycle_ratio};

/// Periods of a program from the first one on that are looked at, and some to spare.
const PERIODS: usize = 4;

/// Why there is no exact rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// The times are those of another number of stages.
    #[error("the schedule has {expected} stages, and the times are of {found}")]
    Stages {
        /// Of the schedule.
        expected: usize,
        /// Of the times.
        found: usize,
    },
    /// A program does not repeat with every batch.
    #[error("stage {stage} of `{schedule}` does not do the same for every batch")]
    Aperiodic {
        /// The schedule.
        schedule: String,
        /// The stage.
        stage: usize,
    },
    /// No stage can go on for ever.
    #[error("`{schedule}` has a cycle of waits without a message in it")]
    Dead {
        /// The schedule.
        schedule: String,
    },
}

/// Nanoseconds per batch in the long run, for a schedule behind its synchronous first batches. Of times that are drawn, those of
/// the first batch in the steady state stand for all.
///
/// ```
/// use stagger_plan::{Pipeline, Times, exact_period};
/// use stagger_schedule::Schedule;
///
/// // Two stages of 12 ms overlap under DSP, and take turns under backpropagation.
/// for (method, milliseconds) in [("dsp", 12.0), ("bp", 24.0)] {
///     let schedule = Schedule::parse(method, Some(2))?;
///     let times = Times::new(&Pipeline::equal(&schedule, 0.012), 1, 0);
///     assert!((exact_period(&schedule, &times)? / 1e6 - milliseconds).abs() < 1e-9);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`RateError`].
pub fn exact_period(schedule: &Schedule, times: &Times) -> Result<f64, RateError> {
    let (expected, found) = (schedule.stages(), times.stages());
    if expected != found {
        return Err(RateError::Stages { expected, found });
    }
    let graph = MarkedGraph::of(schedule, times)?;
    max_cycle_ratio(graph.nodes, &graph.edges).ok_or_else(|| RateError::Dead {
        schedule: schedule.to_string(),
    })
}

/// Nodes are the starts of actions, and of transfers.
struct MarkedGraph {
    nodes: usize,
    edges: Vec<Edge>,
}

/// An action of a period, as a node.
struct Node {
    /// Its number in the graph.
    number: usize,
    action: Action,
    /// How long it takes.
    time: f64,
    /// The node that the stage comes to next, and how many periods later.
    next: usize,
    next_period: i64,
}

/// The nodes that move messages over one lane, by the number of the micro-batch in its batch.
type Movers<'a> = BTreeMap<usize, &'a Node>;

impl MarkedGraph {
    fn of(schedule: &Schedule, times: &Times) -> Result<Self, RateError> {
        let mut graph = Self {
            nodes: 0,
            edges: Vec::new(),
        };
        let lead = schedule.lead();
        // A synthesizer begins to learn two batches later than a stage.
        let first = lead + 3;
        // The batches that are forwarded in the periods that are looked at all exist.
        let horizon = Horizon::of(first + PERIODS + lead);
        let mut stages = Vec::new();
        for stage in 0..schedule.stages() {
            let actions = period(schedule, stage, first, &horizon)?;
            stages.push(graph.add_stage(stage, &actions, first, times));
        }
        let policies = schedule.policies();
        let micro_batches = schedule.micro_batches() as i64;
        for hop in 0..schedule.stages() - 1 {
            let (lower, upper) = (&stages[hop], &stages[hop + 1]);
            let forwards = |nodes| movers(nodes, |action| matches!(action, Action::Forward { .. }));
            let backwards =
                |nodes| movers(nodes, |action| matches!(action, Action::Backward { .. }));
            let learns = |nodes| movers(nodes, |action| matches!(action, Action::Learn { .. }));
            let taken_down = match policies[hop].gradient {
                GradientSource::Above => backwards(lower),
                GradientSource::Synthetic => learns(lower),
            };
            let policy = &policies[hop];
            for (way, sends, takes, capacity) in [
                (
                    Direction::Up,
                    forwards(lower),
                    forwards(upper),
                    policy.forward_queue,
                ),
                (
                    Direction::Down,
                    backwards(upper),
                    taken_down,
                    policy.backward_queue,
                ),
            ] {
                let transfer = |micro| times.transfer(hop, way, first, micro);
                graph.add_lane(&sends, &takes, capacity as i64, micro_batches, transfer);
            }
        }
        Ok(graph)
    }

    fn add_stage(
        &mut self,
        stage: usize,
        actions: &[Action],
        first: usize,
        times: &Times,
    ) -> Vec<Node> {
        let (start, count) = (self.nodes, actions.len());
        self.nodes += count;
        let node = |(at, &action): (usize, &Action)| Node {
            number: start + at,
            action: relative(action, first),
            time: times.action(stage, action) as f64,
            next: start + (at + 1) % count,
            next_period: i64::from(at + 1 == count),
        };
        let nodes: Vec<Node> = actions.iter().enumerate().map(node).collect();
        for node in &nodes {
            self.edges.push(Edge {
                from: node.number,
                to: node.next,
                time: node.time,
                tokens: node.next_period,
            });
        }
        nodes
    }

    /// What the two ends of a lane wait for. Batches of nodes are relative to their period.
    fn add_lane(
        &mut self,
        sends: &Movers<'_>,
        takes: &Movers<'_>,
        capacity: i64,
        micro_batches: i64,
        transfer: impl Fn(usize) -> (u64, u64),
    ) {
        let mut links = Vec::new();
        for (&micro, &send) in sends {
            let (occupies, latency) = transfer(micro);
            let link = self.nodes;
            self.nodes += 1;
            links.push((link, occupies as f64, batch_of(send)));
            self.edges.push(Edge {
                from: send.number,
                to: link,
                time: send.time,
                tokens: 0,
            });
            if let Some(&take) = takes.get(&micro) {
                // Taken in the period in which the taker is at the batch that was sent.
                self.edges.push(Edge {
                    from: link,
                    to: take.number,
                    time: occupies as f64 + latency as f64,
                    tokens: batch_of(send) - batch_of(take),
                });
            }
            // The message that has to be taken before the sender goes on, counted from the one sent.
            let unit = micro as i64 - capacity;
            let (batch, freed) = (
                batch_of(send) + unit.div_euclid(micro_batches),
                unit.rem_euclid(micro_batches) as usize,
            );
            if let Some(&take) = takes.get(&freed) {
                let (_, back) = transfer(freed);
                self.edges.push(Edge {
                    from: take.number,
                    to: send.next,
                    time: back as f64,
                    tokens: send.next_period + batch_of(take) - batch,
                });
            }
        }
        // The link carries messages one after the other, in the order of micro-batches.
        for (at, &(link, occupies, batch)) in links.iter().enumerate() {
            let is_last = at + 1 == links.len();
            let (next, _, next_batch) = links[(at + 1) % links.len()];
            self.edges.push(Edge {
                from: link,
                to: next,
                time: occupies,
                tokens: batch - next_batch + i64::from(is_last),
            });
        }
    }
}

/// What a stage does from the update before to that of batch `first`.
fn period(
    schedule: &Schedule,
    stage: usize,
    first: usize,
    horizon: &Horizon,
) -> Result<Vec<Action>, RateError> {
    let mut periods: Vec<Vec<Action>> = vec![Vec::new()];
    for action in schedule.steady_program(stage, horizon) {
        if let Some(last) = periods.last_mut() {
            last.push(action);
        }
        if let Action::Update { .. } = action {
            periods.push(Vec::new());
        }
    }
    let at = |number: usize| periods.get(number).map(Vec::as_slice).unwrap_or_default();
    let shifted = |actions: &[Action], by| -> Vec<Action> {
        actions.iter().map(|&action| relative(action, by)).collect()
    };
    match shifted(at(first), first) == shifted(at(first + 1), first + 1) {
        true => Ok(at(first).to_vec()),
        false => Err(RateError::Aperiodic {
            schedule: schedule.to_string(),
            stage,
        }),
    }
}

/// The action with its batch counted from `first`. What lies before wraps around, as [`batch_of`] undoes.
fn relative(action: Action, first: usize) -> Action {
    match action {
        Action::Forward { batch, micro } => Action::Forward {
            batch: batch.wrapping_sub(first),
            micro,
        },
        Action::Recompute { batch, micro } => Action::Recompute {
            batch: batch.wrapping_sub(first),
            micro,
        },
        Action::Backward { batch, micro } => Action::Backward {
            batch: batch.wrapping_sub(first),
            micro,
        },
        Action::Learn { batch, micro } => Action::Learn {
            batch: batch.wrapping_sub(first),
            micro,
        },
        Action::Update { version } => Action::Update {
            version: version.wrapping_sub(first),
        },
        Action::Evaluate { version } => Action::Evaluate {
            version: version.wrapping_sub(first),
        },
        Action::Snapshot { version } => Action::Snapshot {
            version: version.wrapping_sub(first),
        },
    }
}

/// The batch of a node, counted from that of its period.
fn batch_of(node: &Node) -> i64 {
    match node.action {
        Action::Forward { batch, .. }
        | Action::Recompute { batch, .. }
        | Action::Backward { batch, .. }
        | Action::Learn { batch, .. } => batch.cast_signed() as i64,
        Action::Update { version }
        | Action::Evaluate { version }
        | Action::Snapshot { version } => version.cast_signed() as i64,
    }
}

fn movers(nodes: &[Node], is_one: impl Fn(&Action) -> bool) -> Movers<'_> {
    let ones = nodes.iter().filter(|node| is_one(&node.action));
    let micro = |node: &Node| match node.action {
        Action::Forward { micro, .. }
        | Action::Backward { micro, .. }
        | Action::Learn { micro, .. } => micro,
        _ => 0,
    };
    ones.map(|node| (micro(node), node)).collect()
}
