//! Options, complete and checked, as something that can run.

mod augmentation;
mod batches;
mod emulation;
mod ends;
mod engine;
mod failures;
mod given;
pub(crate) mod images;
mod optimization;
mod transport;

use std::sync::Arc;
use std::time::Duration;

use stagger_cpu::CpuDevice;
use stagger_data::{Dataset, Sampler, Split};
use stagger_engine::{LearningRate, Optimizer, Precision};
use stagger_model::{Balance, Cut, Model, StageSummaryInput};
use stagger_runtime::{OnNonFinite, Replicas, Straggler, check_corrections};
use stagger_schedule::{Facts, Horizon, Kept, Schedule, StageFacts};
use stagger_transport::wire::Format;

use crate::balance::{self, Computes, ComputesAt, FirstCut};
use crate::durations::{Durations, check_batch_size};
use crate::error::Error;
use crate::model_file;
use crate::options::TrainingOptions;
use crate::refusal::{Refusal, check_path};
use crate::simulation;
use ends::{check_goals, horizon, stall_timeout, time_limit};

pub(crate) use batches::samples_of_share;
pub(crate) use engine::{CPU, FORMER_CPU, MOST_THREADS, TORCH, choose_engines, is_engine};
pub use engine::{EngineChoice, PlaceEngine};
pub use failures::{OnNan, Rhythm};
pub(crate) use given::Given;
pub(crate) use optimization::learning_rate;
pub use transport::TransportChoice;
pub(crate) use transport::replicas;

/// A training run, ready to start: everything has been opened and checked against everything else.
#[derive(Clone, Debug)]
pub struct Job {
    /// All options, for the run folder's config file.
    pub options: TrainingOptions,
    /// The data.
    pub split: Split,
    /// The network.
    pub model: Model,
    /// The method on its stages.
    pub schedule: Schedule,
    /// Copies of each stage.
    pub replicas: Replicas,
    /// Whether their batch normalisation is over the whole batch.
    pub sync_batch_norm: bool,
    /// Blocks of each stage; estimated until a balance by measured times has been measured.
    pub cut: Cut,
    /// A line for people on a cut by a file.
    pub(crate) cut_note: Option<String>,
    /// A line for people where that file was measured with something else than what computes the run, which is a part of the other line.
    pub cut_misfit: Option<String>,
    /// A line for people where the memory that an emulated profile allows its devices is not looked at.
    pub unread_memory: Option<String>,
    /// Order of the training samples.
    pub sampler: Sampler,
    /// How many batches, and where to evaluate.
    pub horizon: Horizon,
    /// When it ends before that.
    pub time_limit: Option<Duration>,
    /// How gradients become updates.
    pub optimizer: Optimizer,
    /// `keep` of the running mean of the weights; `None` for no mean.
    pub average: Option<f64>,
    /// Learning rate of each batch.
    pub learning_rate: LearningRate,
    /// Whether that was given as an object, instead of by options.
    pub(crate) has_given_rate: bool,
    /// Samples per batch: those of one update.
    pub batch_size: usize,
    /// Samples per batch of the evaluation.
    pub eval_batch_size: usize,
    /// Batches of backpropagation to time for comparison.
    pub calibration_batches: usize,
    /// Stages that are slowed down.
    pub stragglers: Vec<Straggler>,
    /// Sampling interval of the gap, in batches; 0 disables it.
    pub gap_every: usize,
    /// When snapshots are taken; `None` for never.
    pub snapshots: Option<Rhythm>,
    /// What happens when the loss is not finite.
    pub on_nan: OnNan,
    /// After how long without any progress the run ends.
    pub stall_timeout: Option<Duration>,
    /// Seed of everything random.
    pub seed: u64,
    /// What runs the stages, and where; or what they sleep for.
    pub engine: EngineChoice,
    /// Format in which they compute.
    pub precision: Precision,
    /// What connects the stages of one process.
    pub transport: TransportChoice,
    /// How tensors are written that leave a process.
    pub wire_format: Format,
}

impl Job {
    /// Fingerprints of the images to train on and to evaluate on, 16 hexadecimal digits each.
    #[must_use]
    pub fn fingerprints(&self) -> [String; 2] {
        let digits = |set: &dyn Dataset| format!("{:016x}", set.fingerprint());
        [digits(&*self.split.train), digits(&*self.split.test)]
    }

    /// Label smoothing of the training loss.
    #[must_use]
    pub fn label_smoothing(&self) -> f64 {
        self.options.label_smoothing.unwrap_or_default()
    }

    /// The norm that the gradient of all stages is clipped to, where that is possible: where they wait for each other anyway.
    #[must_use]
    pub fn clip_norm_over_stages(&self) -> Option<f64> {
        let limit = self.options.clip_norm;
        limit.filter(|_| self.schedule.is_synchronous())
    }

    /// The norm that each stage clips its own gradient to, where that of all stages is not known in time. A single stage has the whole
    /// gradient either way.
    #[must_use]
    pub fn clip_norm_of_stages(&self) -> Option<f64> {
        let limit = self.options.clip_norm;
        limit.filter(|_| !self.schedule.is_synchronous())
    }

    /// What a line about the run says of its replicas: ` with 2 replicas`, and nothing without any.
    #[must_use]
    pub fn with_replicas(&self) -> String {
        match (self.replicas.any(), self.sync_batch_norm) {
            (false, _) => String::new(),
            (true, false) => format!(" with {} replicas", self.replicas),
            (true, true) => format!(
                " with {} replicas and synchronised batch normalisation",
                self.replicas
            ),
        }
    }

    /// What is emulated, as the option says it: stages then sleep instead of computing, and nothing is learned.
    #[must_use]
    pub fn emulated(&self) -> Option<&str> {
        self.options.emulate.as_deref()
    }

    /// The engine, or the engines of all stages where they differ: `cpu`, or `cpu,torch`; `emulated` where there is none.
    #[must_use]
    pub fn engine_name(&self) -> String {
        if self.options.emulate.is_some() {
            return engine::EMULATED.to_owned();
        }
        match &self.options.engines {
            Some(engines) => engines.join(","),
            None => self.options.engine.clone().unwrap_or_default(),
        }
    }

    /// A name for the run's folder: schedule, model and data set.
    #[must_use]
    pub fn label(&self) -> String {
        format!(
            "{}-{}-{}",
            self.schedule.method_name(),
            self.model.name,
            self.split.train.name()
        )
    }
}

impl Job {
    /// Fills in defaults, opens the data, builds the model, and checks that all of it fits together.
    ///
    /// # Errors
    /// One on the first option that is wrong, or that does not suit another one.
    pub(crate) fn new(said: TrainingOptions, given: &Given) -> Result<Self, Error> {
        let mut options = said;
        given.name_in(&mut options)?;
        if options.stages.is_none()
            && let Some(schedule) = &options.schedule
            && let Ok(schedule) = Schedule::parse(schedule, None)
        {
            options.stages = Some(schedule.stages());
        }
        let mut options = options.or_defaults();
        let network = match given.model {
            None => model_file::bring_in(&mut options)?,
            Some(_) => String::new(),
        };
        optimization::refuse_unused(&options)?;
        options.fill_dependent();
        if options
            .output
            .as_ref()
            .is_some_and(|path| path.as_os_str().is_empty())
        {
            return Err(Refusal::EmptyPath { option: "output" }.into());
        }
        if let Some(path) = &options.output {
            check_path("output", path)?;
        }
        if options.resume_weights.is_some() && options.pretrained.is_some() {
            return Err(Refusal::WeightsTwice.into());
        }
        // The config in the run folder has to mean the same from everywhere.
        for (path, option) in [
            (&mut options.data_dir, "data_dir"),
            (&mut options.resume_weights, "resume_weights"),
            (&mut options.pretrained, "pretrained"),
        ] {
            if let Some(path) = path {
                check_path(option, path)?;
                *path = std::path::absolute(&*path).map_err(|source| unreadable(option, source))?;
            }
        }
        let durations = emulation::read(&mut options)?;
        let batch_size = at_least_one(options.batch_size, "batch_size")?;
        let eval_batch_size = at_least_one(
            options.eval_batch_size.or(Some(batch_size)),
            "eval_batch_size",
        )?;
        let epochs = at_least_one(options.epochs, "epochs")?;
        let stages = at_least_one(options.stages, "stages")?;
        at_least_one(options.workers, "workers")?;
        if let Some(batches) = options.max_batches {
            at_least_one(Some(batches), "max_batches")?;
        }
        let time_limit = options.max_seconds.map(time_limit).transpose()?;
        check_goals(&options)?;
        let average = optimization::average(&options)?;
        let (transport, wire_format) = transport::choose(&options)?;
        let schedule = match &given.schedule {
            Some(schedule) => schedule.clone(),
            None => Schedule::parse(
                options.schedule.as_deref().unwrap_or_default(),
                Some(stages),
            )?,
        };
        let replicas = replicas(options.replicas.as_deref(), &schedule)?;
        let (mut engine, precision) = match durations {
            Some(_) => {
                emulation::refuse_unused(&options)?;
                (EngineChoice::Cpu(CpuDevice::default()), Precision::F32)
            }
            None => engine::choose(&mut options, &replicas)?,
        };
        // One spelling of the same, so that a resumed run may be told in another one.
        options.replicas = match schedule.replicas() {
            None if replicas.any() => Some(replicas.counts()),
            _ => None,
        };
        let balance: Balance = options
            .balance
            .as_deref()
            .unwrap_or_default()
            .parse()
            .map_err(|source| unreadable("balance", source))?;
        let texts = options.straggler.as_deref().unwrap_or_default();
        let stragglers = stragglers(texts, stages)?;
        let optimizer = match &given.optimizer {
            Some(optimizer) => optimizer.validate().map(|()| optimizer.clone())?,
            None => optimization::optimizer(&options)?,
        };
        check_corrections(&schedule, &optimizer, precision).map_err(Refusal::Correction)?;
        // What one update sees; evaluation and everything else go by the batch size that was asked for.
        let batch_size = batch_size
            .checked_mul(schedule.accumulated_batches())
            .ok_or(Refusal::AccumulatedBatchSize)?;
        check_batch_size(batch_size)?;

        let split = images::open(&mut options, given)?;
        let model = model(&options, given, &split, &network)?;
        optimization::check_fine_tuning(&options, &model, schedule.stages())?;
        let sync_batch_norm = transport::sync_batch_norm(&mut options, &replicas, &model)?;
        let computes = durations.is_none().then(|| Computes {
            places: (0..replicas.places())
                .map(|place| ComputesAt::of(engine.at(place), &options))
                .collect(),
            precision: Some(precision),
        });
        let to_cut = balance::ToCut {
            model: &model,
            schedule: &schedule,
            replicas: Some(&replicas),
            batch_size,
            optimizer_slots: optimizer.slots().len() + usize::from(average.is_some()),
            computes: computes.as_ref(),
        };
        let FirstCut {
            cut,
            line: cut_note,
            misfit: cut_misfit,
        } = balance::first_cut(&balance, &to_cut, &balance::cost_model(&options))?;
        if cut_note.is_some() {
            // A resumed run takes the cut from its config and does not read the profile.
            options.balance = Some(cut.to_string());
        }
        let seed = options.seed.unwrap_or_default();
        let unread_memory = match (&durations, &options.emulate) {
            (Some(Durations::Profile(profile)), Some(path)) => {
                balance::unread_memory(profile, path.as_ref(), &balance)
            }
            _ => None,
        };
        if let Some(durations) = durations {
            let emulated = emulation::Emulated {
                model: &model,
                schedule: &schedule,
                replicas: &replicas,
                cut: &cut,
                batch_size,
                seed,
            };
            engine = EngineChoice::Emulated(Arc::new(emulated.by(durations)?));
        }
        let mut sampler = Sampler::new(split.train.len(), batch_size, seed)?;
        if options.drop_last == Some(true) {
            sampler = sampler.drop_last()?;
        }
        let shares = batches::Shares {
            schedule: &schedule,
            replicas: replicas.most(),
            normalized_together: sync_batch_norm,
        };
        batches::check(&model, &sampler, batch_size, split.train.len(), &shares)?;

        let mut horizon = horizon(sampler.batches_per_epoch(), epochs, options.max_batches)?;
        if options.evaluate == Some(false) {
            horizon.evaluate_at.clear();
        }
        let rhythm = failures::rhythm(&options)?;
        let on_nan = failures::on_nan(&options)?;
        if on_nan == OnNan::Skip && !OnNonFinite::Skip.suits(&schedule) {
            return Err(Refusal::Skip {
                schedule: schedule.to_string(),
            }
            .into());
        }
        if let Some(every) = rhythm.batches {
            let more = (every..horizon.batches).step_by(every);
            horizon.snapshot_at.extend(more);
            horizon.snapshot_at.sort_unstable();
            horizon.snapshot_at.dedup();
        }
        let learning_rate = match &given.learning_rate {
            Some(rate) => rate.validate().map(|()| rate.clone())?,
            None => optimization::learning_rate(
                &mut options,
                epochs,
                sampler.batches_per_epoch(),
                horizon.batches,
            )?,
        };
        let asynchronous = schedule
            .policies()
            .iter()
            .any(|policy| policy.staleness > 0);
        let calibration_batches =
            options
                .calibration_batches
                .unwrap_or(if asynchronous { 40 } else { 0 });
        options.calibration_batches = Some(calibration_batches);
        let gap_every = options
            .gap_every
            .unwrap_or(if asynchronous && options.emulate.is_none() {
                50
            } else {
                0
            });
        options.gap_every = Some(gap_every);
        options.eval_batch_size = Some(eval_batch_size);
        Ok(Self {
            split,
            model,
            schedule,
            replicas,
            sync_batch_norm,
            cut,
            cut_note,
            cut_misfit,
            unread_memory,
            sampler,
            horizon,
            time_limit,
            optimizer,
            average,
            learning_rate,
            has_given_rate: given.learning_rate.is_some(),
            batch_size,
            eval_batch_size,
            calibration_batches,
            stragglers,
            gap_every,
            snapshots: (options.keep_snapshots != Some(0)).then_some(rhythm),
            on_nan,
            stall_timeout: stall_timeout(&options)?,
            options,
            seed,
            engine,
            precision,
            transport,
            wire_format,
        })
    }
}

/// The model that was given, or else the one that the options name, for these images. Messages call the text of a network `network`.
fn model(
    options: &TrainingOptions,
    given: &Given,
    split: &Split,
    network: &str,
) -> Result<Model, Error> {
    let found = (split.train.shape(), split.train.classes());
    let Some(model) = &given.model else {
        return model_file::model(options, network, found.0, found.1);
    };
    model.validate()?;
    let expected = (model.input, model.classes);
    if expected != found {
        return Err(Refusal::ModelInput {
            model: model.name.clone(),
            expected,
            dataset: split.train.name().to_owned(),
            found,
        }
        .into());
    }
    Ok(model.clone())
}

/// What a model's summary has to know of each stage.
#[must_use]
pub fn summary_inputs(schedule: &Schedule) -> Vec<StageSummaryInput> {
    let input = |stage: &StageFacts| StageSummaryInput {
        staleness: stage.staleness,
        recompute: stage.kept == Kept::Input,
        micro_batches: schedule.micro_batches(),
        // A pending half holds less than a graph, and counts as one.
        kept_micro_batches: stage.held_micro_batches,
        weight_copies: stage.weight_copies,
    };
    Facts::of(schedule).stages.iter().map(input).collect()
}

/// Refuses snapshots that are asked for and not kept, as both are said together. A resumed run may have been asked for one of the two
/// before.
///
/// # Errors
/// [`Refusal::Unused`].
pub fn check_snapshots(options: &TrainingOptions) -> Result<(), Refusal> {
    match (options.keep_snapshots, &options.snapshot_every) {
        (Some(0), Some(_)) => Err(Refusal::Unused {
            option: "snapshot_every",
            beside: "keep_snapshots",
            found: "0".to_owned(),
            expected: "1 or more",
        }),
        (Some(0), None) if options.on_nan.as_deref() == Some("rollback") => Err(Refusal::Unused {
            option: "on_nan",
            beside: "keep_snapshots",
            found: "0".to_owned(),
            expected: "1 or more",
        }),
        _ => Ok(()),
    }
}

/// Whether something that is asked for needs snapshots.
#[must_use]
pub fn needs_snapshots(options: &TrainingOptions) -> bool {
    options.snapshot_every.is_some() || options.on_nan.as_deref() == Some("rollback")
}

/// Makes sure that each share of a batch has a sample: of every micro-batch each replica's.
///
/// # Errors
/// [`Refusal::BatchSize`].
pub fn check_shares(model: &Model, schedule: &Schedule, batch_size: usize) -> Result<(), Refusal> {
    let replicas = schedule.replicas().unwrap_or(1);
    simulation::check_batch_size(batch_size, &model.name, schedule, replicas)
}

fn at_least_one(value: Option<usize>, option: &'static str) -> Result<usize, Refusal> {
    match value {
        Some(value) if value > 0 => Ok(value),
        _ => Err(Refusal::Zero { option }),
    }
}

fn unreadable(option: &'static str, source: impl Into<crate::error::Source>) -> Refusal {
    Refusal::Unreadable {
        option,
        source: source.into(),
    }
}

/// Reads the stragglers, each of a stage that there is.
pub(crate) fn stragglers(texts: &[String], stages: usize) -> Result<Vec<Straggler>, Refusal> {
    let mut stragglers = Vec::new();
    for text in texts {
        let straggler: Straggler = text
            .parse()
            .map_err(|source| unreadable("straggler", source))?;
        if let Some(stage) = straggler.stage().filter(|&stage| stage >= stages) {
            return Err(Refusal::Straggler {
                text: text.clone(),
                stage,
                last: stages - 1,
            });
        }
        stragglers.push(straggler);
    }
    Ok(stragglers)
}
