//! Which link a stage has to each of its neighbours.

use std::ops::Range;

use stagger_schedule::Schedule;
use stagger_transport::{Capacities, Link, StopSignal, Transport};

use crate::fault::RunError;

/// A stage's ends of the two hops beside it.
pub(crate) struct Ports<T> {
    pub below: Option<Box<dyn Link<T>>>,
    pub above: Option<Box<dyn Link<T>>>,
}

/// Connects the stages of this process to their neighbours, with queues as long as the schedule says. Their ports, from the first
/// of them up.
///
/// # Errors
/// When the transport cannot connect a hop, or does not give an end that belongs to a stage of this process.
pub(crate) fn connect<T>(
    schedule: &Schedule,
    stages: Range<usize>,
    transport: &impl Transport<T>,
    stop: &StopSignal,
) -> Result<Vec<Ports<T>>, RunError> {
    let unconnected = || Ports {
        below: None,
        above: None,
    };
    let mut ports: Vec<_> = stages.clone().map(|_| unconnected()).collect();
    let place = |stage: usize| stages.contains(&stage).then(|| stage - stages.start);
    for hop in stages.start.saturating_sub(1)..stages.end.min(schedule.stages() - 1) {
        let policy = schedule.policy(hop);
        let capacities = Capacities {
            activation: policy.forward_queue,
            gradient: policy.backward_queue,
        };
        let failed = |cause| RunError::Connect { hop, cause };
        let ends = transport.connect(hop, capacities, stop).map_err(failed)?;
        let missing = || failed("an end is in another process".into());
        if let Some(stage) = place(hop) {
            ports[stage].above = Some(ends.lower.ok_or_else(missing)?);
        }
        if let Some(stage) = place(hop + 1) {
            ports[stage].below = Some(ends.upper.ok_or_else(missing)?);
        }
    }
    Ok(ports)
}
