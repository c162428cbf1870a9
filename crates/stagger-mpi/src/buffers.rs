//! Buffers that MPI reads and writes while a request is under way.
//!
//! A request of `mpi` borrows its buffer for the request's lifetime; requests that outlive the call that starts them need buffers
//! of lifetime `'static`. So a buffer is leaked while its request runs and taken back when it has completed. This module is the
//! one place that does it.
#![allow(unsafe_code)]

use mpi::Rank;
use mpi::point_to_point::Message;
use mpi::request::{Request, StaticScope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination};

/// A frame on its way out, or in.
pub(super) struct Transfer {
    request: Option<Request<'static, [u8], StaticScope>>,
    /// The leaked buffer, from `Box::into_raw`.
    buffer: *mut [u8],
}

impl Transfer {
    /// Starts sending a frame.
    pub fn send(world: &SimpleCommunicator, to: Rank, frame: Vec<u8>) -> Self {
        let buffer = Box::into_raw(frame.into_boxed_slice());
        // SAFETY: the buffer is leaked, and nothing but this shared borrow refers to it until `complete` has seen the request
        // complete.
        let borrowed: &'static [u8] = unsafe { &*buffer };
        let process = world.process_at_rank(to);
        Self {
            request: Some(process.immediate_send(StaticScope, borrowed)),
            buffer,
        }
    }

    /// Starts receiving a frame of so many bytes.
    pub fn receive(message: Message, bytes: usize) -> Self {
        let buffer = Box::into_raw(vec![0_u8; bytes].into_boxed_slice());
        // SAFETY: the buffer is leaked, and nothing but this exclusive borrow refers to it until `complete` has seen the
        // request complete.
        let borrowed: &'static mut [u8] = unsafe { &mut *buffer };
        Self {
            request: Some(message.immediate_matched_receive_into(StaticScope, borrowed)),
            buffer,
        }
    }

    /// The frame, once the transfer has completed; itself as long as it has not.
    pub fn complete(mut self) -> Result<Vec<u8>, Self> {
        let Some(request) = self.request.take() else {
            return Ok(Vec::new());
        };
        match request.test() {
            Ok(_) => {
                // SAFETY: the pointer is from `Box::into_raw`, taken back once, as `self` is consumed; the request that
                // borrowed the buffer is gone.
                let buffer = unsafe { Box::from_raw(self.buffer) };
                Ok(buffer.into_vec())
            }
            Err(request) => {
                self.request = Some(request);
                Err(self)
            }
        }
    }
}
