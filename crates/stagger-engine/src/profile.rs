//! Time per kind of kernel.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often a stage called each kind of kernel, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile(BTreeMap<Cow<'static, str>, (u64, Duration)>);

impl Profile {
    /// Books one call.
    pub fn add(&mut self, kernel: &'static str, time: Duration) {
        let entry = self.0.entry(kernel.into()).or_default();
        entry.0 += 1;
        entry.1 += time;
    }

    /// Kernel, calls and time in them, longest first.
    pub fn entries(&self) -> impl Iterator<Item = (&str, u64, Duration)> {
        let mut entries: Vec<_> = self
            .0
            .iter()
            .map(|(kernel, &(calls, time))| (&**kernel, calls, time))
            .collect();
        entries.sort_by_key(|&(_, _, time)| std::cmp::Reverse(time));
        entries.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_comes_first() {
        let mut profile = Profile::default();
        let seconds = Duration::from_secs;
        profile.add("a", seconds(1));
        profile.add("b", seconds(4));
        profile.add("a", seconds(2));
        let found: Vec<_> = profile.entries().collect();
        assert_eq!(found, [("b", 1, seconds(4)), ("a", 2, seconds(3))]);
    }
}
