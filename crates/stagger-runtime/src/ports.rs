//! Which links a place has to its neighbours, and to the other replicas of its stage.

use std::ops::Range;

use stagger_transport::{Capacities, Ends, Hop, Link, StopSignal, Transport};

use crate::fault::RunError;
use crate::plan::Plan;

/// A place's ends of the hops beside it.
pub(crate) struct Ports<T> {
    /// To the stage below: one, or one to each of its replicas, in the order of their rows.
    pub below: Vec<Box<dyn Link<T>>>,
    /// To the stage above, likewise.
    pub above: Vec<Box<dyn Link<T>>>,
    /// To the other replicas.
    pub ring: Option<Ring<T>>,
    /// To the first replicas of the stages beside it, for clipping over all stages: of a first replica, where the plan clips so.
    pub chain: Chain<T>,
}

/// The links of a stage in the chain of all stages, beside those for tensors of batches: they carry values as they are.
pub(crate) struct Chain<T> {
    pub below: Option<Box<dyn Link<T>>>,
    pub above: Option<Box<dyn Link<T>>>,
}

impl<T> Chain<T> {
    fn unconnected() -> Self {
        Self {
            below: None,
            above: None,
        }
    }

    /// Hands the links over, to be used beside the others.
    pub fn take(&mut self) -> Self {
        std::mem::replace(self, Self::unconnected())
    }
}

/// The links of a replica in the ring of its stage.
pub(crate) struct Ring<T> {
    /// To the replica after it; the last one's is to the first.
    pub next: Box<dyn Link<T>>,
    /// From the replica before it.
    pub previous: Box<dyn Link<T>>,
}

/// Connects the places of this process to their neighbours, with queues as long as the plan's schedule says. Their ports, from
/// the first of them up.
///
/// # Errors
/// When the transport cannot connect a hop, or does not give an end that belongs to a place of this process.
pub(crate) fn connect<T>(
    plan: &Plan,
    places: Range<usize>,
    transport: &impl Transport<T>,
    stop: &StopSignal,
) -> Result<Vec<Ports<T>>, RunError> {
    let unconnected = || Wiring {
        below: Vec::new(),
        above: Vec::new(),
        next: None,
        previous: None,
        chain: Chain::unconnected(),
    };
    let replicas = &plan.replicas;
    let mut wiring: Vec<_> = places.clone().map(|_| unconnected()).collect();
    let here = |place: usize| places.contains(&place).then(|| place - places.start);
    for Connection {
        hop,
        capacities,
        kind,
    } in connections(plan)
    {
        let (lower, upper) = (here(hop.lower), here(hop.upper));
        if lower.is_none() && upper.is_none() {
            continue;
        }
        let failed = |cause| RunError::Connect {
            lower: replicas.place(hop.lower).to_string(),
            upper: replicas.place(hop.upper).to_string(),
            cause,
        };
        let Ends {
            lower: low_end,
            upper: high_end,
        } = transport.connect(hop, capacities, stop).map_err(failed)?;
        let missing = || failed("an end is in another process".into());
        if let Some(place) = lower {
            let end = low_end.ok_or_else(missing)?;
            match kind {
                Kind::Stages => wiring[place].above.push(end),
                Kind::Ring => wiring[place].next = Some(end),
                Kind::Chain => wiring[place].chain.above = Some(end),
            }
        }
        if let Some(place) = upper {
            let end = high_end.ok_or_else(missing)?;
            match kind {
                Kind::Stages => wiring[place].below.push(end),
                Kind::Ring => wiring[place].previous = Some(end),
                Kind::Chain => wiring[place].chain.below = Some(end),
            }
        }
    }
    let ports = wiring.into_iter().map(|wiring| Ports {
        below: wiring.below,
        above: wiring.above,
        ring: wiring
            .next
            .zip(wiring.previous)
            .map(|(next, previous)| Ring { next, previous }),
        chain: wiring.chain,
    });
    Ok(ports.collect())
}

/// The ends of a place while they are being connected.
struct Wiring<T> {
    below: Vec<Box<dyn Link<T>>>,
    above: Vec<Box<dyn Link<T>>>,
    next: Option<Box<dyn Link<T>>>,
    previous: Option<Box<dyn Link<T>>>,
    chain: Chain<T>,
}

/// A hop of a run.
struct Connection {
    hop: Hop,
    capacities: Capacities,
    kind: Kind,
}

/// What a hop connects.
enum Kind {
    /// A replica of a stage and one of the stage above, for tensors of batches.
    Stages,
    /// Replicas of one stage.
    Ring,
    /// The first replicas of a stage and of the stage above, for clipping.
    Chain,
}

/// All hops of a run: those between stages, in the order of the rows, then the rings, and then the chain.
fn connections(plan: &Plan) -> Vec<Connection> {
    let (schedule, replicas) = (&plan.schedule, &plan.replicas);
    let mut all = Vec::new();
    for stage in 0..replicas.stages() - 1 {
        let (activation, gradient) = replicas.queues(stage, schedule);
        let capacities = Capacities {
            activation,
            gradient,
        };
        for (below, above) in replicas.pairs(stage) {
            let hop = Hop {
                number: all.len(),
                lower: replicas.number(stage, below),
                upper: replicas.number(stage + 1, above),
                exact: false,
            };
            all.push(Connection {
                hop,
                capacities,
                kind: Kind::Stages,
            });
        }
    }
    for stage in 0..replicas.stages() {
        let of = replicas.of(stage);
        for replica in (0..of).filter(|_| of > 1) {
            let hop = Hop {
                number: all.len(),
                lower: replicas.number(stage, replica),
                upper: replicas.number(stage, (replica + 1) % of),
                exact: true,
            };
            // A replica sends once before it receives.
            let capacities = Capacities {
                activation: 1,
                gradient: 0,
            };
            all.push(Connection {
                hop,
                capacities,
                kind: Kind::Ring,
            });
        }
    }
    for stage in (0..replicas.stages() - 1).filter(|_| plan.clip_norm.is_some()) {
        let hop = Hop {
            number: all.len(),
            lower: replicas.number(stage, 0),
            upper: replicas.number(stage + 1, 0),
            exact: true,
        };
        let capacities = Capacities {
            activation: 1,
            gradient: 1,
        };
        all.push(Connection {
            hop,
            capacities,
            kind: Kind::Chain,
        });
    }
    all
}
