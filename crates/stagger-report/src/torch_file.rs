//! Files of torch.save, read without executing anything: a zip archive of a pickle and of the tensors' values.

mod archive;
mod pickle;

pub(crate) use archive::{MOST_ENDING_BYTES, is_ending};

use std::collections::BTreeMap;

use stagger_engine::{HostTensor, StageState};

use crate::weights_file::{COUNTER_SUFFIX, bf16_to_f32, f16_to_f32};
use pickle::Tensor;
use stagger_pickle::{Id, Pickle, Value};

/// Keys under which programs keep the weights, in a dictionary beside others.
const ENTRIES: [&str; 7] = [
    "state_dict",
    "model_state_dict",
    "model",
    "model_state",
    "net",
    "network",
    "params",
];

/// Parameters, buffers and counters. Those of an entry such as `state_dict` have its name as a prefix.
///
/// # Errors
/// A sentence on what is no plain tensor, or damaged.
pub(crate) fn decode(bytes: &[u8]) -> Result<StageState, String> {
    let entries = archive::entries(bytes)?;
    let program = entries
        .get("data.pkl")
        .ok_or("it is a zip archive without data.pkl, not one of torch.save")?;
    if entries
        .get("byteorder")
        .is_some_and(|order| *order != b"little")
    {
        return Err(
            "its values are big-endian; save it again on a little-endian machine".to_owned(),
        );
    }
    let pickle = pickle::read(program)?;
    let (prefix, tensors) = find(&pickle)?;
    let mut state = StageState::default();
    // Views of one storage may be many: together they are no larger than a few times the file.
    let mut left = bytes.len();
    for (name, tensor) in &tensors {
        let name = format!("{prefix}{name}");
        let elements =
            (tensor.shape.iter()).try_fold(1_usize, |product, side| product.checked_mul(*side));
        let elements = elements.filter(|count| *count <= left);
        let elements = elements.ok_or_else(|| format!("{name} is larger than the file"))?;
        left -= elements;
        let data = entries
            .get(&format!("data/{}", tensor.key))
            .ok_or_else(|| format!("the values of {name} are missing"))?;
        if tensor.kind == "torch.LongStorage" && name.ends_with(COUNTER_SUFFIX) {
            let count = values(&name, data, tensor, elements, i64::from_le_bytes)?;
            let count = count.first().and_then(|count| u64::try_from(*count).ok());
            let count = count.ok_or_else(|| format!("{name} is no count"))?;
            state.counters.insert(name, count);
            continue;
        }
        let data = match tensor.kind.as_str() {
            "torch.FloatStorage" => values(&name, data, tensor, elements, f32::from_le_bytes),
            "torch.DoubleStorage" => values(&name, data, tensor, elements, |raw| {
                f64::from_le_bytes(raw) as f32
            }),
            "torch.HalfStorage" => values(&name, data, tensor, elements, |raw| {
                f16_to_f32(u16::from_le_bytes(raw))
            }),
            "torch.BFloat16Storage" => values(&name, data, tensor, elements, |raw| {
                bf16_to_f32(u16::from_le_bytes(raw))
            }),
            other => Err(format!(
                "{name} is in a {other}; floats of 16, 32 or 64 bits were expected"
            )),
        }?;
        let shape = tensor.shape.clone();
        state.tensors.insert(name, HostTensor { shape, data });
    }
    Ok(state)
}

/// Longest name of a tensor; one text may be the name of many.
const MOST_NAME_BYTES: usize = 512;

type Tensors = (String, BTreeMap<String, Tensor>);

/// The dictionary of tensors, and the keys that lead to it.
fn find(pickle: &Pickle<'_>) -> Result<Tensors, String> {
    let (mut prefix, mut id) = (String::new(), pickle.root());
    for _ in 0..4 {
        let Some(entries) = pickle.entries(id) else {
            break;
        };
        let named = |&(key, value): &(Id, Id)| match pickle.value(key) {
            Value::Text(key) if key.len() <= MOST_NAME_BYTES => Some((key.to_string(), value)),
            _ => None,
        };
        let named: BTreeMap<String, Id> = entries.iter().filter_map(named).collect();
        // Before tensors beside it, such as the state of a random generator.
        let is_dict = |id: &Id| {
            pickle
                .entries(*id)
                .is_some_and(|entries| !entries.is_empty())
        };
        let entry = (ENTRIES.iter()).find(|key| named.get(**key).is_some_and(is_dict));
        if let Some(key) = entry {
            prefix = format!("{prefix}{key}.");
            id = named[*key];
            continue;
        }
        let mut tensors = BTreeMap::new();
        for (name, id) in &named {
            if let Some(tensor) = pickle::tensor(pickle, *id)? {
                tensors.insert(name.clone(), tensor);
            }
        }
        if tensors.is_empty() {
            break;
        }
        return Ok((prefix, tensors));
    }
    Err("it has no dictionary of tensors, neither alone nor as `state_dict` or `model`".to_owned())
}

fn values<T, const N: usize>(
    name: &str,
    data: &[u8],
    tensor: &Tensor,
    elements: usize,
    value: impl Fn([u8; N]) -> T,
) -> Result<Vec<T>, String> {
    let outside = || {
        format!(
            "{name} reaches beyond its values, of which there are {} bytes",
            data.len()
        )
    };
    if tensor.shape.len() != tensor.strides.len() {
        return Err(outside());
    }
    let (chunks, _) = data.as_chunks::<N>();
    let mut found = Vec::with_capacity(elements);
    for index in 0..elements {
        let (mut rest, mut at) = (index, tensor.offset);
        for (side, stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
            let step = (rest % side).checked_mul(*stride);
            at = step
                .and_then(|step| at.checked_add(step))
                .ok_or_else(outside)?;
            rest /= side;
        }
        found.push(value(*chunks.get(at).ok_or_else(outside)?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests;
