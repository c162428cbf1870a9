//! Default values.

use super::{Augment, TrainingOptions};
use crate::job::CPU;

impl TrainingOptions {
    /// Default values that do not depend on other values. The default run is the shortest one that shows what stagger
    /// does: DSP over two stages on a built-in data set.
    #[must_use]
    pub fn defaults() -> Self {
        Self {
            model: Some("resnet8".into()),
            dataset: Some("shapes".into()),
            cache_bytes: Some(1 << 30),
            augment: Some(Augment::CropAndFlip),
            workers: Some(1),
            stages: Some(2),
            schedule: Some("dsp".into()),
            balance: Some("auto".into()),
            engine: Some("cpu".into()),
            dtype: Some("f32".into()),
            epochs: Some(4),
            evaluate: Some(true),
            batch_size: Some(64),
            drop_last: Some(false),
            optimizer: Some("momentum".into()),
            lr_schedule: Some("cosine".into()),
            weight_decay: Some(5e-4),
            label_smoothing: Some(0.0),
            keep_snapshots: Some(2),
            on_nan: Some("stop".into()),
            stall_timeout: Some(600.0),
            seed: Some(1),
            ..Self::default()
        }
    }

    /// The values said here, and default values for the rest. No data set is put in where a folder is named: its files say
    /// which it is. An emulated run has no engine and no evaluation.
    #[must_use]
    pub fn or_defaults(self) -> Self {
        let mut defaults = Self::defaults();
        defaults.dataset.take_if(|_| self.data_dir.is_some());
        if self.emulate.is_some() {
            // Nothing computes, and there is nothing to evaluate.
            (defaults.engine, defaults.dtype) = (None, None);
            defaults.evaluate = Some(false);
        }
        self.or(defaults)
    }

    /// Fills in the default values of settings that only some optimizers and learning-rate schedules have.
    pub(crate) fn fill_dependent(&mut self) {
        match self.optimizer.as_deref() {
            Some("momentum") => {
                self.momentum.get_or_insert(0.9);
                self.nesterov.get_or_insert(false);
            }
            Some("lars") => {
                self.momentum.get_or_insert(0.9);
                self.trust.get_or_insert(0.01);
                // Steps are this times the trust as a share of the weights' length.
                self.lr.get_or_insert(1.0);
            }
            // Each step of each weight is as long as the rate says.
            Some("lion") => {
                self.lr.get_or_insert(3e-4);
            }
            // Adam's steps do not shrink with the gradient.
            Some("adamw") => {
                self.lr.get_or_insert(1e-3);
                // Said in every run's config, as older ones without it had `weights`.
                if self.weight_decay != Some(0.0) {
                    self.weight_decay_on.get_or_insert_with(|| "all".into());
                }
            }
            _ => {}
        }
        self.lr.get_or_insert(0.1);
        match self.lr_schedule.as_deref() {
            Some("step") => {
                self.lr_gamma.get_or_insert(0.1);
            }
            Some("polynomial") => {
                self.lr_power.get_or_insert(1.0);
            }
            _ => {}
        }
    }

    /// The options of a run that may have been written when `adamw` left biases and normalisations alone, and engine `cpu` made direct sums,
    /// as no option said so: those that are written today say which parameters decay, and how sums are made.
    pub(crate) fn or_as_it_ran(mut self) -> Self {
        if self.optimizer.as_deref() == Some("adamw") && self.weight_decay != Some(0.0) {
            self.weight_decay_on
                .get_or_insert_with(|| "weights".to_owned());
        }
        let has_cpu = match &self.engines {
            Some(engines) => engines.iter().any(|engine| engine == CPU),
            None => self.engine.as_deref() == Some(CPU),
        };
        if has_cpu {
            self.winograd.get_or_insert(false);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_without_a_word_on_sums_continues_with_direct_ones() {
        let of = |engine: &str, winograd| {
            let options = TrainingOptions {
                engine: Some(engine.to_owned()),
                winograd,
                ..TrainingOptions::default()
            };
            options.or_as_it_ran().winograd
        };
        assert_eq!(of("cpu", None), Some(false));
        assert_eq!(of("cpu", Some(true)), Some(true));
        assert_eq!(of("torch", None), None);
        let mixed = TrainingOptions {
            engines: Some(vec!["torch".to_owned(), "cpu".to_owned()]),
            ..TrainingOptions::default()
        };
        assert_eq!(mixed.or_as_it_ran().winograd, Some(false));
    }

    #[test]
    fn how_cpu_makes_its_sums_counts_only_for_that_engine() {
        let config = TrainingOptions {
            engine: Some("cpu".to_owned()),
            winograd: Some(false),
            ..TrainingOptions::default()
        };
        let with = |engine: &str| {
            let said = TrainingOptions {
                engine: Some(engine.to_owned()),
                ..TrainingOptions::default()
            };
            said.or(config.clone()).winograd
        };
        assert_eq!(with("cpu"), Some(false));
        assert_eq!(with("torch"), None);
    }
}
