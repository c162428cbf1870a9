//! Several runs, each of which is checked before the first one starts.

mod comparison;
mod error;

use stagger_data::Split;

use crate::error::Error;
use crate::job::{Job, check_snapshots};
use crate::options::TrainingOptions;
use crate::refusal::Refusal;
use crate::training::Training;

pub use comparison::{ComparedMethods, ComparedRun};
pub use error::ComparisonError;

/// Options that a run has where it is one of several, unless they are said: it is not calibrated, and keeps snapshots only where
/// it `takes_snapshots` for a reason of its own, as it is run again from its start where it was interrupted.
#[must_use]
pub fn usual_options(takes_snapshots: bool) -> TrainingOptions {
    TrainingOptions {
        calibration_batches: Some(0),
        keep_snapshots: (!takes_snapshots).then_some(0),
        ..TrainingOptions::default()
    }
}

/// Refuses what no run of a series may have, before any image is opened: a cut by a measurement of its own, snapshots that are asked for
/// and not kept, and numbers that no config can hold.
///
/// # Errors
/// [`Refusal::CutAnew`], [`Refusal::Unused`], [`Refusal::Value`].
pub fn validate(options: &TrainingOptions) -> Result<(), Refusal> {
    if options.balance.as_deref().map(str::trim) == Some("profile") {
        return Err(Refusal::CutAnew);
    }
    options.check_numbers()?;
    check_snapshots(options)
}

/// Checks runs one after another. Images are opened once for consecutive runs on the same ones, and weights to start from are read once
/// for all runs that they fit alike.
#[derive(Default)]
pub struct SeriesCheck {
    /// The images that were opened last, and the options that decide which they are.
    opened: Option<(TrainingOptions, Split)>,
    /// What decides whether weights fit, of runs that they have fitted.
    fitting: Vec<TrainingOptions>,
}

impl SeriesCheck {
    /// What the options of the next run mean.
    ///
    /// # Errors
    /// As [`Training::check`] and [`validate`].
    pub fn check(&mut self, mut options: TrainingOptions) -> Result<Job, Error> {
        validate(&options)?;
        let images = deciding_images(&options);
        let has_weights = options.resume_weights.is_some() || options.pretrained.is_some();
        let fit = has_weights.then(|| deciding_fit(&options));
        let mut left_out = (None, None);
        if fit.as_ref().is_some_and(|fit| self.fitting.contains(fit)) {
            left_out = (options.resume_weights.take(), options.pretrained.take());
        }
        let mut training = Training::new().options(options);
        let opened = self.opened.as_ref().filter(|(said, _)| *said == images);
        let are_open = opened.is_some();
        if let Some((_, split)) = opened {
            training = training.dataset(split.clone());
        }
        let mut job = training.check()?;
        for (option, path) in [
            (&mut job.options.resume_weights, left_out.0),
            (&mut job.options.pretrained, left_out.1),
        ] {
            if let Some(path) = path {
                *option = Some(std::path::absolute(&path).unwrap_or(path));
            }
        }
        if !are_open {
            self.opened = Some((images, job.split.clone()));
        }
        if let Some(fit) = fit.filter(|fit| !self.fitting.contains(fit)) {
            self.fitting.push(fit);
        }
        Ok(job)
    }
}

/// The options without those on which the images do not depend.
fn deciding_images(options: &TrainingOptions) -> TrainingOptions {
    TrainingOptions {
        balance: None,
        batch_size: None,
        clip_norm: None,
        ema: None,
        epochs: None,
        label_smoothing: None,
        lr: None,
        lr_gamma: None,
        lr_last: None,
        lr_power: None,
        lr_schedule: None,
        max_batches: None,
        model: None,
        network: None,
        momentum: None,
        nesterov: None,
        optimizer: None,
        schedule: None,
        stages: None,
        sync_batch_norm: None,
        warmup_batches: None,
        weight_decay: None,
        ..options.clone()
    }
}

/// The options that decide whether weights fit: those of the network, of the images and of the weights.
fn deciding_fit(options: &TrainingOptions) -> TrainingOptions {
    TrainingOptions {
        model: options.model.clone(),
        network: options.network.clone(),
        schedule: options.schedule.clone(),
        stages: options.stages,
        optimizer: options.optimizer.clone(),
        seed: None,
        ..deciding_images(options)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn options(batch_size: usize, color_jitter: f64) -> TrainingOptions {
        TrainingOptions {
            model: Some("resnet8".to_owned()),
            batch_size: Some(batch_size),
            color_jitter: Some(vec![color_jitter, 0.0, 0.0, 0.0]),
            ..TrainingOptions::default()
        }
    }

    #[test]
    fn images_are_opened_anew_where_other_ones_are_asked_for() {
        let mut series = SeriesCheck::default();
        let mut images = |options| series.check(options).unwrap().split.train;
        let first = images(options(8, 0.1));
        assert!(Arc::ptr_eq(&first, &images(options(16, 0.1))));
        assert!(!Arc::ptr_eq(&first, &images(options(8, 0.2))));
        let (one, other) = (options(8, 0.1), options(16, 0.1));
        let from_file = |options: TrainingOptions| TrainingOptions {
            network: Some("a".to_owned()),
            ..options
        };
        // The network decides what fits, and no image.
        assert_eq!(
            deciding_images(&one),
            deciding_images(&from_file(other.clone()))
        );
        assert_ne!(deciding_fit(&one), deciding_fit(&from_file(other)));
    }

    #[test]
    fn runs_of_a_series_have_one_cut() {
        let measured = TrainingOptions {
            balance: Some(" profile".to_owned()),
            ..options(8, 0.1)
        };
        let refused = SeriesCheck::default().check(measured);
        assert!(matches!(refused, Err(Error::Refused(Refusal::CutAnew))));
    }

    #[test]
    fn runs_that_take_snapshots_keep_them() {
        assert_eq!(usual_options(false).keep_snapshots, Some(0));
        assert_eq!(usual_options(true).keep_snapshots, None);
    }
}
