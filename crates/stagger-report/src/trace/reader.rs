//! Traces read back, for a page that draws a part of them.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::RangeInclusive;
use std::path::Path;

use serde::Deserialize;
use stagger_data::foreign::{self, ForeignFile};

use super::kind::TraceKind;
use crate::error::ReportError;

/// The first line of every trace.
pub(super) const BEGINNING: &str = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[";
/// The last line of a whole one.
pub(super) const ENDING: &str = "]}";
/// Largest file that is read. `train` writes some 20 MB, `simulate` more.
const MAX_BYTES: u64 = 1 << 30;
/// Longest line that is read; an entry has some 200 bytes.
const MAX_LINE_BYTES: u64 = 1 << 12;
/// Most tracks.
const MAX_TRACKS: usize = 1024;
/// The latest end of a slice, in microseconds: eleven days, up to which fractions keep nanoseconds.
const MAX_MICROSECONDS: f64 = 1e12;
/// By how much a slice may begin before the one before it ends, in nanoseconds: what rounding does to times as decimal fractions.
const ROUNDING: u64 = 1000;

/// What is wanted of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceWindow {
    /// The batches, first and last; all of them by default.
    pub batches: Option<RangeInclusive<u32>>,
    /// Most slices; where there are more, the last ones are kept.
    pub most_slices: usize,
}

/// A part of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracePart {
    /// Names of all tracks.
    pub tracks: Vec<String>,
    /// Slices of the batches that are wanted, in the order of the file. Those of a track are in the order of time and do not overlap.
    pub slices: Vec<TracedSlice>,
    /// Number of slices of the batches that are wanted, which came before these.
    pub left_out: usize,
    /// First and last batch of the whole trace, if it has any.
    pub batches: Option<(u32, u32)>,
    /// Whether the file ends in the middle.
    pub is_cut: bool,
}

/// A slice of a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TracedSlice {
    /// The track, from 0.
    pub track: usize,
    /// What it is.
    pub kind: TraceKind,
    /// The batch, or the version: of an update the one that it starts from. Of a wait, the number of the action that waited.
    pub number: u32,
    /// The micro-batch.
    pub micro: u32,
    /// When it begins, in nanoseconds of the run.
    pub starts_at: u64,
    /// When it ends.
    pub ends_at: u64,
    /// The staleness of the gradient, for a backward pass.
    pub staleness: Option<u32>,
}

impl TracedSlice {
    /// The batch that it belongs to: an evaluation and a snapshot of version n come behind batch n − 1.
    pub fn batch(&self) -> u32 {
        match self.kind.follows_version() {
            true => self.number.saturating_sub(1),
            false => self.number,
        }
    }

    /// Its name in the trace.
    pub fn name(&self) -> String {
        match (self.kind.name_of_wait(), self.kind.letter(), self.micro) {
            (Some(name), _, _) => name.to_owned(),
            (None, letter, 0) => format!("{}{}", letter.unwrap_or_default(), self.number),
            (None, letter, micro) => {
                format!("{}{}.{micro}", letter.unwrap_or_default(), self.number)
            }
        }
    }
}

/// Reads a trace that `stagger train --trace` or `stagger simulate --trace` has written, in a file that the user has named. One that ends in
/// the middle is read as far as it goes.
///
/// # Errors
/// [`ReportError::Io`] when the file cannot be read, [`ReportError::Trace`] when it is no such trace.
pub fn read_trace(path: &Path, window: &TraceWindow) -> Result<TracePart, ReportError> {
    read_opened(foreign::open(path, MAX_BYTES), path, window)
}

/// The same for a file in the folder of a run.
///
/// # Errors
/// As [`read_trace`].
pub fn read_trace_inside(path: &Path, window: &TraceWindow) -> Result<TracePart, ReportError> {
    read_opened(foreign::open_inside(path, MAX_BYTES), path, window)
}

fn read_opened(
    file: io::Result<ForeignFile>,
    path: &Path,
    window: &TraceWindow,
) -> Result<TracePart, ReportError> {
    let file = file.map_err(|source| ReportError::io("read", path, source))?;
    read_trace_from(BufReader::new(file), path, window)
}

/// Reads a trace from `reader`. `path` is named in errors. What is kept at a time is the window and one line.
///
/// # Errors
/// As [`read_trace`].
pub fn read_trace_from(
    mut reader: impl BufRead,
    path: &Path,
    window: &TraceWindow,
) -> Result<TracePart, ReportError> {
    let mut reading = Reading {
        window,
        tracks: Vec::new(),
        kept: VecDeque::new(),
        left_out: 0,
        batches: None,
    };
    let mut bytes = Vec::new();
    let mut is_cut = true;
    for line in 1_usize.. {
        bytes.clear();
        let read = reader
            .by_ref()
            .take(MAX_LINE_BYTES)
            .read_until(b'\n', &mut bytes);
        read.map_err(|source| ReportError::io("read", path, source))?;
        let refuse = |what| ReportError::Trace {
            path: path.to_owned(),
            what,
        };
        let (text, is_whole) = match bytes.strip_suffix(b"\n") {
            Some(text) => (text, true),
            None => (bytes.as_slice(), false),
        };
        if line == 1 {
            if text != BEGINNING.as_bytes() {
                return Err(refuse(beginning(text)));
            }
        } else if text == ENDING.as_bytes() {
            is_cut = false;
            break;
        } else if bytes.len() as u64 == MAX_LINE_BYTES && !is_whole {
            return Err(refuse(format!(
                "line {line} is longer than {MAX_LINE_BYTES} bytes"
            )));
        } else if is_whole {
            let entry = text.strip_suffix(b",").unwrap_or(text);
            let added = reading.add(entry);
            added.map_err(|what| refuse(format!("line {line}: {what}")))?;
        }
        if !is_whole {
            break;
        }
    }
    Ok(reading.end(is_cut))
}

/// What else begins like this.
fn beginning(text: &[u8]) -> String {
    let what = match text {
        b"" => "it is empty",
        _ if text.starts_with(b"\x1f\x8b") => "it is compressed (gzip); unpack it first",
        _ if text.starts_with(b"version https://git-lfs") => {
            "it is a pointer of Git LFS, not the file that it stands for; fetch that with `git lfs pull`"
        }
        _ => {
            "it does not begin as the files of `stagger train --trace` do; give one of them as it was written"
        }
    };
    what.to_owned()
}

/// An entry of the list. Others than these fields are of no use here.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, rename = "cat")]
    category: Cow<'a, str>,
    #[serde(borrow, rename = "ph")]
    phase: Cow<'a, str>,
    #[serde(rename = "tid")]
    thread: usize,
    #[serde(rename = "ts")]
    starts_at: f64,
    #[serde(rename = "dur")]
    lasts: Option<f64>,
    #[serde(rename = "args")]
    arguments: Option<Arguments>,
}

#[derive(Deserialize)]
struct Arguments {
    name: Option<String>,
    staleness: Option<u32>,
}

struct Track {
    name: String,
    /// When its last slice ends.
    until: u64,
    /// A wait for the input of the action that follows.
    wait: Option<TracedSlice>,
    /// The last action.
    last: Option<TracedSlice>,
}

struct Reading<'a> {
    window: &'a TraceWindow,
    tracks: Vec<Track>,
    kept: VecDeque<TracedSlice>,
    left_out: usize,
    batches: Option<(u32, u32)>,
}

impl Reading<'_> {
    fn add(&mut self, line: &[u8]) -> Result<(), String> {
        let entry: Entry<'_> =
            serde_json::from_slice(line).map_err(|error| format!("no entry: {error}"))?;
        match &*entry.phase {
            "M" => return self.name_track(entry),
            "X" => {}
            // Ends of arrows.
            "s" | "f" => return self.track(entry.thread).map(drop),
            other => {
                return Err(format!(
                    "its `ph` is `{other}`, which stagger writes nowhere"
                ));
            }
        }
        let (starts_at, ends_at) = times(&entry)?;
        let (kind, number, micro) = action(&entry.name, &entry.category)?;
        let track = entry.thread;
        let of_track = self.track(track)?;
        if starts_at + ROUNDING < of_track.until {
            return Err("it begins before the one before it on its track ends".to_owned());
        }
        let slice = TracedSlice {
            track,
            kind,
            number,
            micro,
            starts_at: starts_at.max(of_track.until),
            ends_at: ends_at.max(of_track.until),
            staleness: entry.arguments.and_then(|arguments| arguments.staleness),
        };
        // A writer leaves out what takes no time.
        if slice.starts_at == slice.ends_at {
            return Ok(());
        }
        of_track.until = slice.ends_at;
        let wait = of_track.wait.take();
        if kind.letter().is_some() {
            of_track.last = Some(slice);
            self.keep_wait(wait, Some(slice));
            self.take_batch(slice.batch());
            self.keep(slice);
        } else if kind == TraceKind::WaitForRoom {
            let last = of_track.last;
            self.keep_wait(Some(slice), last);
        } else {
            of_track.wait = Some(slice);
        }
        Ok(())
    }

    fn name_track(&mut self, entry: Entry<'_>) -> Result<(), String> {
        let tracks = self.tracks.len();
        if entry.name != "thread_name" || entry.thread != tracks {
            return Err(format!("the name of track {tracks} was expected"));
        }
        if tracks == MAX_TRACKS {
            return Err(format!("there are more than {MAX_TRACKS} tracks"));
        }
        let name = entry.arguments.and_then(|arguments| arguments.name);
        let name = name.filter(|name| is_name_of_stage(name));
        self.tracks.push(Track {
            name: name.ok_or("a name such as `stage 0` was expected")?,
            until: 0,
            wait: None,
            last: None,
        });
        Ok(())
    }

    fn track(&mut self, track: usize) -> Result<&mut Track, String> {
        let tracks = self.tracks.len();
        self.tracks
            .get_mut(track)
            .ok_or_else(|| format!("it is on track {track} and {tracks} are named"))
    }

    fn take_batch(&mut self, batch: u32) {
        let (first, last) = self.batches.unwrap_or((batch, batch));
        self.batches = Some((first.min(batch), last.max(batch)));
    }

    /// Keeps a wait with the action that waited. One that belongs to none, as at the end of a file that is cut, is left out.
    fn keep_wait(&mut self, wait: Option<TracedSlice>, action: Option<TracedSlice>) {
        if let (Some(wait), Some(action)) = (wait, action) {
            self.keep(TracedSlice {
                number: action.batch(),
                micro: action.micro,
                ..wait
            });
        }
    }

    fn keep(&mut self, slice: TracedSlice) {
        let wanted = self.window.batches.as_ref();
        if !wanted.is_none_or(|wanted| wanted.contains(&slice.batch())) {
            return;
        }
        self.kept.push_back(slice);
        if self.kept.len() > self.window.most_slices {
            self.kept.pop_front();
            self.left_out += 1;
        }
    }

    fn end(self, is_cut: bool) -> TracePart {
        TracePart {
            tracks: self.tracks.into_iter().map(|track| track.name).collect(),
            slices: self.kept.into(),
            left_out: self.left_out,
            batches: self.batches,
            is_cut,
        }
    }
}

/// Beginning and end in nanoseconds.
fn times(entry: &Entry<'_>) -> Result<(u64, u64), String> {
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
fn action(name: &str, category: &str) -> Result<(TraceKind, u32, u32), String> {
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
fn is_name_of_stage(name: &str) -> bool {
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

#[cfg(test)]
mod tests;
