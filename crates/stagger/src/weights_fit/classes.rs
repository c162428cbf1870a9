//! Whether the outputs of weights mean the classes at hand, by their names.

use std::collections::BTreeMap;

use stagger_engine::StageState;
use stagger_model::Model;

/// How the classes of weights and those at hand compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Classes {
    /// The same in the same order, or not known.
    Same,
    /// The same in another order: by class at hand, the number that it has in the weights.
    Order(Vec<usize>),
    /// Others. In how they differ, as half a sentence.
    Others(String),
}

/// Names that are shown of each side.
const SHOWN: usize = 3;

impl Classes {
    /// Compares names, each in the order of the outputs.
    pub fn compare(there: Option<&[String]>, here: &[String]) -> Self {
        let Some(there) = there.filter(|there| *there != here) else {
            return Self::Same;
        };
        let numbers: BTreeMap<&String, usize> = there.iter().zip(0..).collect();
        // A name that is there twice says nothing.
        let order: Option<Vec<usize>> =
            here.iter().map(|name| numbers.get(name).copied()).collect();
        match order {
            Some(order) if numbers.len() == there.len() && there.len() == here.len() => {
                Self::Order(order)
            }
            _ => Self::Others(difference(there, here)),
        }
    }
}

fn difference(there: &[String], here: &[String]) -> String {
    let only = |these: &[String], others: &[String]| {
        let only: Vec<String> = these
            .iter()
            .filter(|name| !others.contains(name))
            .map(|name| format!("{name:?}"))
            .collect();
        let more = only.len().saturating_sub(SHOWN);
        let mut shown = only[..only.len() - more].join(", ");
        if more > 0 {
            shown.push_str(&format!(" and {more} more"));
        }
        shown
    };
    match (only(there, here).as_str(), only(here, there).as_str()) {
        ("", "") => format!("{} names there and {} here", there.len(), here.len()),
        ("", added) => format!("{added} only here"),
        (gone, "") => format!("{gone} only there"),
        (gone, added) => format!("{gone} only there, {added} only here"),
    }
}

/// Puts the rows of the last linear layer, and what an optimizer keeps of them, into the order of the classes at hand.
pub fn reorder(model: &Model, state: &mut StageState, order: &[usize]) {
    let Some(head) = model.head() else { return };
    let optimizer = format!("optimizer.{head}.");
    let own = format!("{head}.");
    for (name, tensor) in &mut state.tensors {
        let is_of_head = name.starts_with(&own) || name.starts_with(&optimizer);
        // A step counter is one number for all rows.
        let has_rows = tensor.shape.first() == Some(&order.len()) && !name.ends_with(".step");
        if !is_of_head || !has_rows {
            continue;
        }
        let row = tensor.data.len() / order.len();
        let rows = order
            .iter()
            .map(|from| &tensor.data[from * row..(from + 1) * row]);
        tensor.data = rows.flatten().copied().collect();
    }
}

/// The sentence on [`reorder`].
pub fn reordered(from: &str, there: &[String], here: &[String]) -> String {
    let differs = there.iter().zip(here).position(|(one, other)| one != other);
    let at = differs.unwrap_or_default();
    format!(
        "the classes of {from} are in another order there (output {at} is {:?}, here {:?}): the outputs follow the names",
        there.get(at).map_or("", String::as_str),
        here.get(at).map_or("", String::as_str),
    )
}

#[cfg(test)]
mod tests {
    use stagger_engine::HostTensor;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn classes_are_compared_by_name() {
        let here = names(&["cat", "dog", "emu"]);
        let compare = |there: &[&str]| Classes::compare(Some(&names(there)), &here);
        assert_eq!(Classes::compare(None, &here), Classes::Same);
        assert_eq!(compare(&["cat", "dog", "emu"]), Classes::Same);
        assert_eq!(
            compare(&["emu", "cat", "dog"]),
            Classes::Order(vec![1, 2, 0])
        );
        for (there, difference) in [
            (
                &["cat", "dog", "fox"][..],
                "\"fox\" only there, \"emu\" only here",
            ),
            (&["cat", "dog"], "\"emu\" only here"),
            (&["cat", "dog", "emu", "fox"], "\"fox\" only there"),
            (&["cat", "dog", "cat"], "\"emu\" only here"),
            (&["cat", "dog", "emu", "emu"], "4 names there and 3 here"),
            (
                &["a", "b", "c", "d", "cat"],
                "\"a\", \"b\", \"c\" and 1 more only there, \"dog\", \"emu\" only here",
            ),
        ] {
            assert_eq!(compare(there), Classes::Others(difference.to_owned()));
        }
    }

    #[test]
    fn rows_follow_the_names() {
        let model = Model::by_name("resnet8", [3, 32, 32], 3).unwrap();
        let tensor =
            |shape: &[usize], data: Vec<f32>| HostTensor::new(shape.to_vec(), data).unwrap();
        let matrix: Vec<f32> = (0..192).map(|at| (at / 64) as f32).collect();
        let mut state = StageState::default();
        for (name, tensor) in [
            ("linear.weight", tensor(&[3, 64], matrix.clone())),
            ("linear.bias", tensor(&[3], vec![0.0, 1.0, 2.0])),
            (
                "optimizer.linear.bias.momentum_buffer",
                tensor(&[3], vec![0.0, 1.0, 2.0]),
            ),
            ("bn1.bias", tensor(&[3], vec![0.0, 1.0, 2.0])),
        ] {
            state.tensors.insert(name.to_owned(), tensor);
        }
        reorder(&model, &mut state, &[1, 2, 0]);
        let data = |name: &str| &state.tensors[name].data;
        assert_eq!(data("linear.bias"), &[1.0, 2.0, 0.0]);
        assert_eq!(
            data("optimizer.linear.bias.momentum_buffer"),
            &[1.0, 2.0, 0.0]
        );
        assert_eq!(data("bn1.bias"), &[0.0, 1.0, 2.0]);
        assert_eq!(data("linear.weight")[63..65], [1.0, 2.0]);
        assert_eq!(data("linear.weight")[191], 0.0);
    }
}
