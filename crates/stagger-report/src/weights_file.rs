//! Weights on disk: safetensors files with PyTorch's names and layouts.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use stagger_engine::{HostTensor, StageState};

use crate::atomic_file::write_atomic;
use crate::error::ReportError;
use crate::foreign_file::{CONVERT, foreign};
use crate::safetensors_writer::Contents;
use crate::torch_file;
use crate::weights_seal;

/// Largest weights file that is read.
pub const MAX_WEIGHTS_BYTES: u64 = 8 << 30;

/// PyTorch's counters, the only integers in a weights file.
pub(crate) const COUNTER_SUFFIX: &str = "num_batches_tracked";

/// The content of a weights file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    /// Text by name: model, data set, accuracy, …
    pub metadata: BTreeMap<String, String>,
    /// Parameters, buffers and counters of the whole model, without optimizer state.
    pub state: StageState,
}

/// Writes parameters, buffers and counters with [`write_atomic`]; optimizer state is left out. Equal input gives equal
/// bytes.
///
/// # Errors
/// [`ReportError::Io`] when the file cannot be written, [`ReportError::Encode`] when a tensor has more or fewer values than
/// its shape says.
pub fn write_weights(path: &Path, weights: &Weights) -> Result<(), ReportError> {
    let bytes = encode_weights(weights).map_err(|what| ReportError::Encode {
        path: path.to_owned(),
        what,
    })?;
    write_atomic(path, &bytes)
}

/// The bytes that [`write_weights`] writes.
///
/// # Errors
/// A sentence that names the tensor with more or fewer values than its shape says.
pub fn encode_weights(weights: &Weights) -> Result<Vec<u8>, String> {
    let state = weights.state.clone().without_optimizer();
    let mut metadata = weights.metadata.clone();
    weights_seal::reserve(&mut metadata);
    let contents = Contents {
        metadata: &metadata,
        counters: state
            .counters
            .iter()
            .map(|(name, count)| (name.clone(), *count))
            .collect(),
        tensors: state
            .tensors
            .iter()
            .map(|(name, tensor)| (name.clone(), tensor))
            .collect(),
    };
    let mut bytes = contents.encode()?;
    weights_seal::seal(&mut bytes);
    Ok(bytes)
}

/// Decodes the bytes of a weights file, as [`read_weights`](crate::read_weights) does. Allocates a few times their length at most.
///
/// # Errors
/// A sentence on what is wrong with them.
pub fn decode_weights(bytes: &[u8]) -> Result<Weights, String> {
    if bytes.starts_with(b"PK") {
        let state = torch_file::decode(bytes).map_err(|what| format!("{what}; {CONVERT}"))?;
        return Ok(Weights {
            state,
            ..Weights::default()
        });
    }
    let (header_length, header) = SafeTensors::read_metadata(bytes).map_err(|error| {
        // Its own beginning, a length, may look like anything: what is no safetensors file is looked at only then.
        foreign(bytes).unwrap_or_else(|| format!("it is foreign, damaged or cut short ({error})"))
    })?;
    weights_seal::check(bytes)?;
    let values = SafeTensors::deserialize(bytes)
        .map_err(|error| format!("after a header of {header_length} bytes: {error}"))?;
    let metadata = header.metadata().iter().flatten();
    let metadata = metadata
        .filter(|(name, _)| *name != weights_seal::KEY)
        .map(|(name, text)| (name.clone(), text.clone()))
        .collect();
    let mut state = StageState::default();
    for (name, view) in values.iter() {
        if view.dtype() == Dtype::I64 && name.ends_with(COUNTER_SUFFIX) {
            state
                .counters
                .insert(name.to_owned(), counter(name, &view)?);
        } else {
            let data = floats(name, &view)?;
            let tensor = HostTensor::new(view.shape().to_vec(), data)
                .map_err(|error| format!("{name}: {error}"))?;
            state.tensors.insert(name.to_owned(), tensor);
        }
    }
    Ok(Weights { metadata, state })
}

fn counter(name: &str, view: &TensorView<'_>) -> Result<u64, String> {
    let Ok(bytes) = <[u8; 8]>::try_from(view.data()) else {
        let shape = view.shape();
        return Err(format!(
            "{name} has shape {shape:?}; a single counter was expected"
        ));
    };
    let count = i64::from_le_bytes(bytes);
    u64::try_from(count).map_err(|_| format!("{name} is {count}; a count was expected"))
}

fn floats(name: &str, view: &TensorView<'_>) -> Result<Vec<f32>, String> {
    let data = view.data();
    match view.dtype() {
        Dtype::F32 => Ok(values(data, f32::from_le_bytes)),
        Dtype::F64 => Ok(values(data, |bytes| f64::from_le_bytes(bytes) as f32)),
        Dtype::BF16 => Ok(values(data, |bytes| bf16_to_f32(u16::from_le_bytes(bytes)))),
        Dtype::F16 => Ok(values(data, |bytes| f16_to_f32(u16::from_le_bytes(bytes)))),
        other => Err(format!(
            "{name} is of type {other:?}; F32, F64, BF16 or F16 was expected"
        )),
    }
}

fn values<const N: usize>(data: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = data.as_chunks::<N>();
    chunks.iter().map(|&chunk| value(chunk)).collect()
}

/// The upper half of an `f32`.
pub(crate) fn bf16_to_f32(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// IEEE 754 binary16: 1 sign bit, 5 exponent bits (bias 15), 10 fraction bits.
pub(crate) fn f16_to_f32(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let exponent = i32::from(bits >> 10 & 0x1f);
    let fraction = f32::from(bits & 0x3ff);
    sign * match exponent {
        0 => fraction * 2_f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (1024.0 + fraction) * 2_f32.powi(exponent - 25),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};

    use safetensors::serialize;

    use super::*;
    use crate::weights_reader::read_weights;

    fn weights() -> Weights {
        let tensor = |shape: &[usize], data: &[f32]| HostTensor::new(shape.to_vec(), data.to_vec());
        let tensors = [
            (
                "conv1.weight",
                tensor(&[2, 1, 1, 2], &[1.0, -0.0, f32::MIN_POSITIVE, 3.25]),
            ),
            ("bn1.running_mean", tensor(&[2], &[0.1, 1e30])),
            ("optimizer.conv1.weight.momentum", tensor(&[1], &[7.0])),
        ];
        Weights {
            metadata: (0..20)
                .map(|n| (format!("key{n}"), format!("value \"{n}\"")))
                .collect(),
            state: StageState {
                tensors: tensors
                    .map(|(name, made)| (name.to_owned(), made.unwrap()))
                    .into(),
                counters: [("bn1.num_batches_tracked".to_owned(), 391)].into(),
            },
        }
    }

    fn written(weights: &Weights) -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        write_weights(&path, weights).unwrap();
        fs::read(&path).unwrap()
    }

    #[test]
    fn round_trip_without_optimizer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        write_weights(&path, &weights()).unwrap();
        let mut expected = weights();
        expected.state = expected.state.without_optimizer();
        assert_eq!(expected.state.tensors.len(), 2);
        assert_eq!(read_weights(&path).unwrap(), expected);
    }

    #[test]
    fn equal_input_gives_equal_bytes() {
        let first = written(&weights());
        assert_eq!(first, written(&weights()));
        // The header ends on a boundary of 8 bytes, as readers that map files expect.
        assert_eq!(u64::from_le_bytes(first[..8].try_into().unwrap()) % 8, 0);
    }

    #[test]
    fn the_library_agrees_on_the_format() {
        let bytes = written(&weights());
        let read = SafeTensors::deserialize(&bytes).unwrap();
        let conv = read.tensor("conv1.weight").unwrap();
        assert_eq!(
            (conv.dtype(), conv.shape()),
            (Dtype::F32, &[2, 1, 1, 2][..])
        );
        assert_eq!(conv.data()[12..], 3.25_f32.to_le_bytes());
        let counter = read.tensor("bn1.num_batches_tracked").unwrap();
        assert_eq!((counter.dtype(), counter.shape().len()), (Dtype::I64, 0));
        assert_eq!(counter.data(), 391_i64.to_le_bytes());
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut bytes = written(&weights());
        for at in 0..bytes.len() {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                let read = decode_weights(&bytes);
                // Without the name of the checksum it is a file of another program, which has none.
                let same = read.as_ref().is_ok_and(|read| {
                    let mut read = read.clone();
                    read.metadata.retain(|name, _| name.starts_with("key"));
                    let mut expected = weights();
                    expected.state = expected.state.without_optimizer();
                    read == expected
                });
                assert!(read.is_err() || same, "byte {at}, bit {bit}");
                bytes[at] ^= 1 << bit;
            }
        }
    }

    /// A text that looks like a checksum is none.
    #[test]
    fn metadata_may_hold_any_text() {
        let mut weights = weights();
        weights.state = weights.state.without_optimizer();
        let text = r#"{"stagger_crc32":"12345678"}"#;
        weights.metadata.insert("a".to_owned(), text.to_owned());
        assert_eq!(decode_weights(&written(&weights)).unwrap(), weights);
    }

    /// Another program may change a file and keep its metadata.
    #[test]
    fn files_of_the_library_are_read_whatever_checksum_they_hold() {
        let view = TensorView::new(Dtype::F32, vec![1], &[0, 0, 128, 63]).unwrap();
        let metadata = [("stagger_crc32".to_owned(), "12345678".to_owned())].into();
        let bytes = serialize([("w", view)], Some(metadata)).unwrap();
        assert_eq!(
            decode_weights(&bytes).unwrap().state.tensors["w"].data,
            [1.0]
        );
    }

    #[test]
    fn every_cut_is_refused() {
        let bytes = written(&weights());
        for length in 0..bytes.len() {
            assert!(decode_weights(&bytes[..length]).is_err(), "{length}");
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(decode_weights(&longer).is_err());
    }

    #[test]
    fn foreign_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        fs::write(
            &path,
            b"PK\x03\x04 a zip archive, as torch.save writes them",
        )
        .unwrap();
        let error = read_weights(&path).unwrap_err().to_string();
        assert!(
            error.contains(
                "/w is not a weights file that stagger reads: it is a zip archive that is cut short"
            ),
            "{error}"
        );
        let error = read_weights(folder.path().join("gone").as_path())
            .unwrap_err()
            .to_string();
        assert!(error.contains("could not read"), "{error}");
    }

    /// The hole in the file takes no space.
    #[test]
    fn a_huge_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        File::create(&path)
            .unwrap()
            .set_len(MAX_WEIGHTS_BYTES + 1)
            .unwrap();
        let error = read_weights(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("it has 8589934593 bytes; at most 8589934592 are read"),
            "{error}"
        );
    }

    fn foreign(name: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<Weights, String> {
        let view = TensorView::new(dtype, shape.to_vec(), data).unwrap();
        decode_weights(&serialize([(name, view)], None).unwrap())
    }

    #[test]
    fn other_floats_are_converted() {
        let read = |dtype, data: &[u8]| {
            let weights = foreign("w", dtype, &[data.len() * 8 / dtype.bitsize()], data).unwrap();
            weights.state.tensors["w"].data.clone()
        };
        assert_eq!(
            read(
                Dtype::F64,
                &[0.1_f64.to_le_bytes(), 2.0_f64.to_le_bytes()].concat()
            ),
            [0.1, 2.0]
        );
        assert_eq!(read(Dtype::BF16, &[0x80, 0x3f, 0x00, 0xc0]), [1.0, -2.0]);
        // One, the smallest subnormal, the largest finite, minus infinity.
        let half = read(
            Dtype::F16,
            &[0x00, 0x3c, 0x01, 0x00, 0xff, 0x7b, 0x00, 0xfc],
        );
        assert_eq!(half, [1.0, 2_f32.powi(-24), 65504.0, f32::NEG_INFINITY]);
        assert!(f16_to_f32(0x7e00).is_nan());
    }

    #[test]
    fn other_types_are_refused() {
        let error = foreign("w", Dtype::I32, &[1], &[0; 4]).unwrap_err();
        assert_eq!(
            error,
            "w is of type I32; F32, F64, BF16 or F16 was expected"
        );
        let error = foreign("w", Dtype::I64, &[1], &[0; 8]).unwrap_err();
        assert!(error.starts_with("w is of type I64"), "{error}");
        let error = foreign("bn.num_batches_tracked", Dtype::I64, &[2], &[0; 16]).unwrap_err();
        assert!(
            error.ends_with("has shape [2]; a single counter was expected"),
            "{error}"
        );
        let error = foreign("bn.num_batches_tracked", Dtype::I64, &[], &[255; 8]).unwrap_err();
        assert!(error.ends_with("is -1; a count was expected"), "{error}");
    }

    #[test]
    fn a_tensor_that_does_not_fit_its_shape_is_not_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut weights = weights();
        let broken = HostTensor {
            shape: vec![3],
            data: vec![1.0],
        };
        weights.state.tensors.insert("fc.bias".to_owned(), broken);
        let error = write_weights(&folder.path().join("w"), &weights)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("w: fc.bias: a tensor of shape [3]"),
            "{error}"
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
