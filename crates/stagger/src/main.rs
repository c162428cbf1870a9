//! The `stagger` binary; see [`stagger::run`].

use std::process::ExitCode;

fn main() -> ExitCode {
    stagger::run(std::env::args_os())
}
