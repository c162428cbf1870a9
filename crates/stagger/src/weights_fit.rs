//! Whether weights fit a model, under whatever names other programs have given them.

mod classes;
mod misfit;
mod names;

use std::collections::{BTreeMap, BTreeSet};

use stagger_engine::{HostTensor, StageState, initial_values};
use stagger_model::{Model, Parameter};

pub use classes::{Classes, reorder, reordered};
pub use misfit::Misfit;
use names::rename;

/// The tensors that a model has.
struct Expected {
    /// Parameters and buffers, and their shapes.
    shapes: BTreeMap<String, Vec<usize>>,
    counters: BTreeSet<String>,
    /// The last linear layer: `linear`.
    head: Option<String>,
}

impl Expected {
    fn of(model: &Model) -> Self {
        let blocks = 0..model.blocks.len();
        let parameters = model.parameters(blocks.clone());
        let matrix = parameters
            .iter()
            .rfind(|parameter| parameter.shape.len() == 2);
        let head = matrix.and_then(|matrix| matrix.name.strip_suffix(".weight"));
        let head = head.map(str::to_owned);
        let buffers = model.buffers(blocks).into_iter();
        let buffers = buffers.map(|buffer| (buffer.name, buffer.shape));
        let layers = model.blocks.iter().flat_map(|block| &block.layers);
        Self {
            counters: layers.flat_map(|layer| layer.batch_counters()).collect(),
            head,
            shapes: parameters
                .into_iter()
                .map(|parameter| (parameter.name, parameter.shape))
                .chain(buffers)
                .collect(),
        }
    }

    fn knows(&self, name: &str) -> bool {
        self.shapes.contains_key(name) || self.counters.contains(name)
    }

    fn is_of_head(&self, name: &str) -> bool {
        let head = self.head.as_deref();
        head.is_some_and(|head| {
            name.rsplit_once('.')
                .is_some_and(|(layer, _)| layer == head)
        })
    }
}

/// The state under the model's names, if it has every parameter and running statistic of the model and nothing else. What
/// was renamed is among the notes; `from` names the weights in them. Optimizer state stays as it is.
///
/// # Errors
/// What does not fit.
pub fn fit(
    model: &Model,
    state: StageState,
    from: &str,
    notes: &mut Vec<String>,
) -> Result<StageState, Misfit> {
    let expected = Expected::of(model);
    let state = rename(&expected, state, from, notes)?;
    match Misfit::of(&expected, &state) {
        Some(misfit) => Err(misfit),
        None => Ok(state),
    }
}

/// As [`fit`], without optimizer state, and the last linear layer may be missing, have another shape or be of other classes
/// (`other_classes` says of which): then it has its initial values for this seed.
///
/// # Errors
/// What does not fit beside that layer.
pub fn fit_body(
    model: &Model,
    state: StageState,
    seed: u64,
    other_classes: Option<&str>,
    from: &str,
    notes: &mut Vec<String>,
) -> Result<StageState, Misfit> {
    let expected = Expected::of(model);
    let mut state = rename(&expected, state.without_optimizer(), from, notes)?;
    let parameters = model.parameters(0..model.blocks.len());
    let head: Vec<&Parameter> = parameters
        .iter()
        .filter(|parameter| expected.is_of_head(&parameter.name))
        .collect();
    let fits = |parameter: &&Parameter| {
        let found = state.tensors.get(&parameter.name);
        found.is_some_and(|tensor| tensor.shape == parameter.shape)
    };
    if (other_classes.is_some() || !head.iter().all(fits))
        && let Some(name) = &expected.head
    {
        let why = match other_classes {
            Some(difference) if head.iter().all(fits) => {
                format!("as its classes are others: {difference}")
            }
            _ => why_anew(&state, name, model.classes),
        };
        notes.push(format!(
            "the head `{name}` starts anew, {why}; everything else is from {from}"
        ));
        state
            .tensors
            .retain(|name, _| expected.knows(name) || !names::is_of_some_head(name));
        for parameter in head {
            let values = HostTensor {
                shape: parameter.shape.clone(),
                data: initial_values(parameter, seed),
            };
            state.tensors.insert(parameter.name.clone(), values);
        }
    } else {
        notes.push(format!("everything, the head too, is from {from}"));
    }
    match Misfit::of(&expected, &state) {
        Some(misfit) => Err(misfit),
        None => Ok(state),
    }
}

fn why_anew(state: &StageState, head: &str, classes: usize) -> String {
    let weight = state.tensors.get(&format!("{head}.weight"));
    match weight.map(|weight| weight.shape.as_slice()) {
        Some([found, _]) if *found != classes => {
            format!("as its {found} classes there are {classes} here")
        }
        Some(shape) => format!("as it has shape {shape:?} there"),
        None => "as there is none like it there".to_owned(),
    }
}

#[cfg(test)]
mod tests;
