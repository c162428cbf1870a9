//! The charts of runs, and their captions.

use super::reported_run::ReportedRun;
use super::thinned::POINTS;
use crate::charts::{ChartError, Figure, Line, bars, lines};
use crate::saturating;
use crate::staleness_bars::staleness_bars;
use crate::summary::{EpochSummary, StageSummary};

/// Charts in which all runs are.
pub(super) fn common(runs: &[ReportedRun]) -> Result<Vec<Figure>, ChartError> {
    let mut figures = Vec::new();
    let mut add = |title, svg, caption| figures.extend(figure(title, svg, caption));
    // Emulated stages learn nothing.
    let learning = || runs.iter().filter(|run| !run.is_emulated);
    let losses: Vec<Line> = learning()
        .map(|run| line(run, run.losses.points()))
        .collect();
    let most = learning().map(|run| run.losses.group()).max().unwrap_or(1);
    add(
        "Training loss",
        lines("batch", "training loss", false, &losses)?,
        match most {
            1 => "Mean loss of each batch.".to_owned(),
            _ => format!("Mean loss of {most} neighbouring batches, or of fewer for shorter runs."),
        },
    );
    let accuracies = learning().flat_map(|run| {
        let test = |epoch: &EpochSummary| epoch.test_top1;
        let train = |epoch: &EpochSummary| epoch.has_learned().then_some(epoch.train_top1);
        let average = |epoch: &EpochSummary| epoch.average_top1;
        let name = |what: &str| match runs.len() {
            1 => what.to_owned(),
            _ => format!("{}, {what}", run.name),
        };
        [
            Line {
                name: name("test"),
                mean: over_epochs(&run.epochs, test),
                each: Vec::new(),
            },
            Line {
                name: name("train"),
                mean: over_epochs(&run.epochs, train),
                each: Vec::new(),
            },
            Line {
                name: name("test, mean of the weights"),
                mean: over_epochs(&run.epochs, average),
                each: Vec::new(),
            },
        ]
    });
    let accuracies: Vec<Line> = accuracies.filter(|line| !line.mean.is_empty()).collect();
    add(
        "Accuracy",
        lines("epoch", "top-1, percent", false, &accuracies)?,
        with_thinning(
            runs,
            "Images whose label had the highest score. Training images are augmented, and counted while the weights change.",
        ),
    );
    let rates: Vec<Line> = learning()
        .map(|run| line(run, run.rates.points()))
        .collect();
    add(
        "Learning rate",
        lines("batch", "learning rate", true, &rates)?,
        match most {
            1 => "That of each batch, after warm-up, schedule and rollbacks.".to_owned(),
            _ => format!(
                "Mean of {most} neighbouring batches, after warm-up, schedule and rollbacks."
            ),
        },
    );
    let throughputs: Vec<Line> = runs
        .iter()
        .map(|run| {
            let rate = |epoch: &EpochSummary| Some(epoch.images_per_second);
            line(run, over_epochs(&run.epochs, rate))
        })
        .collect();
    add(
        "Throughput",
        lines("epoch", "images/s", true, &throughputs)?,
        with_thinning(
            runs,
            "Samples of an epoch per second of training, without evaluations and snapshots.",
        ),
    );
    Ok(figures)
}

/// Charts of the stages of one run.
pub(super) fn of_stages(run: &ReportedRun) -> Result<Vec<Figure>, ChartError> {
    let mut figures = Vec::new();
    let mut add = |title, svg, caption| figures.extend(figure(title, svg, caption));
    let stages = run.epochs.first().map_or(0, |epoch| epoch.stages.len());
    let one = std::slice::from_ref(run);
    let each_stage = |value: fn(&StageSummary) -> Option<f64>| -> Vec<Line> {
        (0..stages)
            .map(|stage| Line {
                name: format!("stage {stage}"),
                mean: over_epochs(&run.epochs, |epoch| epoch.stages.get(stage).and_then(value)),
                each: Vec::new(),
            })
            .filter(|line| !line.mean.is_empty())
            .collect()
    };
    let busy = each_stage(|stage| Some(100.0 * stage.busy_share));
    add(
        "Busy share of each stage",
        lines("epoch", "busy, percent", false, &busy)?,
        with_thinning(
            one,
            "Share of its training time in which a stage computed. What is missing to 100 % is the bubble: it waited.",
        ),
    );
    let gaps = each_stage(|stage| stage.gap_mean);
    add(
        "Gap of each stage",
        lines("epoch", "‖w − w_forward‖ / ‖w‖", true, &gaps)?,
        with_thinning(
            one,
            "How far the weights of a stage move between the forward and the backward pass of a batch: what staleness costs in accuracy \
             comes from there.",
        ),
    );
    let counts = staleness_counts(&run.epochs, stages);
    let counts: Vec<&[usize]> = counts.iter().map(Vec::as_slice).collect();
    let groups = staleness_bars(&counts);
    let names: Vec<String> = (0..stages).map(|stage| format!("stage {stage}")).collect();
    add(
        "Staleness of each stage",
        bars(&names, Some(100.0), |value| format!("{value:.0} %"), &groups)?,
        "Share of the batches by the number of updates between their forward and their backward, as counted. The first batches of a run \
         have fewer than the rest."
            .to_owned(),
    );
    Ok(figures)
}

fn line(run: &ReportedRun, mean: Vec<(f64, f64)>) -> Line {
    Line {
        name: run.name.clone(),
        mean,
        each: Vec::new(),
    }
}

/// A chart with its caption, where there is something to draw.
fn figure(title: &str, svg: Option<String>, caption: String) -> Option<Figure> {
    let title = title.to_owned();
    svg.map(|svg| Figure {
        title,
        svg,
        caption,
    })
}

/// Every how many epochs a chart has a point.
fn stride(epochs: usize) -> usize {
    epochs.div_ceil(POINTS).max(1)
}

fn over_epochs(
    epochs: &[EpochSummary],
    value: impl Fn(&EpochSummary) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let stride = stride(epochs.len());
    let last = epochs.len().saturating_sub(1);
    let shown = epochs.iter().enumerate();
    shown
        .filter(|(at, _)| at % stride == 0 || *at == last)
        .filter_map(|(_, epoch)| Some((epoch.epoch as f64, value(epoch)?)))
        .collect()
}

fn with_thinning(runs: &[ReportedRun], caption: &str) -> String {
    let longest = runs.iter().map(|run| run.epochs.len()).max();
    match stride(longest.unwrap_or(0)) {
        1 => caption.to_owned(),
        stride => format!("{caption} One epoch in {stride} of the longest run is drawn."),
    }
}

fn staleness_counts(epochs: &[EpochSummary], stages: usize) -> Vec<Vec<usize>> {
    let mut counts = vec![Vec::new(); stages];
    for epoch in epochs {
        for (sums, stage) in counts.iter_mut().zip(&epoch.stages) {
            saturating::add_each(sums, &stage.staleness_counts);
        }
    }
    counts
}
