//! Links between threads of one process whose messages go through the wire format: what several processes do, without a network.

use std::sync::Arc;

use crate::link::Side;
use crate::remote::{Courier, Inbox, RemoteEnd};
use crate::stop::StopSignal;
use crate::transport::{Capacities, ConnectError, Ends, Hop, Transport};
use crate::wire::{Format, Payload, Place};

/// Stages are threads of this process, and every message is written to bytes and read again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Bytes {
    /// How values are written.
    pub format: Format,
}

impl<T: Payload> Transport<T> for Bytes {
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError> {
        let place = Place {
            stretch: 0,
            hop: u32::try_from(hop.number)?,
        };
        let format = self.format.of(hop);
        let (below, above) = (Inbox::new(), Inbox::new());
        let end = |side, own: &Arc<Inbox>, other: &Arc<Inbox>| {
            let courier = Box::new(Direct(Arc::clone(other)));
            let arrives = (Arc::clone(own), courier as Box<dyn Courier>);
            RemoteEnd::<T>::new(arrives, side, capacities, (place, format), stop)
        };
        Ok(Ends::both(
            end(Side::Lower, &below, &above),
            end(Side::Upper, &above, &below),
        ))
    }
}

/// Puts frames into the other end's inbox, on the sender's thread.
struct Direct(Arc<Inbox>);

impl Courier for Direct {
    fn post(&self, frame: Vec<u8>) {
        self.0.deliver(frame);
    }
}
