//! Names of a snapshot's folder: while it is written, when it is complete, and on its way out.

use std::path::Path;

/// At the end of the name of what is not complete.
pub(super) const PARTIAL: &str = ".partial";

/// `v00000500`: names sort by version up to eight digits.
pub(super) fn name(version: usize) -> String {
    format!("v{version:08}")
}

pub(super) fn name_of(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

pub(super) fn version_of(path: &Path) -> Option<usize> {
    let name = name_of(path);
    let digits = name.strip_prefix('v')?;
    let is_number = digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// Whether a path ends with a name that the store gives: of a snapshot, or of what is left of one.
pub(crate) fn is_snapshot_name(path: &Path) -> bool {
    version_of(path).is_some() || is_leftover(&name_of(path))
}

/// Whether a name is one that the store gives to what is not complete, or on its way out.
pub(super) fn is_leftover(name: &str) -> bool {
    let inner = name
        .strip_prefix('.')
        .and_then(|name| name.strip_suffix(PARTIAL));
    inner.is_some_and(|inner| {
        let version = inner
            .strip_suffix(".old")
            .or(inner.strip_suffix(".manifest"));
        version_of(Path::new(version.unwrap_or(inner))).is_some()
    })
}
