//! Values, complete and checked, as something that can run.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use stagger_data::{Augmentation, OpenOptions, Sampler, Split};
use stagger_engine::{LearningRate, Optimizer, Precision};
use stagger_model::{Balance, Cut, Model, StageSummaryInput};
use stagger_runtime::{OnNonFinite, Straggler};
use stagger_schedule::{Facts, Horizon, Kept, Schedule, StageFacts};

use super::batches;
use super::corrections;
use super::defaults;
use super::engine::{self, EngineChoice};
use super::low::TrainValues;
use super::optimization;
use super::snapshots::{self, OnNan, Rhythm};

/// A training run, ready to start: everything has been opened and checked against everything else.
#[derive(Clone, Debug)]
pub struct TrainJob {
    /// All values, for the run folder's config file.
    pub values: TrainValues,
    /// The data.
    pub split: Split,
    /// The network.
    pub model: Model,
    /// The method on its stages.
    pub schedule: Schedule,
    /// Blocks of each stage.
    pub cut: Cut,
    /// Order of the training samples.
    pub sampler: Sampler,
    /// How many batches, and where to evaluate.
    pub horizon: Horizon,
    /// When it ends before that.
    pub time_limit: Option<Duration>,
    /// How gradients become updates.
    pub optimizer: Optimizer,
    /// Learning rate of each batch.
    pub learning_rate: LearningRate,
    /// Samples per batch: those of one update.
    pub batch_size: usize,
    /// Samples per batch of the evaluation.
    pub eval_batch_size: usize,
    /// Batches of backpropagation to time for comparison.
    pub calibration_batches: usize,
    /// Stages that are slowed down.
    pub stragglers: Vec<Straggler>,
    /// Batches between two of which the gap is measured; 0 for none.
    pub gap_every: usize,
    /// When snapshots are taken; `None` for never.
    pub snapshots: Option<Rhythm>,
    /// What happens when the loss is not finite.
    pub on_nan: OnNan,
    /// After how long without any progress the run ends.
    pub stall_timeout: Option<Duration>,
    /// Seed of everything random.
    pub seed: u64,
    /// What runs the stages, and where.
    pub engine: EngineChoice,
    /// Format in which they compute.
    pub precision: Precision,
}

impl TrainJob {
    /// Label smoothing of the training loss.
    #[must_use]
    pub fn label_smoothing(&self) -> f64 {
        self.values.label_smoothing.unwrap_or_default()
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

/// Fills in defaults, opens the data, builds the model, and checks that all of it fits together.
///
/// # Errors
/// One sentence on the first value that is wrong.
pub fn train(values: TrainValues) -> Result<TrainJob> {
    assemble(values.or(defaults::train()), open)
}

/// As [`train`], on data that `open` gives, without filling in defaults that stand for themselves.
///
/// # Errors
/// One sentence on the first value that is wrong.
pub fn assemble(
    mut values: TrainValues,
    open: impl FnOnce(&TrainValues) -> Result<Split>,
) -> Result<TrainJob> {
    optimization::refuse_unused(&values)?;
    defaults::dependent(&mut values);
    if values
        .output
        .as_ref()
        .is_some_and(|path| path.as_os_str().is_empty())
    {
        bail!("--output is empty; name a folder that does not exist, or leave the flag out");
    }
    // The config in the run folder has to mean the same from everywhere.
    for (path, flag) in [
        (&mut values.data_dir, "--data-dir"),
        (&mut values.resume_weights, "--resume-weights"),
    ] {
        if let Some(path) = path {
            *path = std::path::absolute(&*path).context(flag)?;
        }
    }
    let batch_size = at_least_one(values.batch_size, "--batch-size")?;
    let eval_batch_size = at_least_one(
        values.eval_batch_size.or(Some(batch_size)),
        "--eval-batch-size",
    )?;
    let epochs = at_least_one(values.epochs, "--epochs")?;
    let stages = at_least_one(values.stages, "--stages")?;
    at_least_one(values.workers, "--workers")?;
    if let Some(batches) = values.max_batches {
        at_least_one(Some(batches), "--max-batches")?;
    }
    let time_limit = values.max_seconds.map(time_limit).transpose()?;
    let (engine, precision) = engine::choose(&values, stages)?;
    let schedule = schedule(values.schedule.as_deref().unwrap_or_default(), stages)?;
    let balance: Balance = values
        .balance
        .as_deref()
        .unwrap_or_default()
        .parse()
        .context("--balance")?;
    let stragglers = stragglers(&values, stages)?;
    let optimizer = optimization::optimizer(&values)?;
    corrections::check(&schedule, &optimizer, precision)?;
    // What one update sees; evaluation and everything else go by the batch size that was asked for.
    let batch_size = batch_size
        .checked_mul(schedule.accumulated_batches())
        .context("--batch-size times the accumulated batches is too large")?;

    let split = open(&values)?;
    let name = values.model.as_deref().unwrap_or_default();
    let model = Model::by_name(name, split.train.shape(), split.train.classes())?;
    let cut = balance.cut(&model, &recomputes(&schedule), None)?;
    let seed = values.seed.unwrap_or_default();
    let mut sampler = Sampler::new(split.train.len(), batch_size, seed)?;
    if values.drop_last == Some(true) {
        sampler = sampler.drop_last()?;
    }
    batches::check(&model, &sampler, batch_size, split.train.len(), &schedule)?;

    let mut horizon = horizon(sampler.batches_per_epoch(), epochs, values.max_batches)?;
    if values.evaluate == Some(false) {
        horizon.evaluate_at.clear();
    }
    let rhythm = snapshots::rhythm(&values)?;
    let on_nan = snapshots::on_nan(&values)?;
    if on_nan == OnNan::Skip && !OnNonFinite::Skip.suits(&schedule) {
        bail!(
            "--on-nan skip cannot leave a batch out with `{schedule}`: by the time its loss is known, running statistics or \
             updates have it already; use stop or rollback"
        );
    }
    if let Some(every) = rhythm.batches {
        let more = (every..horizon.batches).step_by(every);
        horizon.snapshot_at.extend(more);
        horizon.snapshot_at.sort_unstable();
        horizon.snapshot_at.dedup();
    }
    let learning_rate = optimization::learning_rate(
        &mut values,
        epochs,
        sampler.batches_per_epoch(),
        horizon.batches,
    )?;
    let asynchronous = schedule
        .policies()
        .iter()
        .any(|policy| policy.staleness > 0);
    let calibration_batches =
        values
            .calibration_batches
            .unwrap_or(if asynchronous { 40 } else { 0 });
    values.calibration_batches = Some(calibration_batches);
    let gap_every = values
        .gap_every
        .unwrap_or(if asynchronous { 50 } else { 0 });
    values.gap_every = Some(gap_every);
    values.eval_batch_size = Some(eval_batch_size);
    Ok(TrainJob {
        split,
        model,
        schedule,
        cut,
        sampler,
        horizon,
        time_limit,
        optimizer,
        learning_rate,
        batch_size,
        eval_batch_size,
        calibration_batches,
        stragglers,
        gap_every,
        snapshots: (values.keep_snapshots != Some(0)).then_some(rhythm),
        on_nan,
        stall_timeout: stall_timeout(&values)?,
        values,
        seed,
        engine,
        precision,
    })
}

/// Opens the data set that the values name.
///
/// # Errors
/// When its files are missing or damaged.
pub fn open(values: &TrainValues) -> Result<Split> {
    let name = values.dataset.as_deref().unwrap_or_default();
    let options = OpenOptions {
        data_dir: values.data_dir.clone(),
        image_size: values.image_size,
        cache_bytes: values.cache_bytes.unwrap_or_default(),
        seed: DATA_SEED,
    };
    let mut split = stagger_data::open(name, &options)?;
    if values.augment == Some(false) {
        split.augmentation = Augmentation::NONE;
    }
    Ok(split)
}

/// The built-in data set is one data set: training seeds do not change it.
const DATA_SEED: u64 = 0;

/// Reads a schedule for a number of stages.
///
/// # Errors
/// When the notation is wrong.
pub fn schedule(text: &str, stages: usize) -> Result<Schedule> {
    Ok(Schedule::parse(text, Some(stages))?)
}

/// What a model's summary has to know of each stage.
#[must_use]
pub fn summary_inputs(schedule: &Schedule) -> Vec<StageSummaryInput> {
    let input = |stage: &StageFacts| StageSummaryInput {
        staleness: stage.staleness,
        recompute: stage.kept == Kept::Input,
        micro_batches: schedule.micro_batches(),
        kept_micro_batches: stage.kept_micro_batches,
        weight_copies: stage.weight_copies,
    };
    Facts::of(schedule).stages.iter().map(input).collect()
}

/// Which stages run their forward twice.
#[must_use]
pub fn recomputes(schedule: &Schedule) -> Vec<bool> {
    schedule
        .policies()
        .iter()
        .map(|policy| policy.kept == Kept::Input)
        .collect()
}

pub(super) fn at_least_one(value: Option<usize>, flag: &str) -> Result<usize> {
    match value {
        Some(value) if value > 0 => Ok(value),
        _ => bail!("{flag} is 0; give a whole number of at least 1"),
    }
}

/// Far above any real run; the marks of every epoch are kept in memory.
const MAX_EPOCHS: usize = 1_000_000;

fn time_limit(seconds: f64) -> Result<Duration> {
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        _ => bail!("--max-seconds {seconds} is not a duration; give a number above 0, such as 60"),
    }
}

fn stall_timeout(values: &TrainValues) -> Result<Option<Duration>> {
    let seconds = values.stall_timeout.unwrap_or_default();
    match Duration::try_from_secs_f64(seconds) {
        Ok(timeout) => Ok((!timeout.is_zero()).then_some(timeout)),
        Err(_) => bail!(
            "--stall-timeout {seconds} is not a duration; give a number of seconds, or 0 for none"
        ),
    }
}

/// Evaluates and snapshots after every epoch and at the end.
fn horizon(per_epoch: usize, epochs: usize, max_batches: Option<usize>) -> Result<Horizon> {
    if epochs > MAX_EPOCHS {
        bail!("--epochs {epochs} is more than any run needs; give at most {MAX_EPOCHS}");
    }
    let planned = per_epoch.saturating_mul(epochs);
    let batches = planned.min(max_batches.unwrap_or(planned));
    let mut marks: Vec<usize> = (1..=batches / per_epoch)
        .map(|epoch| epoch * per_epoch)
        .collect();
    if marks.last() != Some(&batches) {
        marks.push(batches);
    }
    Ok(Horizon {
        batches,
        evaluate_at: marks.clone(),
        snapshot_at: marks,
    })
}

/// Reads the stragglers, each of a stage that there is.
fn stragglers(values: &TrainValues, stages: usize) -> Result<Vec<Straggler>> {
    let mut stragglers = Vec::new();
    for text in values.straggler.iter().flatten() {
        let straggler: Straggler = text.parse().context("--straggler")?;
        if let Some(stage) = straggler.stage().filter(|&stage| stage >= stages) {
            bail!(
                "--straggler `{text}`: there is no stage {stage}; stages count from 0 to {}",
                stages - 1
            );
        }
        stragglers.push(straggler);
    }
    Ok(stragglers)
}

/// Reads `3x32x32`.
///
/// # Errors
/// When it is no shape.
pub fn input_shape(text: &str) -> Result<[usize; 3]> {
    let sides: Vec<usize> = text
        .split('x')
        .map_while(|side| side.trim().parse().ok())
        .collect();
    match sides[..] {
        [channels, height, width] if text.split('x').count() == 3 && !sides.contains(&0) => {
            Ok([channels, height, width])
        }
        _ => {
            bail!("--input `{text}` is not a shape; give channels, height and width as in 3x32x32")
        }
    }
}
