//! Train deep convolutional networks split over several devices, with *diversely stale parameters*
//! (DSP).
//!
//! This crate is the facade: it re-exports the crates that make up stagger, and holds the
//! command line. A program that wants to train from its own code uses them as
//! `examples/timeline.rs` does.
//!
//! | crate | what is in it |
//! | --- | --- |
//! | [`schedule`] | methods as programs per stage, their notation and facts |
//! | [`model`] | networks as data: zoo, cost, cuts |
//! | [`data`] | data sets, order of samples, loading |
//! | [`engine`] | executable stages, optimizers |
//! | [`cpu`] | the default engine |
//! | [`transport`] | bounded links between stages |
//! | [`runtime`] | the workers that execute a schedule |
//! | [`report`] | what is told to people and written to files |

pub use stagger_cpu as cpu;
pub use stagger_data as data;
pub use stagger_engine as engine;
pub use stagger_model as model;
pub use stagger_report as report;
pub use stagger_runtime as runtime;
pub use stagger_schedule as schedule;
pub use stagger_transport as transport;

mod commands;
mod failure;
pub mod flags;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use flags::low::{Cli, Command};

/// Runs the command line. Exit status: 0 done, 1 a run failed, 2 something in what was asked for
/// is wrong, 130 interrupted.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::try_parse_from(&words) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with status 0. A closed pipe is nobody's error.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let result = match cli.command {
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Eval(arguments) => commands::eval::run(arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Summary(arguments) => commands::summary::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Compare(arguments) => commands::compare::run(&arguments, &words),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                eprintln!("error: {sentence}");
            }
            failure.exit_code()
        }
    }
}
