//! Runs whose stages sleep instead of computing.

use stagger_emulate::Emulation;
use stagger_model::{Cut, Model};
use stagger_plan::Profile;
use stagger_runtime::Replicas;
use stagger_schedule::Schedule;

use super::unreadable;
use crate::durations::{Durations, DurationsChoice, DurationsError, Stages};
use crate::options::TrainingOptions;
use crate::refusal::{Refusal, check_path};

/// Reads what option `emulate` names. A path becomes absolute: the config in the run folder has to mean the same from everywhere.
///
/// # Errors
/// A [`Refusal`] of what is neither a time nor a profile.
pub(super) fn read(options: &mut TrainingOptions) -> Result<Option<Durations>, Refusal> {
    let Some(said) = &mut options.emulate else {
        return Ok(None);
    };
    if said.is_empty() {
        return Err(Refusal::Value {
            option: "emulate",
            found: "\"\"".to_owned(),
            kind: "a profile",
            expected: "equal:40ms, or the path of a profile",
        });
    }
    let refused = |source: DurationsError| unreadable("emulate", source);
    let mut choice: DurationsChoice = said.parse().map_err(refused)?;
    if let DurationsChoice::File(path) = &mut choice {
        check_path("emulate", path)?;
        *path = std::path::absolute(&*path).map_err(|source| unreadable("emulate", source))?;
        if let Some(text) = path.to_str() {
            *said = text.to_owned();
        }
    }
    choice.read().map(Some).map_err(refused)
}

/// Refuses what means nothing where no stage computes. Options that change numbers only, such as a learning rate, are left alone:
/// they do to the time of a run what they would do to that of a real one, which is nothing.
///
/// # Errors
/// [`Refusal::NotEmulated`].
pub(super) fn refuse_unused(options: &TrainingOptions) -> Result<(), Refusal> {
    let balance = options.balance.as_deref().map(str::trim);
    let on_nan = options.on_nan.as_deref();
    let no_engine = "stages sleep and no engine computes";
    let no_weights = "its stages have no weights";
    let no_numbers = "there are no numbers to look at";
    let links = "what its links take is in the profile";
    for (option, is_said, why) in [
        ("engine", options.engine.is_some(), no_engine),
        ("engines", options.engines.is_some(), no_engine),
        ("dtype", options.dtype.is_some(), no_engine),
        ("device", options.device.is_some(), no_engine),
        ("devices", options.devices.is_some(), no_engine),
        (
            "threads_per_stage",
            options.threads_per_stage.is_some(),
            no_engine,
        ),
        ("winograd", options.winograd.is_some(), no_engine),
        ("tf32", options.tf32.is_some(), no_engine),
        ("deterministic", options.deterministic.is_some(), no_engine),
        (
            "balance",
            balance == Some("profile"),
            "no block is there to be measured",
        ),
        ("transport", options.transport.is_some(), links),
        ("wire_dtype", options.wire_dtype.is_some(), links),
        (
            "freeze_stages",
            options.freeze_stages.is_some_and(|stages| stages > 0),
            no_weights,
        ),
        (
            "resume_weights",
            options.resume_weights.is_some(),
            no_weights,
        ),
        ("pretrained", options.pretrained.is_some(), no_weights),
        ("ema", options.ema.is_some(), no_weights),
        ("target", options.target.is_some(), no_numbers),
        ("patience", options.patience.is_some(), no_numbers),
        ("mixup", options.mixup.is_some(), no_numbers),
        ("cutmix", options.cutmix.is_some(), no_numbers),
        ("evaluate", options.evaluate == Some(true), no_numbers),
        (
            "sync_batch_norm",
            options.sync_batch_norm == Some(true),
            no_numbers,
        ),
        (
            "gap_every",
            options.gap_every.is_some_and(|batches| batches > 0),
            no_numbers,
        ),
        (
            "on_nan",
            on_nan.is_some_and(|what| what != "stop"),
            no_numbers,
        ),
    ] {
        if is_said {
            return Err(Refusal::NotEmulated { option, why });
        }
    }
    Ok(())
}

/// A run to emulate.
pub(super) struct Emulated<'a> {
    pub model: &'a Model,
    pub schedule: &'a Schedule,
    pub replicas: &'a Replicas,
    pub cut: &'a Cut,
    /// Samples of one update.
    pub batch_size: usize,
    pub seed: u64,
}

impl Emulated<'_> {
    /// Its stages and links.
    ///
    /// # Errors
    /// When a profile is one of another model, or of another number of devices or links.
    pub fn by(&self, durations: Durations) -> Result<Emulation, Refusal> {
        if let Durations::Profile(profile) = &durations {
            self.check(profile)?;
        }
        let stages = Stages {
            schedule: self.schedule,
            replicas: self.replicas,
            cut: Some(self.cut),
        };
        let pipeline = durations.pipeline(&stages, Some(self.batch_size));
        let pipeline = pipeline.map_err(|source| unreadable("emulate", source))?;
        let micro_batches = self.schedule.micro_batches();
        Ok(Emulation::new(pipeline, micro_batches, self.seed))
    }

    fn check(&self, profile: &Profile) -> Result<(), Refusal> {
        let of = |model: &str, [channels, height, width]: [usize; 3], classes: usize| {
            format!("{model} for images of {channels}x{height}x{width} and {classes} classes")
        };
        let expected = of(&self.model.name, self.model.input, self.model.classes);
        let found = of(&profile.model, profile.input, profile.classes);
        match expected == found {
            true => Ok(()),
            false => Err(Refusal::OtherProfile { expected, found }),
        }
    }
}
