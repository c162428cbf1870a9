//! The trace of a run, as a sink of its events.

use std::io;
use std::time::Duration;

use stagger_runtime::{Acted, Event, Outcome, RunError};
use stagger_schedule::Action;

use super::arrows::{Arrows, Parts};
use super::{ArrowEnd, Slice, TraceWriter, batch_or_version, kind};
use crate::error::ReportError;
use crate::new_file::NewFile;
use crate::sink::Sink;

/// Most batches that are traced.
const BATCHES: usize = 1000;
/// Most actions, but for those of batches that are on their way by then: some 20 MB.
const ACTIONS: usize = 100_000;

/// Writes what every stage does in the first 1000 batches of a run, from where it starts or resumes, or in fewer where these would be
/// more than some 100,000 actions: a track per stage, and arrows from where an activation or a gradient leaves to where it is taken. In
/// front of an action, on the same track, is what it waited for its input, and behind it what it waited for room above or below. Of
/// several replicas, the first.
///
/// The file is written when all stages have gone through these batches, or else when the run ends.
#[derive(Debug)]
pub struct TraceFile {
    file: NewFile,
    stages: usize,
    /// The last batch to trace; of which the first action says where the run starts.
    last: Option<usize>,
    acted: Vec<Acted>,
    /// Added to times: each go of a run that rolls back has a clock of its own.
    offset: Duration,
    /// The newest batch that has an action.
    newest: usize,
    /// Of each stage, whether it has made the update behind that of the last batch: with that, all of the last batch is done.
    is_through: Vec<bool>,
    is_written: bool,
}

impl TraceFile {
    /// A trace that goes to this file.
    pub fn new(file: NewFile) -> Self {
        Self {
            file,
            stages: 0,
            last: None,
            acted: Vec::new(),
            newest: 0,
            offset: Duration::ZERO,
            is_through: Vec::new(),
            is_written: false,
        }
    }

    fn start(&mut self, stages: usize) {
        self.stages = stages;
        self.is_through = vec![false; stages];
        let ends = self.acted.iter().map(|acted| acted.ended_at);
        self.offset = ends.max().unwrap_or_default();
    }

    fn add(&mut self, acted: &Acted) -> Result<(), ReportError> {
        let at = batch_or_version(acted.action);
        let last = *self.last.get_or_insert(at + BATCHES - 1);
        if at > last {
            // A stage that runs ahead forwards batches before it has pulled the last one back.
            let Action::Update { .. } = acted.action else {
                return Ok(());
            };
            self.is_through[acted.stage] = true;
            if self.is_through.iter().all(|&is_through| is_through) {
                return self.write();
            }
            return Ok(());
        }
        self.newest = self.newest.max(at);
        if self.acted.len() >= ACTIONS {
            self.last = Some(self.newest);
        }
        self.acted.push(Acted {
            started_at: acted.started_at + self.offset,
            ended_at: acted.ended_at + self.offset,
            ..*acted
        });
        Ok(())
    }

    /// Writes the file, once.
    fn write(&mut self) -> Result<(), ReportError> {
        if self.is_written {
            return Ok(());
        }
        self.is_written = true;
        let mut acted = std::mem::take(&mut self.acted);
        acted.sort_by_key(|acted| (acted.started_at, acted.stage));
        let bytes = bytes(&acted, self.stages)
            .map_err(|source| ReportError::io("write", self.file.path(), source))?;
        // What has come to be there since stays, and so does the run.
        NewFile::beside(self.file.path(), None)?.write(&bytes)
    }
}

impl Sink for TraceFile {
    fn event(&mut self, event: &Event) -> Result<(), ReportError> {
        match event {
            Event::Started { stages } => {
                self.start(*stages);
                Ok(())
            }
            Event::Acted(acted) if !self.is_written => self.add(acted),
            _ => Ok(()),
        }
    }

    fn finish(&mut self, _end: Result<&Outcome, &RunError>) -> Result<(), ReportError> {
        self.write()
    }
}

fn bytes(acted: &[Acted], stages: usize) -> io::Result<Vec<u8>> {
    let tracks = (0..stages).map(|stage| format!("stage {stage}"));
    let mut writer = TraceWriter::new(Vec::new(), tracks)?;
    let arrows = Arrows::of(acted, stages);
    for acted in acted {
        add(&mut writer, acted, &arrows)?;
    }
    writer.end()
}

fn add(writer: &mut TraceWriter<Vec<u8>>, acted: &Acted, arrows: &Arrows) -> io::Result<()> {
    let track = acted.stage;
    let parts = Parts::of(acted);
    let name = acted.action.to_string();
    let wait = Slice {
        track,
        name: if acted.waits.loader > acted.waits.receive {
            "wait for images"
        } else {
            "wait"
        },
        kind: "wait",
        starts_at: acted.started_at,
        ends_at: parts.begins,
        staleness: None,
    };
    writer.slice(&wait)?;
    writer.slice(&Slice {
        track,
        name: &name,
        kind: kind(acted.action),
        starts_at: parts.begins,
        ends_at: parts.ends,
        staleness: acted.staleness,
    })?;
    writer.slice(&Slice {
        name: "wait for room",
        starts_at: parts.ends,
        ends_at: acted.ended_at,
        ..wait
    })?;
    let Some(kind) = Arrows::kind(acted.action) else {
        return Ok(());
    };
    if let Some((sender, hop)) = arrows.taken_by(acted) {
        writer.arrow_to(&ArrowEnd {
            track,
            at: parts.begins,
            id: &format!("{sender}/{hop}"),
            kind,
        })?;
    }
    if let Some(message @ (sender, hop)) = arrows.sent_by(acted) {
        writer.arrow_from(&ArrowEnd {
            track,
            at: arrows.left_at(message, parts),
            id: &format!("{sender}/{hop}"),
            kind,
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use stagger_runtime::Waits;

    use super::*;

    fn acted(stage: usize, action: Action, from: u64, to: u64) -> Event {
        Event::Acted(Acted {
            stage,
            action,
            started_at: Duration::from_millis(from),
            ended_at: Duration::from_millis(to),
            waits: Waits::default(),
            transfer: Duration::ZERO,
            delayed: Duration::ZERO,
            staleness: None,
            gap: None,
        })
    }

    fn events(file: &NewFile) -> Vec<serde_json::Value> {
        let text = fs::read(file.path()).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&text).unwrap();
        read["traceEvents"].as_array().unwrap().clone()
    }

    #[test]
    fn arrows_have_two_ends_within_slices() {
        let folder = tempfile::tempdir().unwrap();
        let file = NewFile::at(&folder.path().join("trace.json")).unwrap();
        let mut trace = TraceFile::new(file.clone());
        trace.event(&Event::Started { stages: 3 }).unwrap();
        let forward = Action::Forward { batch: 7, micro: 2 };
        let backward = Action::Backward { batch: 7, micro: 2 };
        for stage in 0..3 {
            let at = 10 * stage as u64;
            trace.event(&acted(stage, forward, at, at + 5)).unwrap();
            let at = 90 - at;
            trace.event(&acted(stage, backward, at, at + 5)).unwrap();
        }
        assert!(!file.path().exists());
        trace.write().unwrap();
        let events = events(&file);
        let mut arrows = BTreeMap::new();
        for event in &events {
            let (Some(id), Some(phase)) = (event["id"].as_str(), event["ph"].as_str()) else {
                continue;
            };
            let (track, at) = (
                event["tid"].as_u64().unwrap(),
                event["ts"].as_f64().unwrap(),
            );
            assert!(
                events.iter().any(|slice| slice["ph"] == "X"
                    && slice["tid"] == track
                    && slice["ts"].as_f64().unwrap() <= at
                    && at <= slice["ts"].as_f64().unwrap() + slice["dur"].as_f64().unwrap()),
                "{event}"
            );
            let ends = arrows.entry(id.to_owned()).or_insert([None, None]);
            ends[usize::from(phase == "f")] = Some(track);
        }
        let ends = |from, to| [Some(from), Some(to)];
        let expected = [
            ("B7.2/0", ends(1, 0)),
            ("B7.2/1", ends(2, 1)),
            ("F7.2/0", ends(0, 1)),
            ("F7.2/1", ends(1, 2)),
        ];
        assert_eq!(
            arrows,
            expected.map(|(id, ends)| (id.to_owned(), ends)).into()
        );
    }

    /// Stage 0 is interrupted between sending and the end of its slice, and goes over the batch again later.
    #[test]
    fn nothing_is_received_before_it_was_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = NewFile::at(&folder.path().join("trace.json")).unwrap();
        let mut trace = TraceFile::new(file.clone());
        trace.event(&Event::Started { stages: 2 }).unwrap();
        let forward = Action::Forward { batch: 7, micro: 0 };
        for at in [0, 100] {
            trace.event(&acted(0, forward, at, at + 20)).unwrap();
            trace.event(&acted(1, forward, at + 12, at + 30)).unwrap();
        }
        trace.write().unwrap();
        let events = events(&file).into_iter();
        let ends: Vec<_> = events
            .filter(|event| event["ph"] == "s" || event["ph"] == "f")
            .map(|event| (event["ph"].clone(), event["ts"].as_f64().unwrap()))
            .collect();
        let expected = [("s", 12e3), ("f", 12e3), ("s", 112e3), ("f", 112e3)];
        assert_eq!(ends, expected.map(|(phase, at)| (phase.into(), at)));
    }

    /// Stage 0 pulls batch 7 back before stage 1 has, and learns from the gradient that comes later.
    #[test]
    fn a_gradient_that_is_learned_from_arrives_then() {
        let folder = tempfile::tempdir().unwrap();
        let file = NewFile::at(&folder.path().join("trace.json")).unwrap();
        let mut trace = TraceFile::new(file.clone());
        trace.event(&Event::Started { stages: 2 }).unwrap();
        let backward = Action::Backward { batch: 7, micro: 0 };
        let learn = Action::Learn { batch: 7, micro: 0 };
        trace.event(&acted(0, backward, 10, 20)).unwrap();
        trace.event(&acted(1, backward, 30, 40)).unwrap();
        trace.event(&acted(0, learn, 50, 60)).unwrap();
        trace.write().unwrap();
        let events = events(&file).into_iter();
        let ends: Vec<_> = events
            .filter(|event| event["ph"] == "s" || event["ph"] == "f")
            .map(|event| {
                let [id, track] = ["id", "tid"].map(|key| event[key].clone());
                (id, track, event["ts"].as_f64().unwrap().round())
            })
            .collect();
        let id = serde_json::Value::from("B7/0");
        assert_eq!(ends, [(id.clone(), 1.into(), 40e3), (id, 0.into(), 50e3)]);
    }

    #[test]
    fn waits_are_told_apart_from_work() {
        let folder = tempfile::tempdir().unwrap();
        let file = NewFile::at(&folder.path().join("trace.json")).unwrap();
        let mut trace = TraceFile::new(file.clone());
        trace.event(&Event::Started { stages: 1 }).unwrap();
        let mut event = acted(0, Action::Forward { batch: 0, micro: 0 }, 10, 30);
        let Event::Acted(acted) = &mut event else {
            unreachable!()
        };
        acted.waits.loader = Duration::from_millis(4);
        acted.waits.send = Duration::from_millis(6);
        trace.event(&event).unwrap();
        trace.write().unwrap();
        let slices: Vec<_> = events(&file)
            .iter()
            .filter(|event| event["ph"] == "X")
            .map(|event| {
                (
                    event["name"].clone(),
                    event["ts"].clone(),
                    event["dur"].clone(),
                )
            })
            .collect();
        let expected = [
            ("wait for images", 10e3, 4e3),
            ("F0", 14e3, 10e3),
            ("wait for room", 24e3, 6e3),
        ];
        assert_eq!(
            slices,
            expected.map(|(name, at, lasts)| (name.into(), at.into(), lasts.into()))
        );
    }

    fn slices(file: &NewFile) -> Vec<String> {
        let slices = events(file).into_iter().filter(|event| event["ph"] == "X");
        slices
            .map(|event| format!("{}/{}", event["name"].as_str().unwrap(), event["tid"]))
            .collect()
    }

    /// Stage 0 runs two batches ahead of its updates, and stage 1 none.
    fn run_to(trace: &mut TraceFile, first: usize, batches: usize) {
        for batch in first..first + batches {
            let at = 10 * batch as u64;
            let forward = Action::Forward { batch, micro: 0 };
            let update = |version| Action::Update { version };
            trace.event(&acted(0, forward, at, at + 1)).unwrap();
            trace.event(&acted(1, forward, at + 1, at + 2)).unwrap();
            trace
                .event(&acted(1, update(batch), at + 2, at + 3))
                .unwrap();
            if let Some(version) = batch.checked_sub(2).filter(|&version| version >= first) {
                trace
                    .event(&acted(0, update(version), at + 3, at + 4))
                    .unwrap();
            }
        }
    }

    #[test]
    fn a_long_run_has_a_short_whole_trace_before_it_ends() {
        let folder = tempfile::tempdir().unwrap();
        let file = NewFile::at(&folder.path().join("trace.json")).unwrap();
        let mut trace = TraceFile::new(file.clone());
        trace.event(&Event::Started { stages: 2 }).unwrap();
        run_to(&mut trace, 40, BATCHES + 2);
        assert!(!file.path().exists());
        run_to(&mut trace, 40 + BATCHES + 2, 1);
        // That was the update of stage 0 behind those that are traced.
        let late = Action::Update {
            version: 40 + BATCHES,
        };
        trace.event(&acted(0, late, 99_000, 99_001)).unwrap();
        let found = slices(&file);
        assert_eq!(found.len(), 4 * BATCHES);
        let last = 40 + BATCHES - 1;
        for expected in [
            format!("F{last}/0"),
            format!("U{last}/0"),
            format!("U{last}/1"),
        ] {
            assert_eq!(
                found.iter().filter(|name| **name == expected).count(),
                1,
                "{expected}"
            );
        }
        assert!(trace.acted.is_empty());
        trace.write().unwrap();
        assert_eq!(slices(&file).len(), 4 * BATCHES);
    }

    #[test]
    fn many_micro_batches_make_a_trace_of_fewer_batches() {
        let folder = tempfile::tempdir().unwrap();
        let file = NewFile::at(&folder.path().join("trace.json")).unwrap();
        let mut trace = TraceFile::new(file.clone());
        trace.event(&Event::Started { stages: 1 }).unwrap();
        for batch in 0..=ACTIONS / 250 + 1 {
            let at = batch as u64;
            for micro in 0..250 {
                let forward = Action::Forward { batch, micro };
                trace.event(&acted(0, forward, at, at + 1)).unwrap();
            }
            let update = Action::Update { version: batch };
            trace.event(&acted(0, update, at, at + 1)).unwrap();
        }
        // The batch that fills it up is whole.
        let found = slices(&file).len();
        assert!((ACTIONS..ACTIONS + 2 * 251).contains(&found), "{found}");
        assert_eq!(found % 251, 0);
    }

    #[test]
    fn a_go_after_a_rollback_comes_later() {
        let folder = tempfile::tempdir().unwrap();
        let file = NewFile::at(&folder.path().join("trace.json")).unwrap();
        let mut trace = TraceFile::new(file.clone());
        for _ in 0..2 {
            trace.event(&Event::Started { stages: 1 }).unwrap();
            let update = Action::Update { version: 0 };
            trace.event(&acted(0, update, 0, 8)).unwrap();
        }
        trace.write().unwrap();
        let events = events(&file);
        assert_eq!(
            (&events[1]["ts"], &events[2]["ts"]),
            (&0.0.into(), &8e3.into())
        );
    }
}
