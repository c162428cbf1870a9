//! What the stages of a new run start from, where it is not initial weights.

use stagger_data::shown_path;
use stagger_engine::StageState;

use super::snapshots;
use crate::job::Job;
use crate::refusal::{Refusal, refuse_emulated};
use crate::stages;
use crate::weights_fit::{self, Classes};

/// The states that the stages start from, by option `resume_weights` or `pretrained`. What of them is left out, and what names
/// were translated, is among the notes.
pub fn initial_states(
    job: &Job,
    notes: &mut Vec<String>,
) -> Result<Option<Vec<StageState>>, Refusal> {
    let options = &job.options;
    let (option, path) = match (&options.resume_weights, &options.pretrained) {
        (Some(path), _) => ("resume_weights", path),
        (None, Some(path)) => ("pretrained", path),
        (None, None) => return Ok(None),
    };
    refuse_emulated(path, None)?;
    let (whole, there) = snapshots::weights(option, path, notes)?;
    refuse_emulated(path, Some(&whole))?;
    let from = shown_path(path);
    let here = job.split.train.class_names();
    let classes = Classes::compare(there.as_deref(), here);
    let others = match &classes {
        Classes::Others(difference) => Some(difference.as_str()),
        _ => None,
    };
    let fitted = match option {
        "pretrained" => weights_fit::fit_body(&job.model, whole, job.seed, others, &from, notes),
        _ => weights_fit::fit(&job.model, whole, &from, notes),
    };
    let mut whole = fitted.map_err(|misfit| Refusal::WeightsFit {
        option,
        path: path.clone(),
        model: job.model.name.clone(),
        head_only: option == "resume_weights" && misfit.is_of_head_only(),
        source: misfit.into(),
    })?;
    match classes {
        Classes::Order(order) => {
            weights_fit::reorder(&job.model, &mut whole, &order);
            let there = there.as_deref().unwrap_or_default();
            notes.push(weights_fit::reordered(&from, there, here));
        }
        // Whose head has another number of rows is refused for that.
        Classes::Others(difference) if option == "resume_weights" => {
            return Err(Refusal::WeightsClasses {
                path: path.clone(),
                difference,
            });
        }
        _ => {}
    }
    let states = stages::split_state(job, &whole);
    let fits = |states: &[StageState]| {
        stages::check_states(job, states).map_err(|error| Refusal::ResumeWeights {
            path: path.clone(),
            model: job.model.name.clone(),
            source: error.into(),
        })
    };
    if fits(&states).is_ok() {
        return Ok(Some(states));
    }
    let is_of_optimizer = |state: &StageState| *state != state.clone().without_optimizer();
    if states.iter().any(is_of_optimizer) {
        notes.push(format!(
            "the optimizer state of {} does not fit: the optimizer starts anew",
            shown_path(path)
        ));
    }
    let states: Vec<StageState> = states
        .into_iter()
        .map(StageState::without_optimizer)
        .collect();
    fits(&states)?;
    Ok(Some(states))
}
