//! What others have written, as sentences, tables and logs show it: names of files, classes and tensors, values of configs,
//! messages. No such text ends a line, moves the cursor or changes the direction of what follows.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

/// A path on one line for a sentence or a table, with what would move the cursor or hide text escaped: control characters and marks of direction (`\n`,
/// `\u{1b}`), and bytes that are no UTF-8 (`\xff`).
pub fn path(path: &Path) -> String {
    escaped(path.as_os_str(), is_escaped)
}

/// The same of any text: a name, a value, a message.
pub fn text(text: &str) -> String {
    escaped(OsStr::new(text), is_escaped)
}

/// The same of a text of several lines, whose foreign parts have been through [`text()`] or [`path()`]: ends of lines stay.
pub fn lines(text: &str) -> String {
    escaped(OsStr::new(text), |c| c != '\n' && is_escaped(c))
}

/// The same of a sentence, which may have a table under it, indented by two blanks: ends of other lines are escaped.
pub fn sentence(sentence: &str) -> String {
    let parts: Vec<String> = sentence.split("\n  ").map(text).collect();
    parts.join("\n  ")
}

/// The same of a text of JSON, as JSON escapes it (`\u202e`): it means what it meant.
pub fn json(json: &str) -> String {
    let mut shown = String::new();
    for c in json.chars() {
        match c {
            '\n' => shown.push(c),
            // All of them have numbers of 16 bits. Outside of strings JSON has none of them.
            c if is_escaped(c) => {
                let _ = write!(shown, "\\u{:04x}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown
}

/// A word in quotes, as a shell takes it: `'it'\''s'`; one that holds what [`path`] escapes as `$'a\nb'`.
pub fn shell(word: &OsStr) -> String {
    if word.to_str().is_some_and(|word| text(word) == word) {
        return format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"));
    }
    let mut quoted = "$'".to_owned();
    for chunk in word.as_encoded_bytes().utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => quoted.push_str(r"\n"),
                c if is_escaped(c) => push_bytes(&mut quoted, c.to_string().as_bytes()),
                '\\' | '\'' => quoted.extend(['\\', c]),
                c => quoted.push(c),
            }
        }
        push_bytes(&mut quoted, chunk.invalid());
    }
    quoted + "'"
}

/// A path as a shell takes it, and a command as no flag: as it is, in quotes, or behind `./`.
pub fn path_for_shell(path: &Path) -> String {
    let is_flag = path.as_os_str().as_encoded_bytes().starts_with(b"-");
    let path = match is_flag {
        true => &Path::new(".").join(path),
        false => path,
    };
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@".contains(c);
    match path.to_str() {
        Some(text) if !text.is_empty() && text.chars().all(plain) => text.to_owned(),
        _ => shell(path.as_os_str()),
    }
}

fn push_bytes(shown: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(shown, "\\x{byte:02x}");
    }
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

/// What drives a terminal, or is not seen on it and changes what is.
fn is_escaped(c: char) -> bool {
    c.is_control() || (is_hidden_mark(c) && !is_variation_selector(c))
}

/// Marks that are not seen, or change the direction of what follows.
pub(crate) fn is_hidden_mark(c: char) -> bool {
    is_variation_selector(c)
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// What makes an emoji of a character, and the like: it changes that character only.
fn is_variation_selector(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}')
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
        push_bytes(&mut shown, chunk.invalid());
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

    #[test]
    fn only_a_table_of_its_own_stays_below_a_sentence() {
        let foreign = "a\nerror: b\r\x1b[2J\u{9b}1m\u{7f}\u{2028}\u{feff}";
        let escaped = r"a\nerror: b\r\u{1b}[2J\u{9b}1m\u{7f}\u{2028}\u{feff}";
        assert_eq!(text(foreign), escaped);
        assert_eq!(
            sentence(&format!("{foreign}:\n  {foreign}")),
            format!("{escaped}:\n  {escaped}")
        );
        assert_eq!(lines("a\nb\u{1b}\n"), "a\nb\\u{1b}\n");
        // What has been escaped once stays.
        assert_eq!(text(escaped), escaped);
        assert_eq!(text("❤\u{fe0f} ü \\ \"q\""), "❤\u{fe0f} ü \\ \"q\"");
    }

    #[test]
    fn json_means_what_it_meant() {
        let object = "{\n  \"a\u{9b}\u{202e}\u{7f}\": \"\\n❤\"\n}\n";
        assert_eq!(
            json(object),
            "{\n  \"a\\u009b\\u202e\\u007f\": \"\\n❤\"\n}\n"
        );
    }

    #[test]
    fn paths_are_no_flags_and_no_commands() {
        for (path, expected) in [
            ("runs/a", "runs/a"),
            ("a b", "'a b'"),
            ("-dash", "./-dash"),
            ("$(x)", "'$(x)'"),
            ("-a b", "'./-a b'"),
            ("a\nb", "$'a\\nb'"),
            ("", "''"),
        ] {
            assert_eq!(path_for_shell(Path::new(path)), expected);
        }
    }

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(shell("it's a".as_ref()), r"'it'\''s a'");
        assert_eq!(shell("ü%".as_ref()), "'ü%'");
        assert_eq!(
            shell("a\n'\\\u{1b}\u{9b}".as_ref()),
            r"$'a\n\'\\\x1b\xc2\x9b'"
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
