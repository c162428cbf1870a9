//! `stagger train`.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result};
use serde_json::{Map, Value};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use stagger_report::{
    CONFIG_FILE, Console, DEFAULT_BASE, ENVIRONMENT_FILE, Environment, EpochPlan, EpochTally,
    LAST_WEIGHTS_FILE, LOG_FILE, METRICS_FILE, MetricsFile, RunFolder, RunLog, RunTally, Sink,
    Sinks, WeightsFiles, peak_resident_bytes, read_weights, reset_peak_resident,
};
use stagger_runtime::{Event, Interrupt, Outcome};

use super::{account, build, calibrate, closing, eval, print};
use crate::failure::Failure;
use crate::flags::config_file;
#[cfg(feature = "torch")]
use crate::flags::engine::EngineChoice;
use crate::flags::high::{self, TrainJob};
use crate::flags::low::TrainArgs;

/// Trains.
pub fn run(arguments: TrainArgs) -> Result<(), Failure> {
    let mut values = arguments.values;
    if let Some(path) = &arguments.config {
        values = values.or(config_file::read(path)?);
    }
    let job = high::train(values)?;
    build::check_specs(&job)?;
    let interrupt = listen_for_interrupts()?;
    quiet_panics_of_workers();

    let folder = create_folder(&job)?;
    let result = Journal::open(&folder, &job).and_then(|mut journal| {
        let result = train(
            &job,
            arguments.profile_ops,
            &folder,
            &interrupt,
            &mut journal,
        );
        if let Some(sentence) = result.as_ref().err().and_then(Failure::sentence) {
            // The failure itself is what the user has to hear of, whatever becomes of the log.
            let _ = journal.log.line(&format!("error: {sentence}"));
        }
        result
    });
    if let Err(Failure::Request(_) | Failure::Interrupted { trained: false }) = &result {
        // Nothing has been trained: leave nothing behind. What went wrong before matters more than
        // what goes wrong here.
        let _ = folder.discard();
    }
    result
}

/// What people read: the terminal, and the log that keeps it.
struct Journal {
    log: RunLog,
}

impl Journal {
    fn open(folder: &RunFolder, job: &TrainJob) -> Result<Self, Failure> {
        let config =
            toml::to_string(&job.values).context("the config cannot be written as TOML")?;
        folder.write(CONFIG_FILE, config.as_bytes())?;
        let environment =
            Environment::gather(env!("CARGO_PKG_VERSION"), option_env!("STAGGER_COMMIT"));
        folder.write(ENVIRONMENT_FILE, environment.to_json().as_bytes())?;
        Ok(Self {
            log: RunLog::create(&folder.file(LOG_FILE))?,
        })
    }

    fn say(&mut self, line: &str) -> Result<()> {
        self.log.line(line)?;
        print(&format!("{line}\n"))?;
        Ok(())
    }
}

fn train(
    job: &TrainJob,
    profile_ops: bool,
    folder: &RunFolder,
    interrupt: &Interrupt,
    journal: &mut Journal,
) -> Result<(), Failure> {
    journal.say(&headline(job))?;
    journal.say(&format!("run folder: {}", folder.path().display()))?;
    let baseline = calibrate::run(job, interrupt);
    if let Err(Failure::Interrupted { .. }) = &baseline {
        journal.say("interrupted in the calibration: nothing has been trained")?;
    }
    let baseline = baseline?;
    if let Some(baseline) = &baseline {
        journal.say(&closing::calibration(job, baseline))?;
    }

    reset_peak_resident();
    let tally = EpochTally::new(EpochPlan {
        batches_per_epoch: job.sampler.batches_per_epoch(),
        batches: job.horizon.batches,
        evaluate_at: job.horizon.evaluate_at.clone(),
    });
    let mut sinks = Sinks::new();
    let metrics_path = folder.file(METRICS_FILE);
    sinks.push(MetricsFile::create(
        &metrics_path,
        tally.clone(),
        facts(job),
    )?);
    sinks.push(WeightsFiles::new(folder, metadata(job)));
    sinks.push(journal.log.sink(tally.clone()));
    sinks.push(Console::new(
        Box::new(io::stdout()),
        tally,
        io::stderr().is_terminal(),
    ));
    let mut throughput = RunTally::new(calibrate::WARMUP_BATCHES.min(job.horizon.batches - 1));

    let mut profiles = Vec::new();
    let mut limit = TimeLimit::new(job.time_limit, interrupt);
    let mut ended = build::run(
        job,
        &build::plan(job, job.schedule.clone(), job.horizon.clone()),
        build::Options {
            states: None,
            profile: profile_ops,
        },
        build::feeds(job, 0..job.horizon.batches)?,
        interrupt,
        |event| {
            limit.look();
            throughput.event(&event);
            sinks.event(&event)?;
            if let Event::Profiled { stage, profile } = event {
                profiles.push((stage, profile));
            }
            Ok(())
        },
    );
    if let Ok(outcome) = &mut ended
        && limit.ended_the_run(outcome)
    {
        // What was asked for has been done: nobody cut the run short.
        outcome.interrupted = false;
        if let Some(event) = evaluate_the_end(job, folder, outcome.version)? {
            throughput.event(&event);
            sinks.event(&event).map_err(failed)?;
        }
    }
    let finished = sinks.finish(ended.as_ref());
    let outcome = ended.map_err(failed)?;
    finished.map_err(failed)?;
    let summary = throughput.summary();
    for line in closing::lines(
        job,
        &outcome,
        &summary,
        baseline.as_ref(),
        peak_resident_bytes(),
    ) {
        // The run has left its weights by now: they stay, whatever becomes of the log.
        journal.say(&line).map_err(Failure::Run)?;
    }
    for (stage, profile) in &profiles {
        let table = account::kernels(*stage, profile, outcome.version);
        for line in table.lines() {
            journal.say(line).map_err(Failure::Run)?;
        }
    }
    if outcome.interrupted {
        Err(Failure::Interrupted { trained: true })
    } else {
        Ok(())
    }
}

/// Asks the run to end once it has trained for as long as it may.
struct TimeLimit<'a> {
    limit: Option<Duration>,
    began: Instant,
    interrupt: &'a Interrupt,
    /// Whether this limit was the first to ask.
    asked: bool,
}

impl<'a> TimeLimit<'a> {
    fn new(limit: Option<Duration>, interrupt: &'a Interrupt) -> Self {
        Self {
            limit,
            began: Instant::now(),
            interrupt,
            asked: false,
        }
    }

    fn look(&mut self) {
        if self
            .limit
            .is_some_and(|limit| self.began.elapsed() >= limit)
        {
            self.limit = None;
            self.asked = !self.interrupt.request();
        }
    }

    fn ended_the_run(&self, outcome: &Outcome) -> bool {
        self.asked && outcome.interrupted
    }
}

/// A run that ends at its time limit, wherever that is, is evaluated there as any other.
fn evaluate_the_end(
    job: &TrainJob,
    folder: &RunFolder,
    last: usize,
) -> Result<Option<Event>, Failure> {
    let due = job.values.evaluate != Some(false);
    if !due || last == 0 || job.horizon.evaluate_at.contains(&last) {
        return Ok(None);
    }
    let weights = read_weights(&folder.file(LAST_WEIGHTS_FILE)).map_err(failed)?;
    let states = eval::stage_states(job, &weights.state);
    let mut evaluated = eval::evaluate(job, &states, &Interrupt::new())?;
    if let Some(Event::Evaluated { version, .. }) = &mut evaluated {
        *version = last;
    }
    Ok(evaluated)
}

fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::Run(error.into())
}

fn headline(job: &TrainJob) -> String {
    let engine = engine_label(job);
    let stages = job.schedule.stages();
    let micro_batches = match job.schedule.micro_batches() {
        1 => String::new(),
        several => format!(" in {several} micro-batches"),
    };
    format!(
        "{} on {} · {} on {stages} {} (blocks {}) · engine {engine} · {} batches of {}{micro_batches}",
        job.model.name,
        job.split.train.name(),
        job.schedule,
        if stages == 1 { "stage" } else { "stages" },
        job.cut,
        job.horizon.batches,
        job.batch_size,
    )
}

/// The engine, with what is not its default.
fn engine_label(job: &TrainJob) -> String {
    let mut label = job.values.engine.clone().unwrap_or_default();
    if job.precision != stagger_engine::Precision::F32 {
        label.push_str(&format!(" {}", job.precision));
    }
    #[cfg(feature = "torch")]
    if let EngineChoice::Torch(devices) = &job.engine
        && devices.iter().any(|device| device.cuda.is_some())
    {
        let names: Vec<String> = devices.iter().map(ToString::to_string).collect();
        label.push_str(&format!(" on {}", names.join(", ")));
    }
    label
}

fn create_folder(job: &TrainJob) -> Result<RunFolder, Failure> {
    Ok(match &job.values.output {
        Some(path) => RunFolder::create(path)?,
        None => RunFolder::create_named(Path::new(DEFAULT_BASE), &job.label(), SystemTime::now())?,
    })
}

/// What the first line of the metrics says about the run.
fn facts(job: &TrainJob) -> Map<String, Value> {
    let mut facts = Map::new();
    let mut add = |name: &str, value: Value| facts.insert(name.to_owned(), value);
    add("model", job.model.name.clone().into());
    add("dataset", job.split.train.name().into());
    add(
        "data_fingerprint",
        format!("{:016x}", job.split.train.fingerprint()).into(),
    );
    add("schedule", job.schedule.to_string().into());
    add("stages", job.schedule.stages().into());
    add("cut", job.cut.sizes().into());
    add("batch_size", job.batch_size.into());
    add("micro_batches", job.schedule.micro_batches().into());
    add("batches", job.horizon.batches.into());
    add("batches_per_epoch", job.sampler.batches_per_epoch().into());
    add("seed", job.seed.into());
    add("engine", job.values.engine.clone().into());
    add("dtype", job.precision.to_string().into());
    facts
}

/// What a weights file says about itself.
fn metadata(job: &TrainJob) -> BTreeMap<String, String> {
    let entry = |name: &str, value: String| (name.to_owned(), value);
    BTreeMap::from([
        entry("model", job.model.name.clone()),
        entry("dataset", job.split.train.name().to_owned()),
        entry("classes", job.model.classes.to_string()),
        entry("schedule", job.schedule.to_string()),
        entry("seed", job.seed.to_string()),
    ])
}

/// The first Ctrl-C (or termination request) lets the run drain; the second ends it at once. Other
/// signals are left alone: under `nohup`, a closed terminal does not end a run.
fn listen_for_interrupts() -> Result<Interrupt> {
    let interrupt = Interrupt::new();
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the flag down and only raises it.
        flag::register_conditional_shutdown(signal, 130, interrupt.flag())
            .and_then(|_| flag::register(signal, interrupt.flag()))
            .context("cannot listen for Ctrl-C")?;
    }
    Ok(interrupt)
}

/// A panic of a stage or a loader becomes the run's error, which says all that the usual message would.
fn quiet_panics_of_workers() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let thread = std::thread::current();
        let is_worker = |name: &str| name.starts_with("stage-") || name.starts_with("loader-");
        if !thread.name().is_some_and(is_worker) {
            usual(info);
        }
    }));
}
