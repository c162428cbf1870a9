//! Tensors in a pickle of torch.save.

use stagger_pickle::{Id, Pickle, PickleError, Value};

/// A view of a storage.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub kind: String,
    pub key: String,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

/// Classes and functions that a file of plain tensors names. Anything else is refused.
const KNOWN: [&str; 12] = [
    "collections.OrderedDict",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_parameter",
    "torch.Size",
    "torch.device",
    "torch.FloatStorage",
    "torch.DoubleStorage",
    "torch.HalfStorage",
    "torch.BFloat16Storage",
    "torch.LongStorage",
    "argparse.Namespace",
    "collections.defaultdict",
];

/// Longest key of a storage, and longest name of its class.
const MOST_KEY_BYTES: usize = 64;

/// Most sides of a tensor.
const MOST_SIDES: usize = 8;

/// Reads a pickle.
pub fn read(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let is_storage = |name: &str| {
        name.starts_with("torch.") && name.ends_with("Storage") && name.len() < MOST_KEY_BYTES
    };
    let found = Pickle::read(bytes, |name| is_storage(name) || KNOWN.contains(&name));
    found.map_err(|error| match error {
        PickleError::Instruction(code) => {
            format!("its pickle has the instruction {code:#04x}, which plain tensors do not need")
        }
        PickleError::Name(name) => format!(
            "it names `{name}`, which is no plain tensor, so that it is refused; nothing of it has been run"
        ),
        _ => damaged(),
    })
}

/// The tensor that a value stands for, if it does.
///
/// # Errors
/// For one whose parts are not what they have to be.
pub fn tensor(pickle: &Pickle<'_>, id: Id) -> Result<Option<Tensor>, String> {
    let Some((name, arguments)) = pickle.call(id) else {
        return Ok(None);
    };
    match (name, arguments) {
        ("torch._utils._rebuild_parameter", [inner, ..]) => match pickle.call(*inner) {
            Some(("torch._utils._rebuild_tensor_v2", arguments)) => {
                rebuilt(pickle, arguments).map(Some)
            }
            _ => Err(damaged()),
        },
        ("torch._utils._rebuild_tensor_v2", arguments) => rebuilt(pickle, arguments).map(Some),
        ("torch._utils._rebuild_parameter", _) => Err(damaged()),
        _ => Ok(None),
    }
}

fn rebuilt(pickle: &Pickle<'_>, arguments: &[Id]) -> Result<Tensor, String> {
    let [storage, offset, shape, strides, ..] = arguments else {
        return Err(damaged());
    };
    let (kind, key) = storage_of(pickle, *storage)?;
    let number = |id: &Id| match pickle.value(*id) {
        Value::Int(value) => usize::try_from(*value).map_err(|_| damaged()),
        _ => Err(damaged()),
    };
    let numbers = |id: &Id| match pickle.items(*id) {
        Some(sides) if sides.len() <= MOST_SIDES => sides.iter().map(number).collect(),
        _ => Err(damaged()),
    };
    Ok(Tensor {
        kind,
        key,
        offset: number(offset)?,
        shape: numbers(shape)?,
        strides: numbers(strides)?,
    })
}

/// `("storage", type, key, device, length)`: type and key.
fn storage_of(pickle: &Pickle<'_>, id: Id) -> Result<(String, String), String> {
    let Value::Persistent(of) = pickle.value(id) else {
        return Err(damaged());
    };
    let Some([_, kind, key, ..]) = pickle.items(*of) else {
        return Err(damaged());
    };
    let (Value::Name(kind), Value::Text(key)) = (pickle.value(*kind), pickle.value(*key)) else {
        return Err(damaged());
    };
    // Copied for every tensor.
    match key.len() <= MOST_KEY_BYTES {
        true => Ok((kind.clone(), key.to_string())),
        false => Err(damaged()),
    }
}

fn damaged() -> String {
    "its pickle is damaged".to_owned()
}
