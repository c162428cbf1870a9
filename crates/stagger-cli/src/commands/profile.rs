//! `stagger profile`.

#[cfg_attr(not(feature = "mpi"), path = "profile/without_mpi.rs")]
mod ranks;
mod report;

use anyhow::anyhow;
use stagger::check_path;
use stagger::data::shown_path;
use stagger::profiling::Profiling;
use stagger::report::NewFile;
use stagger::transport::World;

use super::print;
use crate::failure::Failure;
use crate::flags::ProfileArgs;
use crate::launcher;
use crate::terminal::say;

pub use ranks::run as run_ranks;

/// Measures what blocks, stages and links take in this process.
pub fn run(arguments: &ProfileArgs) -> Result<(), Failure> {
    // A script may start any number of processes.
    if arguments.rank_timeout.is_some() && launcher::launched().is_none() {
        let sentence = "--rank-timeout is for a measurement over several processes, which mpirun starts; leave it out";
        return Err(anyhow!(sentence).into());
    }
    measure(arguments, None)
}

/// Measures over a world, on rank 0 where there are several ranks.
fn measure(arguments: &ProfileArgs, world: Option<World>) -> Result<(), Failure> {
    let (profiling, file) = match check(arguments) {
        Ok(checked) => checked,
        Err(failure) => {
            // The others wait to hear what there is to measure.
            world.into_iter().for_each(stagger::dismiss);
            return Err(failure);
        }
    };
    let measured = profiling.run(world)?;
    let json = measured.profile.to_json()? + "\n";
    if let Some(file) = &file {
        file.write(json.as_bytes()).map_err(Failure::of_run)?;
    }
    if arguments.json {
        measured.notes.iter().for_each(|note| say(note));
        print(&json)?;
        return Ok(());
    }
    print(&report::tables(&measured))?;
    match &file {
        Some(file) => {
            let path = shown_path(file.path());
            print(&format!(
                "\nwritten to {path}; for a run with the profile's cut: --balance {path}\n"
            ))?;
        }
        None => {
            print("\nnothing is written; --output FILE keeps the profile for --balance FILE\n")?
        }
    }
    Ok(())
}

/// What is asked for, complete and without what is known to be wrong before anything is measured.
fn check(arguments: &ProfileArgs) -> Result<(Profiling, Option<NewFile>), Failure> {
    let path = arguments.output.as_deref();
    if let Some(path) = path {
        check_path("output", path).map_err(stagger::Error::from)?;
    }
    Ok((profiling(arguments)?, path.map(NewFile::at).transpose()?))
}

fn profiling(arguments: &ProfileArgs) -> Result<Profiling, Failure> {
    let shape = arguments.images.shape()?;
    for (flag, value) in [
        ("--rounds", arguments.rounds),
        ("--batches", arguments.batches),
        ("--classes", arguments.images.classes),
    ] {
        if value == 0 {
            return Err(anyhow!("{flag} is 0; give a whole number of at least 1").into());
        }
    }
    let said = arguments.engine.options();
    let own = arguments.images.options();
    Ok(Profiling {
        options: own.or(arguments.pipeline.options()).or(said),
        shape,
        classes: arguments.images.classes,
        rounds: arguments.rounds,
        batches: arguments.batches,
        warmup: arguments.warmup,
        commit: option_env!("STAGGER_COMMIT").map(str::to_owned),
        command_line: Some(launcher::command_line()),
    })
}
