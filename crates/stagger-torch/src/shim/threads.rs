//! The threads of the calling thread's operations.

use std::any::Any;
use std::ffi::{c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};

use super::check;
use stagger_engine::EngineError;

unsafe extern "C" {
    fn stagger_set_num_threads(threads: i32) -> *mut c_char;
    fn stagger_parallel_for(
        begin: i64,
        end: i64,
        grain: i64,
        body: extern "C" fn(*mut c_void, i64, i64),
        context: *mut c_void,
    ) -> *mut c_char;
}

struct Context<'a> {
    body: &'a (dyn Fn(usize, usize) + Sync),
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

extern "C" fn run(context: *mut c_void, first: i64, last: i64) {
    // SAFETY: `parallel_for` passes a `Context` that outlives the call, and shares it only as `&`; it is `Sync`.
    let context = unsafe { &*context.cast::<Context<'_>>() };
    // The bounds lie within those of `parallel_for`, which were `usize`.
    let chunk = || (context.body)(first as usize, last as usize);
    if let Err(panic) = catch_unwind(AssertUnwindSafe(chunk)) {
        let mut first_panic = context.panic.lock().unwrap_or_else(PoisonError::into_inner);
        first_panic.get_or_insert(panic);
    }
}

/// Gives the calling thread's operations `threads` threads, this one included, whatever other threads set before or after.
///
/// `tch::set_num_threads` does not hold: what a thread first runs in parallel sets its number to the one last set on *any*
/// thread.
///
/// # Errors
///
/// [`EngineError::Backend`] if libtorch refuses the number, as it does 0.
pub fn set_threads(threads: i32) -> Result<(), EngineError> {
    // SAFETY: the call takes a number and leaves nothing behind but settings of this thread and of libtorch.
    check(unsafe { stagger_set_num_threads(threads) })
}

/// Calls `body(first, last)` for ranges `first..last` that together are `begin..end`, each index in exactly one, on the
/// threads that [`set_threads`] gave the calling thread. Ranges are not split below `grain` indices. Within
/// another `parallel_for`, everything runs on the calling thread.
///
/// # Errors
///
/// [`EngineError::Backend`] if libtorch cannot run it.
///
/// # Panics
///
/// With the panic of `body`, after all ranges have ended.
pub fn parallel_for(
    begin: usize,
    end: usize,
    grain: usize,
    body: &(dyn Fn(usize, usize) + Sync),
) -> Result<(), EngineError> {
    let context = Context {
        body,
        panic: Mutex::new(None),
    };
    let bound = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
    // SAFETY: `context` outlives the call, which returns after the last range has ended; `run` does not unwind.
    let answer = unsafe {
        stagger_parallel_for(
            bound(begin),
            bound(end),
            bound(grain.max(1)),
            run,
            (&raw const context).cast_mut().cast(),
        )
    };
    let panic = context.panic.into_inner();
    if let Some(panic) = panic.unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(panic);
    }
    check(answer)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn every_index_is_covered_once_on_the_threads_given() {
        for threads in [1, 2] {
            set_threads(threads).unwrap();
            let visits: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
            let seen = Mutex::new(HashSet::new());
            parallel_for(10, 990, 7, &|first, last| {
                seen.lock().unwrap().insert(std::thread::current().id());
                for visit in &visits[first..last] {
                    visit.fetch_add(1, Ordering::Relaxed);
                }
            })
            .unwrap();
            for (index, visit) in visits.iter().enumerate() {
                let expected = usize::from((10..990).contains(&index));
                assert_eq!(visit.load(Ordering::Relaxed), expected, "index {index}");
            }
            assert_eq!(seen.into_inner().unwrap().len(), threads as usize);
        }
        parallel_for(5, 5, 1, &|_, _| panic!("an empty range has nothing to run")).unwrap();
    }

    /// The threads that the calling thread's operations, ours and libtorch's, run on.
    fn threads() -> (usize, i32) {
        let seen = Mutex::new(HashSet::new());
        parallel_for(0, 1000, 1, &|_, _| {
            seen.lock().unwrap().insert(std::thread::current().id());
        })
        .unwrap();
        (seen.into_inner().unwrap().len(), tch::get_num_threads())
    }

    #[test]
    fn what_other_threads_set_changes_nothing() {
        // On threads of their own: libtorch only looks at the others when a thread first runs something.
        let set_elsewhere_between = |mine: i32, others: i32| {
            let mine = move || {
                set_threads(mine).unwrap();
                let other = std::thread::spawn(move || set_threads(others).unwrap());
                other.join().unwrap();
                threads()
            };
            std::thread::spawn(mine).join().unwrap()
        };
        assert_eq!(set_elsewhere_between(2, 1), (2, 2));
        assert_eq!(set_elsewhere_between(1, 2), (1, 1));
        assert!(set_threads(0).is_err());
    }

    #[test]
    fn a_panic_comes_back_after_the_other_ranges_ran() {
        set_threads(2).unwrap();
        let reached = AtomicUsize::new(0);
        let panic = catch_unwind(AssertUnwindSafe(|| {
            parallel_for(0, 100, 1, &|first, last| {
                reached.fetch_add(last - first, Ordering::Relaxed);
                if (first..last).contains(&99) {
                    panic!("at 99");
                }
            })
        }))
        .unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"at 99"));
        assert_eq!(reached.load(Ordering::Relaxed), 100);
    }
}
