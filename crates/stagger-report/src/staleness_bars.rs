//! How stale the gradients of each stage were, as bars.

use crate::charts::Bars;
use crate::saturating;

/// From this staleness on batches are in one bar.
const POOLED_FROM: usize = 255;
/// Most bars of a chart: with more stages, batches are pooled from a smaller staleness on.
const MOST_BARS: usize = 16_384;

/// The share of the batches of each stage by their staleness, in percent. `counts` are those of each stage: of batches with a staleness
/// of 0, 1, 2, …. A staleness that no batch has is left out.
pub(crate) fn staleness_bars(counts: &[&[usize]]) -> Vec<Bars> {
    let longest = counts.iter().map(|counts| counts.len()).max().unwrap_or(0);
    let pooled_from = (MOST_BARS / counts.len().max(1)).clamp(1, POOLED_FROM);
    let share = |counts: &[usize], staleness: usize| {
        let all = saturating::sum(counts.iter().copied());
        let count = match staleness == pooled_from {
            true => saturating::sum(counts.iter().skip(pooled_from).copied()),
            false => counts.get(staleness).copied().unwrap_or(0),
        };
        100.0 * count as f64 / all.max(1) as f64
    };
    let bars = |staleness: usize| Bars {
        name: match staleness == pooled_from && longest > pooled_from + 1 {
            true => format!("{staleness} and more"),
            false => staleness.to_string(),
        },
        values: counts
            .iter()
            .map(|counts| share(counts, staleness))
            .collect(),
    };
    let all = (0..longest.min(pooled_from + 1)).map(bars);
    all.filter(|group| group.values.iter().any(|value| *value > 0.0))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_those_of_each_stage() {
        let groups = staleness_bars(&[&[1, 0, 1, 8], &[10]]);
        let names: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
        assert_eq!(names, ["0", "2", "3"]);
        assert_eq!(groups[0].values, [10.0, 100.0]);
        assert_eq!(groups[2].values, [80.0, 0.0]);
    }

    #[test]
    fn what_is_very_stale_is_in_one_bar() {
        let groups = staleness_bars(&[&[1; 200_000]]);
        assert_eq!(groups.len(), 256);
        assert_eq!(groups[255].name, "255 and more");
        assert!(groups[255].values[0] > 99.8, "{:?}", groups[255]);
        assert_eq!(staleness_bars(&[&[1; 256]])[255].name, "255");
        let many_stages: Vec<&[usize]> = vec![&[1; 300]; 1000];
        assert_eq!(staleness_bars(&many_stages).len(), 17);
    }

    #[test]
    fn counts_of_any_size_are_drawn() {
        let groups = staleness_bars(&[&[usize::MAX, usize::MAX, 5]]);
        assert_eq!(groups[0].values, [100.0]);
        assert_eq!(staleness_bars(&[]), []);
    }
}
