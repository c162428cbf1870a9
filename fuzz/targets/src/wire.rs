//! Frames that another process sends: those of hops, and those of the control lane.

use stagger::runtime::ranks::check_control;
use stagger::transport::wire::{self, Address, address, read_control};

use crate::bounded;

/// Checks one input, as whatever it says it is.
pub fn check(data: &[u8]) {
    // A tensor is read where it lies. On the control lane a value of few bytes may stand for one of more in memory.
    bounded(data, 256, || match address(data) {
        // What has an address may still be refused.
        Ok(Address::Hop { .. }) => drop(wire::check(data)),
        Ok(Address::Control { .. }) => {
            read_control(data).expect("it has an address");
            check_control(data);
        }
        Err(_) => assert!(wire::check(data).is_err() && read_control(data).is_err()),
    });
}
