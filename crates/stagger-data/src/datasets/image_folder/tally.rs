//! Counts what is left out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::inventory::{LeftOut, LeftOutReason};

/// What has been left out so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    reasons: BTreeMap<LeftOutReason, (usize, PathBuf)>,
    /// Those that may have been meant as images: all but hidden files of other formats, which systems leave everywhere.
    pub(super) missed: usize,
}

impl Tally {
    /// Counts a file, folder or link.
    pub(super) fn add(&mut self, reason: LeftOutReason, path: PathBuf) {
        self.missed += usize::from(reason.is_of_files());
        self.add_unmissed(reason, path);
    }

    /// Counts something that cannot have been meant as an image.
    pub(super) fn add_unmissed(&mut self, reason: LeftOutReason, path: PathBuf) {
        let (count, example) = self.reasons.entry(reason).or_insert((0, path.clone()));
        *count += 1;
        // Whatever the order in which they are found.
        if path < *example {
            *example = path;
        }
    }

    /// Takes over what another one has counted.
    pub(super) fn absorb(&mut self, other: Self) {
        self.missed += other.missed;
        for (reason, (count, example)) in other.reasons {
            let (own, first) = self.reasons.entry(reason).or_insert((0, example.clone()));
            *own += count;
            *first = std::cmp::min(&*first, &example).clone();
        }
    }

    /// All reasons that there are.
    pub(super) fn left_out(&self) -> Vec<LeftOut> {
        let entry = |(&reason, (count, example)): (&LeftOutReason, &(usize, PathBuf))| LeftOut {
            reason,
            count: *count,
            example: example.clone(),
        };
        self.reasons.iter().map(entry).collect()
    }
}
