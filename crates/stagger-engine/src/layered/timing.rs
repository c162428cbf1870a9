//! Time per kind of kernel, taken where layers call it.

use std::cell::RefCell;
use std::time::Instant;

use crate::profile::Profile;

thread_local! {
    /// `None` where no stage of this thread is profiled: reading the clock twice per kernel is cheap, but not free.
    static PROFILE: RefCell<Option<Profile>> = const { RefCell::new(None) };
}

/// From now on, the calls of this thread are added up.
pub(crate) fn start() {
    PROFILE.with_borrow_mut(|profile| {
        profile.get_or_insert_default();
    });
}

/// What has added up on this thread since [`start`], or since the last call of this.
pub(crate) fn take() -> Option<Profile> {
    PROFILE.with_borrow_mut(|profile| profile.as_mut().map(std::mem::take))
}

/// Runs a kernel and adds its time to the profile, if there is one. On a GPU, where kernels run after they are called, that
/// is the time to launch them.
pub(crate) fn timed<R>(kernel: &'static str, run: impl FnOnce() -> R) -> R {
    let start = PROFILE.with_borrow(|profile| profile.is_some().then(Instant::now));
    let result = run();
    if let Some(start) = start {
        let time = start.elapsed();
        PROFILE.with_borrow_mut(|profile| {
            if let Some(profile) = profile {
                profile.add(kernel, time);
            }
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_profiled_thread_keeps_a_profile() {
        timed("convolution", || ());
        assert_eq!(take(), None);
        start();
        for _ in 0..3 {
            timed("convolution", || ());
        }
        let entries: Vec<_> = take().into_iter().collect();
        let calls: Vec<_> = entries[0]
            .entries()
            .map(|(name, calls, _)| (name, calls))
            .collect();
        assert_eq!(calls, [("convolution", 3)]);
        assert_eq!(take().map(|profile| profile.entries().count()), Some(0));
    }
}
