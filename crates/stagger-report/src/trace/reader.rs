//! Traces read back, for a page that draws a part of them.

mod entry;

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::{Range, RangeInclusive};
use std::path::Path;

use stagger_data::foreign::{self, ForeignFile};

use self::entry::{Entry, action, is_name_of_stage, times};
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
/// By how much a slice may begin before the one before it ends, in nanoseconds: what rounding does to times as decimal fractions.
const ROUNDING: u64 = 1000;

/// What is wanted of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceWindow {
    /// What overlaps with this time, in nanoseconds of the run; all of it by default.
    pub time: Option<Range<u64>>,
    /// Most slices; where there are more, the last ones are kept.
    pub most_slices: usize,
}

/// A part of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TracePart {
    /// Names of all tracks.
    pub tracks: Vec<String>,
    /// Slices of the time that is wanted, in the order of the file. Those of a track are in the order of time and do not overlap.
    pub slices: Vec<TracedSlice>,
    /// Number of slices of the time that is wanted, which came before these.
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

/// Reads a trace that `stagger train --trace` or `stagger simulate --trace` has written, in a file that the user has named: all of it, or what
/// the stages did from the first to the last action of these batches. One that ends in the middle is read as far as it goes. At most so many
/// slices are kept.
///
/// # Errors
/// [`ReportError::Io`] when the file cannot be read, [`ReportError::Trace`] when it is no such trace.
pub fn read_trace(
    path: &Path,
    batches: Option<&RangeInclusive<u32>>,
    most_slices: usize,
) -> Result<TracePart, ReportError> {
    read_opened(foreign::open, path, batches, most_slices)
}

/// The same for a file in the folder of a run.
///
/// # Errors
/// As [`read_trace`].
pub fn read_trace_inside(
    path: &Path,
    batches: Option<&RangeInclusive<u32>>,
    most_slices: usize,
) -> Result<TracePart, ReportError> {
    read_opened(foreign::open_inside, path, batches, most_slices)
}

fn read_opened(
    open: fn(&Path, u64) -> io::Result<ForeignFile>,
    path: &Path,
    batches: Option<&RangeInclusive<u32>>,
    most_slices: usize,
) -> Result<TracePart, ReportError> {
    let open = || match open(path, MAX_BYTES) {
        Ok(file) => Ok(BufReader::new(file)),
        Err(source) => Err(ReportError::io("read", path, source)),
    };
    let mut window = TraceWindow {
        time: None,
        most_slices,
    };
    if let Some(batches) = batches {
        // Nothing is kept of the first look.
        let mut time = None;
        each_slice(open()?, path, |slice| {
            if slice.kind.letter().is_some() && batches.contains(&slice.batch()) {
                let Range { start, end } = time.take().unwrap_or(slice.starts_at..slice.ends_at);
                time = Some(start.min(slice.starts_at)..end.max(slice.ends_at));
            }
        })?;
        window.time = Some(time.unwrap_or(0..0));
    }
    read_trace_from(open()?, path, &window)
}

/// Reads a trace from `reader`. `path` is named in errors. What is kept at a time is the window and one line.
///
/// # Errors
/// As [`read_trace`].
pub fn read_trace_from(
    reader: impl BufRead,
    path: &Path,
    window: &TraceWindow,
) -> Result<TracePart, ReportError> {
    let mut kept = VecDeque::new();
    let mut left_out = 0;
    let (tracks, batches, is_cut) = each_slice(reader, path, |slice| {
        let overlaps = |time: &Range<u64>| slice.starts_at < time.end && time.start < slice.ends_at;
        if !window.time.as_ref().is_none_or(overlaps) {
            return;
        }
        kept.push_back(slice);
        if kept.len() > window.most_slices {
            kept.pop_front();
            left_out += 1;
        }
    })?;
    Ok(TracePart {
        tracks,
        slices: kept.into(),
        left_out,
        batches,
        is_cut,
    })
}

/// Names of tracks, first and last batch, and whether the file ends in the middle.
type Whole = (Vec<String>, Option<(u32, u32)>, bool);

/// Passes on each slice.
fn each_slice(
    mut reader: impl BufRead,
    path: &Path,
    keep: impl FnMut(TracedSlice),
) -> Result<Whole, ReportError> {
    let mut reading = Reading {
        tracks: Vec::new(),
        batches: None,
        keep,
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
    let names = reading.tracks.into_iter().map(|track| track.name);
    Ok((names.collect(), reading.batches, is_cut))
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

struct Track {
    name: String,
    /// When its last slice ends.
    until: u64,
    /// A wait for the input of the action that follows.
    wait: Option<TracedSlice>,
    /// The last action.
    last: Option<TracedSlice>,
}

struct Reading<K> {
    tracks: Vec<Track>,
    batches: Option<(u32, u32)>,
    keep: K,
}

impl<K: FnMut(TracedSlice)> Reading<K> {
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
            (self.keep)(slice);
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
            (self.keep)(TracedSlice {
                number: action.batch(),
                micro: action.micro,
                ..wait
            });
        }
    }
}

#[cfg(test)]
mod tests;
