//! How devices are dealt out to stages whose numbers of replicas differ.

use stagger_schedule::Replicas;

/// Up to so many devices all numbers of replicas are tried that suit each other: 608 for ten.
const FEW_DEVICES: usize = 10;

/// With more devices these are up to so many stages of which a run of neighbours has replicas, as many each.
const FEW_STAGES: usize = 8;

/// Copies of each stage that differ, on so many devices at most and in so many stages. A stage with replicas is next to stages with as
/// many, or with one each.
pub(super) fn uneven(devices: usize, most_stages: usize) -> Vec<Vec<usize>> {
    let mut found = Vec::new();
    match devices <= FEW_DEVICES {
        true => all(devices, most_stages, &mut Vec::new(), &mut found),
        false => runs(devices, most_stages.min(FEW_STAGES), &mut found),
    }
    found
}

/// All of them that begin with these.
fn all(devices: usize, most_stages: usize, begun: &mut Vec<usize>, found: &mut Vec<Vec<usize>>) {
    if begun.windows(2).any(|pair| pair[0] != pair[1]) {
        found.push(begun.clone());
    }
    if begun.len() == most_stages {
        return;
    }
    for count in 1..=devices {
        if begun.last().is_none_or(|&below| suits(below, count)) {
            begun.push(count);
            all(devices - count, most_stages, begun, found);
            begun.pop();
        }
    }
}

fn suits(below: usize, above: usize) -> bool {
    Replicas::new(&[below, above], 2).is_ok()
}

/// Those with a run of stages that have as many each, and one of each other stage.
fn runs(devices: usize, most_stages: usize, found: &mut Vec<Vec<usize>>) {
    for stages in 2..=most_stages {
        for length in 1..stages {
            let most = (devices.saturating_sub(stages - length)) / length;
            for (count, first) in
                (2..=most).flat_map(|count| (0..=stages - length).map(move |first| (count, first)))
            {
                let mut counts = vec![1; stages];
                counts[first..first + length].fill(count);
                found.push(counts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every list of counts from 1 up to a sum and a length, by counting.
    fn by_counting(devices: usize, most_stages: usize) -> BTreeSet<Vec<usize>> {
        let mut found = BTreeSet::new();
        for stages in 1..=most_stages {
            let all = (0..devices.pow(stages as u32)).map(|number| {
                let digit = |at: usize| number / devices.pow(at as u32) % devices + 1;
                (0..stages).map(digit).collect::<Vec<_>>()
            });
            found.extend(all.filter(|counts| {
                let differ = counts.iter().any(|&count| count != counts[0]);
                let fit = counts.iter().sum::<usize>() <= devices;
                differ && fit && Replicas::new(counts, stages).is_ok()
            }));
        }
        found
    }

    #[test]
    fn few_devices_are_dealt_out_in_every_way() {
        for (devices, most_stages) in [(2, 2), (3, 3), (4, 4), (5, 3), (6, 6)] {
            let found = uneven(devices, most_stages);
            let distinct: BTreeSet<Vec<usize>> = found.iter().cloned().collect();
            assert_eq!(distinct.len(), found.len(), "each of them once");
            assert_eq!(distinct, by_counting(devices, most_stages));
        }
        assert_eq!(uneven(FEW_DEVICES, FEW_DEVICES).len(), 608);
    }

    #[test]
    fn many_devices_are_dealt_out_in_a_bounded_number_of_ways() {
        let found = uneven(64, 64);
        let distinct: BTreeSet<&Vec<usize>> = found.iter().collect();
        assert_eq!(distinct.len(), found.len(), "each of them once");
        for counts in &found {
            assert!(counts.iter().sum::<usize>() <= 64 && counts.len() <= FEW_STAGES);
            assert!(Replicas::new(counts, counts.len()).unwrap().any());
        }
        assert!(found.contains(&vec![1, 31, 31, 1]));
        assert!(found.len() < 5000, "{}", found.len());
    }
}
