//! Sums of counts that files say: one that is damaged or forged ends no program.

/// The sum, or the largest number where it is larger.
pub(crate) fn sum(counts: impl IntoIterator<Item = usize>) -> usize {
    counts.into_iter().fold(0, usize::saturating_add)
}

/// Adds each count to that of the same place.
pub(crate) fn add_each(sums: &mut Vec<usize>, counts: &[usize]) {
    if sums.len() < counts.len() {
        sums.resize(counts.len(), 0);
    }
    for (sum, count) in sums.iter_mut().zip(counts) {
        *sum = sum.saturating_add(*count);
    }
}
