//! Lines of text: wrapped paragraphs, lists of terms, aligned tables.

use comfy_table::presets::NOTHING as NO_LINES;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::WIDTH;

/// Indent of everything below a title.
const INDENT: usize = 2;

/// Where the explanations of a list of terms start.
const TERM: usize = 26;

/// A paragraph, indented and wrapped.
pub(super) fn paragraph(text: &str) -> String {
    wrap(text, WIDTH - INDENT)
        .iter()
        .map(|line| indented(INDENT, line))
        .collect()
}

/// A term with its explanation beside it, or below it if the term is long.
pub(super) fn term(term: &str, explanation: &str) -> String {
    let mut lines = wrap(explanation, WIDTH - TERM).into_iter();
    let fits = INDENT + term.chars().count() + 2 <= TERM;
    let mut text = if fits {
        let first = lines.next().unwrap_or_default();
        indented(
            INDENT,
            &format!("{term:width$}{first}", width = TERM - INDENT),
        )
    } else {
        indented(INDENT, term)
    };
    text.extend(lines.map(|line| indented(TERM, &line)));
    text
}

/// Rows of cells under a header, two spaces between columns. Rows have one cell per column.
pub(super) fn table(header: &[(&str, CellAlignment)], rows: &[Vec<String>]) -> String {
    let mut grid = Table::new();
    grid.load_style(NO_LINES)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.iter().map(|(title, _)| title))
        .add_rows(rows);
    for (column, (index, &(_, alignment))) in grid.column_iter_mut().zip(header.iter().enumerate())
    {
        column
            .set_padding((if index == 0 { 0 } else { 2 }, 0))
            .set_cell_alignment(alignment);
    }
    grid.lines().map(|line| indented(INDENT, &line)).collect()
}

/// One line, without spaces at its end.
pub(super) fn indented(indent: usize, line: &str) -> String {
    format!("{}{}\n", " ".repeat(indent), line)
        .trim_end()
        .to_owned()
        + "\n"
}

/// Splits a text into lines at its spaces. A word that is too long gets a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_long_words_stand_alone() {
        assert_eq!(wrap("ab cd efghij k", 5), ["ab cd", "efghij", "k"]);
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = vec![vec!["1".to_owned(), "m−1".to_owned()]];
        let text = table(
            &[("stage", CellAlignment::Right), ("m", CellAlignment::Left)],
            &rows,
        );
        assert_eq!(text, "  stage  m\n      1  m−1\n");
    }
}
