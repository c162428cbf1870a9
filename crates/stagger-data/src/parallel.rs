//! Works on a row of things on all cores.

use std::panic;
use std::sync::Mutex;
use std::thread;

use crate::error::DataError;

/// More threads than this gain nothing for sets that fit in memory.
const MOST_THREADS: usize = 16;
/// Fewer items than this are not worth a thread.
const LEAST_ITEMS: usize = 64;

/// Calls `work(index, image)` once for each of the images of `image_bytes` bytes in `pixels`, on
/// as many threads as there are cores (one image each at a time, which bounds the memory that
/// decoders use).
///
/// # Errors
/// The error of the lowest index that failed, whatever the timing; work stops soon after one.
pub(crate) fn fill_images(
    pixels: &mut [u8],
    image_bytes: usize,
    work: impl Fn(usize, &mut [u8]) -> Result<(), DataError> + Sync,
) -> Result<(), DataError> {
    let images = pixels.len() / image_bytes.max(1);
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(MOST_THREADS).min(images);
    let failure: Mutex<Option<(usize, DataError)>> = Mutex::new(None);
    let jobs = Mutex::new(pixels.chunks_exact_mut(image_bytes.max(1)).enumerate());
    let run = || {
        loop {
            // A statement of its own: in a `while let` the lock would be held during the work.
            let job = lock(&jobs).next();
            let Some((index, image)) = job else { break };
            let Err(error) = work(index, image) else {
                continue;
            };
            // Indices are handed out in order: every lower one is done or being worked on, so the
            // lowest failure is known once all threads have ended.
            lock(&jobs).nth(usize::MAX);
            let mut failure = lock(&failure);
            if failure.as_ref().is_none_or(|(lowest, _)| index < *lowest) {
                *failure = Some((index, error));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // The system may allow no more threads (`ulimit -u`, a cgroup's pids): those that run, this one at least, do all.
            if thread::Builder::new().spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
    match failure
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
    {
        Some((_, error)) => Err(error),
        None => Ok(()),
    }
}

/// What `work` gives for each of the items, in their order, on as many threads as there are cores.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(MOST_THREADS).min(items.len() / LEAST_ITEMS);
    if threads < 2 {
        return items.iter().map(work).collect();
    }
    let work = &work;
    thread::scope(|scope| {
        let share = items.len().div_ceil(threads);
        let do_part = |part: &[T]| part.iter().map(work).collect::<Vec<R>>();
        let threads: Vec<_> = (items.chunks(share))
            .map(|part| {
                let thread = thread::Builder::new().spawn_scoped(scope, move || do_part(part));
                (part, thread)
            })
            .collect();
        let mut results = Vec::with_capacity(items.len());
        for (part, thread) in threads {
            results.extend(match thread {
                Ok(thread) => {
                    (thread.join()).unwrap_or_else(|payload| panic::resume_unwind(payload))
                }
                // The system gives no more threads: this one does that part.
                Err(_) => do_part(part),
            });
        }
        results
    })
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_filled_once() {
        let mut pixels = vec![0u8; 3 * 200];
        fill_images(&mut pixels, 3, |index, image| {
            image.iter_mut().for_each(|pixel| *pixel += index as u8 + 1);
            Ok(())
        })
        .unwrap();
        for (index, image) in pixels.chunks(3).enumerate() {
            assert_eq!(image, [index as u8 + 1; 3]);
        }
    }

    #[test]
    fn the_first_failure_by_index_is_returned() {
        for _ in 0..20 {
            let error = fill_images(&mut [0u8; 100], 1, |index, _| match index {
                37.. => Err(DataError::IndexOutOfRange { index, len: 37 }),
                _ => Ok(()),
            });
            assert!(matches!(
                error,
                Err(DataError::IndexOutOfRange { index: 37, .. })
            ));
        }
    }

    #[test]
    fn results_are_in_the_order_of_the_items() {
        for count in [0, 1, 127, 128, 1000, 1001] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(map(&items, |item| *item), items);
        }
    }

    #[test]
    fn nothing_to_do_is_fine() {
        fill_images(&mut [], 5, |_, _| Ok(())).unwrap();
    }
}
