//! Writer of safetensors files: counters of 64-bit integers, and tensors of 32-bit floats.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};
use stagger_engine::HostTensor;

/// Values that are encoded at a time.
const CHUNK: usize = 1 << 14;

/// The contents of a file. Equal contents give equal bytes, which the writer of crate `safetensors` does not: it puts
/// metadata in random order.
///
/// Format: length of the header (8 bytes, little-endian), header (JSON, padded with spaces to a multiple of 8 bytes), values.
/// Counters come before tensors, so that all values are aligned to their size.
pub(crate) struct Contents<'a> {
    /// Text by name.
    pub metadata: &'a BTreeMap<String, String>,
    pub counters: Vec<(String, u64)>,
    pub tensors: Vec<(String, &'a HostTensor)>,
}

impl Contents<'_> {
    /// Length and header: the file up to its values.
    ///
    /// # Errors
    /// A sentence that names the tensor that does not fit its shape, the counter that is too large, or the duplicate name.
    pub fn header(&self) -> Result<Vec<u8>, String> {
        let mut header = BTreeMap::from([("__metadata__", json!(self.metadata))]);
        let mut from = 0;
        let mut put = |name, dtype, shape: &[usize], size: usize| {
            let entry = entry(dtype, shape, from, from + size);
            from += size;
            match header.insert(name, entry) {
                Some(_) => Err(format!("{name} is there twice")),
                None => Ok(()),
            }
        };
        for (name, count) in &self.counters {
            i64::try_from(*count).map_err(|_| format!("{name} is {count}, too large"))?;
            put(name, "I64", &[], size_of::<i64>())?;
        }
        for (name, tensor) in &self.tensors {
            tensor.check().map_err(|error| format!("{name}: {error}"))?;
            put(name, "F32", &tensor.shape, tensor.size_bytes())?;
        }
        let mut text = serde_json::to_vec(&header).map_err(|error| error.to_string())?;
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut bytes = Vec::with_capacity(8 + text.len());
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text);
        Ok(bytes)
    }

    /// The whole file in memory.
    ///
    /// # Errors
    /// As [`Contents::header`].
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let header = self.header()?;
        let mut bytes = Vec::new();
        self.write(&header, &mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// Writes the whole file, given its [`header`](Self::header). Copies at most a chunk of values at a time.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn write(&self, header: &[u8], out: &mut dyn Write) -> io::Result<()> {
        out.write_all(header)?;
        for (_, count) in &self.counters {
            out.write_all(&count.to_le_bytes())?;
        }
        let mut bytes = Vec::with_capacity(CHUNK * size_of::<f32>());
        for (_, tensor) in &self.tensors {
            for values in tensor.data.chunks(CHUNK) {
                bytes.clear();
                bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
                out.write_all(&bytes)?;
            }
        }
        Ok(())
    }
}

fn entry(dtype: &str, shape: &[usize], from: usize, to: usize) -> Value {
    json!({ "dtype": dtype, "shape": shape, "data_offsets": [from, to] })
}
