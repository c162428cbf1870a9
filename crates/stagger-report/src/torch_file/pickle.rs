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
const KNOWN: &[&str] = &[
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
    "collections.Counter",
    "__builtin__.set",
    "builtins.set",
    "torch._utils._rebuild_tensor_v3",
    "torch.storage.UntypedStorage",
    // Scalars and arrays of numpy, such as a best accuracy, and bytes.
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.core.multiarray.scalar",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "_codecs.encode",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
];

/// Dictionaries whose entries are attributes, too, by the last part of their names: hyperparameters of many programs.
const DICTIONARIES: [&str; 5] = [
    "AttributeDict",
    "AttrDict",
    "EasyDict",
    "ConfigDict",
    "Munch",
];

/// Types of elements.
const ELEMENTS: [&str; 18] = [
    "float64",
    "float32",
    "float16",
    "bfloat16",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "int64",
    "int32",
    "int16",
    "int8",
    "uint64",
    "uint32",
    "uint16",
    "uint8",
    "bool",
    "complex64",
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
    let is_plain = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_element = name
            .strip_prefix("torch.")
            .is_some_and(|name| ELEMENTS.contains(&name));
        is_storage(name) || is_element || DICTIONARIES.contains(&last) || KNOWN.contains(&name)
    };
    let found = Pickle::read(bytes, is_plain);
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
            Some((
                "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor_v3",
                arguments,
            )) => rebuilt(pickle, arguments).map(Some),
            _ => Err(damaged()),
        },
        ("torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor_v3", arguments) => {
            rebuilt(pickle, arguments).map(Some)
        }
        ("torch._utils._rebuild_parameter", _) => Err(damaged()),
        _ => Ok(None),
    }
}

fn rebuilt(pickle: &Pickle<'_>, arguments: &[Id]) -> Result<Tensor, String> {
    let [storage, offset, shape, strides, ..] = arguments else {
        return Err(damaged());
    };
    let (mut kind, key) = storage_of(pickle, *storage)?;
    // The third version has storages without a type, and says the type of elements behind the hooks.
    if let Some(Value::Name(element)) = arguments.get(6).map(|id| pickle.value(*id)) {
        kind = match element.as_str() {
            "torch.float32" => "torch.FloatStorage",
            "torch.float64" => "torch.DoubleStorage",
            "torch.float16" => "torch.HalfStorage",
            "torch.bfloat16" => "torch.BFloat16Storage",
            "torch.int64" => "torch.LongStorage",
            other => other,
        }
        .to_owned();
    }
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
