//! What each stage did when, from the trace of a run: a picture of its beginning, and numbers for the script that draws the rest.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Value, json};
use stagger_data::{shown_path, shown_text};

use super::reported_run::ReportedRun;
use crate::error::ReportError;
use crate::trace::{TraceKind, TracePart, TracedSlice, read_trace, read_trace_inside};

/// The name under which a trace is looked for in the folder of a run.
pub const TRACE_FILE: &str = "trace.json";
/// Most slices on a page: some 300 KB.
const MOST_SLICES: usize = 16_000;
/// How many actions of a stage the picture without the script has.
const FIRST_ACTIONS: usize = 28;

// Of the picture, in pixels. The script uses the same.
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 8.0;
const ROW: f64 = 34.0;
const BAR: f64 = 26.0;
const AXIS: f64 = 26.0;
/// Width of a character of a label.
const CHARACTER: f64 = 6.6;

/// A file, the batches that are wanted of it, and most slices.
type Reader = fn(&Path, Option<&RangeInclusive<u32>>, usize) -> Result<TracePart, ReportError>;

/// The trace of a run, or why it is not drawn.
#[derive(Clone, Debug)]
pub(super) struct Traced {
    /// Its file.
    source: String,
    /// The batches that are asked for.
    batches: Option<RangeInclusive<u32>>,
    part: Result<TracePart, String>,
}

impl ReportedRun {
    /// The run with the timeline of this trace on its page: of these batches, or of all of them, as far as a page can hold them.
    ///
    /// # Errors
    /// Those of [`read_trace`]; [`ReportError::Trace`] when the trace has another number of stages than the run, or none of these
    /// batches.
    pub fn with_trace(
        mut self,
        path: &Path,
        batches: Option<RangeInclusive<u32>>,
    ) -> Result<Self, ReportError> {
        let part = self.fitting_part(path, batches.as_ref(), read_trace)?;
        self.trace = Some(Traced {
            source: shown_path(path),
            batches,
            part: Ok(part),
        });
        Ok(self)
    }

    /// The run with the timeline of the file `trace.json` in its folder, if there is one. Where that is no trace of this run, or has
    /// none of these batches, the page and [`faults`](Self::faults) say why. `path` is the folder of the run.
    #[must_use]
    pub fn with_trace_found(mut self, path: &Path, batches: Option<RangeInclusive<u32>>) -> Self {
        let file = path.join(TRACE_FILE);
        if stagger_data::foreign::is_there(&file) {
            let part = self.fitting_part(&file, batches.as_ref(), read_trace_inside);
            let part = part.map_err(|error| error.to_string());
            self.faults.extend(part.as_ref().err().cloned());
            self.trace = Some(Traced {
                source: shown_path(&file),
                batches,
                part,
            });
        }
        self
    }

    /// Whether there is a timeline, or a sentence that says why there is none.
    #[must_use]
    pub fn has_trace(&self) -> bool {
        self.trace.is_some()
    }

    /// Why there is no timeline, where a trace has been found and cannot be drawn.
    #[must_use]
    pub fn trace_refusal(&self) -> Option<&str> {
        self.trace.as_ref()?.part.as_ref().err().map(String::as_str)
    }

    fn fitting_part(
        &self,
        path: &Path,
        batches: Option<&RangeInclusive<u32>>,
        read: Reader,
    ) -> Result<TracePart, ReportError> {
        let part = read(path, batches, MOST_SLICES)?;
        let refuse = |what| ReportError::Trace {
            path: path.to_owned(),
            what,
        };
        let stages = self.epochs.first().map(|epoch| epoch.stages.len());
        if let Some(stages) = stages.filter(|&stages| stages != part.tracks.len()) {
            return Err(refuse(format!(
                "it has {} tracks, and {} has {stages} stages; give the trace of that run",
                part.tracks.len(),
                self.name
            )));
        }
        let (Some(batches), true) = (batches, part.slices.is_empty()) else {
            return Ok(part);
        };
        let (first, last) = (batches.start(), batches.end());
        Err(refuse(match part.batches {
            Some((from, to)) => {
                format!("it has batches {from} to {to}, and none of {first} to {last}")
            }
            None => format!("it has no batch, and none of {first} to {last}"),
        }))
    }
}

/// A timeline as the page has it.
pub(super) struct Timeline {
    /// What is drawn, of what, or why nothing is.
    pub note: String,
    pub drawing: Option<Drawing>,
}

pub(super) struct Drawing {
    /// The first part.
    pub svg: String,
    /// All of it, as JSON. Numbers and names of stages are all that gets there from a file.
    pub data: String,
    /// What there is: class of the colour, letter, words.
    pub legend: Vec<(&'static str, String, &'static str)>,
}

impl Timeline {
    pub fn of(traced: &Traced) -> Self {
        let part = match &traced.part {
            Ok(part) => part,
            Err(why) => {
                return Self {
                    note: format!("Not drawn: {}", shown_text(why)),
                    drawing: None,
                };
            }
        };
        Self {
            note: note(traced, part),
            drawing: Rows::of(part).map(|rows| rows.drawing()),
        }
    }
}

fn note(traced: &Traced, part: &TracePart) -> String {
    let source = &traced.source;
    let Some((first, last)) = part.batches else {
        return format!("{source} is a trace without a batch.");
    };
    let mut note = format!("{source} has batches {first} to {last}");
    // Writing to a string does not fail.
    if let Some(asked) = &traced.batches {
        let (from, to) = (*asked.start().max(&first), *asked.end().min(&last));
        let _ = write!(note, "; drawn is the time of {from} to {to}");
    }
    if part.left_out > 0 {
        let drawn = part.slices.len();
        let all = part.left_out + drawn;
        let from = part.slices.iter().map(TracedSlice::batch).min();
        let _ = write!(
            note,
            "; drawn are the last {drawn} of {all} slices, from batch {} on, and --trace-batches chooses others",
            from.unwrap_or(first)
        );
    }
    if part.is_cut {
        note += ". The file ends in the middle: what comes before is drawn";
    }
    note + "."
}

/// A slice in microseconds from the first one on.
#[derive(Clone, Copy)]
struct Bar {
    slice: TracedSlice,
    from: u64,
    to: u64,
}

struct Rows<'a> {
    names: &'a [String],
    /// The bars of each track.
    bars: Vec<Vec<Bar>>,
    /// Where the first one begins, in microseconds of the run.
    origin: u64,
    /// Where the last one ends, from the origin on.
    end: u64,
}

impl<'a> Rows<'a> {
    /// `None` where there is nothing to draw.
    fn of(part: &'a TracePart) -> Option<Self> {
        let microseconds = |nanoseconds: u64| (nanoseconds + 500) / 1000;
        let starts = part.slices.iter().map(|slice| slice.starts_at);
        let origin = microseconds(starts.min()?);
        let mut bars = vec![Vec::new(); part.tracks.len()];
        let mut end = 1;
        for slice in &part.slices {
            let bar = Bar {
                slice: *slice,
                from: microseconds(slice.starts_at) - origin,
                to: microseconds(slice.ends_at) - origin,
            };
            end = end.max(bar.to);
            bars.get_mut(slice.track)?.push(bar);
        }
        Some(Self {
            names: &part.tracks,
            bars,
            origin,
            end,
        })
    }

    fn drawing(&self) -> Drawing {
        Drawing {
            svg: self.svg(),
            data: self.data().to_string(),
            legend: self.legend(),
        }
    }

    /// Where the picture without the script ends: there the labels of the busiest stage still have room.
    fn first_end(&self) -> u64 {
        let ends = self.bars.iter().filter_map(|bars| {
            let mut actions = bars.iter().filter(|bar| bar.slice.kind.letter().is_some());
            actions.nth(FIRST_ACTIONS - 1).map(|bar| bar.to)
        });
        ends.min().unwrap_or(self.end).max(1)
    }

    fn data(&self) -> Value {
        let row = |(name, bars): (&String, &Vec<Bar>)| {
            let mut numbers: Vec<u64> = Vec::with_capacity(6 * bars.len());
            let mut until = 0;
            for bar in bars {
                let slice = &bar.slice;
                let kind = TraceKind::ALL.iter().position(|kind| *kind == slice.kind);
                numbers.extend([
                    kind.unwrap_or_default() as u64,
                    slice.number.into(),
                    slice.micro.into(),
                    bar.from - until,
                    bar.to - bar.from,
                    slice
                        .staleness
                        .map_or(0, |staleness| u64::from(staleness) + 1),
                ]);
                until = bar.to;
            }
            json!({"name": name, "bars": numbers})
        };
        let kind = |kind: TraceKind| json!([class(kind), letter(kind), kind.words()]);
        json!({
            "sizes": {"left": LEFT, "right": RIGHT, "row": ROW, "bar": BAR, "axis": AXIS, "character": CHARACTER},
            "kinds": TraceKind::ALL.map(kind),
            "origin": self.origin,
            "end": self.end,
            "first": self.first_end(),
            "rows": self.names.iter().zip(&self.bars).map(row).collect::<Vec<_>>(),
        })
    }

    fn legend(&self) -> Vec<(&'static str, String, &'static str)> {
        let is_there = |kind: &TraceKind| {
            let mut bars = self.bars.iter().flatten();
            bars.any(|bar| bar.slice.kind == *kind)
        };
        let entry = |kind: TraceKind| (class(kind), letter(kind), kind.words());
        TraceKind::ALL
            .into_iter()
            .filter(is_there)
            .map(entry)
            .collect()
    }

    /// The first part, as the script draws it, too. The last stage is on top: activations go up.
    fn svg(&self) -> String {
        let end = self.first_end();
        let scale = (WIDTH - LEFT - RIGHT) / end as f64;
        let x = |at: u64| LEFT + at.min(end) as f64 * scale;
        let rows = self.bars.len() as f64;
        let height = rows * ROW + AXIS;
        // Writing to a string does not fail.
        let mut svg = format!(
            "<svg role=\"img\" viewBox=\"0 0 {WIDTH} {height}\" aria-label=\"What each of {} stages did in the first {} ms that are drawn\">",
            self.bars.len(),
            end.div_ceil(1000)
        );
        for (at, (name, bars)) in self.names.iter().zip(&self.bars).rev().enumerate() {
            let top = at as f64 * ROW;
            let _ = write!(
                svg,
                "\n<text class=\"name\" x=\"0\" y=\"{}\">{name}</text><rect class=\"idle\" x=\"{LEFT}\" y=\"{top}\" width=\"{}\" height=\"{BAR}\"/>",
                top + BAR / 2.0,
                WIDTH - LEFT - RIGHT
            );
            for bar in bars.iter().filter(|bar| bar.from < end) {
                let (from, to) = (x(bar.from), x(bar.to));
                draw_bar(&mut svg, &bar.slice, from, to - from, top);
            }
        }
        let bottom = rows * ROW;
        for (at, label) in ticks(self.origin, self.origin + end) {
            let x = x(at - self.origin);
            let _ = write!(
                svg,
                "<line class=\"tick\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{}\" y2=\"{bottom}\"/><text class=\"time\" x=\"{x:.1}\" y=\"{}\">{label}</text>",
                bottom - 6.0,
                bottom + 12.0
            );
        }
        svg + "\n</svg>"
    }
}

fn draw_bar(svg: &mut String, slice: &TracedSlice, x: f64, width: f64, top: f64) {
    let class = class(slice.kind);
    // Waits are low.
    let (y, height) = match slice.kind.letter() {
        Some(_) => (top, BAR),
        None => (top + BAR - BAR / 4.0, BAR / 4.0),
    };
    // Edges would hide the colour.
    let thin = if width < 3.0 { " thin" } else { "" };
    let _ = write!(
        svg,
        "<rect class=\"{class}{thin}\" x=\"{x:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"{height}\"/>",
        width.max(0.2)
    );
    if slice.kind.letter().is_none() {
        return;
    }
    let number = slice.name().split_off(1);
    let names = [slice.name(), number];
    let fits = |name: &&String| width > CHARACTER * name.len() as f64 + 3.0;
    if let Some(name) = names.iter().find(fits) {
        let _ = write!(
            svg,
            "<text class=\"on {class}\" x=\"{:.1}\" y=\"{}\">{name}</text>",
            x + width / 2.0,
            top + BAR / 2.0
        );
    }
}

/// Times of the run between two, in microseconds, at which the axis has a mark, and their labels.
fn ticks(from: u64, to: u64) -> Vec<(u64, String)> {
    let least = (to - from).div_ceil(8).max(1);
    let (mut power, mut decimals) = (1_u64, 6_usize);
    while power * 10 <= least {
        power *= 10;
        decimals = decimals.saturating_sub(1);
    }
    let mut steps = [1, 2, 5].into_iter().map(|by| by * power);
    let step = steps.find(|step| *step >= least).unwrap_or(10 * power);
    if step == 10 * power {
        decimals = decimals.saturating_sub(1);
    }
    let label = |at: u64| format!("{:.decimals$} s", at as f64 / 1e6);
    (from.div_ceil(step)..=to / step)
        .map(|at| (at * step, label(at * step)))
        .collect()
}

/// The class of its colour.
fn class(kind: TraceKind) -> &'static str {
    match kind {
        TraceKind::WaitForImages => "images",
        TraceKind::WaitForRoom => "room",
        other => other.category(),
    }
}

fn letter(kind: TraceKind) -> String {
    kind.letter().map(String::from).unwrap_or_default()
}
