//! A row per stage.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::header::bar;
use super::{cut, rule};
use crate::palette::Palette;
use crate::seen::{self, RunSeen};
use crate::stage::StageSeen;

/// Blocks in a bar of a busy share.
const BAR: usize = 8;
/// Characters of what a stage does.
const DOING: usize = 16;

/// Rows in which all stages have theirs.
pub fn rows(seen: &RunSeen) -> u16 {
    u16::try_from(seen.stages.len()).map_or(u16::MAX / 2, |stages| {
        stages.saturating_add(2).min(u16::MAX / 2)
    })
}

/// Draws a title, the names of columns, and a row per stage; where there are too many, those that do not fit are told in one.
pub fn draw(frame: &mut Frame<'_>, area: Rect, seen: &RunSeen, palette: Palette) {
    if area.height < 3 {
        return;
    }
    let span = match seen.span {
        Some(seen::Span::Epoch(epoch)) => format!("in epoch {epoch}, the last one that has ended"),
        Some(seen::Span::Lately) => "in the last seconds".to_owned(),
        None if seen.is_live => "nothing done yet".to_owned(),
        None => "known from the end of the first epoch on".to_owned(),
    };
    let title = vec![
        Span::styled("stages", palette.title()),
        Span::styled(format!(" {span}"), palette.quiet()),
    ];
    let below = rule(frame, area, title, palette);
    let room = usize::from(below.height.saturating_sub(1));
    let columns = format!(
        " {:>5}  {:<DOING$} {:>5} {:>5}  {:<14} {:<13} {:>5} {:>6}",
        "stage", "now", "up", "down", "busy", "waits for", "stale", "gap"
    );
    let mut lines = vec![Line::styled(columns, palette.quiet())];
    let all = seen.stages.len();
    let shown = if all > room {
        room.saturating_sub(1)
    } else {
        all
    };
    let numbered = seen.stages.iter().enumerate();
    lines.extend((numbered.take(shown)).map(|(number, stage)| row(number, stage, palette)));
    if shown < all {
        lines.push(Line::styled(rest(seen, shown), palette.quiet()));
    }
    for (line, y) in lines.into_iter().zip(below.y..below.bottom()) {
        frame.render_widget(
            line,
            Rect {
                y,
                height: 1,
                ..below
            },
        );
    }
}

fn row(number: usize, stage: &StageSeen, palette: Palette) -> Line<'static> {
    let doing = stage.doing.as_deref().unwrap_or("–");
    let doing_style = match stage.is_waiting {
        true => palette.quiet(),
        false => palette.training(),
    };
    let mut spans = vec![
        Span::styled(format!(" {number:>5}  "), palette.title()),
        Span::styled(format!("{:<DOING$} ", cut(doing, DOING)), doing_style),
        Span::raw(format!("{:>5} {:>5}  ", queue(stage.up), queue(stage.down))),
    ];
    match stage.busy {
        Some(busy) => {
            spans.extend(bar(busy, BAR, palette));
            spans.push(Span::raw(format!(" {:3.0} % ", 100.0 * busy)));
        }
        None => spans.push(Span::raw(format!("{:<14} ", "–"))),
    }
    let waits = match stage.waits {
        Some((name, share)) => format!("{name} {:.0} %", 100.0 * share),
        None => "–".to_owned(),
    };
    spans.push(Span::raw(format!("{waits:<13} ")));
    let staleness = stage.staleness.map_or("–".to_owned(), |mean| {
        match (mean - mean.round()).abs() < 0.05 {
            true => format!("{mean:.0}"),
            false => format!("{mean:.1}"),
        }
    });
    let gap = stage.gap.map_or("–".to_owned(), |gap| format!("{gap:.4}"));
    spans.push(Span::raw(format!("{staleness:>5} {gap:>6}")));
    Line::from(spans)
}

/// What is on its way, and the room for it.
fn queue(filled: Option<(usize, usize)>) -> String {
    filled.map_or("–".to_owned(), |(count, room)| format!("{count}/{room}"))
}

fn rest(seen: &RunSeen, shown: usize) -> String {
    let rest = seen.stages.iter().skip(shown);
    let busy: Vec<f64> = rest.filter_map(|stage| stage.busy).collect();
    let count = seen.stages.len() - shown;
    let least = busy.iter().copied().fold(f64::INFINITY, f64::min);
    let most = busy.iter().copied().fold(0.0, f64::max);
    match busy.is_empty() {
        true => format!("     … {count} more stages"),
        false => format!(
            "     … {count} more stages, busy {:.0} to {:.0} %",
            100.0 * least,
            100.0 * most
        ),
    }
}
