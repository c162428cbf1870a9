//! `stagger train`.

#[cfg_attr(not(feature = "mpi"), path = "train/without_mpi.rs")]
mod ranks;
mod stall;
mod training_bar;

use std::io;
use std::process;

use anyhow::{Error, anyhow};
use stagger::report::trace::TraceFile;
use stagger::report::{NewFile, TensorBoard};
use stagger::{Interrupt, Training, check_path, config_file};

use crate::failure::Failure;
use crate::flags::TrainArgs;
use crate::screen::RunScreen;
use crate::{signals, terminal};

pub use ranks::run as run_ranks;

/// Trains.
pub fn run(arguments: TrainArgs) -> Result<(), Failure> {
    if arguments.rank_timeout.is_some() {
        let sentence =
            "--rank-timeout is for a run over several processes, which mpirun starts; leave it out";
        return Err(anyhow!(sentence).into());
    }
    let (training, screen) = training(arguments)?;
    let training = training
        .on_stall(stall::end_after_a_while)
        .on_disk_stall(|stalled| stall::end_at_once(&stalled, || process::exit(1)));
    train(training, screen)
}

/// Trains, on rank 0 where there are several.
fn train(training: Training<'_>, screen: Option<RunScreen>) -> Result<(), Failure> {
    let interrupt = Interrupt::new();
    let prepared = training.interrupt(interrupt.clone()).prepare()?;
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

fn training(arguments: TrainArgs) -> Result<(Training<'static>, Option<RunScreen>), Failure> {
    let screen = arguments.tui.then(RunScreen::new).transpose()?;
    let said = arguments.flags.options();
    let output = said.output.clone();
    let mut options = match &arguments.config {
        Some(path) => {
            check_path("config", path).map_err(stagger::Error::from)?;
            said.or(config_file::read(path)?)
        }
        None => said,
    };
    let trace = arguments.trace.as_deref().map(NewFile::at).transpose();
    let trace = trace.map_err(stagger::Error::from)?;
    let tensorboard = arguments.tensorboard;
    if let Some(folder) = &tensorboard {
        TensorBoard::check(folder).map_err(stagger::Error::from)?;
    }
    let shown = screen.clone();
    let mut training = Training::new()
        .commit(option_env!("STAGGER_COMMIT"))
        .console_with(move |tally, sinks| {
            if let Some(folder) = &tensorboard {
                sinks.push(TensorBoard::new(folder, tally.clone()));
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
    if let Some(file) = trace {
        training = training.sink(TraceFile::new(file));
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
    Ok((training, screen))
}
