//! What every stage did when, as a file that Perfetto (ui.perfetto.dev) and Chrome's tracing page open.

mod arrows;
mod file;
mod kind;
mod reader;

use std::io::{self, Write};
use std::time::Duration;

use serde::Serialize;
use stagger_schedule::Action;

pub use file::TraceFile;
pub use kind::TraceKind;
pub use reader::{
    TracePart, TraceWindow, TracedSlice, read_trace, read_trace_from, read_trace_inside,
};

/// Writes the trace event format (Google, "Trace Event Format", 2016), as one JSON object: a track per stage or replica, a slice per
/// action, an arrow per message. Times are in microseconds there.
pub struct TraceWriter<W> {
    output: W,
    is_empty: bool,
}

/// Something that takes time on a track.
#[derive(Clone, Copy, Debug)]
pub struct Slice<'a> {
    /// The track, as numbered in [`TraceWriter::new`].
    pub track: usize,
    /// What is written on it.
    pub name: &'a str,
    /// Its kind: slices of one kind have one colour.
    pub kind: &'static str,
    /// When it begins.
    pub starts_at: Duration,
    /// When it ends.
    pub ends_at: Duration,
    /// The staleness of the gradient, for a backward pass.
    pub staleness: Option<usize>,
}

/// One end of an arrow. It has to lie within a slice of its track.
#[derive(Clone, Copy, Debug)]
pub struct ArrowEnd<'a> {
    /// The track.
    pub track: usize,
    /// When.
    pub at: Duration,
    /// What both ends, and no other arrow, are called.
    pub id: &'a str,
    /// What moves: arrows of one kind belong together.
    pub kind: &'static str,
}

/// An entry of the list.
#[derive(Serialize)]
struct Entry<'a> {
    name: &'a str,
    #[serde(rename = "cat")]
    category: &'a str,
    #[serde(rename = "ph")]
    phase: &'a str,
    #[serde(rename = "pid")]
    process: usize,
    #[serde(rename = "tid")]
    thread: usize,
    #[serde(rename = "ts")]
    starts_at: f64,
    #[serde(rename = "dur", skip_serializing_if = "Option::is_none")]
    lasts: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    /// "e" for an arrow that ends in the slice around it, and not in the next one.
    #[serde(rename = "bp", skip_serializing_if = "Option::is_none")]
    binding: Option<&'a str>,
    #[serde(rename = "args", skip_serializing_if = "Option::is_none")]
    arguments: Option<Arguments<'a>>,
}

#[derive(Serialize)]
struct Arguments<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staleness: Option<usize>,
}

impl<W: Write> TraceWriter<W> {
    /// Begins a trace with tracks of these names, numbered from 0 and shown in this order.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(mut output: W, tracks: impl IntoIterator<Item = String>) -> io::Result<Self> {
        output.write_all(reader::BEGINNING.as_bytes())?;
        let mut writer = Self {
            output,
            is_empty: true,
        };
        for (track, name) in tracks.into_iter().enumerate() {
            let arguments = Arguments {
                name: Some(&name),
                staleness: None,
            };
            writer.write(&Entry {
                arguments: Some(arguments),
                ..entry("M", track, "thread_name", "", Duration::ZERO)
            })?;
        }
        Ok(writer)
    }

    /// Adds a slice. One that takes no time is left out.
    ///
    /// # Errors
    /// Those of the output.
    pub fn slice(&mut self, slice: &Slice<'_>) -> io::Result<()> {
        let lasts = slice.ends_at.saturating_sub(slice.starts_at);
        if lasts.is_zero() {
            return Ok(());
        }
        let arguments = slice.staleness.map(|staleness| Arguments {
            name: None,
            staleness: Some(staleness),
        });
        self.write(&Entry {
            lasts: Some(microseconds(lasts)),
            arguments,
            ..entry("X", slice.track, slice.name, slice.kind, slice.starts_at)
        })
    }

    /// Begins an arrow.
    ///
    /// # Errors
    /// Those of the output.
    pub fn arrow_from(&mut self, end: &ArrowEnd<'_>) -> io::Result<()> {
        self.write(&Entry {
            id: Some(end.id),
            ..entry("s", end.track, end.kind, end.kind, end.at)
        })
    }

    /// Ends an arrow.
    ///
    /// # Errors
    /// Those of the output.
    pub fn arrow_to(&mut self, end: &ArrowEnd<'_>) -> io::Result<()> {
        self.write(&Entry {
            id: Some(end.id),
            binding: Some("e"),
            ..entry("f", end.track, end.kind, end.kind, end.at)
        })
    }

    /// Ends the trace.
    ///
    /// # Errors
    /// Those of the output.
    pub fn end(mut self) -> io::Result<W> {
        writeln!(self.output, "\n{}", reader::ENDING)?;
        self.output.flush()?;
        Ok(self.output)
    }

    fn write(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        let separator: &[u8] = if self.is_empty { b"\n" } else { b",\n" };
        self.is_empty = false;
        self.output.write_all(separator)?;
        serde_json::to_writer(&mut self.output, entry).map_err(io::Error::from)
    }
}

fn entry<'a>(
    phase: &'a str,
    track: usize,
    name: &'a str,
    category: &'a str,
    starts_at: Duration,
) -> Entry<'a> {
    Entry {
        name,
        category,
        phase,
        process: 0,
        thread: track,
        starts_at: microseconds(starts_at),
        lasts: None,
        id: None,
        binding: None,
        arguments: None,
    }
}

fn microseconds(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1e3
}

/// The kind of the slice of an action.
pub fn kind(action: Action) -> &'static str {
    let kind = match action {
        Action::Forward { .. } => TraceKind::Forward,
        Action::Recompute { .. } => TraceKind::Recompute,
        Action::Backward { .. } => TraceKind::Backward,
        Action::WeightGradients { .. } => TraceKind::Weights,
        Action::Learn { .. } => TraceKind::Learn,
        Action::Update { .. } => TraceKind::Update,
        Action::Evaluate { .. } => TraceKind::Evaluate,
        Action::Snapshot { .. } => TraceKind::Snapshot,
    };
    kind.category()
}

/// The batch of an action, or the one that its version has just seen.
pub fn batch_or_version(action: Action) -> usize {
    match action {
        Action::Forward { batch, .. }
        | Action::Recompute { batch, .. }
        | Action::Backward { batch, .. }
        | Action::WeightGradients { batch, .. }
        | Action::Learn { batch, .. } => batch,
        Action::Update { version }
        | Action::Evaluate { version }
        | Action::Snapshot { version } => version,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_json_with_tracks_slices_and_arrows() {
        let tracks = ["stage 0".to_owned(), "stage 1 \"x\"".to_owned()];
        let mut trace = TraceWriter::new(Vec::new(), tracks).unwrap();
        let slice = Slice {
            track: 1,
            name: "B3.1",
            kind: "backward",
            starts_at: Duration::from_nanos(1500),
            ends_at: Duration::from_nanos(4000),
            staleness: Some(2),
        };
        trace.slice(&slice).unwrap();
        let ends_at = slice.starts_at;
        trace.slice(&Slice { ends_at, ..slice }).unwrap();
        let end = ArrowEnd {
            track: 1,
            at: slice.ends_at,
            id: "B3.1/1",
            kind: "gradient",
        };
        trace.arrow_from(&end).unwrap();
        trace.arrow_to(&ArrowEnd { track: 0, ..end }).unwrap();
        let text = trace.end().unwrap();
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let events = read["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 5);
        assert_eq!(events[1]["args"]["name"], "stage 1 \"x\"");
        let backward = &events[2];
        assert_eq!(backward["tid"], 1);
        assert_eq!(
            (&backward["name"], &backward["ts"], &backward["dur"]),
            (&"B3.1".into(), &1.5.into(), &2.5.into())
        );
        assert_eq!(backward["args"]["staleness"], 2);
        for (event, phase, track) in [(&events[3], "s", 1), (&events[4], "f", 0)] {
            assert_eq!(event["ph"], phase);
            assert_eq!(event["tid"], track);
            assert_eq!(event["id"], "B3.1/1");
            assert_eq!(event["ts"], 4.0);
        }
        assert_eq!(events[4]["bp"], "e");
    }
}
