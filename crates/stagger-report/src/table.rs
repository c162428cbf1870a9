//! Tables of text.

use std::fmt;

use comfy_table::presets::NOTHING as NO_LINES;
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid};
use stagger_data::shown_text;

/// Columns between two neighbours.
const GAP: u16 = 2;

/// A table of text. Its [`Display`](fmt::Display) is for the terminal: the first column aligned to the left, the others to
/// the right, with two spaces between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// One per column; empty for a table without a head.
    pub headers: Vec<String>,
    /// Each at most as long as the headers, if there are any.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// Removes the columns, but the first, in which every row holds `nothing`.
    #[must_use]
    pub(crate) fn without_empty_columns(mut self, nothing: &str) -> Self {
        for column in (1..self.headers.len()).rev() {
            if self.rows.iter().all(|row| row[column] == nothing) {
                self.headers.remove(column);
                self.rows.iter_mut().for_each(|row| {
                    row.remove(column);
                });
            }
        }
        self
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut grid = Grid::new();
        grid.load_style(NO_LINES)
            .set_content_arrangement(ContentArrangement::Disabled)
            .add_rows(self.rows.iter().map(|row| shown(row)));
        if !self.headers.is_empty() {
            grid.set_header(shown(&self.headers));
        }
        for (at, column) in grid.column_iter_mut().enumerate() {
            if at == 0 {
                column.set_padding((0, 0));
            } else {
                column.set_padding((GAP, 0));
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for line in grid.lines() {
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Cells hold names that others have given: each stays on its line.
fn shown(cells: &[String]) -> Vec<String> {
    cells.iter().map(|cell| shown_text(cell)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(headers: &[&str], rows: &[&[&str]]) -> Table {
        let texts = |cells: &[&str]| cells.iter().map(|&cell| cell.to_owned()).collect();
        Table {
            headers: texts(headers),
            rows: rows.iter().map(|row| texts(row)).collect(),
        }
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let table = table(
            &["layer", "n"],
            &[&["a", "1,000"], &["longer"], &["  · in", "2 %"]],
        );
        assert_eq!(
            table.to_string(),
            "layer       n\na       1,000\nlonger\n  · in    2 %\n"
        );
    }

    /// Cells that come padded keep their width, so that a column may be wider than its contents.
    #[test]
    fn a_table_without_headers_has_no_head() {
        let table = table(
            &[],
            &[
                &["sum     ", "1.0", "   25.0 %"],
                &["forward ", "11.5", "75.0 %"],
            ],
        );
        assert_eq!(
            table.to_string(),
            "sum        1.0     25.0 %\nforward   11.5     75.0 %\n"
        );
    }
}
