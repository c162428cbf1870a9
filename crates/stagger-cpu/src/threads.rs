//! The threads that the operations of a stage share. Work is cut so that every value is computed by one of them, in the order in which one
//! thread alone would: results do not depend on their number.

use std::cell::RefCell;
use std::sync::Arc;

use rayon_core::{ThreadPool, ThreadPoolBuilder};
use stagger_engine::EngineError;

use crate::channels_last::Parallel;

thread_local! {
    /// What helps the calling thread; `None` where it works alone.
    static HELPERS: RefCell<Option<Arc<ThreadPool>>> = const { RefCell::new(None) };
}

/// Multiplications that are worth waking a thread for: some ten microseconds of them. Tests share little work out, too.
const WORTH: usize = if cfg!(test) { 1 << 6 } else { 1 << 18 };

/// Gives the operations of the calling thread `threads` threads, this one included; 0 counts as 1.
///
/// # Errors
/// [`EngineError::Backend`] when the operating system does not start them.
pub(crate) fn set(threads: usize) -> Result<(), EngineError> {
    if Threads.parts() == threads.max(1) {
        return Ok(());
    }
    let helpers = match threads.saturating_sub(1) {
        0 => None,
        helpers => {
            let stage = std::thread::current();
            let of = stage.name().unwrap_or("a stage").to_owned();
            let builder = ThreadPoolBuilder::new()
                .num_threads(helpers)
                .thread_name(move |helper| format!("{of}, helper {helper}"));
            let pool = builder.build().map_err(|error| EngineError::Backend {
                message: format!("{threads} threads for a stage cannot be started: {error}"),
            })?;
            Some(Arc::new(pool))
        }
    };
    HELPERS.set(helpers);
    Ok(())
}

/// Leaves the calling thread alone with its operations.
pub(crate) fn release() {
    HELPERS.set(None);
}

/// The threads of the calling thread's operations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Threads;

impl Parallel for Threads {
    fn parts(&self) -> usize {
        HELPERS.with_borrow(|helpers| {
            helpers
                .as_ref()
                .map_or(1, |pool| pool.current_num_threads() + 1)
        })
    }

    fn run(&self, parts: usize, work: &(dyn Fn(usize) + Sync)) {
        let helpers = HELPERS.with_borrow(Option::clone);
        match helpers.filter(|_| parts > 1) {
            None => (0..parts).for_each(work),
            Some(pool) => pool.in_place_scope(|scope| {
                for part in 1..parts {
                    scope.spawn(move |_| work(part));
                }
                work(0);
            }),
        }
    }
}

/// How many threads pay for work of so many multiplications.
pub(crate) fn parts(multiplications: usize) -> usize {
    Threads.parts().min(multiplications / WORTH + 1)
}

/// How many of `items` each thread takes, for work of so many multiplications in all.
pub(crate) fn share(items: usize, multiplications: usize) -> usize {
    items.div_ceil(parts(multiplications)).max(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::{Barrier, Mutex};

    use super::*;

    /// The operations of a thread of its own.
    fn on_a_stage<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| scope.spawn(work).join().unwrap())
    }

    #[test]
    fn as_many_threads_work_at_a_time_as_were_asked_for() {
        for threads in [1, 2, 5] {
            let seen = on_a_stage(|| {
                set(threads).unwrap();
                assert_eq!(Threads.parts(), threads);
                let (seen, together) = (Mutex::new(HashSet::new()), Barrier::new(threads));
                Threads.run(threads, &|_| {
                    together.wait();
                    seen.lock().unwrap().insert(std::thread::current().id());
                });
                seen.into_inner().unwrap().len()
            });
            assert_eq!(seen, threads);
        }
    }

    #[test]
    fn stages_have_threads_of_their_own() {
        on_a_stage(|| {
            set(3).unwrap();
            assert_eq!(on_a_stage(|| Threads.parts()), 1);
            set(2).unwrap();
            assert_eq!(Threads.parts(), 2);
            release();
            assert_eq!(Threads.parts(), 1);
        });
    }

    #[test]
    fn little_work_is_not_shared_out() {
        on_a_stage(|| {
            set(4).unwrap();
            assert_eq!(share(100, WORTH / 2), 100);
            assert_eq!(share(100, WORTH), 50);
            assert_eq!(share(100, 10 * WORTH), 25);
            assert_eq!(share(0, 10 * WORTH), 1);
        });
    }
}
