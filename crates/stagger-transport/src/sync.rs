//! Locks, channels and threads of the queues: the standard library's, or those of the model checker.
//!
//! With feature `shuttle` the checker may switch to another thread at every operation on them, so it decides which
//! interleaving a test sees. Such a build works inside the checker only. Everything that threads of a run wait on has to come
//! from here; a lock that is never held across a wait may be the standard library's.

#[cfg(not(feature = "shuttle"))]
pub use std::{sync::Condvar, sync::Mutex, sync::MutexGuard, sync::mpsc, thread};

#[cfg(feature = "shuttle")]
pub use shuttle::{sync::Condvar, sync::Mutex, sync::MutexGuard, sync::mpsc, thread};

use std::io;
use std::sync::PoisonError;

/// Locks, also after a thread panicked with the lock held: for data that is consistent between any two statements.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Spawns a thread of a scope under a name.
///
/// # Errors
/// When the operating system gives no thread.
#[cfg(not(feature = "shuttle"))]
pub fn spawn_named<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    name: String,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<thread::ScopedJoinHandle<'scope, T>> {
    thread::Builder::new().name(name).spawn_scoped(scope, work)
}

/// Spawns a thread of a scope; the checker's have no names.
///
/// # Errors
/// None.
#[cfg(feature = "shuttle")]
pub fn spawn_named<'scope, T: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    _name: String,
    work: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<thread::ScopedJoinHandle<'scope, T>> {
    Ok(scope.spawn(work))
}

/// Keeps a scope's last thread from ending before this is closed or dropped. Nothing to the standard library; but the checker's scope wakes
/// the thread that opened it when its last thread ends, whatever that thread waits for at that time.
#[derive(Debug)]
pub struct KeptOpen {
    #[cfg(feature = "shuttle")]
    _end: mpsc::Sender<()>,
}

impl KeptOpen {
    /// Keeps this scope open.
    #[cfg(not(feature = "shuttle"))]
    pub fn of(_scope: &thread::Scope<'_, '_>) -> Self {
        Self {}
    }

    /// Keeps this scope open.
    #[cfg(feature = "shuttle")]
    pub fn of<'scope>(scope: &'scope thread::Scope<'scope, '_>) -> Self {
        let (end, ended) = mpsc::channel();
        scope.spawn(move || {
            // The end of the sender is all there is to receive.
            let _ = ended.recv();
        });
        Self { _end: end }
    }

    /// Lets it end.
    pub fn close(self) {}
}
