//! A machine for pickles of plain tensors. It builds values and never calls anything.

/// A value, by its number among all values.
pub type Id = usize;

/// What a pickle holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// Nothing of interest: none, a number with a fraction, bytes.
    Other,
    Int(i64),
    Text(String),
    /// A list or a tuple.
    Items(Vec<Id>),
    /// A dictionary, in order.
    Dict(Vec<(Id, Id)>),
    /// `module.name`, not looked up.
    Global(String),
    /// Values in an entry of the archive.
    Storage {
        kind: String,
        key: String,
    },
    Tensor(Tensor),
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub struct Tensor {
    pub kind: String,
    pub key: String,
    pub offset: usize,
    pub shape: Vec<usize>,
    pub strides: Vec<usize>,
}

#[derive(Default)]
pub struct Machine {
    pub values: Vec<Value>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: std::collections::BTreeMap<usize, Id>,
}

/// Classes and functions that a file of plain tensors names. Anything else is refused where it would be called.
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

/// Longest key of a storage.
const MOST_KEY_BYTES: usize = 64;

/// Most sides of a tensor.
const MOST_SIDES: usize = 8;

impl Machine {
    /// Runs a pickle, and gives its value.
    pub fn run(&mut self, bytes: &[u8]) -> Result<Id, String> {
        let mut rest = bytes;
        loop {
            let code = take(&mut rest, 1)?[0];
            match code {
                0x80 => drop(take(&mut rest, 1)?),
                0x95 => drop(take(&mut rest, 8)?),
                b'.' => return self.pop(),
                b'(' => self.marks.push(self.stack.len()),
                b'}' => self.push(Value::Dict(Vec::new())),
                b']' | b')' | 0x8f => self.push(Value::Items(Vec::new())),
                b'N' => self.push(Value::Other),
                0x88 => self.push(Value::Int(1)),
                0x89 => self.push(Value::Int(0)),
                b'J' => {
                    let value = i32::from_le_bytes(array(&mut rest)?);
                    self.push(Value::Int(value.into()));
                }
                b'K' => {
                    let value = take(&mut rest, 1)?[0];
                    self.push(Value::Int(value.into()));
                }
                b'M' => {
                    let value = u16::from_le_bytes(array(&mut rest)?);
                    self.push(Value::Int(value.into()));
                }
                0x8a => {
                    let length = usize::from(take(&mut rest, 1)?[0]);
                    let found = take(&mut rest, length)?;
                    let negative = found.last().is_some_and(|last| last >> 7 == 1);
                    let mut whole = [if negative { 255 } else { 0 }; 8];
                    let value = match whole.get_mut(..length) {
                        Some(low) => {
                            low.copy_from_slice(found);
                            Value::Int(i64::from_le_bytes(whole))
                        }
                        None => Value::Other,
                    };
                    self.push(value);
                }
                b'G' => {
                    take(&mut rest, 8)?;
                    self.push(Value::Other);
                }
                b'X' | 0x8c | b'B' | b'C' | 0x8d | 0x8e => {
                    let length = length(&mut rest, code)?;
                    let found = take(&mut rest, length)?;
                    self.push(match code {
                        b'X' | 0x8c | 0x8d => Value::Text(String::from_utf8_lossy(found).into()),
                        _ => Value::Other,
                    });
                }
                b'q' => {
                    let at = take(&mut rest, 1)?[0];
                    self.memo.insert(at.into(), self.top()?);
                }
                b'r' => {
                    let at = u32::from_le_bytes(array(&mut rest)?);
                    self.memo.insert(at as usize, self.top()?);
                }
                0x94 => drop(self.memo.insert(self.memo.len(), self.top()?)),
                b'h' => {
                    let at = take(&mut rest, 1)?[0];
                    self.recall(at.into())?;
                }
                b'j' => {
                    let at = u32::from_le_bytes(array(&mut rest)?);
                    self.recall(at as usize)?;
                }
                b'c' => {
                    let (module, name) = (line(&mut rest)?, line(&mut rest)?);
                    self.global(&module, &name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let (module, name) = (self.text(module)?, self.text(name)?);
                    self.global(&module, &name)?;
                }
                b't' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Items(items));
                }
                b'l' => {
                    let items = self.pop_to_mark()?;
                    self.push(Value::Items(items));
                }
                0x85..=0x87 => {
                    let from = self.stack.len().checked_sub(usize::from(code) - 0x84);
                    let items = self.stack.split_off(from.ok_or_else(damaged)?);
                    self.push(Value::Items(items));
                }
                b'a' => {
                    let item = self.pop()?;
                    self.append(vec![item])?;
                }
                b'e' | 0x90 => {
                    let items = self.pop_to_mark()?;
                    self.append(items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.insert(vec![key, value])?;
                }
                b'u' => {
                    let items = self.pop_to_mark()?;
                    self.insert(items)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    let storage = self.storage(id)?;
                    self.push(storage);
                }
                // Attributes of an object, such as a dictionary's `_metadata`: left out.
                b'b' => drop(self.pop()?),
                b'0' => drop(self.pop()?),
                b'R' | 0x81 => {
                    let (arguments, function) = (self.pop()?, self.pop()?);
                    let value = self.build(function, arguments)?;
                    self.push(value);
                }
                _ => {
                    return Err(format!(
                        "its pickle has the instruction {code:#04x}, which plain tensors do not need"
                    ));
                }
            }
        }
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len());
        self.values.push(value);
    }

    fn pop(&mut self) -> Result<Id, String> {
        self.stack.pop().ok_or_else(damaged)
    }

    fn top(&self) -> Result<Id, String> {
        self.stack.last().copied().ok_or_else(damaged)
    }

    fn recall(&mut self, at: usize) -> Result<(), String> {
        let id = *self.memo.get(&at).ok_or_else(damaged)?;
        self.stack.push(id);
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        Ok(self.stack.split_off(mark.ok_or_else(damaged)?))
    }

    fn append(&mut self, more: Vec<Id>) -> Result<(), String> {
        let list = self.top()?;
        match &mut self.values[list] {
            Value::Items(items) => items.extend(more),
            Value::Other => {}
            _ => return Err(damaged()),
        }
        Ok(())
    }

    fn insert(&mut self, more: Vec<Id>) -> Result<(), String> {
        let dict = self.top()?;
        match &mut self.values[dict] {
            Value::Dict(entries) => {
                entries.extend(more.chunks_exact(2).map(|pair| (pair[0], pair[1])))
            }
            Value::Other => {}
            _ => return Err(damaged()),
        }
        Ok(())
    }

    pub fn text(&self, id: Id) -> Result<String, String> {
        match &self.values[id] {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(damaged()),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Result<(), String> {
        let name = format!("{module}.{name}");
        let is_storage =
            module == "torch" && name.ends_with("Storage") && name.len() < MOST_KEY_BYTES;
        let last = name.rsplit('.').next().unwrap_or_default();
        let is_plain = is_storage
            || (module == "torch" && ELEMENTS.contains(&last))
            || DICTIONARIES.contains(&last)
            || KNOWN.contains(&name.as_str());
        if !is_plain {
            return Err(format!(
                "it names `{name}`, which is no plain tensor, so that it is refused; nothing of it has been run"
            ));
        }
        self.push(Value::Global(name));
        Ok(())
    }

    fn items(&self, id: Id) -> Result<&[Id], String> {
        match &self.values[id] {
            Value::Items(items) => Ok(items),
            _ => Err(damaged()),
        }
    }

    /// `("storage", type, key, device, length)`
    fn storage(&self, id: Id) -> Result<Value, String> {
        let [_, kind, key, ..] = self.items(id)? else {
            return Err(damaged());
        };
        let Value::Global(kind) = &self.values[*kind] else {
            return Err(damaged());
        };
        let key = self.text(*key)?;
        // Copied for every tensor.
        if key.len() > MOST_KEY_BYTES {
            return Err(damaged());
        }
        Ok(Value::Storage {
            kind: kind.clone(),
            key,
        })
    }

    fn build(&self, function: Id, arguments: Id) -> Result<Value, String> {
        let Value::Global(function) = &self.values[function] else {
            return Err(damaged());
        };
        match function.as_str() {
            "collections.OrderedDict" => Ok(Value::Dict(Vec::new())),
            name if DICTIONARIES.contains(&name.rsplit('.').next().unwrap_or_default()) => {
                Ok(Value::Dict(Vec::new()))
            }
            "torch._utils._rebuild_parameter" => {
                let first = self.items(arguments)?.first().ok_or_else(damaged)?;
                match &self.values[*first] {
                    Value::Tensor(tensor) => Ok(Value::Tensor(tensor.clone())),
                    _ => Err(damaged()),
                }
            }
            "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor_v3" => {
                let arguments = self.items(arguments)?;
                let [storage, offset, shape, strides, ..] = arguments else {
                    return Err(damaged());
                };
                let Value::Storage { kind, key } = &self.values[*storage] else {
                    return Err(damaged());
                };
                // The third version has storages without a type, and says the type of elements behind the hooks.
                let kind = match arguments.get(6).map(|id| &self.values[*id]) {
                    Some(Value::Global(element)) => match element.as_str() {
                        "torch.float32" => "torch.FloatStorage",
                        "torch.float64" => "torch.DoubleStorage",
                        "torch.float16" => "torch.HalfStorage",
                        "torch.bfloat16" => "torch.BFloat16Storage",
                        "torch.int64" => "torch.LongStorage",
                        other => other,
                    },
                    _ => kind,
                };
                let number = |id: &Id| match &self.values[*id] {
                    Value::Int(value) => usize::try_from(*value).map_err(|_| damaged()),
                    _ => Err(damaged()),
                };
                let numbers = |id: Id| match self.items(id)? {
                    sides if sides.len() > MOST_SIDES => Err(damaged()),
                    _ => self.items(id)?.iter().map(number).collect::<Result<_, _>>(),
                };
                Ok(Value::Tensor(Tensor {
                    kind: kind.to_owned(),
                    key: key.clone(),
                    offset: number(offset)?,
                    shape: numbers(*shape)?,
                    strides: numbers(*strides)?,
                }))
            }
            // What it holds is not looked at.
            _ => Ok(Value::Other),
        }
    }
}

fn length(rest: &mut &[u8], code: u8) -> Result<usize, String> {
    Ok(match code {
        b'C' | 0x8c => take(rest, 1)?[0].into(),
        b'X' | b'B' => u32::from_le_bytes(array(rest)?) as usize,
        _ => usize::try_from(u64::from_le_bytes(array(rest)?)).map_err(|_| damaged())?,
    })
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (found, behind) = rest.split_at_checked(count).ok_or_else(damaged)?;
    *rest = behind;
    Ok(found)
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], String> {
    take(rest, N)?.try_into().map_err(|_| damaged())
}

fn line(rest: &mut &[u8]) -> Result<String, String> {
    let end = rest.iter().position(|byte| *byte == b'\n');
    let found = take(rest, end.ok_or_else(damaged)? + 1)?;
    Ok(String::from_utf8_lossy(&found[..found.len() - 1]).into_owned())
}

fn damaged() -> String {
    "its pickle is damaged".to_owned()
}
