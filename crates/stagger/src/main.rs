//! The `stagger` binary; see [`stagger::run`].

#[cfg(feature = "torch")]
mod allocator;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "torch")]
    allocator::keep_memory();
    stagger::run(std::env::args_os())
}
