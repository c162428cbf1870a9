//! `stagger compare`.

mod request;
mod results;

use std::collections::BTreeSet;
use std::ffi::OsString;

use anyhow::{Context, Result, anyhow};
use stagger::TrainingOptions;
use stagger::data::{path_for_shell, shown_path, shown_text};
use stagger::job::Job;
use stagger::report::compare::{Comparison, Plan, PlannedRun, RunState, error_file, read_run};
use stagger::series::ComparedMethods;

use super::series::folder::run_name;
use super::series::{self, ChildRun, End, Interrupts, Means, SeriesFolder, command, quoted};
use crate::failure::Failure;
use crate::flags::CompareArgs;
use crate::terminal::{self, Lines};
use request::request;

/// Compares methods. `words` is the command line, for the report.
pub fn run(arguments: &CompareArgs, words: &[OsString]) -> Result<(), Failure> {
    let target = request::target(arguments)?;
    if target.is_some_and(|target| !(0.0..=100.0).contains(&target)) {
        return Err(anyhow!("--target is not an accuracy; give a percentage from 0 to 100").into());
    }
    let request = request(arguments)?;
    let jobs = request.check()?;
    let label = jobs.first().map_or_else(String::new, |job| {
        format!("compare-{}-{}", job.model.name, job.split.train.name())
    });
    let title = jobs.first().map_or_else(String::new, |job| {
        let is_like_first = |other: &Job| other.with_replicas() == job.with_replicas();
        title(job, jobs.iter().all(is_like_first))
    });
    let emulated = jobs.first().and_then(Job::emulated).map(shown_text);
    let is_bp = |job: &Job| job.schedule.to_string() == "bp";
    let baseline = jobs.iter().position(is_bp).unwrap_or(0);
    let data = jobs
        .first()
        .map_or_else(Vec::new, |job| job.split.account());
    let data: String = (data.iter())
        .map(|line| format!("data: {}\n", shown_text(line)))
        .collect();
    let notes = |job: &'_ Job| [job.cut_misfit.clone(), job.unread_memory.clone()];
    let notes: BTreeSet<String> = jobs.iter().flat_map(notes).flatten().collect();
    let notes: String = notes.iter().map(|line| format!("{line}\n")).collect();
    // The runs load the data themselves.
    let means: Vec<Means> = jobs.into_iter().map(Means::from).collect();

    let output = arguments.flags.options().output;
    let output = output.as_deref();
    if output.is_some_and(|path| path.as_os_str().is_empty()) {
        return Err(anyhow!("--output is empty; name a folder, or leave the flag out").into());
    }
    let mut interrupts = Interrupts::listen()?;
    let folder = SeriesFolder::open(output, &label, &request)?;
    let plan = Plan {
        title,
        command: command(words, output, folder.path()),
        baseline: request.methods[baseline].clone(),
        methods: request.methods.clone(),
        slowdowns_percent: request.slowdowns.clone(),
        emulated,
        target_top1: target,
        runs: planned(&request, &folder).map_err(Failure::Run)?,
    };
    check_kept(&plan, &request, &means, &folder)?;
    // The runs go on when it cannot be said how.
    let mut lines = Lines::default();
    lines.print(&format!(
        "{}\n{data}{notes}{} runs in {}\n",
        shown_text(&plan.title),
        plan.runs.len(),
        shown_path(folder.path())
    ));
    let end = run_all(&plan, &folder, &mut interrupts, &mut lines);
    let ended = end
        .map_err(Failure::Run)
        .and_then(|end| conclude(plan, &folder, end, &mut lines));
    match (ended, lines.into_failure()) {
        (Ok(()), Some(error)) => Err(Failure::Run(anyhow::Error::from(error).context(
            "the comparison has come to its end, and not all of its lines could be printed",
        ))),
        (ended, Some(error)) => {
            terminal::say(&format!("error: {error}"));
            ended
        }
        (ended, None) => ended,
    }
}

/// Makes sure that what is kept of the runs is what was asked for: `means` has the options of each method's runs as they have them.
fn check_kept(
    plan: &Plan,
    request: &ComparedMethods,
    means: &[Means],
    folder: &SeriesFolder,
) -> Result<()> {
    let methods: Vec<_> = request.methods.iter().zip(means).collect();
    let mut all = Vec::with_capacity(plan.runs.len());
    let mut keeps_some = false;
    for (run, planned) in request.runs().iter().zip(&plan.runs) {
        let Some((_, means)) = methods.iter().find(|(method, _)| **method == run.method) else {
            continue;
        };
        let said = request.options(run);
        // Which images are set aside for evaluation goes by the seed.
        let are_same_images = run.seed == request.seeds[0] || said.val_split.is_none();
        let means = Means {
            options: TrainingOptions {
                seed: said.seed,
                straggler: said.straggler.clone(),
                ..means.options.clone()
            },
            fingerprints: means.fingerprints.clone().filter(|_| are_same_images),
        };
        let name = planned.folder.file_name().unwrap_or_default();
        keeps_some |= folder.check_run(&name.to_string_lossy(), &said, &means)?;
        all.push(said);
    }
    folder.check_inputs(&all, keeps_some)
}

/// Writes the report on what has been run, and says how it went.
fn conclude(plan: Plan, folder: &SeriesFolder, end: End, lines: &mut Lines) -> Result<(), Failure> {
    let comparison = Comparison::read(plan);
    let done = |state: &&RunState| matches!(state, RunState::Done(_));
    let done = comparison.states.iter().filter(done).count();
    let all = comparison.states.len();
    let report = results::write(&comparison, folder).map_err(Failure::Run)?;
    for fault in comparison.faults() {
        terminal::say(&fault);
    }
    if end == End::Interrupted && done < all {
        lines.print(&format!(
            "interrupted: {done} of {all} runs are done; resume with\n  {}\n",
            comparison.plan.command
        ));
        return Err(Failure::Interrupted);
    }
    lines.print(&results::tables(&comparison));
    lines.print(&format!("report: {}\n", shown_path(&report)));
    if done < all {
        let failed = all - done;
        let runs = if failed == 1 { "run" } else { "runs" };
        return Err(Failure::Run(anyhow!(
            "{failed} of {all} {runs} failed; {} says why, and the same command with --output {} tries them again",
            shown_path(&report),
            path_for_shell(folder.path())
        )));
    }
    Ok(())
}

/// All runs, in the order in which they are made, with their config files written.
fn planned(request: &ComparedMethods, folder: &SeriesFolder) -> Result<Vec<PlannedRun>> {
    let mut names = Vec::new();
    let mut planned = Vec::new();
    for run in request.runs() {
        let name = run_name(&run.method, run.slowdown_percent, run.seed, &names);
        let config = toml::to_string(&request.options(&run))
            .context("the config cannot be written as TOML")?;
        folder.write(&format!("configs/{name}.toml"), &config)?;
        let repeat = [
            OsString::from("stagger"),
            "train".into(),
            "--config".into(),
            folder.config(&name).into(),
        ];
        planned.push(PlannedRun {
            method: run.method,
            slowdown_percent: run.slowdown_percent,
            seed: run.seed,
            folder: folder.run(&name),
            command: quoted(&repeat),
        });
        names.push(name);
    }
    Ok(planned)
}

/// Runs what has not come to its end yet.
fn run_all(
    plan: &Plan,
    folder: &SeriesFolder,
    interrupts: &mut Interrupts,
    lines: &mut Lines,
) -> Result<End> {
    let digits = plan.runs.len().to_string().len();
    for (at, run) in plan.runs.iter().enumerate() {
        if interrupts.take() > 0 {
            return Ok(End::Interrupted);
        }
        let slowed = match run.slowdown_percent {
            0.0 => String::new(),
            percent => format!(", slowed down by {percent} %"),
        };
        lines.print(&format!(
            "[{:digits$}/{}] {}{slowed}, seed {}: ",
            at + 1,
            plan.runs.len(),
            shown_text(&run.method),
            run.seed
        ));
        if let RunState::Done(result) = read_run(&run.folder) {
            let line = series::line(&result, plan.emulated.is_some());
            lines.print(&format!("{line} (kept)\n"));
            continue;
        }
        let name = run.folder.file_name().unwrap_or_default().to_string_lossy();
        folder.clear(&name)?;
        let job = ChildRun {
            arguments: vec![
                "train".into(),
                series::flag("--config", &folder.config(&name)),
                series::flag("--output", &run.folder),
            ],
            folder: run.folder.clone(),
            lock: folder.lock()?,
        };
        let end = series::child::run(job, interrupts)?;
        let state = read_run(&run.folder);
        lines.print(&match &state {
            RunState::Done(result) => {
                format!("{}\n", series::line(result, plan.emulated.is_some()))
            }
            _ if end == End::Interrupted => "interrupted\n".to_owned(),
            RunState::Failed(error) => format!("failed: {}\n", shown_text(error)),
            RunState::Missing => format!("failed; see {}\n", shown_path(&error_file(&run.folder))),
        });
        if end == End::Interrupted {
            return Ok(end);
        }
    }
    Ok(End::Ended)
}

/// What the methods have in common, their replicas among it where they all have the same.
fn title(job: &Job, with_replicas: bool) -> String {
    let stages = job.schedule.stages();
    let budget = match (job.options.max_seconds, job.options.max_batches) {
        (Some(seconds), _) => format!("{seconds} s"),
        (None, Some(_)) => format!("{} batches", job.horizon.batches),
        (None, None) => match job.options.epochs.unwrap_or_default() {
            1 => "1 epoch".to_owned(),
            epochs => format!("{epochs} epochs"),
        },
    };
    let engines = match job.options.engines {
        Some(_) => "engines",
        None => "engine",
    };
    let computes = match job.emulated() {
        Some(said) => format!("emulated ({said})"),
        None => format!("{engines} {} {}", job.engine_name(), job.precision),
    };
    format!(
        "{} on {} · {stages} {}{} · {computes} · {budget}, batches of {}",
        job.model.name,
        job.split.train.name(),
        if stages == 1 { "stage" } else { "stages" },
        match with_replicas {
            true => job.with_replicas(),
            false => String::new(),
        },
        job.batch_size,
    )
}
