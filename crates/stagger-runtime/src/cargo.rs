//! What the links of a run carry.

use stagger_engine::{Activation, HostTensor};
use stagger_transport::Payload;
use stagger_transport::wire::{PayloadError, WireTensor};

/// An activation or a gradient on its way: on a device of this process, or in host memory where it came from another process.
/// The stage that takes it brings it to its own device.
#[derive(Clone, Debug)]
pub enum Cargo<A> {
    /// As the sender computed it.
    Device(A),
    /// As it was read from the wire.
    Host(HostTensor),
}

impl<A: Activation> Payload for Cargo<A> {
    fn with_values(&self, write: impl FnOnce(&[usize], &[f32])) -> Result<(), PayloadError> {
        match self {
            Self::Device(tensor) => {
                let host = tensor.to_host()?;
                write(&host.shape, &host.data);
            }
            Self::Host(host) => write(&host.shape, &host.data),
        }
        Ok(())
    }

    fn read(tensor: WireTensor<'_>) -> Result<Self, PayloadError> {
        let values = tensor.values();
        Ok(Self::Host(HostTensor::new(tensor.shape, values)?))
    }
}
