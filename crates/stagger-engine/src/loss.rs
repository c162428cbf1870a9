//! Cross-entropy with label smoothing, and accuracy counts.

use crate::error::EngineError;

/// What the last stage learns from the logits of a batch.
#[derive(Clone, Debug)]
pub struct Loss<A> {
    /// Mean over the batch. Not finite when a logit is not; what follows from that is the caller's decision.
    pub value: f32,
    /// Gradient of `value` by the logits, `[N, classes]`.
    pub grad: A,
    /// Samples whose label has the largest logit.
    pub correct_top1: usize,
    /// Samples whose label is among the 5 largest logits, or among all when there are fewer classes.
    pub correct_top5: usize,
}

/// How far a prediction is from its target.
#[derive(Clone, Debug)]
pub struct MseLoss<A> {
    /// Mean squared difference over all elements.
    pub value: f64,
    /// Gradient of `value` by the prediction, in its shape.
    pub grad: A,
}

/// What an evaluation learns from the logits of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// Mean cross-entropy over the batch, without label smoothing.
    pub loss: f32,
    /// As in [`Loss`].
    pub correct_top1: usize,
    /// As in [`Loss`].
    pub correct_top5: usize,
}

/// What the samples of a batch show, where each is a mixture of two.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixedLabels<'a> {
    /// The class of each sample's first part.
    pub labels: &'a [usize],
    /// The class of its other part; as many.
    pub others: &'a [usize],
    /// The share of the first part, in `[0, 1]`.
    pub own: f64,
}

impl<'a> MixedLabels<'a> {
    /// Of samples that are not mixed.
    pub fn plain(labels: &'a [usize]) -> Self {
        Self {
            labels,
            others: labels,
            own: 1.0,
        }
    }
}

/// A [`Loss`] whose gradient is in host memory, row-major.
pub type LossOnHost = Loss<Vec<f32>>;

/// Mean cross-entropy of `logits`, `[labels.len(), classes]` row-major, computed in `f64`.
///
/// With smoothing `ε` the target gives `1 − ε + ε/classes` to the label and `ε/classes` to every other class
/// (Szegedy et al. 2016, §7; PyTorch's `label_smoothing`).
///
/// A label is among the `k` largest when fewer than `k` logits beat its own; a logit beats another that is smaller,
/// or equal and further right, so that equal logits count once. A row with a NaN never counts as correct.
///
/// # Errors
/// [`EngineError::Labels`] when the number of logits is not `labels.len() · classes` or there are none,
/// [`EngineError::LabelOutOfRange`] for a label that is no class.
pub fn cross_entropy(
    logits: &[f32],
    classes: usize,
    labels: &[usize],
    smoothing: f64,
) -> Result<LossOnHost, EngineError> {
    mixed_cross_entropy(logits, classes, MixedLabels::plain(labels), smoothing)
}

/// [`cross_entropy`] of mixed samples: `own` times that of their first labels plus `1 − own` times that of the others. The label with the larger
/// share is the one that counts as correct, with equal shares the first.
///
/// # Errors
/// As [`cross_entropy`], for both.
pub fn mixed_cross_entropy(
    logits: &[f32],
    classes: usize,
    mixed: MixedLabels<'_>,
    smoothing: f64,
) -> Result<LossOnHost, EngineError> {
    let MixedLabels {
        labels,
        others,
        own,
    } = mixed;
    let fit = |labels: &[usize]| labels.len().checked_mul(classes) == Some(logits.len());
    if labels.is_empty() || classes == 0 || !fit(labels) || !fit(others) {
        let rows = logits.len() / classes.max(1);
        let labels = if fit(labels) { others } else { labels };
        return Err(EngineError::Labels {
            labels: labels.len(),
            logits: vec![rows, classes],
        });
    }
    let each = smoothing / classes as f64;
    let scale = 1.0 / labels.len() as f64;
    let mut total = 0.0;
    let mut grad = Vec::with_capacity(logits.len());
    let (mut correct_top1, mut correct_top5) = (0, 0);
    let pairs = labels.iter().zip(others);
    for (position, (row, (&label, &other))) in logits.chunks_exact(classes).zip(pairs).enumerate() {
        if let Some(label) = [label, other].into_iter().find(|label| *label >= classes) {
            return Err(EngineError::LabelOutOfRange {
                position,
                label,
                classes,
            });
        }
        let share_of = |class: usize| {
            let of = |label: usize, share: f64| if class == label { share } else { 0.0 };
            of(label, own) + of(other, 1.0 - own)
        };
        let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let shifted = |logit: f32| f64::from(logit) - f64::from(largest);
        let log_sum = row
            .iter()
            .map(|&logit| shifted(logit).exp())
            .sum::<f64>()
            .ln();
        for (class, &logit) in row.iter().enumerate() {
            let log_probability = shifted(logit) - log_sum;
            let target = each + share_of(class) * (1.0 - smoothing);
            // A class of probability 0 with target 0 contributes nothing, not 0·∞.
            if target != 0.0 {
                total -= target * log_probability;
            }
            grad.push(((log_probability.exp() - target) * scale) as f32);
        }
        let shown = if own >= 0.5 { label } else { other };
        if let Some(rank) = rank(row, shown) {
            correct_top1 += usize::from(rank < 1);
            correct_top5 += usize::from(rank < 5);
        }
    }
    Ok(Loss {
        value: (total * scale) as f32,
        grad,
        correct_top1,
        correct_top5,
    })
}

/// How many logits beat that of `label`; none when the row has a NaN.
fn rank(row: &[f32], label: usize) -> Option<usize> {
    if row.iter().any(|logit| logit.is_nan()) {
        return None;
    }
    let own = row[label];
    Some(
        row.iter()
            .enumerate()
            .filter(|&(class, &logit)| logit > own || (logit == own && class < label))
            .count(),
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn even_logits_cost_the_logarithm_of_the_classes() {
        let loss = cross_entropy(&[0.0; 8], 4, &[1, 3], 0.0).unwrap();
        assert!((loss.value - 4.0_f32.ln()).abs() < 1e-6);
        assert_eq!(loss.grad[..4], [0.125, -0.375, 0.125, 0.125]);
        assert_eq!(
            (loss.correct_top1, loss.correct_top5),
            (0, 2),
            "ties go to the left"
        );
    }

    #[test]
    fn mixed_labels_count_by_their_shares() {
        let logits = [0.3, -1.0, 2.0, 0.5, 0.1, 1.5];
        let of = |labels: &[usize]| cross_entropy(&logits, 3, labels, 0.1).unwrap();
        let (first, other) = (of(&[0, 2]), of(&[2, 1]));
        let mixed = MixedLabels {
            labels: &[0, 2],
            others: &[2, 1],
            own: 0.3,
        };
        let mixed = mixed_cross_entropy(&logits, 3, mixed, 0.1).unwrap();
        assert!((mixed.value - (0.3 * first.value + 0.7 * other.value)).abs() < 1e-6);
        for ((mixed, first), other) in mixed.grad.iter().zip(&first.grad).zip(&other.grad) {
            assert!((mixed - (0.3 * first + 0.7 * other)).abs() < 1e-6);
        }
        assert_eq!(mixed.correct_top1, other.correct_top1);
        let error = mixed_cross_entropy(
            &logits,
            3,
            MixedLabels {
                labels: &[0, 2],
                others: &[2, 3],
                own: 0.3,
            },
            0.0,
        );
        assert!(
            error
                .unwrap_err()
                .to_string()
                .starts_with("label 3 at position 1")
        );
    }

    #[test]
    fn counts() {
        let row = [0.0, 7.0, 1.0, 6.0, 2.0, 5.0, 3.0];
        for (label, expected) in [(1, (1, 1)), (3, (0, 1)), (4, (0, 1)), (2, (0, 0))] {
            let loss = cross_entropy(&row, 7, &[label], 0.0).unwrap();
            assert_eq!(
                (loss.correct_top1, loss.correct_top5),
                expected,
                "label {label}"
            );
        }
        let few = cross_entropy(&[0.0, 1.0, 2.0], 3, &[0], 0.0).unwrap();
        assert_eq!(
            (few.correct_top1, few.correct_top5),
            (0, 1),
            "fewer than 5 classes"
        );
    }

    #[test]
    fn nan_is_never_correct_and_shows_in_the_value() {
        let loss = cross_entropy(&[f32::NAN, 1.0, 9.0, 0.0], 2, &[0, 0], 0.0).unwrap();
        assert!(loss.value.is_nan());
        assert_eq!((loss.correct_top1, loss.correct_top5), (1, 1));
    }

    #[test]
    fn large_logits_do_not_overflow() {
        let loss = cross_entropy(&[1e30, -1e30, f32::NEG_INFINITY], 3, &[0], 0.0).unwrap();
        assert_eq!((loss.value, loss.grad), (0.0, vec![0.0; 3]));
    }

    #[test]
    fn foreign_labels_are_errors() {
        let error = cross_entropy(&[0.0; 6], 3, &[2, 3], 0.0)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "label 3 at position 1 of the batch is out of range: the model has 3 classes, \
             numbered from 0; check the data set or the number of classes"
        );
        let error = cross_entropy(&[0.0; 6], 3, &[2], 0.0)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "the loss expects one label per row of the logits but gets 1 labels for logits of shape [2, 3]"
        );
    }

    proptest! {
        #[test]
        fn gradient_is_the_derivative(
            logits in prop::collection::vec(-3.0..3.0_f32, 12),
            labels in prop::collection::vec(0..4_usize, 3),
            smoothing in 0.0..0.5_f64,
            at in 0..12_usize,
        ) {
            let value = |step: f32| {
                let mut moved = logits.clone();
                moved[at] += step;
                f64::from(cross_entropy(&moved, 4, &labels, smoothing).unwrap().value)
            };
            let grad = cross_entropy(&logits, 4, &labels, smoothing).unwrap().grad;
            let slope = (value(0.01) - value(-0.01)) / 0.02;
            prop_assert!((f64::from(grad[at]) - slope).abs() < 1e-3, "{} {}", grad[at], slope);
            prop_assert!(grad.iter().sum::<f32>().abs() < 1e-5);
        }
    }
}
