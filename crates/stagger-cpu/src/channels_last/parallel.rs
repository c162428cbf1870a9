//! Work on several threads.

use std::sync::{Mutex, PoisonError};

/// Threads to share an operation among. Which thread does what has no influence on any result.
pub trait Parallel: Sync {
    /// How many parts are worth having: the number of threads.
    fn parts(&self) -> usize;

    /// Calls `work` once for each of `0..parts`, on any threads, and returns when all calls have.
    fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync));
}

/// All work on the calling thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn parts(&self) -> usize {
        1
    }

    fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        (0..parts).for_each(work);
    }
}

/// Values in each part but the last, if `len` values are shared out in whole chunks.
pub(crate) fn part_len(len: usize, chunk: usize, parallel: &dyn Parallel) -> usize {
    let chunks = len.div_ceil(chunk).max(1);
    chunk * chunks.div_ceil(parallel.parts().clamp(1, chunks))
}

/// Does every job, each on one thread.
pub(crate) fn spread<J: Send>(
    jobs: impl Iterator<Item = J>,
    parallel: &dyn Parallel,
    work: impl Fn(J) + Sync,
) {
    let mut jobs: Vec<_> = jobs.map(|job| Mutex::new(Some(job))).collect();
    let take = |job: &Mutex<Option<J>>| job.lock().unwrap_or_else(PoisonError::into_inner).take();
    match &mut jobs[..] {
        [] => {}
        [job] => take(job).into_iter().for_each(work),
        jobs => parallel.run(jobs.len(), &|index| {
            take(&jobs[index]).into_iter().for_each(&work);
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Four;

    impl Parallel for Four {
        fn parts(&self) -> usize {
            4
        }

        fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
            (0..parts).rev().for_each(work);
        }
    }

    #[test]
    fn parts_are_whole_chunks() {
        assert_eq!(part_len(0, 10, &Four), 10);
        assert_eq!(part_len(25, 10, &Four), 10);
        assert_eq!(part_len(41, 10, &Four), 20);
        assert_eq!(part_len(1000, 10, &Serial), 1000);
    }

    #[test]
    fn every_job_is_done() {
        let mut values = [0; 10];
        spread(values.chunks_mut(3).enumerate(), &Four, |(index, part)| {
            part.fill(index);
        });
        assert_eq!(values, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]);
    }
}
