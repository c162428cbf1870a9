//! Howard's algorithm for the largest cycle ratio of a strongly connected graph (Cochet-Terrasson et al. 1998; in the form of
//! Dasdan 2004).

/// From the start of one node to that of another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub from: usize,
    pub to: usize,
    /// How much later the second starts at least.
    pub time: f64,
    /// How many periods lie between: those of the second minus those of the first.
    pub tokens: i64,
}

/// Improvements that are smaller, in parts of the largest time, are rounding.
const PRECISION: f64 = 1e-12;

/// The largest sum of times over sum of tokens of any cycle. `None` when there is no cycle, or one without tokens.
pub(super) fn max_cycle_ratio(nodes: usize, edges: &[Edge]) -> Option<f64> {
    // A policy: the edge by which each node leaves.
    let mut policy: Vec<usize> = vec![usize::MAX; nodes];
    for (number, edge) in edges.iter().enumerate() {
        let chosen = &mut policy[edge.from];
        if *chosen == usize::MAX || edges[*chosen].time < edge.time {
            *chosen = number;
        }
    }
    if policy.contains(&usize::MAX) {
        return None;
    }
    let mut value: Vec<f64> = policy.iter().map(|&edge| edges[edge].time).collect();
    let largest = edges.iter().map(|edge| edge.time).fold(1.0, f64::max);
    let mut ratio = f64::NEG_INFINITY;
    // Each round takes another policy; far fewer are needed than there are.
    for _ in 0..10 * nodes + 100 {
        let (found, on_cycle) = best_cycle(&policy, edges)?;
        ratio = found.max(ratio);
        spread(&mut value, &policy, edges, on_cycle, ratio);
        let mut has_improved = false;
        for (number, edge) in edges.iter().enumerate() {
            let better = value[edge.to] + edge.time - ratio * edge.tokens as f64;
            let gain = better - value[edge.from];
            if gain > 0.0 {
                has_improved |= gain > PRECISION * largest * nodes as f64;
                value[edge.from] = better;
                policy[edge.from] = number;
            }
        }
        if !has_improved {
            return Some(ratio);
        }
    }
    // Policies may take turns without an end. From the ratio that they have come to, cycles are searched one by one.
    loop {
        match better_cycle(nodes, edges, ratio) {
            None => return Some(ratio),
            Some((_, tokens)) if tokens <= 0 => return None,
            Some((time, tokens)) => {
                let better = time / tokens as f64;
                if better <= ratio {
                    return Some(ratio);
                }
                ratio = better;
            }
        }
    }
}

/// Time and tokens of a cycle whose ratio is larger, by Bellman and Ford. `None` where there is none beyond rounding.
fn better_cycle(nodes: usize, edges: &[Edge], ratio: f64) -> Option<(f64, i64)> {
    let largest = edges.iter().map(|edge| edge.time).fold(1.0, f64::max);
    let mut value = vec![0.0; nodes];
    // The edge over which each node got its value.
    let mut came_by: Vec<Option<usize>> = vec![None; nodes];
    let mut last = None;
    for _ in 0..=nodes {
        last = None;
        for (number, edge) in edges.iter().enumerate() {
            let better = value[edge.from] + edge.time - ratio * edge.tokens as f64;
            if better - value[edge.to] > PRECISION * largest * nodes as f64 {
                value[edge.to] = better;
                came_by[edge.to] = Some(number);
                last = Some(edge.to);
            }
        }
        last?;
    }
    // What still grows after as many rounds as nodes comes from a cycle.
    let mut at = last?;
    for _ in 0..nodes {
        at = edges[came_by[at]?].from;
    }
    let (first, mut time, mut tokens) = (at, 0.0, 0);
    loop {
        let edge = &edges[came_by[at]?];
        time += edge.time;
        tokens += edge.tokens;
        at = edge.from;
        if at == first {
            return Some((time, tokens));
        }
    }
}

/// The largest ratio of the cycles that the policy runs into, and a node on that one.
fn best_cycle(policy: &[usize], edges: &[Edge]) -> Option<(f64, usize)> {
    // Which walk has come to a node first; 0 for none.
    let mut walked = vec![0; policy.len()];
    let mut best: Option<(f64, usize)> = None;
    for start in 0..policy.len() {
        let walk = start + 1;
        let mut at = start;
        while walked[at] == 0 {
            walked[at] = walk;
            at = edges[policy[at]].to;
        }
        if walked[at] != walk {
            continue;
        }
        let (first, mut time, mut tokens) = (at, 0.0, 0);
        loop {
            let edge = &edges[policy[at]];
            time += edge.time;
            tokens += edge.tokens;
            at = edge.to;
            if at == first {
                break;
            }
        }
        if tokens <= 0 {
            return None;
        }
        let ratio = time / tokens as f64;
        if best.is_none_or(|(best, _)| ratio > best) {
            best = Some((ratio, first));
        }
    }
    best
}

/// Gives the nodes that come to `root` by the policy their values: what the way there takes beyond the ratio.
fn spread(value: &mut [f64], policy: &[usize], edges: &[Edge], root: usize, ratio: f64) {
    let mut before: Vec<Vec<usize>> = vec![Vec::new(); policy.len()];
    for (node, &edge) in policy.iter().enumerate() {
        before[edges[edge].to].push(node);
    }
    let mut found = vec![root];
    while let Some(node) = found.pop() {
        for &from in &before[node] {
            if from != root {
                let edge = &edges[policy[from]];
                value[from] = value[node] + edge.time - ratio * edge.tokens as f64;
                found.push(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edge(from: usize, to: usize, time: f64, tokens: i64) -> Edge {
        Edge {
            from,
            to,
            time,
            tokens,
        }
    }

    #[test]
    fn the_slowest_cycle_counts() {
        let edges = [
            edge(0, 0, 3.0, 1),
            edge(0, 1, 4.0, 0),
            edge(1, 0, 10.0, 2),
            edge(1, 1, 6.0, 1),
        ];
        assert_eq!(max_cycle_ratio(2, &edges), Some(7.0));
    }

    #[test]
    fn a_cycle_without_tokens_has_no_ratio() {
        assert_eq!(max_cycle_ratio(1, &[edge(0, 0, 1.0, 0)]), None);
        assert_eq!(max_cycle_ratio(1, &[]), None);
    }

    #[test]
    fn policies_that_take_turns_are_no_answer() {
        let edges = [
            edge(0, 1, 1.0, 1),
            edge(1, 2, 1.0, 0),
            edge(2, 0, 1.0, 0),
            edge(2, 1, 40.0, 2),
            edge(1, 2, 21.0, 1),
        ];
        let found = max_cycle_ratio(3, &edges).unwrap();
        assert!((found - 20.5).abs() < 1e-9, "{found}");
    }

    /// Over all simple cycles.
    fn by_enumeration(nodes: usize, edges: &[Edge]) -> f64 {
        fn walk(
            at: usize,
            root: usize,
            seen: &mut Vec<bool>,
            sum: (f64, i64),
            edges: &[Edge],
        ) -> f64 {
            let mut best = f64::NEG_INFINITY;
            for edge in edges.iter().filter(|edge| edge.from == at) {
                let sum = (sum.0 + edge.time, sum.1 + edge.tokens);
                if edge.to == root {
                    best = best.max(sum.0 / sum.1 as f64);
                } else if edge.to > root && !seen[edge.to] {
                    seen[edge.to] = true;
                    best = best.max(walk(edge.to, root, seen, sum, edges));
                    seen[edge.to] = false;
                }
            }
            best
        }
        (0..nodes)
            .map(|root| walk(root, root, &mut vec![false; nodes], (0.0, 0), edges))
            .fold(f64::NEG_INFINITY, f64::max)
    }

    proptest! {
        #[test]
        fn no_cycle_is_slower(
            nodes in 1_usize..6,
            extra in prop::collection::vec((0_usize..6, 0_usize..6, 0_u8..50, 1_i64..4), 0..12),
        ) {
            // A ring makes it strongly connected.
            let ring = (0..nodes).map(|at| edge(at, (at + 1) % nodes, 1.0, i64::from(at == 0)));
            let more = extra.into_iter().map(|(from, to, time, tokens)| {
                edge(from % nodes, to % nodes, f64::from(time), tokens)
            });
            let edges: Vec<Edge> = ring.chain(more).collect();
            let (found, expected) = (max_cycle_ratio(nodes, &edges).unwrap(), by_enumeration(nodes, &edges));
            prop_assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }
}
