//! Links between emulated stages.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stagger_plan::{Direction, Times};
use stagger_transport::{
    Capacities, ConnectError, Delay, Delayed, Ends, Header, Hop, Lane, StopSignal, Threads,
    Transport,
};

/// Links on which messages take as long as a profile says; those of threads where they take no time.
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
    if hop.number >= times.links() {
        // Between replicas of one stage, which number their messages.
        let place = times.replicas().place(hop.lower);
        return taking(times.ring(place, header.batch, header.micro));
    }
    let way = match header.lane {
        Lane::Gradient => Direction::Down,
        Lane::Activation | Lane::Evaluation => Direction::Up,
    };
    taking(times.transfer(hop.number, way, header.batch, header.micro))
}

fn taking((occupies, latency): (u64, u64)) -> Delay {
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
        let times = &self.times;
        let takes_time = match hop.number < times.links() {
            true => times.moves(hop.number),
            false => times.sums_take_time(times.replicas().place(hop.lower).stage),
        };
        match takes_time {
            true => self.delayed.connect(hop, capacities, stop),
            false => Threads.connect(hop, capacities, stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use stagger_plan::{Distribution, HopTimes, Pipeline, RingTimes};
    use stagger_schedule::{Place, Replicas, Schedule};

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

    #[test]
    fn replicas_have_links_of_their_own() {
        let schedule = Schedule::parse("dsp", Some(2)).unwrap();
        let mut pipeline =
            Pipeline::equal(&schedule, 0.01).shared_out(&Replicas::new(&[2, 1], 2).unwrap(), None);
        pipeline.hops[1].activation = "exponential(3ms)".parse().unwrap();
        pipeline.rings[0] = RingTimes {
            occupies: "exponential(2ms)".parse().unwrap(),
            latency: Distribution::Constant(0.001),
        };
        let times = Times::new(&pipeline, 1, 7);
        let header = Header {
            lane: Lane::Activation,
            batch: 4,
            micro: 1,
            version: 4,
            sent_at: Duration::ZERO,
            mark: None,
        };
        let of = |number, lower, upper| {
            let exact = number > 1;
            let hop = Hop {
                number,
                lower,
                upper,
                exact,
            };
            let delay = delay(&times, hop, &header);
            (
                delay.occupies.as_nanos() as u64,
                delay.latency.as_nanos() as u64,
            )
        };
        // From both replicas of stage 0 to stage 1, then from each of them to the other.
        assert_eq!(of(0, 0, 2), (0, 0));
        assert_eq!(of(1, 1, 2), times.transfer(1, Direction::Up, 4, 1));
        for (number, replica) in [(2, 0), (3, 1)] {
            let place = Place {
                stage: 0,
                replica,
                of: 2,
            };
            assert_eq!(of(number, replica, 1 - replica), times.ring(place, 4, 1));
        }
        assert_ne!(of(2, 0, 1), of(3, 1, 0));
    }
}
