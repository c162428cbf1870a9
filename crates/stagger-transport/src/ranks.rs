//! Links of a run whose stages are shared out over the ranks of a world.

use std::sync::Arc;

use crate::link::Side;
use crate::placement::Placement;
use crate::remote::{Courier, Inbox, RemoteEnd};
use crate::stop::StopSignal;
use crate::threads::pair;
use crate::transport::{Capacities, ConnectError, Ends, Hop, Transport};
use crate::wire::{Address, Format, Payload, Place};
use crate::world::World;

/// Hops between stages of one rank are those of threads; the others go through the wire format to the rank of the neighbour.
#[derive(Clone, Debug)]
pub struct Ranks {
    /// The processes.
    pub world: World,
    /// Which has which stages.
    pub placement: Placement,
    /// Number of the stretch of training, which all ranks count alike: frames of another one are kept apart.
    pub stretch: u32,
    /// How values are written.
    pub format: Format,
}

impl<T: Payload> Transport<T> for Ranks {
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError> {
        let rank = self.world.rank();
        let (below, above) = (
            self.placement.rank_of(hop.lower),
            self.placement.rank_of(hop.upper),
        );
        if below == rank && above == rank {
            let (lower, upper) = pair(capacities, stop);
            return Ok(Ends::both(lower, upper));
        }
        let place = Place {
            stretch: self.stretch,
            hop: u32::try_from(hop.number)?,
        };
        let format = self.format.of(hop);
        let end = |side, other| {
            let arrives = self.open(place, other);
            let end = RemoteEnd::<T>::new(arrives, side, capacities, (place, format), stop);
            Some(Box::new(end) as Box<_>)
        };
        Ok(Ends {
            lower: (below == rank).then(|| end(Side::Lower, above)).flatten(),
            upper: (above == rank).then(|| end(Side::Upper, below)).flatten(),
        })
    }
}

impl Ranks {
    /// Where the frames of a hop arrive here, and what takes frames to its other end.
    fn open(&self, place: Place, other: usize) -> (Arc<Inbox>, Box<dyn Courier>) {
        let inbox = Inbox::new();
        let receiver = Arc::clone(&inbox);
        let deliver = move |from, frame| {
            // The other end is at one rank only.
            if from == other {
                receiver.deliver(frame);
            }
        };
        self.world.open(place.into(), Arc::new(deliver));
        let courier = ToRank {
            world: self.world.clone(),
            to: other,
            address: place.into(),
        };
        (inbox, Box::new(courier))
    }
}

/// Takes frames to the rank of a neighbour.
struct ToRank {
    world: World,
    to: usize,
    address: Address,
}

impl Courier for ToRank {
    fn post(&self, frame: Vec<u8>) {
        self.world.post(self.to, frame);
    }
}

impl Drop for ToRank {
    fn drop(&mut self) {
        self.world.close(self.address);
    }
}
