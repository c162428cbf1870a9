//! Buffers that MPI reads and writes while requests are under way.
//!
//! A request of `mpi` borrows its buffer for the request's lifetime; requests that outlive the call that starts them need buffers
//! of lifetime `'static`. So a buffer is leaked while its requests run and taken back when they have completed. This module is
//! the one place that does it.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::ops::Range;
use std::slice;

use mpi::point_to_point::Message;
use mpi::request::{Request, StaticScope};
use mpi::topology::SimpleCommunicator;
use mpi::traits::{Communicator, Destination};
use mpi::{Rank, Tag};

/// A buffer on its way out, or one that is being filled.
pub(super) struct Transfer {
    /// Oldest first, which most often is the order in which they complete.
    requests: VecDeque<Request<'static, [u8], StaticScope>>,
    /// The leaked buffer, from `Box::into_raw`.
    buffer: *mut [u8],
    /// How much of the buffer no request covers yet. Requests cover it from the front on, none twice.
    uncovered: Range<usize>,
}

impl Transfer {
    fn of(buffer: Vec<u8>) -> Self {
        Self {
            requests: VecDeque::new(),
            uncovered: 0..buffer.len(),
            buffer: Box::into_raw(buffer.into_boxed_slice()),
        }
    }

    /// A buffer of so many bytes, to be filled by [`receive`](Self::receive).
    pub fn to_fill(bytes: usize) -> Self {
        Self::of(vec![0; bytes])
    }

    /// Starts sending a buffer: as one message, or as several of at most `piece` bytes.
    pub fn send(
        world: &SimpleCommunicator,
        (to, tag): (Rank, Tag),
        buffer: Vec<u8>,
        piece: usize,
    ) -> Self {
        let mut transfer = Self::of(buffer);
        let process = world.process_at_rank(to);
        loop {
            let part = transfer.cover(piece);
            // SAFETY: the part lies within the buffer, which is leaked; nothing but shared borrows refers to it until `complete`
            // has seen all requests complete.
            let borrowed: &'static [u8] =
                unsafe { slice::from_raw_parts(transfer.at(part.start), part.len()) };
            let request = process.immediate_send_with_tag(StaticScope, borrowed, tag);
            transfer.requests.push_back(request);
            if transfer.uncovered.is_empty() {
                return transfer;
            }
        }
    }

    /// Starts receiving a message of so many bytes into what is not filled yet; of more than fit, the rest is an error of MPI, which
    /// ends the job.
    pub fn receive(&mut self, message: Message, bytes: usize) {
        let part = self.cover(bytes);
        // SAFETY: the part lies within the buffer, which is leaked; no other request's part overlaps it, as each starts where the
        // last one ended, and nothing else refers to the buffer until `complete` has seen all requests complete.
        let borrowed: &'static mut [u8] =
            unsafe { slice::from_raw_parts_mut(self.at(part.start), part.len()) };
        let request = message.immediate_matched_receive_into(StaticScope, borrowed);
        self.requests.push_back(request);
    }

    /// Whether requests cover the whole buffer.
    pub fn is_covered(&self) -> bool {
        self.uncovered.is_empty()
    }

    /// The next part of the buffer, of at most so many bytes.
    fn cover(&mut self, bytes: usize) -> Range<usize> {
        let start = self.uncovered.start;
        let end = self.uncovered.end.min(start.saturating_add(bytes));
        self.uncovered.start = end;
        start..end
    }

    fn at(&self, offset: usize) -> *mut u8 {
        self.buffer.cast::<u8>().wrapping_add(offset)
    }

    /// The buffer, once it is covered and all requests have completed; itself as long as they have not.
    pub fn complete(mut self) -> Result<Vec<u8>, Self> {
        while let Some(request) = self.requests.pop_front() {
            if let Err(request) = request.test() {
                self.requests.push_front(request);
                return Err(self);
            }
        }
        if !self.is_covered() {
            return Err(self);
        }
        // SAFETY: the pointer is from `Box::into_raw`, taken back once, as `self` is consumed; the requests that borrowed the
        // buffer are gone.
        let buffer = unsafe { Box::from_raw(self.buffer) };
        Ok(buffer.into_vec())
    }
}
