//! Buffers that a thread uses again: fresh memory costs a page fault per 4 KiB, and zeros that are overwritten at once.
//!
//! Buffers leave the thread (activations that go to another stage) and come in from others. So that neither lets the
//! pool grow, it starts its account anew after every step ([`settle`]): what is still out then is not waited for, and
//! lengths that the step did not use are freed.

use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { by_len: BTreeMap::new() }) };
}

struct Pool {
    by_len: BTreeMap<usize, Shelf>,
}

#[derive(Default)]
struct Shelf {
    free: Vec<Vec<f32>>,
    /// Buffers taken and not given back since the last [`settle`].
    out: usize,
    /// Whether any was taken since then.
    used: bool,
}

/// A buffer of this length. Its values are whatever was there before: callers write all of them.
pub(crate) fn take(len: usize) -> Vec<f32> {
    POOL.with_borrow_mut(|pool| {
        let shelf = pool.by_len.entry(len).or_default();
        shelf.out += 1;
        shelf.used = true;
        shelf.free.pop()
    })
    .unwrap_or_else(|| vec![0.0; len])
}

/// Gives a buffer back. Within a step the thread keeps no more of a length than it has taken: buffers that come in from
/// another stage are freed instead of piling up.
pub(crate) fn give(buffer: Vec<f32>) {
    // A thread that ends may have no pool any more: then the buffer is freed.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        let Some(shelf) = pool.by_len.get_mut(&buffer.len()) else {
            return;
        };
        if shelf.out > 0 {
            shelf.out -= 1;
            shelf.free.push(buffer);
        }
    });
}

/// Ends a step: an update, or the evaluation of a batch.
pub(crate) fn settle() {
    POOL.with_borrow_mut(|pool| {
        pool.by_len.retain(|_, shelf| {
            shelf.out = 0;
            std::mem::take(&mut shelf.used)
        });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(len: usize) -> Option<usize> {
        POOL.with_borrow(|pool| pool.by_len.get(&len).map(|shelf| shelf.free.len()))
    }

    /// Each step sends a buffer away that never comes back, and receives one: as many as one step uses are kept.
    #[test]
    fn traffic_with_other_threads_does_not_pile_up() {
        for _ in 0..100 {
            let own = take(55);
            drop(take(55));
            give(own);
            give(vec![0.0; 55]);
            give(vec![0.0; 55]);
            settle();
        }
        assert_eq!(free(55), Some(2));
        let _ = take(66);
        settle();
        assert_eq!(free(55), None, "a step without this length frees it");
    }

    #[test]
    fn keeps_what_was_taken_and_no_more() {
        let free =
            || POOL.with_borrow(|pool| pool.by_len.get(&77).map_or(0, |shelf| shelf.free.len()));
        give(vec![1.0; 77]);
        assert_eq!(free(), 0);
        let (first, second) = (take(77), take(77));
        for buffer in [first, second, vec![1.0; 77]] {
            give(buffer);
        }
        assert_eq!(free(), 2);
        assert_eq!(take(77).len(), 77);
        assert_eq!(free(), 1);
    }
}
