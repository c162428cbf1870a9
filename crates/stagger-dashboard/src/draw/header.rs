//! What the run is, how far it is, and its latest numbers.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{Moment, duration, ends, loss};
use crate::alerts::longest_silence;
use crate::palette::Palette;
use crate::seen::RunSeen;

/// Draws three rows.
pub fn draw(frame: &mut Frame<'_>, area: Rect, seen: &RunSeen, moment: &Moment<'_>) {
    let rows: [Rect; 3] = Layout::vertical([Constraint::Length(1); 3]).areas(area);
    let palette = moment.palette;
    let lines = [
        ends(title(seen, palette), state(seen, moment), area.width),
        progress(seen, palette, area.width),
        numbers(seen, palette, area.width),
    ];
    for (line, row) in lines.into_iter().zip(rows) {
        frame.render_widget(line, row);
    }
}

fn title(seen: &RunSeen, palette: Palette) -> Line<'static> {
    let title = &seen.title;
    let stages = match seen.stages.len() {
        1 => "1 stage".to_owned(),
        count => format!("{count} stages"),
    };
    let mut rest = format!(" · {} · {stages} · {}", title.schedule, title.engine);
    for fact in &title.more {
        rest.push_str(&format!(" · {fact}"));
    }
    Line::from(vec![
        Span::styled(
            format!(" {} on {}", title.model, title.dataset),
            palette.title(),
        ),
        Span::raw(rest),
    ])
}

fn state(seen: &RunSeen, moment: &Moment<'_>) -> Line<'static> {
    let palette = moment.palette;
    let (state, style) = match &seen.end {
        Some(end) if end.error.is_some() => ("✗ failed", palette.bad()),
        Some(end) if end.interrupted => ("■ interrupted", palette.warning()),
        Some(_) => ("✓ done", palette.good()),
        None if seen.stalled.is_some() => ("✗ stalled", palette.bad()),
        None if moment.silence > longest_silence(seen) => ("✗ no news", palette.bad()),
        None if seen.halts_at.is_some() => ("■ halting", palette.warning()),
        None if seen.last.is_none() => ("● starting", palette.good()),
        None => ("● training", palette.good()),
    };
    Line::styled(format!("  {state} "), style)
}

fn progress(seen: &RunSeen, palette: Palette, width: u16) -> Line<'static> {
    let epoch = seen.epochs().map_or("epoch ?".to_owned(), |(epoch, all)| {
        format!("epoch {epoch}/{all}")
    });
    let left = match (&seen.end, seen.left()) {
        (Some(_), _) => format!("took {}", duration(seen.elapsed)),
        (None, Some(left)) => format!("ETA {}", duration(left)),
        (None, None) => "ETA –".to_owned(),
    };
    let before = format!(" {epoch} ");
    let share = match seen.batches {
        0 => String::new(),
        _ => format!("{:3.0} % ", 100.0 * seen.share()),
    };
    let after = format!(
        " {share}· batch {} of {} · {left} ",
        seen.version, seen.batches
    );
    let taken = Span::raw(before.as_str()).width() + Span::raw(after.as_str()).width();
    let room = usize::from(width).saturating_sub(taken);
    let mut spans = vec![Span::styled(before, palette.title())];
    spans.extend(bar(seen.share(), room, palette));
    spans.push(Span::raw(after));
    Line::from(spans)
}

/// A bar whose first part is full.
pub fn bar(share: f64, width: usize, palette: Palette) -> [Span<'static>; 2] {
    let full = (share.clamp(0.0, 1.0) * width as f64).round() as usize;
    [
        Span::styled("━".repeat(full), palette.training()),
        Span::styled("╌".repeat(width - full), palette.quiet()),
    ]
}

fn numbers(seen: &RunSeen, palette: Palette, width: u16) -> Line<'static> {
    let mut spans = Vec::new();
    let mut add = |name: &str, value: String, style: Style| {
        let separator = if spans.is_empty() { " " } else { " · " };
        spans.push(Span::raw(format!("{separator}{name} ")));
        spans.push(Span::styled(value, style));
    };
    let bold = palette.title();
    if seen.is_emulated {
        add("emulated:", "nothing is learned".to_owned(), bold);
    } else if let Some((_, value)) = seen.loss.points().last() {
        add("loss", loss(*value), bold);
        if let Some((_, train)) = seen.accuracy.points().last() {
            add("train", format!("{train:.1} %"), bold);
        }
        if let Some((_, test)) = seen.test_accuracy.last() {
            let best = match seen.best {
                Some((version, best)) if best > test => format!(" (best {best:.1} % at {version})"),
                _ => String::new(),
            };
            add("test", format!("{test:.1} %{best}"), palette.test());
        }
        if let Some(average) = seen.average_accuracy {
            add("average", format!("{average:.1} %"), bold);
        }
        if let Some(last) = &seen.last {
            let rate = last.lr;
            let shown = match rate == 0.0 || rate >= 0.001 {
                true => format!("{rate:.4}"),
                false => format!("{rate:.1e}"),
            };
            add("lr", shown, bold);
        }
    }
    if let Some(rate) = seen.images_per_second() {
        add("images/s", format!("{rate:.0}"), bold);
    }
    let elapsed = match seen.end {
        Some(_) => String::new(),
        None => format!(" {} ", duration(seen.elapsed)),
    };
    ends(Line::from(spans), Line::raw(elapsed), width)
}
