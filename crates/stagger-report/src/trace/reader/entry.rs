//! Entries of a trace, and what they may say.

use std::borrow::Cow;

use serde::Deserialize;

use crate::trace::kind::TraceKind;

/// The latest end of a slice, in microseconds: eleven days, up to which fractions keep nanoseconds.
const MAX_MICROSECONDS: f64 = 1e12;

/// An entry of the list. Others than these fields are of no use here.
#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    #[serde(borrow, rename = "cat")]
    pub category: Cow<'a, str>,
    #[serde(borrow, rename = "ph")]
    pub phase: Cow<'a, str>,
    #[serde(rename = "tid")]
    pub thread: usize,
    #[serde(rename = "ts")]
    pub starts_at: f64,
    #[serde(rename = "dur")]
    pub lasts: Option<f64>,
    #[serde(rename = "args")]
    pub arguments: Option<Arguments>,
}

#[derive(Deserialize)]
pub(super) struct Arguments {
    pub name: Option<String>,
    pub staleness: Option<u32>,
}

/// Beginning and end in nanoseconds.
pub(super) fn times(entry: &Entry<'_>) -> Result<(u64, u64), String> {
    let lasts = entry.lasts.ok_or("it has no `dur`")?;
    let nanoseconds = |microseconds: f64| (microseconds * 1e3).round() as u64;
    let read = 0.0..=MAX_MICROSECONDS;
    if read.contains(&entry.starts_at) && read.contains(&lasts) {
        let starts_at = nanoseconds(entry.starts_at);
        let ends_at = starts_at + nanoseconds(lasts);
        if ends_at <= nanoseconds(MAX_MICROSECONDS) {
            return Ok((starts_at, ends_at));
        }
    }
    Err(format!(
        "it begins at {} µs and lasts {lasts} µs; times from 0 to {MAX_MICROSECONDS} µs are read",
        entry.starts_at
    ))
}

/// What a slice is, and its batch or version and micro-batch.
pub(super) fn action(name: &str, category: &str) -> Result<(TraceKind, u32, u32), String> {
    let refuse = || format!("`{name}` of `{category}` is no action of a stage");
    let mut kinds = TraceKind::ALL.into_iter();
    if category == TraceKind::Wait.category() {
        let wait = kinds.find(|kind| kind.name_of_wait() == Some(name));
        return wait.map(|kind| (kind, 0, 0)).ok_or_else(refuse);
    }
    let kind = kinds.find(|kind| kind.category() == category);
    let kind = kind.ok_or_else(refuse)?;
    let letter = kind.letter().ok_or_else(refuse)?;
    let unit = name.strip_prefix(letter).ok_or_else(refuse)?;
    let (number, micro) = match unit.split_once('.') {
        Some((number, micro)) => (number, Some(micro)),
        None => (unit, None),
    };
    let number = digits(number).ok_or_else(refuse)?;
    let micro = match micro {
        Some(micro) => digits(micro)
            .filter(|&micro| micro > 0)
            .ok_or_else(refuse)?,
        None => 0,
    };
    Ok((kind, number, micro))
}

/// A number as it is printed: without a sign, and without zeros in front.
fn digits(text: &str) -> Option<u32> {
    let number: u32 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// `stage 0`, or `stage 0 (replica 1 of 2)`.
pub(super) fn is_name_of_stage(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("stage ") else {
        return false;
    };
    let Some((stage, replica)) = rest.split_once(" (replica ") else {
        return digits(rest).is_some();
    };
    let replica = replica
        .strip_suffix(')')
        .and_then(|of| of.split_once(" of "));
    digits(stage).is_some()
        && replica.is_some_and(|(replica, of)| digits(replica).is_some() && digits(of).is_some())
}
