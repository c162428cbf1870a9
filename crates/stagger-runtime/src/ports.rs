//! Which link a stage has to each of its neighbours.

use stagger_schedule::Schedule;
use stagger_transport::{Capacities, Link, StopSignal, Transport};

use crate::fault::RunError;

/// A stage's ends of the two hops beside it.
pub(crate) struct Ports<T> {
    pub below: Option<Box<dyn Link<T>>>,
    pub above: Option<Box<dyn Link<T>>>,
}

/// Connects every two neighbours, with queues as long as the schedule says. The ports of all stages, from stage 0 up.
///
/// # Errors
/// When the transport cannot connect a hop, or does not give both of its ends: all stages run in this process.
pub(crate) fn connect<T>(
    schedule: &Schedule,
    transport: &impl Transport<T>,
    stop: &StopSignal,
) -> Result<Vec<Ports<T>>, RunError> {
    let unconnected = || Ports {
        below: None,
        above: None,
    };
    let mut ports: Vec<_> = (0..schedule.stages()).map(|_| unconnected()).collect();
    for hop in 0..schedule.stages() - 1 {
        let policy = schedule.policy(hop);
        let capacities = Capacities {
            activation: policy.forward_queue,
            gradient: policy.backward_queue,
        };
        let failed = |cause| RunError::Connect { hop, cause };
        let ends = transport.connect(hop, capacities, stop).map_err(failed)?;
        if ends.lower.is_none() || ends.upper.is_none() {
            return Err(failed("an end is in another process".into()));
        }
        ports[hop].above = ends.lower;
        ports[hop + 1].below = ends.upper;
    }
    Ok(ports)
}
