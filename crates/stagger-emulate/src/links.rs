//! Links between emulated stages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stagger_plan::{Direction, Times};
use stagger_transport::{
    Capacities, ConnectError, Delay, Delayed, Ends, Header, Hop, Lane, StopSignal, Threads,
    Transport,
};

/// Links on which messages take as long as a profile says; those of threads where they take no time. For pipelines without replicas.
#[derive(Clone)]
pub struct EmulatedLinks {
    times: Arc<Times>,
    delayed: Delayed,
}

impl EmulatedLinks {
    pub(crate) fn new(times: Arc<Times>) -> Self {
        let of = Arc::clone(&times);
        let delayed = Delayed::new(move |hop, header| delay(&of, hop, header));
        Self { times, delayed }
    }
}

fn delay(times: &Times, hop: Hop, header: &Header) -> Delay {
    let way = match header.lane {
        Lane::Gradient => Direction::Down,
        Lane::Activation | Lane::Evaluation => Direction::Up,
    };
    let (occupies, latency) = times.transfer(hop.lower, way, header.batch, header.micro);
    Delay {
        occupies: Duration::from_nanos(occupies),
        latency: Duration::from_nanos(latency),
    }
}

impl fmt::Debug for EmulatedLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatedLinks").finish_non_exhaustive()
    }
}

impl<T: Send + 'static> Transport<T> for EmulatedLinks {
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError> {
        match self.times.moves(hop.lower) {
            true => self.delayed.connect(hop, capacities, stop),
            false => Threads.connect(hop, capacities, stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use stagger_plan::{Distribution, HopTimes, Pipeline};
    use stagger_schedule::Schedule;

    use super::*;

    #[test]
    fn a_message_takes_what_a_simulation_would_say() {
        let schedule = Schedule::parse("dsp", Some(2)).unwrap();
        let spread = |text: &str| text.parse::<Distribution>().unwrap();
        let pipeline = Pipeline {
            hops: vec![HopTimes {
                activation: spread("exponential(3ms)"),
                gradient: spread("2ms"),
                latency: spread("uniform(1ms,5ms)"),
            }],
            ..Pipeline::equal(&schedule, 0.01)
        };
        let times = Times::new(&pipeline, 1, 7);
        for (lane, way) in [
            (Lane::Activation, Direction::Up),
            (Lane::Gradient, Direction::Down),
        ] {
            for batch in 0..5 {
                let header = Header {
                    lane,
                    batch,
                    micro: 0,
                    version: 3,
                    sent_at: Duration::ZERO,
                    mark: None,
                };
                let found = delay(&times, Hop::above(0), &header);
                let (occupies, latency) = times.transfer(0, way, batch, 0);
                assert_eq!(found.occupies.as_nanos(), u128::from(occupies));
                assert_eq!(found.latency.as_nanos(), u128::from(latency));
            }
        }
        assert!(times.moves(0));
    }
}
