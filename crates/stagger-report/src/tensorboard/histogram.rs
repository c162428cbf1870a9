//! How the values of a tensor are distributed.

/// Bins of equal width from the smallest value to the largest. TensorBoard draws half as many.
const BINS: usize = 64;

/// Counts of values in bins; what a `HistogramProto` holds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Histogram {
    pub min: f64,
    pub max: f64,
    pub sum: f64,
    pub sum_of_squares: f64,
    /// Upper ends of the bins.
    pub limits: Vec<f64>,
    pub counts: Vec<f64>,
}

impl Histogram {
    /// That of the finite values; `None` where there is none.
    pub fn of(values: &[f32]) -> Option<Self> {
        let finite = || {
            let finite = values.iter().filter(|value| value.is_finite());
            finite.map(|value| f64::from(*value))
        };
        let (min, max) = finite().fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), value| {
            (min.min(value), max.max(value))
        });
        if min > max {
            return None;
        }
        let bins = if min == max { 1 } else { BINS };
        let width = (max - min) / bins as f64;
        let mut counts = vec![0.0; bins];
        let (mut sum, mut sum_of_squares) = (0.0, 0.0);
        for value in finite() {
            sum += value;
            sum_of_squares += value * value;
            // 0 divided by 0 is bin 0.
            let bin = ((value - min) / width) as usize;
            counts[bin.min(bins - 1)] += 1.0;
        }
        let mut limits: Vec<f64> = (1..=bins).map(|bin| min + width * bin as f64).collect();
        limits[bins - 1] = max;
        Some(Self {
            min,
            max,
            sum,
            sum_of_squares,
            limits,
            counts,
        })
    }

    /// How many values it counts.
    pub fn number(&self) -> f64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bins_are_of_equal_width() {
        let values: Vec<f32> = (0..=128).map(|value| value as f32 / 2.0).collect();
        let found = Histogram::of(&values).unwrap();
        assert_eq!((found.min, found.max), (0.0, 64.0));
        assert_eq!(found.limits, (1..=64).map(f64::from).collect::<Vec<_>>());
        let mut expected = vec![2.0; 64];
        // The largest value belongs to the last bin.
        expected[63] = 3.0;
        assert_eq!(found.counts, expected);
        assert_eq!(found.sum, 64.0 * 129.0 / 2.0);
    }

    #[test]
    fn equal_values_are_one_bin_and_no_values_are_none() {
        let found = Histogram::of(&[0.25; 3]).unwrap();
        assert_eq!((found.limits, found.counts), (vec![0.25], vec![3.0]));
        assert_eq!(found.sum_of_squares, 0.1875);
        for none in [&[][..], &[f32::NAN, f32::INFINITY]] {
            assert_eq!(Histogram::of(none), None);
        }
        let found = Histogram::of(&[f32::NAN, 1.0, f32::NEG_INFINITY]).unwrap();
        assert_eq!((found.min, found.max, found.number()), (1.0, 1.0, 1.0));
    }

    proptest! {
        #[test]
        fn every_finite_value_is_counted_once(values in proptest::collection::vec(proptest::num::f32::ANY, 0..300)) {
            let finite = values.iter().filter(|value| value.is_finite()).count();
            let found = Histogram::of(&values);
            prop_assert_eq!(found.is_some(), finite > 0);
            if let Some(found) = found {
                prop_assert_eq!(found.number(), finite as f64);
                prop_assert!(found.limits.is_sorted());
                prop_assert_eq!(found.limits.last(), Some(&found.max));
            }
        }
    }
}
