use std::fs;
use std::time::Duration;

use proptest::prelude::*;
use stagger_runtime::{Acted, Event, Waits};
use stagger_schedule::Action;

use super::*;
use crate::new_file::NewFile;
use crate::sink::Sink;
use crate::trace::{Slice, TraceFile, TraceWriter};

const ALL: TraceWindow = TraceWindow {
    time: None,
    most_slices: usize::MAX,
};

fn read(text: &[u8], window: &TraceWindow) -> Result<TracePart, String> {
    read_trace_from(text, Path::new("t"), window).map_err(|error| error.to_string())
}

/// The trace of `batches` batches on 2 stages, each of 10 ms.
fn trace(batches: u32) -> Vec<u8> {
    let tracks = (0..2).map(|stage| format!("stage {stage}"));
    let mut writer = TraceWriter::new(Vec::new(), tracks).unwrap();
    let mut add = |track, name: &str, kind: TraceKind, from: u64, to: u64| {
        let slice = Slice {
            track,
            name,
            kind: kind.category(),
            starts_at: Duration::from_micros(from),
            ends_at: Duration::from_micros(to),
            staleness: (kind == TraceKind::Backward).then_some(2 * (1 - track)),
        };
        writer.slice(&slice).unwrap();
    };
    for batch in 0..batches {
        let at = 10_000 * u64::from(batch);
        for track in 0..2 {
            let at = at + 100 * track as u64;
            add(track, "wait", TraceKind::Wait, at, at + 500);
            let forward = format!("F{batch}");
            add(track, &forward, TraceKind::Forward, at + 500, at + 3000);
            let room = "wait for room";
            add(track, room, TraceKind::WaitForRoom, at + 3000, at + 3250);
            let backward = format!("B{batch}");
            add(track, &backward, TraceKind::Backward, at + 3250, at + 9000);
            let update = format!("U{batch}");
            add(track, &update, TraceKind::Update, at + 9000, at + 9500);
        }
    }
    writer.end().unwrap()
}

#[test]
fn what_a_run_writes_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = NewFile::at(&folder.path().join("trace.json")).unwrap();
    let mut sink = TraceFile::new(file.clone());
    sink.event(&Event::Started { stages: 1 }).unwrap();
    let mut at = Duration::ZERO;
    let micro = 3;
    for action in [
        Action::Forward { batch: 7, micro },
        Action::Recompute { batch: 7, micro },
        Action::Backward { batch: 7, micro },
        Action::WeightGradients { batch: 7, micro },
        Action::Learn { batch: 7, micro },
        Action::Update { version: 7 },
        Action::Evaluate { version: 8 },
        Action::Snapshot { version: 8 },
    ] {
        let waits = Waits {
            receive: Duration::from_nanos(1001),
            send: Duration::from_nanos(999),
            ..Waits::default()
        };
        sink.event(&Event::Acted(Acted {
            stage: 0,
            action,
            started_at: at,
            ended_at: at + Duration::from_nanos(12_345),
            waits,
            transfer: Duration::ZERO,
            delayed: Duration::ZERO,
            staleness: matches!(action, Action::Backward { .. }).then_some(4),
            gap: None,
        }))
        .unwrap();
        at += Duration::from_nanos(12_345);
    }
    // The end of a run writes the file; so does the first action behind the last batch that is traced.
    sink.event(&Event::Acted(Acted {
        stage: 0,
        action: Action::Update { version: 5000 },
        started_at: at,
        ended_at: at,
        waits: Waits::default(),
        transfer: Duration::ZERO,
        delayed: Duration::ZERO,
        staleness: None,
        gap: None,
    }))
    .unwrap();
    let part = read_trace_inside(file.path(), None, 100).unwrap();
    assert_eq!(part.tracks, ["stage 0"]);
    assert_eq!((part.batches, part.is_cut), (Some((7, 7)), false));
    let works = part.slices.iter().filter(|of| of.kind.letter().is_some());
    let names: Vec<String> = works.clone().map(TracedSlice::name).collect();
    assert_eq!(
        names,
        ["F7.3", "R7.3", "B7.3", "W7.3", "L7.3", "U7", "E8", "S8"]
    );
    assert!(works.clone().all(|slice| slice.batch() == 7));
    let stale: Vec<Option<u32>> = works.map(|slice| slice.staleness).collect();
    assert_eq!(stale[2], Some(4));
    let nanoseconds: Vec<(u64, u64)> = part.slices[..3]
        .iter()
        .map(|slice| (slice.starts_at, slice.ends_at))
        .collect();
    assert_eq!(nanoseconds, [(0, 1001), (1001, 11_346), (11_346, 12_345)]);
    let waits = part.slices.iter().filter(|of| of.kind.letter().is_none());
    assert_eq!(waits.clone().count(), 16);
    assert!(waits.clone().all(|wait| wait.batch() == 7));
    let room = waits.filter(|wait| wait.kind == TraceKind::WaitForRoom);
    assert_eq!(room.count(), 8);
}

#[test]
fn a_window_has_the_batches_that_are_asked_for() {
    let text = trace(20);
    let all = read(&text, &ALL).unwrap();
    assert_eq!(
        (all.slices.len(), all.left_out, all.batches),
        (200, 0, Some((0, 19)))
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t");
    fs::write(&path, &text).unwrap();
    let part = read_trace(&path, Some(&(3..=4)), 100).unwrap();
    assert_eq!((part.left_out, part.batches), (0, Some((0, 19))));
    // From the forward pass of batch 3 on stage 0 to the update of batch 4 on stage 1, whatever stages do in that time: its wait before is
    // none of it, and stage 1 begins to wait.
    let of_batches = all.slices.iter().filter(|of| (3..=4).contains(&of.batch()));
    let of_batches: Vec<TracedSlice> = of_batches.copied().skip(1).collect();
    assert_eq!(part.slices, of_batches);
    // The last ones are kept.
    let few = read_trace(&path, Some(&(3..=4)), 15).unwrap();
    assert_eq!(
        (few.left_out, few.slices.as_slice()),
        (4, &part.slices[4..])
    );
    let none = read_trace(&path, Some(&(20..=90)), 100).unwrap();
    assert_eq!((none.slices.len(), none.batches), (0, Some((0, 19))));
    // What a stage does of another batch in that time is there, too.
    let later = String::from_utf8(text).unwrap().replace("B3\"", "B2\"");
    fs::write(&path, later).unwrap();
    let part = read_trace(&path, Some(&(3..=3)), 100).unwrap();
    let names: Vec<String> = part.slices.iter().map(TracedSlice::name).collect();
    assert_eq!(names.iter().filter(|name| *name == "B2").count(), 2);
}

#[test]
fn a_trace_that_ends_in_the_middle_is_read_as_far_as_it_is() {
    let text = trace(4);
    let whole = read(&text, &ALL).unwrap();
    for length in BEGINNING.len()..text.len() {
        let part = read(&text[..length], &ALL).unwrap();
        // Without the end of its last line it is whole.
        assert_eq!(part.is_cut, length < text.len() - 1, "{length}");
        let slices = part.slices.len();
        assert!(whole.slices.starts_with(&part.slices), "{length}");
        let lines = text[..length].iter().filter(|byte| **byte == b'\n').count();
        // The beginning and two names are no slices, and a wait is kept with its action.
        assert!(
            slices + 3 <= lines.max(3) && lines <= slices + 6,
            "{length}: {slices} {lines}"
        );
    }
    for length in 1..BEGINNING.len() {
        let error = read(&text[..length], &ALL).unwrap_err();
        assert!(error.contains("it does not begin as"), "{error}");
    }
}

#[test]
fn what_is_no_trace_is_refused() {
    let good = String::from_utf8(trace(2)).unwrap();
    let error = |text: &str| read(text.as_bytes(), &ALL).unwrap_err();
    for (text, expected) in [
        ("", "it is empty"),
        (
            "hello\n",
            "it does not begin as the files of `stagger train --trace` do",
        ),
        ("[\n", "it does not begin"),
        ("{\"traceEvents\":[]}\n", "it does not begin"),
        ("\u{1f}", "it does not begin"),
        (
            "version https://git-lfs.github.com/spec/v1\n",
            "`git lfs pull`",
        ),
    ] {
        let error = error(text);
        let start = "t is no trace that a timeline can be drawn from: ";
        assert!(
            error.starts_with(start) && error.contains(expected),
            "{error}"
        );
    }
    let gzip = read(b"\x1f\x8b\x08\n", &ALL).unwrap_err();
    assert!(gzip.contains("unpack it first"), "{gzip}");
    for (from, to, expected) in [
        ("\"ph\":\"X\"", "\"ph\":\"B\"", "line 4: its `ph` is `B`"),
        (
            "\"tid\":1,\"ts\":100",
            "\"tid\":2,\"ts\":100",
            "it is on track 2 and 2 are named",
        ),
        (
            "stage 0",
            "stage <b>",
            "line 2: a name such as `stage 0` was expected",
        ),
        (
            "stage 0",
            "stage 00",
            "a name such as `stage 0` was expected",
        ),
        (
            "stage 1",
            "stage 1 (replica x of 2)",
            "line 3: a name such as",
        ),
        (
            "\"name\":\"F1\"",
            "\"name\":\"<script>\"",
            "`<script>` of `forward` is no action of a stage",
        ),
        (
            "\"name\":\"F1\"",
            "\"name\":\"F+1\"",
            "`F+1` of `forward` is no action",
        ),
        (
            "\"name\":\"F1\"",
            "\"name\":\"F1.0\"",
            "`F1.0` of `forward`",
        ),
        (
            "\"name\":\"F1\"",
            "\"name\":\"F4294967296\"",
            "is no action",
        ),
        (
            "\"name\":\"F1\"",
            "\"name\":\"\"",
            "`` of `forward` is no action",
        ),
        (
            "\"cat\":\"update\"",
            "\"cat\":\"soup\"",
            "of `soup` is no action",
        ),
        (
            "\"name\":\"wait\"",
            "\"name\":\"wait for tea\"",
            "`wait for tea` of `wait`",
        ),
        (
            "\"ts\":500.0",
            "\"ts\":-500.0",
            "it begins at -500 µs and lasts 2500 µs",
        ),
        (
            "\"ts\":500.0",
            "\"ts\":1e300",
            "times from 0 to 1000000000000 µs are read",
        ),
        (
            "\"ts\":500.0",
            "\"ts\":1e999",
            "no entry: number out of range",
        ),
        (
            "\"ts\":500.0",
            "\"ts\":400.0",
            "it begins before the one before it on its track ends",
        ),
        ("\"dur\":2500.0", "\"dür\":2500.0", "it has no `dur`"),
        (
            "\"staleness\":2",
            "\"staleness\":-2",
            "no entry: invalid value",
        ),
        (
            "\"thread_name\"",
            "\"process_name\"",
            "line 2: the name of track 0 was expected",
        ),
    ] {
        assert!(good.contains(from), "{from}");
        let error = error(&good.replacen(from, to, 1));
        assert!(error.contains(expected), "{error}: {expected}");
    }
    let long = format!("{BEGINNING}\n{}", " ".repeat(5000));
    assert!(error(&long).contains("line 2 is longer than 4096 bytes"));
    // What a line holds stays on the line of the sentence.
    let forged = good.replacen("\"cat\":\"update\"", "\"cat\":\"\\nerror: \\u001b[2J\"", 1);
    let error = error(&forged);
    assert!(error.contains(r"of `\nerror: \u{1b}[2J`"), "{error}");
}

/// A trace without an end, which is made while it is read.
struct Endless {
    left: usize,
    made: u64,
    line: Vec<u8>,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.line.is_empty() && self.left > 0 {
            let at = self.made;
            self.made += 1;
            self.left -= 1;
            self.line = format!(
                "{{\"name\":\"F{at}\",\"cat\":\"forward\",\"ph\":\"X\",\"tid\":0,\"ts\":{at},\"dur\":1}},\n"
            )
            .into_bytes();
        }
        let taken = buffer.len().min(self.line.len());
        buffer[..taken].copy_from_slice(&self.line[..taken]);
        self.line.drain(..taken);
        Ok(taken)
    }
}

#[test]
fn of_a_huge_trace_only_the_window_is_kept() {
    let beginning = format!(
        "{BEGINNING}\n{{\"name\":\"thread_name\",\"cat\":\"\",\"ph\":\"M\",\"tid\":0,\"ts\":0.0,\"args\":{{\"name\":\"stage 0\"}}}},\n"
    );
    let slices = Endless {
        left: 200_000,
        made: 0,
        line: Vec::new(),
    };
    let reader = BufReader::new(beginning.as_bytes().chain(slices));
    let window = TraceWindow {
        most_slices: 10,
        ..ALL
    };
    let part = read_trace_from(reader, Path::new("t"), &window).unwrap();
    assert_eq!((part.left_out, part.is_cut), (199_990, true));
    assert_eq!(part.batches, Some((0, 199_999)));
    assert_eq!(part.slices.first().map(TracedSlice::batch), Some(199_990));
    // Tracks have a bound, too.
    let name = |track: usize| {
        format!(
            "{{\"name\":\"thread_name\",\"cat\":\"\",\"ph\":\"M\",\"tid\":{track},\"ts\":0,\"args\":{{\"name\":\"stage 0\"}}}}\n"
        )
    };
    let tracks: String = (0..=MAX_TRACKS).map(name).collect();
    let error = read(format!("{BEGINNING}\n{tracks}").as_bytes(), &ALL).unwrap_err();
    assert!(error.contains("there are more than 1024 tracks"), "{error}");
}

#[test]
fn files_are_opened_as_those_of_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("trace.json");
    let file = fs::File::create(&path).unwrap();
    file.set_len(MAX_BYTES + 1).unwrap();
    let error = read_trace(&path, None, 100).unwrap_err().to_string();
    assert!(error.contains("1073741825 bytes and at most"), "{error}");
    let error = read_trace(folder.path(), None, 100).unwrap_err();
    assert!(error.to_string().contains("Is a directory"), "{error}");
    #[cfg(unix)]
    {
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        let error = read_trace_inside(&path, None, 100).unwrap_err().to_string();
        assert!(error.contains("a link that leads out"), "{error}");
    }
}

/// The same part, written again.
fn written(part: &TracePart) -> Vec<u8> {
    let mut writer = TraceWriter::new(Vec::new(), part.tracks.clone()).unwrap();
    for slice in &part.slices {
        writer
            .slice(&Slice {
                track: slice.track,
                name: &slice.name(),
                kind: slice.kind.category(),
                starts_at: Duration::from_nanos(slice.starts_at),
                ends_at: Duration::from_nanos(slice.ends_at),
                staleness: slice.staleness.map(|staleness| staleness as usize),
            })
            .unwrap();
    }
    writer.end().unwrap()
}

proptest! {
    /// Whatever the order of kinds and the lengths, what is read, written and read again is the same.
    #[test]
    fn a_part_that_is_written_is_the_same_part(
        slices in prop::collection::vec((0_usize..3, 0_usize..11, 0_u32..5, 0_u32..2, 0_u64..3000, 0_u64..5_000_000_000, 0_u32..3), 0..60),
        start in 0_u64..900_000_000_000_000,
    ) {
        let mut until = [start; 3];
        let mut made = Vec::new();
        for (track, kind, number, micro, gap, lasts, staleness) in slices {
            let kind = TraceKind::ALL[kind];
            let starts_at = until[track] + gap;
            until[track] = starts_at + lasts;
            made.push(TracedSlice { track, kind, number, micro, starts_at, ends_at: until[track], staleness: staleness.checked_sub(1) });
        }
        let tracks = vec!["stage 0".to_owned(), "stage 1 (replica 0 of 2)".to_owned(), "stage 1 (replica 1 of 2)".to_owned()];
        let part = TracePart { tracks, slices: made, left_out: 0, batches: None, is_cut: false };
        let once = read(&written(&part), &ALL).unwrap();
        let again = read(&written(&once), &ALL).unwrap();
        prop_assert_eq!(once, again);
    }

    /// No bytes make it panic.
    #[test]
    fn other_bytes_are_read_or_refused(at in 0_usize..2000, byte in any::<u8>(), length in 0_usize..2000) {
        let mut text = trace(3);
        text.truncate(length + 300);
        if let Some(changed) = text.get_mut(at) {
            *changed = byte;
        }
        let _ = read(&text, &ALL);
    }
}
