//! Paths with something in them that a shell would have replaced.

use std::ffi::OsStr;
use std::path::{Component, Path, PathBuf};

use super::Refusal;

/// Refuses a path that begins with `~` or `~NAME`, or has a `$NAME` in it: no shell has seen it, as it is from a config file, stands
/// behind an equals sign or in quotes. A folder of such a name is taken where it exists, or behind `./`.
///
/// # Errors
/// [`Refusal::Tilde`] or [`Refusal::Variable`] with the path that was probably meant.
pub fn check_path(option: &'static str, path: &Path) -> Result<(), Refusal> {
    let mut so_far = PathBuf::new();
    for (at, part) in path.components().enumerate() {
        so_far.push(part);
        let Component::Normal(text) = part else {
            if part == Component::CurDir {
                return Ok(());
            }
            continue;
        };
        let text = text.to_string_lossy();
        let path = path.to_owned();
        if at == 0 && (text == "~" || text.starts_with('~') && !so_far.exists()) {
            return Err(Refusal::Tilde { option, path });
        }
        let variable = variables(&text).next();
        if let Some((_, name)) = variable.filter(|_| !so_far.exists()) {
            let name = name.to_owned();
            return Err(Refusal::Variable { option, path, name });
        }
    }
    Ok(())
}

/// What a shell would make of it, if it knows the variables.
pub(super) fn replaced(path: &Path) -> Option<PathBuf> {
    let mut replaced = PathBuf::new();
    for part in path.components() {
        let text = part.as_os_str().to_string_lossy();
        let mut meant = text.clone().into_owned();
        for (whole, name) in variables(&text) {
            meant = meant.replacen(whole, &std::env::var(name).ok()?, 1);
        }
        replaced.push(OsStr::new(&meant));
    }
    Some(replaced)
}

/// `$NAME` and `${NAME}` in a text, with the names.
fn variables(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.match_indices('$').filter_map(move |(at, _)| {
        let rest = &text[at + 1..];
        let (skipped, inner) = match rest.strip_prefix('{') {
            Some(inner) => (1, inner),
            None => (0, rest),
        };
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = inner.find(|c| !is_part(c)).unwrap_or(inner.len());
        let name = &inner[..length];
        if !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
            return None;
        }
        let end = match skipped {
            0 => at + 1 + length,
            _ if inner[length..].starts_with('}') => at + length + 3,
            _ => return None,
        };
        Some((&text[at..end], name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_shell_would_replace_is_found() {
        let of = |text| variables(text).collect::<Vec<_>>();
        assert_eq!(of("$HOME"), [("$HOME", "HOME")]);
        assert_eq!(of("a${X_1}b$y"), [("${X_1}", "X_1"), ("$y", "y")]);
        assert_eq!(of("5$ $1 ${} ${a $"), []);
    }

    #[test]
    fn paths() {
        let refused = |path: &str| check_path("data_dir", Path::new(path)).is_err();
        for path in ["~", "~/data", "~anna/data", "$HOME/data", "/a/${USER}/b"] {
            assert!(refused(path), "{path}");
        }
        for path in [
            "data",
            "./~",
            "./$HOME",
            "a~b",
            "/data/~old",
            "a/b$",
            "../x",
        ] {
            assert!(!refused(path), "{path}");
        }
        assert_eq!(replaced(Path::new("/a/$NO_SUCH_NAME_HERE")), None);
        let home = std::env::var("PATH").unwrap();
        if !home.contains('$') {
            assert_eq!(replaced(Path::new("$PATH")), Some(home.into()));
        }
    }
}
