//! Reads weights files of unknown origin: no more of them than they hold for certain, and than there is memory for.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use stagger_data::foreign::{self, ForeignFile, Unfit};
use stagger_runtime::snapshot::StageSnapshot;

use crate::available_memory::{AvailableMemory, available_memory};
use crate::error::ReportError;
use crate::foreign_file::foreign;
use crate::snapshot::decode_stage;
use crate::torch_file;
use crate::weights_file::{MAX_WEIGHTS_BYTES, Weights, decode_weights};

/// A file up to this size is read before it is looked at.
const SMALL_BYTES: u64 = 1 << 24;
/// The longest header of a safetensors file that its library reads.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// The content of a file of weights.
#[derive(Clone, Debug)]
pub enum StageOrWeights {
    /// One stage of a snapshot.
    Stage(Box<StageSnapshot>),
    /// The weights of a model.
    Weights(Weights),
}

/// Reads a weights file that the user has named: floating-point tensors of 16, 32 or 64 bits, and counters
/// (`….num_batches_tracked`) of 64-bit integers.
///
/// # Errors
/// [`ReportError::Io`] when the file cannot be read, is no regular file, or needs more memory than there is;
/// [`ReportError::Weights`] when it is no safetensors file, is cut short, is larger than [`MAX_WEIGHTS_BYTES`], or has other types.
pub fn read_weights(path: &Path) -> Result<Weights, ReportError> {
    decode(path, &bytes(path, foreign::open)?)
}

/// Reads a weights file in the folder of a run.
///
/// # Errors
/// As [`read_weights`], and [`ReportError::Io`] for a link that leads out of the folder.
pub fn read_weights_inside(path: &Path) -> Result<Weights, ReportError> {
    decode(path, &bytes(path, foreign::open_inside)?)
}

/// Reads the file of one stage of a snapshot, or a weights file, that the user has named.
///
/// # Errors
/// As [`read_weights`].
pub fn read_stage_or_weights(path: &Path) -> Result<StageOrWeights, ReportError> {
    let bytes = bytes(path, foreign::open)?;
    Ok(match decode_stage(&bytes) {
        Ok(stage) => StageOrWeights::Stage(Box::new(stage)),
        Err(_) => StageOrWeights::Weights(decode(path, &bytes)?),
    })
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Weights, ReportError> {
    decode_weights(bytes).map_err(|what| ReportError::Weights {
        path: path.to_owned(),
        what,
    })
}

fn bytes(
    path: &Path,
    open: fn(&Path, u64) -> io::Result<ForeignFile>,
) -> Result<Vec<u8>, ReportError> {
    let refused = |what| ReportError::Weights {
        path: path.to_owned(),
        what,
    };
    let unreadable = |error: io::Error| match error.get_ref().and_then(|inner| inner.downcast_ref())
    {
        Some(&Unfit::TooLarge { found, limit }) => {
            refused(format!("it has {found} bytes; at most {limit} are read"))
        }
        _ => ReportError::io("read", path, error),
    };
    let mut file = open(path, MAX_WEIGHTS_BYTES).map_err(unreadable)?;
    let mut bytes = Vec::new();
    if file.size_bytes() > SMALL_BYTES {
        bytes = beginning(&mut file).map_err(unreadable)?.map_err(refused)?;
        check_memory(file.size_bytes()).map_err(unreadable)?;
        // All of it at once: growing by steps would take up to twice as much.
        let rest = usize::try_from(file.size_bytes()).unwrap_or(usize::MAX);
        bytes
            .try_reserve_exact(rest - bytes.len())
            .map_err(|_| unreadable(ErrorKind::OutOfMemory.into()))?;
    }
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// Reads the beginning of a large file, as much as says what it holds: the file has to be as long as it says. A file that is nothing but
/// a hole is refused here.
///
/// # Errors
/// Those of reading, and inside a sentence on what is wrong with the file.
fn beginning(file: &mut ForeignFile) -> io::Result<Result<Vec<u8>, String>> {
    let size_bytes = file.size_bytes();
    let mut head = Vec::new();
    file.by_ref().take(512).read_to_end(&mut head)?;
    if head.starts_with(b"PK") {
        let ending = file.ending(torch_file::MOST_ENDING_BYTES)?;
        let is_whole = torch_file::is_ending(&ending);
        let cut_short = || "it is a zip archive that is cut short or damaged".to_owned();
        return Ok(is_whole.then_some(head).ok_or_else(cut_short));
    }
    let strange = |head: &[u8], why: &str| {
        foreign(head).unwrap_or_else(|| format!("it is foreign, damaged or cut short ({why})"))
    };
    let Some(length) = head.first_chunk().map(|length| u64::from_le_bytes(*length)) else {
        return Ok(Err(strange(&head, "header too small")));
    };
    let whole = length.saturating_add(8);
    if length > MAX_HEADER_BYTES || whole > size_bytes {
        let why = format!("it would begin with a header of {length} bytes");
        return Ok(Err(strange(&head, &why)));
    }
    let read = head.len() as u64;
    file.by_ref()
        .take(whole.saturating_sub(read))
        .read_to_end(&mut head)?;
    let header = usize::try_from(whole).ok().and_then(|end| head.get(8..end));
    let metadata = serde_json::from_slice::<Metadata>(header.unwrap_or_default());
    let described = metadata.map(|metadata| whole.saturating_add(metadata.data_len() as u64));
    Ok(match described {
        Ok(described) if described == size_bytes => Ok(head),
        Ok(described) => Err(strange(
            &head,
            &format!("it has {size_bytes} bytes, and its header speaks of {described}"),
        )),
        // In the words of the library that reads it.
        Err(error) => Err(match SafeTensors::read_metadata(&head) {
            Err(error) => strange(&head, &error.to_string()),
            Ok(_) => strange(&head, &error.to_string()),
        }),
    })
}

/// Refuses a file for which there is not enough memory: its bytes, and the values that are made of them.
///
/// # Errors
/// [`ErrorKind::OutOfMemory`].
pub(crate) fn check_memory(size_bytes: u64) -> io::Result<()> {
    match size_bytes > SMALL_BYTES {
        true => fits(size_bytes, available_memory()),
        false => Ok(()),
    }
}

fn fits(size_bytes: u64, available: Option<AvailableMemory>) -> io::Result<()> {
    let needed = size_bytes.saturating_mul(2);
    match available {
        Some(AvailableMemory { bytes, limit }) if bytes < needed => Err(io::Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "reading it takes about {needed} bytes of memory, and {} leaves {bytes}",
                limit.describe()
            ),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::Write;

    use super::*;
    use crate::available_memory::MemoryLimit;

    /// A file of these bytes and then a hole, which takes no space on disk.
    fn with_hole(beginning: &[u8], size_bytes: u64) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w");
        let mut file = File::create(&path).unwrap();
        file.write_all(beginning).unwrap();
        file.set_len(size_bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn of_a_large_file_only_what_it_says_of_itself_is_read() {
        let header = br#"{"w":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}"#;
        let mut claimed = (header.len() as u64).to_le_bytes().to_vec();
        claimed.extend_from_slice(header);
        let short = claimed.len() as u64 + (1 << 32) - 1;
        for (beginning, size_bytes, expected) in [
            (&b""[..], MAX_WEIGHTS_BYTES, "cut short"),
            (
                b"PK\x03\x04",
                MAX_WEIGHTS_BYTES,
                "a zip archive that is cut short or damaged",
            ),
            (b"<!doctype html>", MAX_WEIGHTS_BYTES, "a web page"),
            (b"\xff\0\0\0\0\0\0\0{\"a\":", MAX_WEIGHTS_BYTES, "cut short"),
            (&claimed, short, "its header speaks of 4294967376"),
            (
                &claimed,
                MAX_WEIGHTS_BYTES,
                "its header speaks of 4294967376",
            ),
        ] {
            let (_folder, path) = with_hole(beginning, size_bytes);
            let mut file = foreign::open(&path, MAX_WEIGHTS_BYTES).unwrap();
            let refused = super::beginning(&mut file).unwrap().unwrap_err();
            assert!(refused.contains(expected), "{refused}");
            let error = read_weights(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let (_folder, path) = with_hole(&claimed, short + 1);
        let mut file = foreign::open(&path, MAX_WEIGHTS_BYTES).unwrap();
        let head = super::beginning(&mut file).unwrap().unwrap();
        assert_eq!(head[..claimed.len()], claimed);
    }

    #[test]
    fn large_files_are_read_whole() {
        let (_folder, path) = with_hole(b"", 0);
        let values = vec![0.5; (SMALL_BYTES / 4) as usize + 1];
        let tensor = stagger_engine::HostTensor::new(vec![values.len()], values).unwrap();
        let mut weights = Weights::default();
        weights.state.tensors.insert("w".to_owned(), tensor);
        crate::write_weights(&path, &weights).unwrap();
        assert!(fs::metadata(&path).unwrap().len() > SMALL_BYTES);
        assert_eq!(read_weights_inside(&path).unwrap(), weights);
    }

    #[test]
    fn what_does_not_fit_into_memory_is_not_read() {
        let available = |bytes| {
            let limit = MemoryLimit::Cgroup;
            Some(AvailableMemory { bytes, limit })
        };
        fits(1 << 30, None).unwrap();
        fits(1 << 30, available(2 << 30)).unwrap();
        let error = fits(1 << 30, available((2 << 30) - 1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "reading it takes about 2147483648 bytes of memory, and the memory limit of this container or job (its cgroup) leaves \
             2147483647"
        );
    }
}
