//! A payload that every transport carries, and a transport over a world of two ranks.

use stagger_transport::wire::{Format, PayloadError, WireTensor};
use stagger_transport::{
    Capacities, ConnectError, Ends, Hop, Payload, Placement, Ranks, StopSignal, Transport, world,
};

/// A small number, as a tensor of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number(pub usize);

impl Payload for Number {
    fn with_values(&self, write: impl FnOnce(&[usize], &[f32])) -> Result<(), PayloadError> {
        write(&[1], &[self.0 as f32]);
        Ok(())
    }

    fn read(tensor: WireTensor<'_>) -> Result<Self, PayloadError> {
        match tensor.values()[..] {
            [value] => Ok(Self(value as usize)),
            _ => Err("a number is one value".into()),
        }
    }
}

/// Both ends of a hop, in two ranks of a world.
#[cfg(not(feature = "shuttle"))]
#[derive(Clone, Copy, Debug)]
pub struct TwoRanks;

#[cfg(not(feature = "shuttle"))]
impl Transport<Number> for TwoRanks {
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<Number>, ConnectError> {
        in_world(hop, capacities, stop)
    }
}

/// The ends of a hop, the lower one at rank 0 and the upper one at rank 1.
pub fn in_world(
    hop: Hop,
    capacities: Capacities,
    stop: &StopSignal,
) -> Result<Ends<Number>, ConnectError> {
    let placement = Placement::even(2, 2)?;
    assert_eq!((hop.lower, hop.upper), (0, 1));
    let mut ends = world::in_process(2).into_iter().map(|world| {
        let ranks = Ranks {
            world,
            placement: placement.clone(),
            stretch: 1,
            format: Format::F32,
        };
        ranks.connect(hop, capacities, stop)
    });
    let (mut first, mut second) = (ends.next().expect("a rank")?, ends.next().expect("a rank")?);
    assert!(first.upper.is_none() && second.lower.is_none());
    Ok(Ends {
        lower: first.lower.take(),
        upper: second.upper.take(),
    })
}
