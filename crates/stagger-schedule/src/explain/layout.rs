//! Lines of text: wrapped paragraphs, lists of terms, aligned tables.

use super::WIDTH;

/// Indent of everything below a title.
const INDENT: usize = 2;

/// Where the explanations of a list of terms start.
const TERM: usize = 26;

/// How the cells of a column stand.
#[derive(Clone, Copy)]
pub(super) enum Align {
    Left,
    Right,
}

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
pub(super) fn table(header: &[(&str, Align)], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows
            .iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count());
        cells
            .chain([header[column].0.chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |cells: Vec<&str>| {
        let cells: Vec<String> = cells
            .iter()
            .zip(header)
            .zip(&widths)
            .map(|((cell, (_, align)), &width)| match align {
                Align::Left => format!("{cell:width$}"),
                Align::Right => format!("{cell:>width$}"),
            })
            .collect();
        indented(INDENT, &cells.join("  "))
    };
    let head = line(header.iter().map(|&(title, _)| title).collect());
    let body = rows
        .iter()
        .map(|row| line(row.iter().map(String::as_str).collect()));
    std::iter::once(head).chain(body).collect()
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
        let text = table(&[("stage", Align::Right), ("m", Align::Left)], &rows);
        assert_eq!(text, "  stage  m\n      1  m−1\n");
    }
}
