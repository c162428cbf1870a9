//! Curves of loss, accuracy and throughput.

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Chart, Dataset, GraphType};

use super::{loss, rule};
use crate::palette::Palette;
use crate::seen::RunSeen;

/// Columns from which on three charts stand beside each other.
const WIDE: u16 = 110;
/// Rows of charts from which on throughput stands below the others.
const HIGH: u16 = 12;

type Points = Vec<(f64, f64)>;

/// One chart.
struct Picture {
    title: Vec<Span<'static>>,
    /// Points that a line connects: their means,
    line: Points,
    /// of which this is shown.
    of_mean: Option<fn(f64) -> f64>,
    /// Points that stand alone.
    dots: Points,
    /// Bounds of the numbers, where they are given.
    least: Option<f64>,
    most: Option<f64>,
    shown: fn(f64) -> String,
}

/// Whether there is a curve.
pub fn is_needed(seen: &RunSeen) -> bool {
    !seen.loss.is_empty()
}

/// Draws as many charts as fit.
pub fn draw(frame: &mut Frame<'_>, area: Rect, seen: &RunSeen, palette: Palette) {
    if area.height < 4 || area.width < 20 {
        return;
    }
    if !is_needed(seen) {
        let title = vec![Span::styled("curves", palette.title())];
        let below = rule(frame, area, title, palette);
        let text = Line::styled(" no batch is through yet", palette.quiet());
        frame.render_widget(text, below);
        return;
    }
    let throughput = throughput(seen, palette);
    if seen.is_emulated {
        chart(frame, area, throughput, palette);
        return;
    }
    let [first, second] = [losses(seen, palette), accuracies(seen, palette)];
    if area.width >= WIDE {
        let places: [Rect; 3] = Layout::horizontal([Constraint::Fill(1); 3])
            .spacing(1)
            .areas(area);
        for (picture, place) in [first, second, throughput].into_iter().zip(places) {
            chart(frame, place, picture, palette);
        }
        return;
    }
    let mut above = area;
    if area.height >= HIGH {
        let low = 5;
        let parts = [Constraint::Fill(1), Constraint::Length(low)];
        let [top, bottom] = Layout::vertical(parts).areas(area);
        above = top;
        chart(frame, bottom, throughput, palette);
    }
    let places: [Rect; 2] = Layout::horizontal([Constraint::Fill(1); 2])
        .spacing(1)
        .areas(above);
    for (picture, place) in [first, second].into_iter().zip(places) {
        chart(frame, place, picture, palette);
    }
}

/// `─ training` and `• test`, as they are drawn.
fn names(title: &'static str, has_test: bool, palette: Palette) -> Vec<Span<'static>> {
    let mut spans = vec![Span::styled(title, palette.title())];
    if has_test {
        spans.push(Span::styled(" ⠒ training", palette.training()));
        spans.push(Span::styled(" • test", palette.test()));
    }
    spans
}

fn losses(seen: &RunSeen, palette: Palette) -> Picture {
    let dots = seen.test_loss.points();
    Picture {
        title: names("loss", !dots.is_empty(), palette),
        line: seen.loss.points(),
        of_mean: None,
        dots,
        least: None,
        most: None,
        shown: loss,
    }
}

fn accuracies(seen: &RunSeen, palette: Palette) -> Picture {
    let dots = seen.test_accuracy.points();
    Picture {
        title: names("accuracy", !dots.is_empty(), palette),
        line: seen.accuracy.points(),
        of_mean: None,
        dots,
        least: None,
        most: None,
        shown: |percent| format!("{percent:.0} %"),
    }
}

fn throughput(seen: &RunSeen, palette: Palette) -> Picture {
    Picture {
        title: vec![Span::styled("images/s", palette.title())],
        line: seen.pace.points(),
        of_mean: Some(|pace| 1.0 / pace.max(1e-9)),
        dots: Vec::new(),
        least: Some(0.0),
        most: None,
        shown: |rate| match rate {
            0.0 => "0".to_owned(),
            rate if rate < 10.0 => format!("{rate:.1}"),
            rate => format!("{rate:.0}"),
        },
    }
}

/// Means of neighbouring points, so many at most: single batches say little, and a curve is easier to read than a band.
fn smoothed(points: &[(f64, f64)], most: usize) -> Points {
    let group = points.len().div_ceil(most.max(1)).max(1);
    let mean = |group: &[(f64, f64)]| {
        let sum: f64 = group.iter().map(|(_, y)| y).sum();
        let (last, _) = group[group.len() - 1];
        (last, sum / group.len() as f64)
    };
    points.chunks(group).map(mean).collect()
}

fn chart(frame: &mut Frame<'_>, area: Rect, mut picture: Picture, palette: Palette) {
    let inside = rule(frame, area, picture.title, palette);
    picture.line = smoothed(&picture.line, usize::from(inside.width));
    if let Some(of_mean) = picture.of_mean {
        picture.line.iter_mut().for_each(|(_, y)| *y = of_mean(*y));
    }
    let points = || picture.line.iter().chain(&picture.dots);
    let Some(&(first, _)) = points().next() else {
        return;
    };
    let last = points().map(|(x, _)| *x).fold(first, f64::max);
    let fold = |start: f64, pick: fn(f64, f64) -> f64| points().map(|(_, y)| *y).fold(start, pick);
    let least = picture
        .least
        .unwrap_or_else(|| fold(f64::INFINITY, f64::min));
    let most = picture
        .most
        .unwrap_or_else(|| fold(f64::NEG_INFINITY, f64::max));
    // A line that is even is in the middle.
    let margin = if most > least {
        0.0
    } else {
        most.abs().max(1.0) / 2.0
    };
    let bounds = [least - margin.min(least.max(0.0)), most + margin];
    let x_bounds = [first, last.max(first + 1.0)];
    let quiet = palette.quiet();
    let label = |text: String| Span::styled(text, quiet);
    let middle = f64::midpoint(bounds[0], bounds[1]);
    let labels = match inside.height {
        0..6 => vec![bounds[0], bounds[1]],
        _ => vec![bounds[0], middle, bounds[1]],
    };
    let labels: Vec<Span<'_>> = labels
        .into_iter()
        .map(|y| label((picture.shown)(y)))
        .collect();
    let data = |points, marker, graph, style: Style| {
        let data = Dataset::default().data(points).marker(marker);
        data.graph_type(graph).style(style)
    };
    let sets = vec![
        data(
            &picture.line,
            Marker::Braille,
            GraphType::Line,
            palette.training(),
        ),
        data(
            &picture.dots,
            Marker::Dot,
            GraphType::Scatter,
            palette.test(),
        ),
    ];
    let x_labels = [
        label(format!("{first:.0}")),
        label(format!("batch {last:.0}")),
    ];
    let chart = Chart::new(sets)
        .legend_position(None)
        .x_axis(
            Axis::default()
                .bounds(x_bounds)
                .labels(x_labels)
                .style(quiet),
        )
        .y_axis(
            Axis::default()
                .bounds(bounds)
                .labels(labels)
                .labels_alignment(Alignment::Right)
                .style(quiet),
        );
    frame.render_widget(chart, inside);
}
