//! The best way to deal a row of blocks out to stages, exactly, by dynamic programming.

/// Number of blocks of each of `stages` consecutive, non-empty stages, such that the largest stage cost is as small
/// as it can be; among those, the sum of squared stage costs is smallest; among those, the first stage is shortest,
/// then the second, and so on. `None` where no cut has only stages that can be.
///
/// `costs(stage, start)` are the costs of the stage with the blocks from `start` on: with one of them, with two, and so on. They
/// are finite, not negative, and do not fall; `None` rules out that the stage has these blocks. Needs `1 ≤ stages ≤ blocks`. At most
/// O(stages · blocks²) steps, and far fewer where stages are many, as no stage is tried with more than its cost allows.
pub(crate) fn best_sizes<C: Iterator<Item = Option<f64>>>(
    blocks: usize,
    stages: usize,
    costs: impl Fn(usize, usize) -> C,
) -> Option<Vec<usize>> {
    let (_, largest) = fold_from_the_end(blocks, stages, &costs, f64::max, f64::INFINITY);
    if largest.is_infinite() {
        return None;
    }
    let squares = |own: f64, rest: f64| own * own + rest;
    let (next, _) = fold_from_the_end(blocks, stages, &costs, squares, largest);
    let mut start = 0;
    let mut sizes = Vec::with_capacity(stages);
    for ends in &next {
        sizes.push(ends[start] - start);
        start = ends[start];
    }
    Some(sizes)
}

/// For every stage and first block, the end of that stage that makes `value(own cost, value of the rest)` least (the smallest such
/// end), and that least value for the whole row, which is infinite where every row is ruled out. No stage costs more than `most`.
/// `value` is at least what it is with nothing behind it, and that does not fall with the own cost.
fn fold_from_the_end<C: Iterator<Item = Option<f64>>>(
    blocks: usize,
    stages: usize,
    costs: impl Fn(usize, usize) -> C,
    value: impl Fn(f64, f64) -> f64,
    most: f64,
) -> (Vec<Vec<usize>>, f64) {
    let mut rest = vec![f64::INFINITY; blocks + 1];
    rest[blocks] = 0.0;
    let mut next = vec![vec![blocks; blocks + 1]; stages];
    for stage in (0..stages).rev() {
        let mut best = vec![f64::INFINITY; blocks + 1];
        // Each stage before and after this one needs at least one block.
        for start in stage..=blocks - (stages - stage) {
            let last_end = blocks - (stages - stage - 1);
            for (end, own) in (start + 1..=last_end).zip(costs(stage, start)) {
                let Some(own) = own else { continue };
                // More blocks cost no less.
                if own > most || value(own, 0.0) >= best[start] {
                    break;
                }
                let found = value(own, rest[end]);
                if found < best[start] {
                    best[start] = found;
                    next[stage][start] = end;
                }
            }
        }
        rest = best;
    }
    (next, rest[0])
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use proptest::prelude::*;

    /// Every way to write `blocks` as a sum of `stages` positive numbers, in lexicographic order.
    fn all_sizes(blocks: usize, stages: usize) -> Vec<Vec<usize>> {
        if stages == 1 {
            return vec![vec![blocks]];
        }
        let mut found = Vec::new();
        for first in 1..=blocks - (stages - 1) {
            for mut rest in all_sizes(blocks - first, stages - 1) {
                rest.insert(0, first);
                found.push(rest);
            }
        }
        found
    }

    fn stage_costs(
        sizes: &[usize],
        cost: impl Fn(usize, Range<usize>) -> Option<f64>,
    ) -> Option<Vec<f64>> {
        let mut start = 0;
        let stages = sizes.iter().enumerate();
        let costs = stages.map(|(stage, size)| {
            start += size;
            cost(stage, start - size..start)
        });
        costs.collect()
    }

    proptest! {
        // Integer costs make every sum exact, so that ties are ties. Blocks have a cost and a size, stages a speed and a room, and
        // many of the cases have no cut that fits.
        #[test]
        fn agrees_with_trying_everything(
            (blocks, stages) in (1_usize..8).prop_flat_map(|blocks| (
                prop::collection::vec((0_u32..6, 0_u32..6), blocks),
                prop::collection::vec((1_u32..4, 0_u32..30), 1..=blocks),
            )),
        ) {
            let cost = |stage: usize, range: Range<usize>| {
                let (slowness, room) = stages[stage];
                let size: u32 = blocks[range.clone()].iter().map(|(_, size)| size).sum();
                let work: u32 = blocks[range].iter().map(|(work, _)| work).sum();
                (size <= room).then_some(f64::from(slowness * work))
            };
            let costs = |stage, start| (start + 1..=blocks.len()).map(move |end| cost(stage, start..end));
            let found = best_sizes(blocks.len(), stages.len(), costs);
            let key = |sizes: &Vec<usize>| {
                let costs = stage_costs(sizes, cost)?;
                let largest = costs.iter().copied().fold(0.0, f64::max);
                let squares: f64 = costs.iter().map(|own| own * own).sum();
                Some((largest, squares))
            };
            let all = all_sizes(blocks.len(), stages.len());
            let possible = all.iter().filter(|sizes| key(sizes).is_some());
            // `min_by` keeps the first of equals, which is the lexicographically smallest.
            let best = possible.min_by(|a, b| key(a).partial_cmp(&key(b)).unwrap());
            prop_assert_eq!(found.as_ref(), best);
        }
    }

    #[test]
    fn ties_prefer_equal_stages_then_short_first_ones() {
        let by = |weights: &'static [f64]| {
            move |_: usize, start: usize| {
                (start + 1..=weights.len()).map(move |end| Some(weights[start..end].iter().sum()))
            }
        };
        let best = |blocks, stages, weights| best_sizes(blocks, stages, by(weights)).unwrap();
        assert_eq!(best(4, 3, &[4.0, 1.0, 1.0, 0.0]), [1, 1, 2]);
        assert_eq!(best(3, 2, &[1.0, 1.0, 1.0]), [1, 2]);
        assert_eq!(best(5, 5, &[1.0, 2.0, 3.0, 4.0, 5.0]), [1; 5]);
    }
}
