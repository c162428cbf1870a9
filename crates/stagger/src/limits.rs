//! What containers, batch systems and ulimits leave to this process: memory, threads and files. A run that certainly needs more is
//! refused before it has written anything.

use std::ops::Range;
use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::{fs, io, thread};

use stagger_data::{Framing, shapes};
use stagger_model::quantity;
use stagger_report::{AvailableMemory, MemoryLimit, available_memory};

use crate::job::Job;
use crate::memory::TensorMemory;
use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// What a thread takes besides tensors, at the least: what it has touched of its stack, and of its part of the heap.
const THREAD_BYTES: u64 = 256 << 10;
/// The address space that a thread's stack takes, touched or not.
const STACK_BYTES: u64 = 2 << 20;
/// The address space that the heap reserves beside large blocks as they come, such as those of images.
const HEAP_BYTES: u64 = 4 << 20;
/// Files that a run holds open at once: folder, metrics, log, weights, a snapshot.
const FILES_OF_A_FOLDER: usize = 5;

/// Makes sure that a run with these places in this process can have what it certainly needs. `watches` threads watch the run, in
/// addition.
///
/// # Errors
/// [`Refusal::Memory`], [`Refusal::Threads`] or [`Refusal::Files`].
pub fn check(job: &Job, places: Range<usize>, writes: bool, watches: usize) -> Result<(), Refusal> {
    let needed = threads(job, &places, writes).saturating_add(watches);
    let has_helpers = places
        .clone()
        .any(|place| job.engine.at(place).threads() > 1);
    memory(job, places, needed)?;
    spawn(needed).map_err(|found| Refusal::Threads {
        needed,
        found,
        has_helpers,
    })?;
    let files = files(job, writes);
    open(files).map_err(|found| Refusal::Files {
        needed: files,
        found,
    })
}

/// Makes sure that the images of a set that is held in memory as a whole can be, before they are read.
///
/// # Errors
/// [`Refusal::Memory`].
pub fn check_images(options: &TrainingOptions) -> Result<(), Refusal> {
    let name = options.dataset.as_deref().unwrap_or_default();
    let bytes = match name {
        "shapes" => shapes::BYTES as u64,
        "image-folder" => return Ok(()),
        _ => (options.data_dir.as_deref()).map_or(0, bytes_of_images),
    };
    let available = available_memory();
    let is_of_addresses =
        |found: &AvailableMemory| matches!(found.limit, MemoryLimit::AddressSpace);
    let reserved = match available.as_ref().is_some_and(is_of_addresses) && bytes > 0 {
        true => HEAP_BYTES,
        false => 0,
    };
    enough("the images need", bytes.saturating_add(reserved), available)
}

/// The bytes for decoded images: as many as were asked for, as far as they leave half of the memory to the run.
pub fn cache_bytes(wanted: u64) -> u64 {
    available_memory().map_or(wanted, |found| wanted.min(found.bytes / 2))
}

/// The line on pictures that are decoded anew in every epoch though the options would keep them.
pub fn cache_note(job: &Job) -> Option<String> {
    let (train, test) = (&job.split.train, &job.split.test);
    let is_cropped = train.framing() == Framing::CentreCrop;
    if job.options.dataset.as_deref() != Some("image-folder")
        || train.resident_bytes() > 0
        || is_cropped
    {
        return None;
    }
    let image: u64 = train.shape().iter().map(|&side| side as u64).product();
    let bytes = image.saturating_mul((train.len() + test.len()) as u64);
    let fits = bytes <= job.options.cache_bytes.unwrap_or_default();
    let found = available_memory().filter(|_| fits)?;
    Some(format!(
        "the decoded images take {}, and {} leaves {}: they are decoded anew in every epoch",
        quantity::bytes(bytes),
        found.limit.describe(),
        quantity::bytes(found.bytes),
    ))
}

/// Files of a set that is read as a whole.
fn bytes_of_images(folder: &Path) -> u64 {
    let of_set = |name: &str| name.ends_with(".bin") || name.ends_with("ubyte");
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| of_set(&entry.file_name().to_string_lossy()))
        .filter_map(|entry| Some(fs::metadata(entry.path()).ok()?.len()))
        .sum()
}

fn memory(job: &Job, places: Range<usize>, threads: usize) -> Result<(), Refusal> {
    let Some(found) = available_memory() else {
        return Ok(());
    };
    let on_processor = |place| places.contains(&place) && job.engine.at(place).cuda().is_none();
    enough(
        "the run needs",
        least_bytes(job, on_processor, threads, found),
        Some(found),
    )
}

/// What training certainly takes. Of the graphs, engines were found to keep between three fifths of all outputs and all of them.
fn least_bytes(
    job: &Job,
    counts: impl Fn(usize) -> bool,
    threads: usize,
    available: AvailableMemory,
) -> u64 {
    let tensors = TensorMemory::of(job, counts);
    let image: u64 = match job.emulated() {
        Some(_) => 1,
        None => (job.split.train.shape().iter())
            .map(|&side| side as u64)
            .product(),
    };
    let of_thread = match available.limit {
        MemoryLimit::AddressSpace => STACK_BYTES,
        _ => THREAD_BYTES,
    };
    [
        tensors.weight_bytes,
        tensors.kept_input_bytes,
        tensors.graph_bytes / 2,
        image.saturating_mul((job.batch_size as u64).saturating_mul(4)),
        // Labels.
        (job.batch_size as u64).saturating_mul(size_of::<usize>() as u64),
        of_thread.saturating_mul(threads as u64),
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}

fn enough(what: &'static str, needed: u64, found: Option<AvailableMemory>) -> Result<(), Refusal> {
    match found {
        Some(found) if needed > found.bytes => Err(Refusal::Memory {
            what,
            needed,
            found: found.bytes,
            limit: found.limit.describe(),
        }),
        _ => Ok(()),
    }
}

/// Threads besides that of the caller: of the stages, of what helps them compute, of loaders in training and in an evaluation, of
/// snapshots.
fn threads(job: &Job, places: &Range<usize>, writes: bool) -> usize {
    let workers = job.options.workers.unwrap_or(1).min(job.horizon.batches);
    let loaders = match job.horizon.evaluate_at.is_empty() {
        true => workers,
        false => workers.saturating_add(1),
    };
    let has_loaders = places.contains(&0);
    let of_stages = places.clone().map(|place| job.engine.at(place).threads());
    of_stages.sum::<usize>()
        + if has_loaders { loaders } else { 0 }
        + usize::from(writes && job.snapshots.is_some())
}

/// Files that are open at once.
fn files(job: &Job, writes: bool) -> usize {
    let of_folder = if writes { FILES_OF_A_FOLDER } else { 0 };
    let is_decoded = job.split.train.resident_bytes() == 0;
    let decoders = job.options.workers.unwrap_or(1).min(job.horizon.batches);
    of_folder + if is_decoded { decoders } else { 0 }
}

/// Starts so many threads, which all live at once, and ends them.
///
/// # Errors
/// The number that could be started.
fn spawn(count: usize) -> Result<(), usize> {
    let (is_over, over) = (Mutex::new(false), Condvar::new());
    let park = || {
        let mut is_over = is_over.lock().unwrap_or_else(PoisonError::into_inner);
        while !*is_over {
            is_over = over.wait(is_over).unwrap_or_else(PoisonError::into_inner);
        }
    };
    thread::scope(|scope| {
        let started = (0..count)
            .take_while(|_| thread::Builder::new().spawn_scoped(scope, park).is_ok())
            .count();
        *is_over.lock().unwrap_or_else(PoisonError::into_inner) = true;
        over.notify_all();
        if started < count {
            Err(started)
        } else {
            Ok(())
        }
    })
}

/// Opens so many files at once, and closes them.
///
/// # Errors
/// The number that could be opened.
#[expect(
    clippy::disallowed_methods,
    reason = "a device that is always there, and is not read"
)]
fn open(count: usize) -> Result<(), usize> {
    // EMFILE and ENFILE.
    const NO_MORE: [i32; 2] = [24, 23];
    if !cfg!(unix) {
        return Ok(());
    }
    let mut files = Vec::new();
    for _ in 0..count {
        match fs::File::open("/dev/null") {
            Ok(file) => files.push(file),
            Err(error) if is_one_of(&error, &NO_MORE) => return Err(files.len()),
            // A system without that file says nothing about limits.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}

fn is_one_of(error: &io::Error, numbers: &[i32]) -> bool {
    error
        .raw_os_error()
        .is_some_and(|found| numbers.contains(&found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Training;

    fn job(batch_size: usize) -> Job {
        let training = Training::new().model("resnet20").batch_size(batch_size);
        training.check().unwrap()
    }

    const CGROUP: AvailableMemory = AvailableMemory {
        bytes: 0,
        limit: MemoryLimit::Cgroup,
    };

    /// What runs were seen to take beside images and program, in MiB, is above what they are refused for, and not far.
    #[test]
    fn less_than_the_estimate_is_certainly_too_little() {
        let mebibytes = |job: &Job| least_bytes(job, |_| true, 4, CGROUP) >> 20;
        let found = mebibytes(&job(128));
        assert!((150..240).contains(&found), "{found}");
        assert!(mebibytes(&job(256)) > 3 * found / 2);
        // One of the two stages is in another process.
        let (below, above) = (
            least_bytes(&job(128), |place| place == 0, 0, CGROUP),
            least_bytes(&job(128), |place| place == 1, 0, CGROUP),
        );
        let whole = least_bytes(&job(128), |_| true, 0, CGROUP);
        assert!(below < whole && above < whole);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let enough = |needed, bytes| {
            let found = AvailableMemory { bytes, ..CGROUP };
            enough("the run needs", needed, Some(found)).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(enough(8 << 20, 8 << 20), Ok(()));
        assert_eq!(
            enough(50 << 20, 9 << 20).unwrap_err(),
            "the run needs at least 50.0 MiB of memory, and the memory limit of this container or job (its cgroup) leaves 9.0 MiB; raise \
             the limit, or use a smaller `batch_size`, a smaller model, or a method that keeps less"
        );
    }

    #[test]
    fn threads_and_files_are_there() {
        assert_eq!(spawn(8), Ok(()));
        assert_eq!(open(8), Ok(()));
        assert_eq!(cache_bytes(1000), 1000);
    }
}
