//! The binary `stagger`: flags and config files become a run of the library `stagger`, and what comes of it a sentence
//! and an exit status.

#[cfg(feature = "torch")]
mod allocator;
mod commands;
mod failure;
mod flags;
mod launcher;
mod parent;
#[cfg(feature = "torch")]
mod process;
#[cfg_attr(not(feature = "tui"), path = "screen/without_tui.rs")]
mod screen;
mod signals;
mod terminal;
mod usage;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ColorChoice, CommandFactory, FromArgMatches};
use stagger::ReportError;
use stagger::data::shown_text;

use flags::{Cli, Command};

fn main() -> ExitCode {
    #[cfg(feature = "torch")]
    {
        process::fix_cublas_workspace();
        allocator::keep_memory();
    }
    signals::outlive_limits();
    let words: Vec<OsString> = std::env::args_os().collect();
    let is_run = |word: &OsString| ["train", "compare", "sweep"].iter().any(|run| word == run);
    if words.get(1).is_some_and(is_run) {
        signals::end_at_once();
        if parent::end_with() {
            return ExitCode::from(130);
        }
    } else {
        signals::tell_of_processor_time();
    }
    run(words)
}

/// Reads the command line. A launcher may show its processes a terminal where its own output is a file, so what it starts writes no
/// colours.
fn parse(words: &[OsString]) -> Result<Cli, clap::Error> {
    let colors = match launcher::launched() {
        Some(_) => ColorChoice::Never,
        None => ColorChoice::Auto,
    };
    let mut command = Cli::command().color(colors);
    let matches = command.try_get_matches_from_mut(words)?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// Runs the command line. Exit status: 0 done, 1 a run failed, 2 the request is wrong, 130 interrupted.
fn run(words: Vec<OsString>) -> ExitCode {
    let cli = match parse(&words) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version come this way too, with status 0. A closed pipe is not an error.
            let mut status = u8::try_from(error.exit_code()).unwrap_or(2);
            if !usage::is_request(&error) {
                let sentence = usage::sentence(&error, &words);
                launcher::say_error(&shown_text(&sentence));
            } else if launcher::speaks()
                && let Err(source) = error.print().and_then(|()| io::stdout().flush())
                && !terminal::is_gone(&source)
            {
                terminal::say(&format!("error: {}", ReportError::Output { source }));
                status = 1;
            }
            return ExitCode::from(status);
        }
    };
    let processes = launcher::processes();
    let result = match cli.command {
        Command::Train(arguments) if processes > 1 => commands::train::run_ranks(arguments),
        Command::Train(arguments) => commands::train::run(arguments),
        Command::Profile(arguments) if processes > 1 => commands::profile::run_ranks(&arguments),
        // Each process would do the same, and write over the other's lines.
        _ if processes > 1 => Err(anyhow::anyhow!(
            "only stagger train and stagger profile run in several processes, and a launcher has started {processes} of this one; \
             start it without mpirun"
        )
        .into()),
        Command::Eval(arguments) => commands::eval::run(arguments),
        Command::Predict(arguments) => commands::predict::run(arguments),
        Command::Data(arguments) => commands::data::run(&arguments),
        Command::Inspect(arguments) => commands::inspect::run(&arguments),
        Command::Report(arguments) => commands::report::run(&arguments),
        Command::Watch(arguments) => commands::watch::run(&arguments),
        Command::Weights(arguments) => commands::weights::run(arguments),
        Command::Explain(arguments) => commands::explain::run(&arguments),
        Command::Theory(arguments) => commands::theory::run(&arguments),
        Command::Summary(arguments) => commands::summary::run(&arguments),
        Command::Plan(arguments) => commands::plan::run(arguments),
        Command::Simulate(arguments) => commands::simulate::run(arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Profile(arguments) => commands::profile::run(&arguments),
        Command::Compare(arguments) => commands::compare::run(&arguments, &words),
        Command::Sweep(arguments) => commands::sweep::run(&arguments, &words),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(sentence) = failure.sentence() {
                launcher::say_error(&sentence);
            }
            failure.exit_code()
        }
    }
}
