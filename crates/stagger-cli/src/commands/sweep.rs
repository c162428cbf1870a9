//! `stagger sweep`.

mod axis;
mod request;
mod results;

use std::ffi::OsString;

use anyhow::{Context, Result, anyhow};
use stagger::data::{path_for_shell, shown_path, shown_text};
use stagger::report::compare::{RunState, error_file, read_run};

use super::series::{self, ChildRun, End, Interrupts, SeriesFolder, command};
use crate::failure::Failure;
use crate::flags::SweepArgs;
use crate::terminal::{self, Lines};
use request::{Point, Request};
use results::Outcome;

/// Runs combinations of values. `words` is the command line, which resumes the sweep.
pub fn run(arguments: &SweepArgs, words: &[OsString]) -> Result<(), Failure> {
    let request = Request::new(arguments)?;
    let points = request.points()?;
    let (means, notes) = request.check(&points)?;
    let output = arguments.flags.options().output;
    let output = output.as_deref();
    if output.is_some_and(|path| path.as_os_str().is_empty()) {
        return Err(anyhow!("--output is empty; name a folder, or leave the flag out").into());
    }
    let mut interrupts = Interrupts::listen()?;
    let folder = SeriesFolder::open(output, "sweep", &request)?;
    let mut all = Vec::with_capacity(points.len());
    let mut keeps_some = false;
    for ((at, point), means) in points.iter().enumerate().zip(&means) {
        let name = run_name(at, points.len());
        let values = point.values(&request.train)?;
        keeps_some |= folder.check_run(&name, &values, means)?;
        all.push(values);
    }
    folder.check_inputs(&all, keeps_some)?;
    let mut lines = Lines::default();
    let notes: String = notes.iter().map(|line| format!("{line}\n")).collect();
    lines.print(&format!(
        "{notes}{} runs in {}\n",
        points.len(),
        shown_path(folder.path())
    ));
    let ran = run_all(&request, &points, &folder, &mut interrupts, &mut lines);
    let ended = ran.map_err(Failure::Run).and_then(|(outcomes, end)| {
        results::write(&outcomes, &folder).map_err(Failure::Run)?;
        let done = outcomes.iter().filter(|one| one.state.result().is_some());
        let done = done.count();
        if end == End::Interrupted && done < points.len() {
            lines.print(&format!(
                "interrupted: {done} of {} runs are done; resume with\n  {}\n",
                points.len(),
                command(words, output, folder.path())
            ));
            return Err(Failure::Interrupted);
        }
        lines.print(&format!("\n{}", results::table(&request, &outcomes)));
        lines.print(&results::emulated_notes(&outcomes));
        let failed = outcomes.iter().filter(|one| one.state.result().is_none());
        match failed.count() {
            0 => Ok(()),
            failed => Err(Failure::Run(anyhow!(
                "{failed} of {} runs failed, as the lines above say; the same command with --output {} tries them again",
                points.len(),
                path_for_shell(folder.path())
            ))),
        }
    });
    match (ended, lines.into_failure()) {
        (Ok(()), Some(error)) => {
            Err(Failure::Run(anyhow::Error::from(error).context(
                "the sweep has come to its end, and not all of its lines could be printed",
            )))
        }
        (ended, Some(error)) => {
            terminal::say(&format!("error: {error}"));
            ended
        }
        (ended, None) => ended,
    }
}

/// Its number, in as many digits as the last one has.
fn run_name(at: usize, runs: usize) -> String {
    let digits = runs.to_string().len();
    format!("{:0digits$}", at + 1)
}

/// Runs what has not come to its end yet, and gives what came of all that was tried.
fn run_all(
    request: &Request,
    points: &[Point],
    folder: &SeriesFolder,
    interrupts: &mut Interrupts,
    lines: &mut Lines,
) -> Result<(Vec<Outcome>, End)> {
    let digits = points.len().to_string().len();
    let mut outcomes = Vec::with_capacity(points.len());
    for (at, point) in points.iter().enumerate() {
        if interrupts.take() > 0 {
            return Ok((outcomes, End::Interrupted));
        }
        lines.print(&format!(
            "[{:digits$}/{}] {}: ",
            at + 1,
            points.len(),
            shown_text(&point.to_string())
        ));
        let name = run_name(at, points.len());
        let run = folder.run(&name);
        let values = point.values(&request.train)?;
        let emulated = values.emulate.clone();
        let mut end = End::Ended;
        let mut state = read_run(&run);
        if let RunState::Done(result) = &state {
            lines.print(&format!(
                "{} (kept)\n",
                series::line(result, emulated.is_some())
            ));
        } else {
            folder.clear(&name)?;
            let config =
                toml::to_string(&values).context("the config cannot be written as TOML")?;
            folder.write(&format!("configs/{name}.toml"), &config)?;
            let job = ChildRun {
                arguments: vec![
                    "train".into(),
                    series::flag("--config", &folder.config(&name)),
                    series::flag("--output", &run),
                ],
                folder: run.clone(),
                lock: folder.lock()?,
            };
            end = series::child::run(job, interrupts)?;
            state = read_run(&run);
            lines.print(&match &state {
                RunState::Done(result) => format!("{}\n", series::line(result, emulated.is_some())),
                _ if end == End::Interrupted => "interrupted\n".to_owned(),
                RunState::Failed(error) => format!("failed: {}\n", shown_text(error)),
                RunState::Missing => format!("failed; see {}\n", shown_path(&error_file(&run))),
            });
        }
        outcomes.push(Outcome {
            name,
            point: point.clone(),
            state,
            emulated,
        });
        if end == End::Interrupted {
            return Ok((outcomes, end));
        }
    }
    Ok((outcomes, End::Ended))
}
