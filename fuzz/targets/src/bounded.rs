//! A bound on what a parser may allocate, relative to its input.

use std::alloc::System;

use cap::Cap;

/// Counts what Rust allocates; what goes beyond the limit fails, which ends the process and is a finding.
#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// What any parser may allocate, however short its input: buffers, messages, tables of names.
const BASE_BYTES: usize = 4 << 20;

/// What no parser may allocate, however long its input.
const MOST_BYTES: usize = 512 << 20;

/// Runs `parse` with a limit on the bytes that are allocated at one time: 4 MiB and `factor` times `input`, at most 512 MiB.
pub fn bounded<T>(input: &[u8], factor: usize, parse: impl FnOnce() -> T) -> T {
    let allowed = (BASE_BYTES + factor * input.len()).min(MOST_BYTES);
    let limit = |bytes| {
        ALLOCATOR
            .set_limit(bytes)
            .expect("a limit above what is allocated")
    };
    limit(ALLOCATOR.allocated() + allowed);
    let result = parse();
    limit(usize::MAX);
    result
}
