//! The picture as text.

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;

use crate::draw::{Moment, draw, wanted_rows};
use crate::seen::RunSeen;

/// Most rows; a run of more stages is cut there.
const MOST_ROWS: u16 = 1000;

/// The picture as lines of text, in as many rows as it takes, without blanks at their ends.
#[must_use]
pub fn text(seen: &RunSeen, moment: &Moment<'_>, columns: u16) -> String {
    let rows = wanted_rows(seen, moment, columns).min(MOST_ROWS);
    // A picture in memory cannot fail.
    let Ok(mut terminal) = Terminal::new(TestBackend::new(columns, rows));
    let Ok(_) = terminal.draw(|frame| draw(frame, seen, moment));
    lines(terminal.backend().buffer())
}

/// The characters of a buffer.
pub(crate) fn lines(buffer: &Buffer) -> String {
    let mut text = String::new();
    let area = buffer.area;
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        let mut covered = 0;
        for x in area.left()..area.right() {
            let symbol = buffer[(x, y)].symbol();
            if covered == 0 {
                line.push_str(symbol);
            }
            // A wide character covers the cell after it.
            let width = ratatui::text::Span::raw(symbol).width();
            covered = covered.max(width).saturating_sub(1);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
