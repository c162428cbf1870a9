//! Plain text tables with aligned columns.

use comfy_table::presets::NOTHING as NO_LINES;
use comfy_table::{CellAlignment, ContentArrangement, Table as Grid};

/// A table whose first column is aligned to the left and whose others to the right.
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        Self {
            rows: vec![header.iter().map(|&title| title.to_owned()).collect()],
        }
    }

    /// Adds a row of at most as many cells as the header has.
    pub(crate) fn push(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The lines, two spaces between columns, none at the end of a line.
    pub(crate) fn render(&self) -> String {
        let mut grid = Grid::new();
        grid.load_style(NO_LINES)
            .set_content_arrangement(ContentArrangement::Disabled)
            .add_rows(&self.rows);
        for (index, column) in grid.column_iter_mut().enumerate() {
            let is_first = index == 0;
            column.set_padding((if is_first { 0 } else { 2 }, 0));
            if !is_first {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let lines = grid.lines().map(|line| format!("{}\n", line.trim_end()));
        lines.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new(&["layer", "n"]);
        table.push(vec!["a".into(), "1,000".into()]);
        table.push(vec!["longer".into()]);
        assert_eq!(table.render(), "layer       n\na       1,000\nlonger\n");
    }
}
