//! The picture of a run.

mod charts;
mod header;
mod stages;

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use crate::alerts::{Alert, Weight, alerts};
use crate::palette::Palette;
use crate::seen::RunSeen;

/// Rows of the header.
const HEADER: u16 = 3;
/// Most rows of alerts; the last of them says how many there are besides.
const MOST_ALERT_ROWS: usize = 6;
/// Most rows of an alert that says what is bad.
const ROWS_OF_BAD: usize = 3;
/// Fewest rows that charts need to say something.
const LEAST_CHARTS: u16 = 6;

/// What the picture depends on besides what is seen.
#[derive(Clone, Debug)]
pub struct Moment<'a> {
    /// Time since the last news.
    pub silence: Duration,
    /// What the keys do: the last line, which is left out where it is empty.
    pub keys: &'a str,
    /// What it looks like.
    pub palette: Palette,
}

/// Draws what is seen of a run onto the whole frame, which may have any size; what does not fit is left out.
pub fn draw(frame: &mut Frame<'_>, seen: &RunSeen, moment: &Moment<'_>) {
    let area = frame.area();
    let alerts = alerts(seen, moment.silence);
    let keys = u16::from(!moment.keys.is_empty());
    let alerts = alert_lines(&alerts, area.width, moment.palette);
    let alert_rows = rows_of(&alerts);
    let fixed = HEADER + alert_rows + keys;
    let free = area.height.saturating_sub(fixed);
    let most = free.saturating_sub(LEAST_CHARTS).max(3);
    let stage_rows = stages::rows(seen).min(most).min(free);
    let [header, alerts_area, stages_area, charts_area, keys_area] = Layout::vertical([
        Constraint::Length(HEADER),
        Constraint::Length(alert_rows),
        Constraint::Length(stage_rows),
        Constraint::Fill(1),
        Constraint::Length(keys),
    ])
    .areas(area);
    let palette = moment.palette;
    header::draw(frame, header, seen, moment);
    frame.render_widget(Paragraph::new(alerts), alerts_area);
    stages::draw(frame, stages_area, seen, palette);
    charts::draw(frame, charts_area, seen, palette);
    let news = match seen.end {
        None => format!("last news {} ago ", duration(moment.silence)),
        Some(_) => String::new(),
    };
    let quiet = palette.quiet();
    let line = ends(
        Line::styled(format!(" {}", moment.keys), quiet),
        Line::styled(news, quiet),
        keys_area.width,
    );
    frame.render_widget(line, keys_area);
}

/// Rows in which all is shown: header, alerts, every stage, and charts as on a small terminal.
pub(crate) fn wanted_rows(seen: &RunSeen, moment: &Moment<'_>, columns: u16) -> u16 {
    let alerts = alerts(seen, moment.silence);
    let alerts = rows_of(&alert_lines(&alerts, columns, moment.palette));
    let keys = u16::from(!moment.keys.is_empty());
    let charts = if charts::is_needed(seen) { 15 } else { 0 };
    (HEADER + alerts + keys + charts).saturating_add(stages::rows(seen))
}

fn rows_of(lines: &[Line<'_>]) -> u16 {
    u16::try_from(lines.len()).unwrap_or(1)
}

/// The alerts as rows of this width. What is bad may take several.
fn alert_lines(alerts: &[Alert], width: u16, palette: Palette) -> Vec<Line<'static>> {
    if alerts.is_empty() {
        let fine = Span::styled(" ✓ ", palette.good());
        let words = Span::styled("nothing unusual", palette.quiet());
        return vec![Line::from(vec![fine, words])];
    }
    let room = usize::from(width).saturating_sub(4).max(1);
    let mut lines = Vec::new();
    for (told, alert) in alerts.iter().enumerate() {
        let (mark, style, most) = match alert.weight {
            Weight::Bad => (" ✗ ", palette.bad(), ROWS_OF_BAD),
            Weight::Warning => (" ! ", palette.warning(), 1),
            Weight::Note => (" · ", palette.title(), 1),
        };
        let rows = wrapped(&alert.sentence, room, most);
        // One row is left to say how many there are besides.
        let is_last = told + 1 == alerts.len();
        if lines.len() + rows.len() + usize::from(!is_last) > MOST_ALERT_ROWS {
            let more = format!(" … and {} more", alerts.len() - told);
            lines.push(Line::styled(more, palette.warning()));
            break;
        }
        let marks = std::iter::once(mark).chain(std::iter::repeat("   "));
        let rows = rows.into_iter().zip(marks);
        lines.extend(rows.map(|(row, mark)| Line::styled(format!("{mark}{row}"), style)));
    }
    lines
}

/// A text in rows of so many columns, so many at most.
fn wrapped(text: &str, room: usize, most: usize) -> Vec<String> {
    let mut rows = Vec::new();
    let mut row = String::new();
    let mut words = text.split(' ').peekable();
    while let Some(word) = words.next() {
        let longer = match row.is_empty() {
            true => word.to_owned(),
            false => format!("{row} {word}"),
        };
        if Span::raw(longer.as_str()).width() <= room || row.is_empty() {
            row = longer;
        } else if rows.len() + 1 == most {
            row = longer;
            // The rest is cut.
            if words.peek().is_some() {
                row.push('…');
            }
            break;
        } else {
            rows.push(std::mem::replace(&mut row, word.to_owned()));
        }
    }
    rows.push(row);
    rows.iter().map(|row| cut(row, room)).collect()
}

/// A line across the screen with a title in it.
fn rule(frame: &mut Frame<'_>, area: Rect, title: Vec<Span<'static>>, palette: Palette) -> Rect {
    let [top, below] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let mut spans = vec![Span::styled("─ ", palette.quiet())];
    spans.extend(title);
    spans.push(Span::raw(" "));
    let mut line = Line::from(spans);
    let rest = usize::from(top.width).saturating_sub(line.width());
    line.push_span(Span::styled("─".repeat(rest), palette.quiet()));
    frame.render_widget(line, top);
    below
}

/// Two texts at the ends of a line; where both do not fit, the left one is cut.
fn ends(left: Line<'static>, right: Line<'static>, width: u16) -> Line<'static> {
    let room = usize::from(width).saturating_sub(right.width());
    let mut line = match left.width() > room {
        false => left,
        true => {
            let style = left.spans.first().map_or(Style::new(), |span| span.style);
            let text: String = left
                .spans
                .iter()
                .map(|span| span.content.as_ref())
                .collect();
            Line::styled(cut(&text, room), left.style.patch(style))
        }
    };
    let gap = room.saturating_sub(line.width());
    let style = line.style;
    let mut spans = Vec::new();
    for span in line.spans.drain(..) {
        let patched = style.patch(span.style);
        spans.push(span.style(patched));
    }
    spans.push(Span::raw(" ".repeat(gap)));
    let right_style = right.style;
    let right = right.spans.into_iter().map(|span| {
        let patched = right_style.patch(span.style);
        span.style(patched)
    });
    spans.extend(right);
    Line::from(spans)
}

/// The beginning of a text, with a mark where more was.
fn cut(text: &str, room: usize) -> String {
    if Span::raw(text).width() <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        let longer = format!("{kept}{c}…");
        if Span::raw(longer.as_str()).width() > room {
            break;
        }
        kept.push(c);
    }
    if room > 0 {
        kept.push('…');
    }
    kept
}

/// `0:07`, `12:34`, `3:04:05`, `2 d 03:04`; below ten seconds with a tenth.
pub(crate) fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    let (minutes, hours, days) = (seconds / 60 % 60, seconds / 3600 % 24, seconds / 86_400);
    match seconds {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{minutes}:{:02} min", seconds % 60),
        3600..86_400 => format!("{hours}:{minutes:02} h"),
        _ => format!("{days} d {hours:02}:{minutes:02} h"),
    }
}

/// A loss in few characters.
fn loss(mean: f64) -> String {
    if mean < 1e4 {
        format!("{mean:.3}")
    } else {
        format!("{mean:.1e}")
    }
}
