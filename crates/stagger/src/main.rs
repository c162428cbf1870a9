//! The `stagger` binary; see [`stagger::run`].

#[cfg(feature = "torch")]
mod allocator;
#[cfg(feature = "torch")]
mod process;

use std::process::ExitCode;

fn main() -> ExitCode {
    #[cfg(feature = "torch")]
    {
        process::fix_cublas_workspace();
        allocator::keep_memory();
    }
    stagger::run(std::env::args_os())
}
