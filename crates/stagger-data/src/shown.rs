//! Names of files and classes as sentences show them: on one line, whatever they hold.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

/// A path on one line for a sentence or a table, with what would move the cursor or hide text escaped: control characters and marks of direction (`\n`,
/// `\u{1b}`), and bytes that are no UTF-8 (`\xff`).
pub fn path(path: &Path) -> String {
    escaped(path.as_os_str(), |c| c.is_control() || is_hidden_mark(c))
}

/// A message of a library, on one line and without a full stop: it becomes a part of a sentence.
pub(crate) fn one_line(message: &str) -> String {
    let shown: String = message
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    let words: Vec<&str> = shown.split_whitespace().collect();
    let line = words.join(" ");
    // An ellipsis stays.
    match line.strip_suffix('.') {
        Some(rest) if !rest.ends_with('.') => rest.to_string(),
        _ => line,
    }
}

/// A name in quotes, so exactly that two that look alike can be told apart: of what is not ASCII, and of blanks at both ends,
/// it shows the code points.
pub(crate) fn exactly(name: &OsStr) -> String {
    let escaped = escaped(name, |c| {
        !c.is_ascii() || c.is_control() || "\"\\".contains(c)
    });
    let start = escaped.len() - escaped.trim_start_matches(' ').len();
    let end = escaped.trim_end_matches(' ').len().max(start);
    let blanks = |count: usize| r"\u{20}".repeat(count);
    format!(
        "\"{}{}{}\"",
        blanks(start),
        &escaped[start..end],
        blanks(escaped.len() - end)
    )
}

/// Marks that are not seen, or change the direction of what follows.
pub(crate) fn is_hidden_mark(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
    )
}

fn escaped(name: &OsStr, escapes: impl Fn(char) -> bool) -> String {
    let mut shown = String::new();
    for chunk in name.as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                c if escapes(c) => shown.extend(c.escape_default()),
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            // Writing to a string does not fail.
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_paths_are_shown_as_they_are() {
        for ordinary in ["/data/train/a b/ü.jpg", r"C:\data\x.png", "猫/1.jpg"] {
            assert_eq!(path(Path::new(ordinary)), ordinary);
        }
    }

    #[test]
    fn what_moves_the_cursor_is_escaped() {
        assert_eq!(
            path(Path::new("a\nb\x1b[2J/\u{202e}gpj")),
            r"a\nb\u{1b}[2J/\u{202e}gpj"
        );
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_shown() {
        use std::os::unix::ffi::OsStrExt;
        assert_eq!(path(Path::new(OsStr::from_bytes(b"a\xffb"))), r"a\xffb");
        assert_eq!(exactly(OsStr::from_bytes(b"\xff ")), r#""\xff\u{20}""#);
    }

    #[test]
    fn messages_of_libraries_become_one_line() {
        assert_eq!(
            one_line(" Bad marker,\r\n\tfound 53.\n"),
            "Bad marker, found 53"
        );
        assert_eq!(one_line("and so on..."), "and so on...");
        assert_eq!(one_line("\n"), "");
    }

    #[test]
    fn names_that_look_alike_are_told_apart() {
        let shown = |name: &str| exactly(OsStr::new(name));
        assert_eq!(shown("a cat"), r#""a cat""#);
        assert_eq!(shown(" cat  "), r#""\u{20}cat\u{20}\u{20}""#);
        assert_eq!(shown("  "), r#""\u{20}\u{20}""#);
        assert_ne!(shown("caf\u{e9}"), shown("cafe\u{301}"));
        assert_ne!(shown("a\\u{e9}"), shown("a\u{e9}"));
    }
}
