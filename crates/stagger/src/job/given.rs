//! Models, data sets, schedules and optimizers that are given as objects instead of by name.

use stagger_data::Split;
use stagger_engine::{Decay, LearningRate, Optimizer};
use stagger_model::Model;
use stagger_schedule::Schedule;

use crate::error::Error;
use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// What a run is given as objects. The options then hold what can be said of them in words.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub model: Option<Model>,
    pub split: Option<Split>,
    pub schedule: Option<Schedule>,
    pub optimizer: Option<Optimizer>,
    pub learning_rate: Option<LearningRate>,
}

impl Given {
    /// Checks the data set, and refuses options that an object fixes already.
    pub fn check(&self, said: &TrainingOptions) -> Result<(), Error> {
        if let Some(split) = &self.split {
            split.validate()?;
        }
        let optimizer = self.optimizer.is_some().then_some("optimizer");
        let rate = (self.learning_rate.is_some()).then_some("learning rate");
        for (option, given, by) in [
            ("momentum", said.momentum.is_some(), optimizer),
            ("nesterov", said.nesterov.is_some(), optimizer),
            ("trust", said.trust.is_some(), optimizer),
            ("weight_decay", said.weight_decay.is_some(), optimizer),
            ("weight_decay_on", said.weight_decay_on.is_some(), optimizer),
            ("lr_schedule", said.lr_schedule.is_some(), rate),
            ("lr_steps", said.lr_steps.is_some(), rate),
            ("lr_gamma", said.lr_gamma.is_some(), rate),
            ("lr_last", said.lr_last.is_some(), rate),
            ("lr_power", said.lr_power.is_some(), rate),
            ("lr_restart", said.lr_restart.is_some(), rate),
            ("warmup_batches", said.warmup_batches.is_some(), rate),
        ] {
            if let Some(by) = by.filter(|_| given) {
                return Err(Refusal::Fixed { option, by }.into());
            }
        }
        Ok(())
    }

    /// Leaves out the objects of which something else is said.
    pub fn replace_by(&mut self, said: &TrainingOptions) {
        self.model.take_if(|_| said.model.is_some());
        self.split.take_if(|_| said.dataset.is_some());
        self.schedule.take_if(|_| said.schedule.is_some());
        self.optimizer.take_if(|_| said.optimizer.is_some());
        self.learning_rate.take_if(|_| said.lr.is_some());
    }

    /// Puts into the options what they can say of the objects.
    pub fn name_in(&self, options: &mut TrainingOptions) -> Result<(), Refusal> {
        if let Some(model) = &self.model {
            options.model = Some(model.name.clone());
        }
        if let Some(split) = &self.split {
            options.dataset = Some(split.train.name().to_owned());
        }
        if let Some(schedule) = &self.schedule {
            let stages = schedule.stages();
            if let Some(found) = options.stages.filter(|&found| found != stages) {
                return Err(Refusal::Stages {
                    schedule: schedule.to_string(),
                    expected: stages,
                    found,
                });
            }
            options.schedule = Some(schedule.to_string());
            options.stages = Some(stages);
        }
        if let Some(optimizer) = &self.optimizer {
            name_optimizer(optimizer, options);
        }
        if let Some(rate) = &self.learning_rate {
            name_rate(rate, options);
        }
        Ok(())
    }
}

fn name_optimizer(optimizer: &Optimizer, options: &mut TrainingOptions) {
    options.optimizer = Some(optimizer.name().to_owned());
    (options.momentum, options.nesterov, options.trust) = (None, None, None);
    let decay = match optimizer {
        Optimizer::Momentum {
            beta,
            nesterov,
            weight_decay,
        } => {
            options.momentum = Some(*beta);
            options.nesterov = Some(*nesterov != 0.0);
            weight_decay
        }
        Optimizer::Lars {
            beta,
            trust,
            weight_decay,
        } => {
            options.momentum = Some(*beta);
            options.trust = Some(*trust);
            weight_decay
        }
        Optimizer::Sgd { weight_decay }
        | Optimizer::AdamW { weight_decay, .. }
        | Optimizer::Lion { weight_decay, .. } => weight_decay,
    };
    options.weight_decay = Some(decay.rate);
    options.weight_decay_on = decay.matrices_only.then(|| "weights".to_owned());
}

fn name_rate(rate: &LearningRate, options: &mut TrainingOptions) {
    options.lr = Some(rate.base);
    options.warmup_batches = Some(rate.warmup.batches);
    (options.lr_steps, options.lr_gamma) = (None, None);
    (options.lr_last, options.lr_power, options.lr_restart) = (None, None, None);
    let name = match &rate.decay {
        Decay::Constant => "constant",
        Decay::Cosine { last, .. } => {
            options.lr_last = Some(*last);
            "cosine"
        }
        Decay::Step { factor, .. } => {
            options.lr_gamma = Some(*factor);
            "step"
        }
        // In batches, which the option does not say.
        Decay::Restarts { last, .. } => {
            options.lr_last = Some(*last);
            "restarts"
        }
        Decay::Polynomial { power, last, .. } => {
            (options.lr_power, options.lr_last) = (Some(*power), Some(*last));
            "polynomial"
        }
        Decay::OneCycle { rise, .. } => {
            options.warmup_batches = Some(*rise);
            "one-cycle"
        }
        _ => return,
    };
    options.lr_schedule = Some(name.to_owned());
}
