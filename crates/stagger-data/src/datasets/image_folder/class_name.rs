//! Which names of folders are the same class, and which only look as if they were.

use std::ffi::{OsStr, OsString};

use unicode_normalization::UnicodeNormalization;

use crate::shown::{exactly, is_hidden_mark};

/// What the names of a class have in common: their composed Unicode form. A name that is not text is only equal to itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Text(String),
    Bytes(OsString),
}

impl Key {
    pub(super) fn of(name: &OsStr) -> Self {
        match name.to_str() {
            Some(name) => Self::Text(name.nfc().collect()),
            None => Self::Bytes(name.to_owned()),
        }
    }

    /// What is seen of a name: nothing of blanks at its ends and of marks without a shape, and every blank alike.
    pub(super) fn seen(name: &OsStr) -> Self {
        match name.to_str() {
            Some(name) => {
                let seen = name.nfc().filter(|&c| !is_hidden_mark(c) && !is_control(c));
                let seen = seen.map(|c| if c.is_whitespace() { ' ' } else { c });
                Self::Text(seen.collect::<String>().trim().to_owned())
            }
            None => Self::Bytes(name.to_owned()),
        }
    }

    fn in_lower_case(self) -> Self {
        match self {
            Self::Text(name) => Self::Text(name.to_lowercase()),
            other => other,
        }
    }
}

/// Control characters that are no blanks.
fn is_control(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
}

/// The name among `names` that differs from `name` in what is hard to see, and both as they are, in words.
pub(super) fn near<'a>(
    name: &OsStr,
    names: impl Iterator<Item = &'a OsStr> + Clone,
) -> Option<String> {
    // From what is hardest to see to what is easiest.
    type KeyOf = fn(&OsStr) -> Key;
    let differences: [(KeyOf, _); 3] = [
        (Key::seen, "blanks or marks that are not seen"),
        (|name| Key::of(name).in_lower_case(), "upper and lower case"),
        (
            |name| Key::seen(name).in_lower_case(),
            "upper and lower case, and in blanks or marks that are not seen",
        ),
    ];
    differences.into_iter().find_map(|(key, difference)| {
        let wanted = key(name);
        let other = names.clone().find(|other| key(other) == wanted)?;
        Some(format!(
            "{} there differs from {} only in {difference}",
            exactly(other),
            exactly(name)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicode_forms_are_one_name() {
        let key = |name: &str| Key::of(OsStr::new(name));
        assert_eq!(key("caf\u{e9}"), key("cafe\u{301}"));
        assert_ne!(key("Cat"), key("cat"));
        assert_ne!(key("cat "), key("cat"));
    }

    #[test]
    fn what_is_hard_to_see_is_shown() {
        let near = |name: &str, others: &[&str]| {
            near(
                OsStr::new(name),
                others.iter().map(|other| OsStr::new(*other)),
            )
        };
        insta::assert_snapshot!(near("Cat", &["dog", "cat"]).unwrap(), @r#""cat" there differs from "Cat" only in upper and lower case"#);
        insta::assert_snapshot!(near("cat", &["CAT", "cat "]).unwrap(), @r#""cat\u{20}" there differs from "cat" only in blanks or marks that are not seen"#);
        insta::assert_snapshot!(near("a\u{a0}b", &["a b"]).unwrap(), @r#""a b" there differs from "a\u{a0}b" only in blanks or marks that are not seen"#);
        insta::assert_snapshot!(near("x\u{200b}", &["x"]).unwrap(), @r#""x" there differs from "x\u{200b}" only in blanks or marks that are not seen"#);
        insta::assert_snapshot!(near("Cat ", &["cat"]).unwrap(), @r#""cat" there differs from "Cat\u{20}" only in upper and lower case, and in blanks or marks that are not seen"#);
        assert_eq!(near("cat", &["cats", "dog"]), None);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_are_equal_to_themselves() {
        use std::os::unix::ffi::OsStrExt;
        let [one, other] = [&b"\xff"[..], b"\xfe"].map(OsStr::from_bytes);
        assert_eq!(Key::of(one), Key::of(one));
        assert_ne!(Key::of(one), Key::of(other));
    }
}
