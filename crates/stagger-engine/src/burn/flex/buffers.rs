//! Memory that goes from batch to batch: fresh memory costs a page fault per 4 KiB and zeros that nobody reads.

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
    /// Buffers taken and not given back.
    out: usize,
}

/// A buffer of this length. Its values are whatever was there before: callers write all of them.
pub(super) fn take(len: usize) -> Vec<f32> {
    POOL.with_borrow_mut(|pool| {
        let shelf = pool.by_len.entry(len).or_default();
        shelf.out += 1;
        shelf.free.pop()
    })
    .unwrap_or_else(|| vec![0.0; len])
}

/// Gives a buffer back. The thread keeps no more of a length than it has taken: buffers that come in from another
/// stage, batch by batch, are freed instead of piling up.
pub(super) fn give(buffer: Vec<f32>) {
    POOL.with_borrow_mut(|pool| {
        let Some(shelf) = pool.by_len.get_mut(&buffer.len()) else {
            return;
        };
        if shelf.out > 0 {
            shelf.out -= 1;
            shelf.free.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

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
