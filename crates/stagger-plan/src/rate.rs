//! The exact rate of a schedule whose actions always take the same time.
//!
//! Then a schedule is a marked graph: each action of a period is a node, what it has to wait for are edges, and an edge that leads
//! from one period to a later one carries as many tokens as periods lie between. A period takes as long as the cycle with the
//! largest time per token (Ramamoorthy and Ho 1980; Baccelli, Cohen, Olsder and Quadrat 1992).

mod howard;

use std::collections::BTreeMap;

use stagger_schedule::{Action, GradientSource, Horizon, Place, Schedule};

use crate::pipeline::counted;
use crate::times::{Direction, Times, ring_steps};
use howard::{Edge, max_cycle_ratio};

/// Periods of a program from the first one on that are looked at, and some to spare.
const PERIODS: usize = 4;

/// Why there is no exact rate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// The times are those of another number of stages.
    #[error("the schedule has {}, and the times are of {found}", counted(*expected, "stages"))]
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
        let replicas = times.replicas();
        // Of each place.
        let mut places: Vec<Vec<Node>> = Vec::with_capacity(replicas.places());
        for stage in 0..schedule.stages() {
            let actions = period(schedule, stage, first, &horizon)?;
            let splits = schedule.policy(stage).split.is_some();
            let durations = |place, action| times.action(place, action, splits) as f64;
            let from = places.len();
            for place in replicas.places_of(stage..stage + 1) {
                places.push(graph.nodes_of(place, &actions, first, durations));
            }
            if replicas.of(stage) > 1 {
                graph.add_sum(stage, &mut places[from..], first, times);
            }
            for nodes in &places[from..] {
                graph.add_order(nodes);
            }
        }
        let policies = schedule.policies();
        let micro_batches = schedule.micro_batches() as i64;
        let mut link = 0;
        for hop in 0..schedule.stages() - 1 {
            let (forward_queue, backward_queue) = replicas.queues(hop, schedule);
            let forwards = |nodes| movers(nodes, |action| matches!(action, Action::Forward { .. }));
            let backwards =
                |nodes| movers(nodes, |action| matches!(action, Action::Backward { .. }));
            let learns = |nodes| movers(nodes, |action| matches!(action, Action::Learn { .. }));
            for (below, above) in replicas.pairs(hop) {
                let lower = &places[replicas.number(hop, below)];
                let upper = &places[replicas.number(hop + 1, above)];
                let taken_down = match policies[hop].gradient {
                    GradientSource::Above => backwards(lower),
                    GradientSource::Synthetic => learns(lower),
                };
                for (way, sends, takes, capacity) in [
                    (
                        Direction::Up,
                        forwards(lower),
                        forwards(upper),
                        forward_queue,
                    ),
                    (
                        Direction::Down,
                        backwards(upper),
                        taken_down,
                        backward_queue,
                    ),
                ] {
                    let transfer = |micro| times.transfer(link, way, first, micro);
                    graph.add_lane(&sends, &takes, capacity as i64, micro_batches, transfer);
                }
                link += 1;
            }
        }
        Ok(graph)
    }

    /// The nodes of a place, in a circle.
    fn nodes_of(
        &mut self,
        place: usize,
        actions: &[Action],
        first: usize,
        duration: impl Fn(usize, Action) -> f64,
    ) -> Vec<Node> {
        let count = actions.len();
        let start = self.more(count);
        let node = |(at, &action): (usize, &Action)| Node {
            number: start + at,
            action: relative(action, first),
            time: duration(place, action),
            next: start + (at + 1) % count,
            next_period: i64::from(at + 1 == count),
        };
        actions.iter().enumerate().map(node).collect()
    }

    /// Numbers of more nodes, from the first of them up.
    fn more(&mut self, nodes: usize) -> usize {
        let first = self.nodes;
        self.nodes += nodes;
        first
    }

    fn edge(&mut self, (from, to): (usize, usize), time: f64, tokens: i64) {
        self.edges.push(Edge {
            from,
            to,
            time,
            tokens,
        });
    }

    /// Each action begins once the one before has ended.
    fn add_order(&mut self, nodes: &[Node]) {
        for node in nodes {
            self.edge((node.number, node.next), node.time, node.next_period);
        }
    }

    /// Puts the sum of gradients between the last pass of a period and the update, which ends it, of all replicas of a stage.
    fn add_sum(&mut self, stage: usize, replicas: &mut [Vec<Node>], first: usize, times: &Times) {
        let of = replicas.len();
        let steps = match times.sums_take_time(stage) {
            true => ring_steps(of),
            false => 0,
        };
        let updates: Vec<usize> = (replicas.iter())
            .filter_map(|nodes| Some(nodes.last()?.number))
            .collect();
        // What a replica comes to instead of its update: a node for all, or the first of its own messages.
        let entries: Vec<usize> = match steps {
            0 => vec![self.more(1); of],
            _ => (0..of).map(|_| self.more(steps)).collect(),
        };
        for ((nodes, update), entry) in replicas.iter_mut().zip(&updates).zip(&entries) {
            let before = nodes.iter_mut().filter(|node| node.next == *update);
            before.for_each(|node| node.next = *entry);
        }
        if steps == 0 {
            for &update in &updates {
                self.edge((entries[0], update), 0.0, 0);
            }
            return;
        }
        let links: Vec<usize> = (0..of).map(|_| self.more(steps)).collect();
        // When a replica is at a step: it has taken the message of the one before.
        let at = |replica: usize, step: usize| match step == steps {
            true => updates[replica],
            false => entries[replica] + step,
        };
        for (replica, &first_link) in links.iter().enumerate() {
            let next = (replica + 1) % of;
            let place = Place { stage, replica, of };
            for step in 0..steps {
                let (occupies, latency) = times.ring(place, first, step);
                let (occupies, latency) = (occupies as f64, latency as f64);
                let link = first_link + step;
                self.edge((at(replica, step), at(replica, step + 1)), 0.0, 0);
                self.edge((at(replica, step), link), 0.0, 0);
                self.edge((link, at(next, step + 1)), occupies + latency, 0);
                // The link carries the next message, and there is room for the one behind that.
                let is_last = step + 1 == steps;
                let (behind, period) = match is_last {
                    true => (0, 1),
                    false => (step + 1, 0),
                };
                self.edge((link, first_link + behind), occupies, period);
                let known = (at(next, step + 1), at(replica, behind + 1));
                self.edge(known, latency, period);
            }
        }
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
            let link = self.more(1);
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
        Action::WeightGradients { batch, micro } => Action::WeightGradients {
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
        | Action::WeightGradients { batch, .. }
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
