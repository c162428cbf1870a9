//! Which links a place has to its neighbours, and to the other replicas of its stage.

use std::ops::Range;

use stagger_schedule::Schedule;
use stagger_transport::{Capacities, Ends, Hop, Link, StopSignal, Transport};

use crate::fault::RunError;
use stagger_schedule::Replicas;

/// A place's ends of the hops beside it.
pub(crate) struct Ports<T> {
    /// To the stage below: one, or one to each of its replicas, in the order of their rows.
    pub below: Vec<Box<dyn Link<T>>>,
    /// To the stage above, likewise.
    pub above: Vec<Box<dyn Link<T>>>,
    /// To the other replicas.
    pub ring: Option<Ring<T>>,
}

/// The links of a replica in the ring of its stage.
pub(crate) struct Ring<T> {
    /// To the replica after it; the last one's is to the first.
    pub next: Box<dyn Link<T>>,
    /// From the replica before it.
    pub previous: Box<dyn Link<T>>,
}

/// Connects the places of this process to their neighbours, with queues as long as the schedule says. Their ports, from the first
/// of them up.
///
/// # Errors
/// When the transport cannot connect a hop, or does not give an end that belongs to a place of this process.
pub(crate) fn connect<T>(
    schedule: &Schedule,
    replicas: &Replicas,
    places: Range<usize>,
    transport: &impl Transport<T>,
    stop: &StopSignal,
) -> Result<Vec<Ports<T>>, RunError> {
    let unconnected = || Wiring {
        below: Vec::new(),
        above: Vec::new(),
        next: None,
        previous: None,
    };
    let mut wiring: Vec<_> = places.clone().map(|_| unconnected()).collect();
    let here = |place: usize| places.contains(&place).then(|| place - places.start);
    for Connection {
        hop,
        capacities,
        ring,
    } in connections(schedule, replicas)
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
            match ring {
                true => wiring[place].next = Some(end),
                false => wiring[place].above.push(end),
            }
        }
        if let Some(place) = upper {
            let end = high_end.ok_or_else(missing)?;
            match ring {
                true => wiring[place].previous = Some(end),
                false => wiring[place].below.push(end),
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
    });
    Ok(ports.collect())
}

/// The ends of a place while they are being connected.
struct Wiring<T> {
    below: Vec<Box<dyn Link<T>>>,
    above: Vec<Box<dyn Link<T>>>,
    next: Option<Box<dyn Link<T>>>,
    previous: Option<Box<dyn Link<T>>>,
}

/// A hop of a run.
struct Connection {
    hop: Hop,
    capacities: Capacities,
    /// Whether it is between replicas of one stage.
    ring: bool,
}

/// All hops of a run: those between stages, in the order of the rows, and then the rings.
fn connections(schedule: &Schedule, replicas: &Replicas) -> Vec<Connection> {
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
                ring: false,
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
                ring: true,
            });
        }
    }
    all
}
