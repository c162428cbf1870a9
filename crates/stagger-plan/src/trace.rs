//! A run as a file that Perfetto (ui.perfetto.dev) and Chrome's tracing page open.

use std::io::{self, Write};

use serde::Serialize;
use stagger_schedule::{Action, Replicas};

use crate::simulation::Step;

/// Writes steps in the trace event format, as one JSON object: a track per place, times in microseconds.
pub struct TraceWriter<W> {
    output: W,
    is_empty: bool,
    /// The number of each stage's first place.
    first_places: Vec<usize>,
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
    #[serde(rename = "dur")]
    lasts: f64,
    #[serde(rename = "args")]
    arguments: Arguments<'a>,
}

#[derive(Serialize)]
struct Arguments<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    staleness: Option<usize>,
}

impl<W: Write> TraceWriter<W> {
    /// Begins a trace of a pipeline with these replicas.
    ///
    /// # Errors
    /// Those of the output.
    pub fn new(mut output: W, replicas: &Replicas) -> io::Result<Self> {
        output.write_all(b"{\"displayTimeUnit\":\"ms\",\"traceEvents\":[")?;
        let mut writer = Self {
            output,
            is_empty: true,
            first_places: (0..replicas.stages())
                .map(|stage| replicas.number(stage, 0))
                .collect(),
        };
        for place in 0..replicas.places() {
            writer.write(&Entry {
                name: "thread_name",
                category: "",
                phase: "M",
                process: 0,
                thread: place,
                starts_at: 0.0,
                lasts: 0.0,
                arguments: Arguments {
                    name: Some(&replicas.place(place).to_string()),
                    staleness: None,
                },
            })?;
        }
        Ok(writer)
    }

    /// Adds an action. One that takes no time is left out.
    ///
    /// # Errors
    /// Those of the output.
    ///
    /// # Panics
    /// When it is one of a stage that there is not.
    pub fn add(&mut self, step: &Step) -> io::Result<()> {
        if step.ends_at == step.starts_at {
            return Ok(());
        }
        self.write(&Entry {
            name: &step.action.to_string(),
            category: kind(step.action),
            phase: "X",
            process: 0,
            thread: self.first_places[step.stage] + step.replica,
            starts_at: step.starts_at as f64 / 1e3,
            lasts: (step.ends_at - step.starts_at) as f64 / 1e3,
            arguments: Arguments {
                name: None,
                staleness: step.staleness,
            },
        })
    }

    /// Ends the trace.
    ///
    /// # Errors
    /// Those of the output.
    pub fn end(mut self) -> io::Result<W> {
        self.output.write_all(b"\n]}\n")?;
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

fn kind(action: Action) -> &'static str {
    match action {
        Action::Forward { .. } => "forward",
        Action::Recompute { .. } => "recompute",
        Action::Backward { .. } => "backward",
        Action::WeightGradients { .. } => "weights",
        Action::Learn { .. } => "learn",
        Action::Update { .. } => "update",
        Action::Evaluate { .. } => "evaluate",
        Action::Snapshot { .. } => "snapshot",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_json_with_a_track_per_place() {
        let replicas = Replicas::new(&[2, 1], 2).unwrap();
        let mut trace = TraceWriter::new(Vec::new(), &replicas).unwrap();
        let step = Step {
            stage: 1,
            replica: 0,
            action: Action::Backward { batch: 3, micro: 1 },
            starts_at: 1500,
            ends_at: 4000,
            staleness: Some(2),
        };
        trace.add(&step).unwrap();
        trace
            .add(&Step {
                ends_at: 1500,
                ..step
            })
            .unwrap();
        let text = trace.end().unwrap();
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let events = read["traceEvents"].as_array().unwrap();
        assert_eq!(events.len(), 4);
        assert_eq!(events[1]["args"]["name"], "stage 0 (replica 1 of 2)");
        assert_eq!(events[2]["args"]["name"], "stage 1");
        let last = &events[3];
        assert_eq!(last["tid"], 2);
        assert_eq!(
            (&last["name"], &last["ts"], &last["dur"]),
            (&"B3.1".into(), &1.5.into(), &2.5.into())
        );
        assert_eq!(last["args"]["staleness"], 2);
    }
}
