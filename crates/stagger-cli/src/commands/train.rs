//! `stagger train`.

#[cfg_attr(not(feature = "mpi"), path = "train/without_mpi.rs")]
mod ranks;
mod served_metrics;
mod stall;
mod training_bar;

use std::io;
use std::process;

use anyhow::{Error, anyhow};
use stagger::report::MetricsServer;
use stagger::{Interrupt, Training, check_path, config_file};

use crate::failure::Failure;
use crate::flags::TrainArgs;
use crate::screen::RunScreen;
use crate::{launcher, signals, terminal};

pub use ranks::run as run_ranks;

/// Trains.
pub fn run(arguments: TrainArgs) -> Result<(), Failure> {
    // A script may start any number of processes.
    if arguments.rank_timeout.is_some() && launcher::launched().is_none() {
        let sentence =
            "--rank-timeout is for a run over several processes, which mpirun starts; leave it out";
        return Err(anyhow!(sentence).into());
    }
    let (training, shown) = training(arguments)?;
    let training = training
        .on_stall(stall::end_after_a_while)
        .on_disk_stall(|stalled| stall::end_at_once(&stalled, || process::exit(1)));
    train(training, shown)
}

/// Where a run is shown while it trains, beside its lines.
struct Shown {
    metrics: Option<MetricsServer>,
    screen: Option<RunScreen>,
    /// The flags that ask for something to be shown or written while it trains.
    flags: Vec<&'static str>,
}

/// Trains, on rank 0 where there are several.
fn train(training: Training<'_>, shown: Shown) -> Result<(), Failure> {
    let Shown {
        metrics,
        screen,
        flags,
    } = shown;
    let interrupt = Interrupt::new();
    let prepared = training.interrupt(interrupt.clone()).prepare()?;
    let is_finished = prepared.finished().is_some();
    if let Some(metrics) = metrics.as_ref().filter(|_| !is_finished) {
        served_metrics::announce(metrics, prepared.job());
    }
    // Only now: until here a signal ends the process at once.
    match &screen {
        Some(screen) => {
            screen.describe(&prepared, &interrupt);
            screen.listen(&interrupt)?;
        }
        None => signals::listen_for_interrupts(&interrupt)?,
    }
    signals::quiet_panics_of_workers();
    let run = prepared.run()?;
    if is_finished && !flags.is_empty() {
        let flags = flags.join(", ");
        terminal::say(&format!(
            "nothing has been trained, so nothing came of {flags}"
        ));
    }
    let unprinted = run.unprinted.error();
    if run.interrupted {
        if let Some(error) = unprinted {
            terminal::say(&format!("error: {error}"));
        }
        return Err(Failure::Interrupted);
    }
    match unprinted {
        Some(error) => Err(Failure::Run(Error::from(error).context(
            "the run has come to its end, and only run.log has all of its lines",
        ))),
        None => Ok(()),
    }
}

/// The run that is asked for, and where it is shown.
fn training(arguments: TrainArgs) -> Result<(Training<'static>, Shown), Failure> {
    let screen = arguments.tui.then(RunScreen::new).transpose()?;
    let flags = shown_by(&arguments);
    let said = arguments.flags.options();
    let output = said.output.clone();
    let mut options = match &arguments.config {
        Some(path) => {
            check_path("config", path).map_err(stagger::Error::from)?;
            said.or(config_file::read(path)?)
        }
        None => said,
    };
    let metrics = arguments.metrics_listen.as_deref();
    let metrics = metrics.map(MetricsServer::start).transpose();
    let metrics = metrics.map_err(stagger::Error::from)?;
    let watch = metrics.as_ref().map(MetricsServer::watch);
    let shown = screen.clone();
    let mut training = Training::new()
        .commit(option_env!("STAGGER_COMMIT"))
        .command_line(launcher::command_line())
        .console_with(move |tally, sinks| {
            if let Some(watch) = &watch {
                sinks.push(watch.sink(tally.clone()));
            }
            match &shown {
                Some(screen) => {
                    screen.begin(tally);
                    Box::new(io::sink())
                }
                None => training_bar::lines_and_bar(tally, sinks),
            }
        })
        .run_folder()
        .accept_changed_data(arguments.accept_changed_data)
        .profile_kernels(arguments.profile_ops);
    if let Some(file) = arguments.trace {
        training = training.trace(file);
    }
    if let Some(folder) = arguments.tensorboard {
        training = training.tensorboard(folder);
    }
    if let Some(screen) = &screen {
        training = screen.on(training);
    }
    let training = match arguments.resume {
        Some(path) if path.as_os_str() == "auto" => training.options(options).resume_or_start(),
        Some(path) => {
            // The folder that a config file names is that of the run it is from.
            options.output = output;
            training.options(options).resume(path)
        }
        None => training.options(options),
    };
    let shown = Shown {
        metrics,
        screen,
        flags,
    };
    Ok((training, shown))
}

/// Which flags ask for something to be shown or written while a run trains, beside what every run writes.
fn shown_by(arguments: &TrainArgs) -> Vec<&'static str> {
    let all = [
        ("--trace", arguments.trace.is_some()),
        ("--tensorboard", arguments.tensorboard.is_some()),
        ("--metrics-listen", arguments.metrics_listen.is_some()),
        ("--tui", arguments.tui),
        ("--profile-ops", arguments.profile_ops),
    ];
    let asked = all.into_iter().filter(|(_, is_asked)| *is_asked);
    asked.map(|(flag, _)| flag).collect()
}
