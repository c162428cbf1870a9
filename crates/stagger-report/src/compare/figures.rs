//! The charts of a report, and their captions.

use super::method::{Comparison, MethodResult};
use super::progress::Trained;
use super::run::RunResult;
use super::table::mebibytes;
use crate::charts::{Bars, ChartError, Figure, Line, bars, lines};
use crate::staleness_bars::staleness_bars;

/// Most points of a line of losses; neighbouring batches are averaged to get there.
const POINTS: usize = 150;

/// All charts that have numbers to show.
pub fn figures(comparison: &Comparison) -> Result<Vec<Figure>, ChartError> {
    let mut figures = Vec::new();
    let emulated = comparison.plan.emulated.is_some();
    let mut add = |title: &str, svg: Option<String>, caption: &str| {
        figures.extend(svg.map(|svg| Figure {
            title: match emulated {
                true => format!("{title} (emulated)"),
                false => title.to_owned(),
            },
            svg,
            caption: caption.to_owned(),
        }));
    };
    add(
        "Throughput against slow-down",
        lines(
            "slow-down of a stage, percent",
            "images/s",
            true,
            &throughputs(comparison),
        )?,
        "Samples per second, the median over the seeds. The flatter a line, the better the method bears stages that are \
         slower now and then.",
    );
    let over_epochs: (_, fn(&Trained) -> f64) = ("epochs", |trained| trained.epochs);
    let over_time: (_, fn(&Trained) -> f64) = ("seconds of training", |trained| trained.seconds);
    let loss = ("training loss", Quantity::Loss);
    let accuracy = ("top-1, percent", Quantity::Accuracy);
    let same = "The same against the time it took, without evaluations.";
    for (title, (x, at), (y, quantity), caption) in [
        (
            "Training loss over epochs",
            over_epochs,
            loss,
            "Mean loss of neighbouring batches. Lines that lie on each other learn as much from each image.",
        ),
        ("Training loss over time", over_time, loss, same),
        (
            "Test accuracy over epochs",
            over_epochs,
            accuracy,
            "Test images whose label had the highest score.",
        ),
        ("Test accuracy over time", over_time, accuracy, same),
    ] {
        // Emulated stages learn nothing.
        if emulated {
            continue;
        }
        let chart = lines(x, y, false, &curves(comparison, at, quantity))?;
        let seeds = "Thick: mean over the seeds; thin: each seed.";
        add(title, chart, &format!("{caption} {seeds}"));
    }
    let results = comparison.at_least_slowdown();
    let percent = |value: f64| format!("{value:.0} %");
    add(
        "Busy share of each stage",
        bars(&stages(results), Some(100.0), percent, &busy(results))?,
        "Share of the training time in which a stage computed. What is missing to 100 % is the bubble: the stage waited.",
    );
    add(
        "Peak memory",
        bars(&[], None, |bytes| mebibytes(bytes as u64), &memory(results))?,
        "Peak resident memory of the whole process, the largest of all seeds.",
    );
    for result in results {
        let shares = histogram(result);
        add(
            &format!("Staleness of {}", result.method),
            bars(
                &stages(std::slice::from_ref(result)),
                Some(100.0),
                percent,
                &shares,
            )?,
            "Share of the batches by the number of updates between their forward and their backward, as counted in the \
             runs. The first batches of a run have fewer than the rest.",
        );
    }
    Ok(figures)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Quantity {
    Loss,
    Accuracy,
}

/// A line per method, at the lowest slow-down.
fn curves(comparison: &Comparison, x: fn(&Trained) -> f64, quantity: Quantity) -> Vec<Line> {
    let results = comparison.at_least_slowdown();
    let longest = results
        .iter()
        .flat_map(|result| comparison.done(&result.method, result.slowdown_percent))
        .map(|(_, run)| run.progress.batches.len())
        .max();
    let group = longest.unwrap_or(0).div_ceil(POINTS).max(1);
    let line = |result: &MethodResult| {
        let runs = comparison.done(&result.method, result.slowdown_percent);
        let points = |(_, run): &(u64, &RunResult)| match quantity {
            Quantity::Loss => thinned(&run.progress.batches, group, x),
            Quantity::Accuracy => {
                let evaluations = run.progress.evaluations.iter();
                evaluations
                    .map(|(trained, top1)| (x(trained), *top1))
                    .collect()
            }
        };
        let each: Vec<Vec<(f64, f64)>> = runs.iter().map(points).collect();
        Line {
            name: result.method.clone(),
            mean: mean_line(&each),
            each,
        }
    };
    results.iter().map(line).collect()
}

/// The mean loss of each `group` of batches, at the position of its last batch.
fn thinned(batches: &[Trained], group: usize, x: fn(&Trained) -> f64) -> Vec<(f64, f64)> {
    let point = |batches: &[Trained]| {
        let sum: f64 = batches.iter().map(|batch| batch.loss).sum();
        (batches.last().map_or(0.0, x), sum / batches.len() as f64)
    };
    batches.chunks(group).map(point).collect()
}

/// Mean of the lines, point by point up to the end of the shortest.
fn mean_line(each: &[Vec<(f64, f64)>]) -> Vec<(f64, f64)> {
    let common = each.iter().map(Vec::len).min().unwrap_or(0);
    let count = each.len() as f64;
    let mean = |at: usize| {
        let points = each.iter().map(|line| line[at]);
        let (x, y) = points.fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (x / count, y / count)
    };
    (0..common).map(mean).collect()
}

fn throughputs(comparison: &Comparison) -> Vec<Line> {
    let line = |method: &String| Line {
        name: method.clone(),
        mean: comparison
            .results
            .iter()
            .filter(|result| result.method == *method)
            .filter_map(|result| Some((result.slowdown_percent, result.images_per_second?)))
            .collect(),
        each: Vec::new(),
    };
    comparison.plan.methods.iter().map(line).collect()
}

fn stages(results: &[MethodResult]) -> Vec<String> {
    let most = results.iter().map(|result| result.busy_shares.len()).max();
    (0..most.unwrap_or(0))
        .map(|stage| format!("stage {stage}"))
        .collect()
}

fn busy(results: &[MethodResult]) -> Vec<Bars> {
    let bars = |result: &MethodResult| Bars {
        name: result.method.clone(),
        values: result
            .busy_shares
            .iter()
            .map(|share| 100.0 * share)
            .collect(),
    };
    results.iter().map(bars).collect()
}

fn memory(results: &[MethodResult]) -> Vec<Bars> {
    let bars = |result: &MethodResult| {
        Some(Bars {
            name: result.method.clone(),
            values: vec![result.peak_memory_bytes? as f64],
        })
    };
    results.iter().filter_map(bars).collect()
}

fn histogram(result: &MethodResult) -> Vec<Bars> {
    let counts = result.staleness.iter().map(|stage| stage.counts.as_slice());
    staleness_bars(&counts.collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::fixtures::{comparison, straggling};

    #[test]
    fn a_chart_for_every_question() {
        let titles = |comparison: &Comparison| -> Vec<String> {
            let figures = figures(comparison).unwrap().into_iter();
            figures.map(|figure| figure.title).collect()
        };
        let (_folder, compared) = comparison();
        assert_eq!(
            titles(&compared),
            [
                "Training loss over epochs",
                "Training loss over time",
                "Test accuracy over epochs",
                "Test accuracy over time",
                "Busy share of each stage",
                "Peak memory",
                "Staleness of bp",
                "Staleness of dsp"
            ]
        );
        let (_folder, slowed) = straggling();
        assert_eq!(titles(&slowed)[0], "Throughput against slow-down");
    }

    #[test]
    fn lines_of_seeds_are_averaged_as_far_as_all_go() {
        let each = [
            vec![(1.0, 10.0), (2.0, 20.0), (3.0, 9.0)],
            vec![(3.0, 30.0), (4.0, 40.0)],
        ];
        assert_eq!(mean_line(&each), [(2.0, 20.0), (3.0, 30.0)]);
        assert_eq!(mean_line(&[]), []);
        let batch = |seconds, loss| Trained {
            epochs: 0.0,
            seconds,
            loss,
        };
        let batches = [batch(1.0, 4.0), batch(2.0, 2.0), batch(3.0, 1.0)];
        let found = thinned(&batches, 2, |trained| trained.seconds);
        assert_eq!(found, [(2.0, 3.0), (3.0, 1.0)]);
    }

    #[test]
    fn a_histogram_has_the_shares_of_each_stage() {
        let (_folder, comparison) = comparison();
        let groups = histogram(&comparison.results[1]);
        assert_eq!(groups.len(), 3);
        assert_eq!(groups[2].name, "2");
        assert_eq!(groups[2].values, [80.0, 0.0]);
        assert_eq!(groups[0].values, [10.0, 100.0]);
    }
}
