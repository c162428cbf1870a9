//! The loops against plain `f64`.
use pulp::Arch;
use std::cell::Cell;
thread_local! {
    /// An instruction set to use on this thread instead of the widest.
    pub(crate) static FORCED: Cell<Option<Arch>> = const { Cell::new(None) };
}
