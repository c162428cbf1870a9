//! One line per epoch, for people.

use crate::summary::{EpochSummary, StageSummary};

/// The line of an epoch, without a line break. Lines of one run are aligned below each other:
///
/// ```text
/// epoch 2/4 · loss  0.412 · train  86.1 % · test  93.2 % (top-5  99.7 %) · lr 0.0854 ·    512 images/s · busy  98 %  96 % · bubble   3 % · staleness 2 0
/// ```
///
/// The loss is a mean over samples, `train` and `test` are top-1 accuracies, the learning rate is that of the last batch.
/// `busy` is the share of each stage's time in which it computed, `bubble` one minus the mean of these, `staleness` the mean
/// of each stage. `average`, where the mean of the weights is kept, is its top-1 test accuracy. `gap`, where it was measured, is how far each stage's weights move between forward and backward, as a
/// share of their norm. A run whose stages only sleep has `emulated` in the place of everything that it would have learned.
pub fn format_epoch(summary: &EpochSummary) -> String {
    let digits = summary.epochs.to_string().len();
    let percents = |shares: &mut dyn Iterator<Item = f64>| -> String {
        shares
            .map(|share| format!(" {:3.0} %", 100.0 * share))
            .collect()
    };
    let busy = percents(&mut summary.stages.iter().map(|stage| stage.busy_share));
    let staleness: String = summary
        .stages
        .iter()
        .map(|stage| short_mean(stage.staleness_mean))
        .collect();
    let learned = match summary.emulated {
        true => "emulated".to_owned(),
        false => format!(
            "{} · test {}{}",
            trained(summary),
            test_scores(summary),
            rate(summary)
        ),
    };
    format!(
        "epoch {:digits$}/{} · {learned} · {:6.0} images/s · busy{busy} · bubble{} · staleness{staleness}{}",
        summary.epoch,
        summary.epochs,
        summary.images_per_second,
        percents(&mut std::iter::once(summary.bubble_share)),
        gaps(summary),
    )
}

/// ` · gap 0.0123 –`, or nothing if no stage has measured it.
fn gaps(summary: &EpochSummary) -> String {
    let stages = &summary.stages;
    if stages.iter().all(|stage| stage.gap_mean.is_none()) {
        return String::new();
    }
    let gap = |stage: &StageSummary| {
        stage
            .gap_mean
            .map_or(" –".to_owned(), |gap| format!(" {gap:.4}"))
    };
    format!(" · gap{}", stages.iter().map(gap).collect::<String>())
}

/// `loss  1.234 · train  50.0 %`, or dashes of the same width where every batch was left out.
fn trained(summary: &EpochSummary) -> String {
    match summary.has_learned() {
        true => format!(
            "loss {} · train {:5.1} %",
            loss(summary.train_loss),
            summary.train_top1
        ),
        false => format!("loss {:>6} · train {:>5}  ", "–", "–"),
    }
}

/// ` · lr 0.1000`, that of the last batch.
fn rate(summary: &EpochSummary) -> String {
    match summary.has_learned() {
        true => format!(" · lr {}", learning_rate(summary.learning_rate)),
        false => format!(" · lr {:>6}", "–"),
    }
}

/// Six characters, unless the loss has diverged.
fn loss(mean: f64) -> String {
    if mean < 1e4 {
        format!("{mean:6.3}")
    } else {
        format!("{mean:6.1e}")
    }
}

/// ` 93.2 % (top-5  99.7 %)`, or a dash of the same width.
fn test_scores(summary: &EpochSummary) -> String {
    match (summary.test_top1, summary.test_top5) {
        (Some(top1), Some(top5)) => {
            let average = summary
                .average_top1
                .map_or_else(String::new, |top1| format!(", average {top1:5.1} %"));
            format!("{top1:5.1} % (top-5 {top5:5.1} %{average})")
        }
        _ => format!("{:>5}{:18}", "–", ""),
    }
}

/// Six characters: four decimals, or scientific notation for rates that would round to little or nothing.
fn learning_rate(rate: f64) -> String {
    if rate == 0.0 || rate >= 0.001 {
        format!("{rate:6.4}")
    } else {
        format!("{rate:6.1e}")
    }
}

/// A mean that is close to a whole number is printed as one.
fn short_mean(mean: f64) -> String {
    if (mean - mean.round()).abs() < 0.05 {
        format!(" {mean:.0}")
    } else {
        format!(" {mean:.1}")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::summary::StageSummary;

    fn stage(busy_share: f64, staleness_mean: f64) -> StageSummary {
        StageSummary {
            busy_share,
            staleness_mean,
            staleness_max: staleness_mean.ceil() as usize,
            ..StageSummary::default()
        }
    }

    fn summary() -> EpochSummary {
        EpochSummary {
            epoch: 2,
            epochs: 12,
            version: 200,
            batches: 100,
            train_loss: 0.4123,
            train_top1: 86.14,
            train_top5: 99.0,
            learning_rate: 0.08536,
            test_loss: Some(0.2),
            test_top1: Some(93.21),
            test_top5: Some(99.7),
            average_loss: None,
            average_top1: None,
            images_per_second: 511.8,
            wall: Duration::from_secs(25),
            stages: vec![stage(0.98, 1.98), stage(0.96, 0.0)],
            bubble_share: 0.03,
            emulated: false,
        }
    }

    #[test]
    fn an_emulated_run_has_learned_nothing() {
        let emulated = EpochSummary {
            emulated: true,
            ..summary()
        };
        assert_eq!(
            format_epoch(&emulated),
            "epoch  2/12 · emulated ·    512 images/s · busy  98 %  96 % · bubble   3 % · staleness 2 0"
        );
    }

    #[test]
    fn the_mean_of_the_weights_has_an_accuracy_of_its_own() {
        let averaged = EpochSummary {
            average_top1: Some(94.04),
            ..summary()
        };
        let line = format_epoch(&averaged);
        assert!(
            line.contains(" · test  93.2 % (top-5  99.7 %, average  94.0 %) · "),
            "{line}"
        );
    }

    #[test]
    fn lines_align() {
        let first = EpochSummary {
            epoch: 1,
            train_loss: 2.3,
            train_top1: 9.96,
            learning_rate: 0.1,
            stages: vec![stage(0.5, 1.5), stage(1.0, 0.0)],
            bubble_share: 0.25,
            ..summary()
        };
        let unevaluated = EpochSummary {
            epoch: 11,
            test_loss: None,
            test_top1: None,
            test_top5: None,
            learning_rate: 4.27e-5,
            images_per_second: 10234.0,
            ..summary()
        };
        let perfect = EpochSummary {
            epoch: 12,
            train_loss: 0.0004,
            train_top1: 100.0,
            test_top1: Some(100.0),
            test_top5: Some(100.0),
            learning_rate: 0.0,
            ..summary()
        };
        let left_out = EpochSummary {
            batches: 0,
            train_loss: 0.0,
            train_top1: 0.0,
            learning_rate: 0.0,
            images_per_second: 0.0,
            ..summary()
        };
        let lines = [first, summary(), unevaluated, perfect, left_out];
        let lines = lines.map(|epoch| format_epoch(&epoch));
        insta::assert_snapshot!(lines.join("\n"), @r"
        epoch  1/12 · loss  2.300 · train  10.0 % · test  93.2 % (top-5  99.7 %) · lr 0.1000 ·    512 images/s · busy  50 % 100 % · bubble  25 % · staleness 1.5 0
        epoch  2/12 · loss  0.412 · train  86.1 % · test  93.2 % (top-5  99.7 %) · lr 0.0854 ·    512 images/s · busy  98 %  96 % · bubble   3 % · staleness 2 0
        epoch 11/12 · loss  0.412 · train  86.1 % · test     –                   · lr 4.3e-5 ·  10234 images/s · busy  98 %  96 % · bubble   3 % · staleness 2 0
        epoch 12/12 · loss  0.000 · train 100.0 % · test 100.0 % (top-5 100.0 %) · lr 0.0000 ·    512 images/s · busy  98 %  96 % · bubble   3 % · staleness 2 0
        epoch  2/12 · loss      – · train     –   · test  93.2 % (top-5  99.7 %) · lr      – ·      0 images/s · busy  98 %  96 % · bubble   3 % · staleness 2 0
    ");
        let widths = lines.map(|line| line.split(" · staleness").next().unwrap().chars().count());
        assert!(widths.iter().all(|&width| width == widths[0]), "{widths:?}");
    }
}
