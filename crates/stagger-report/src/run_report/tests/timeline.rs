//! Timelines on pages.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::trace::{Slice, TraceWriter};

/// Batches of 10 ms on stages that wait, compute and update.
fn trace(stages: usize, batches: usize) -> Vec<u8> {
    let tracks = (0..stages).map(|stage| format!("stage {stage}"));
    let mut writer = TraceWriter::new(Vec::new(), tracks).unwrap();
    for batch in 0..batches {
        for track in 0..stages {
            let begin = 5_000 + 10_000 * batch as u64 + 100 * track as u64;
            let mut add = |name: &str, kind, from: u64, to: u64, staleness| {
                let [starts_at, ends_at] = [from, to].map(|at| Duration::from_micros(begin + at));
                let slice = Slice {
                    track,
                    name,
                    kind,
                    starts_at,
                    ends_at,
                    staleness,
                };
                writer.slice(&slice).unwrap();
            };
            let named = |letter: char| format!("{letter}{batch}");
            add("wait for images", "wait", 0, 500, None);
            add(&named('F'), "forward", 500, 3000, None);
            add(&named('B'), "backward", 3000, 9000, Some(2));
            add(&named('U'), "update", 9000, 9100, None);
        }
    }
    writer.end().unwrap()
}

/// A page of a run on 2 stages, with this trace in its folder.
fn page_of(trace: &[u8]) -> String {
    let (_parent, folder) = folder(&metrics(30, ""), "run");
    fs::write(folder.join(TRACE_FILE), trace).unwrap();
    let run = ReportedRun::read(&folder).unwrap();
    assert!(!run.has_trace());
    let run = run.with_trace_found(&folder, None);
    assert!(run.has_trace());
    let page = to_html(&[run]).unwrap();
    page.replace(folder.to_str().unwrap(), "run")
}

fn data(page: &str) -> Value {
    let (_, rest) = page
        .split_once("<script type=\"application/json\">")
        .unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_trace_becomes_a_timeline() {
    let page = page_of(&trace(2, 30));
    for expected in [
        "<h3>What each stage did when</h3>",
        "run/trace.json has batches 0 to 29.</p>",
        ">stage 0</text>",
        ">stage 1</text>",
        // The last stage is on top.
        "<text class=\"name\" x=\"0\" y=\"13\">stage 1",
        "</svg>forward</li>",
        "</svg>wait for images</li>",
        "<text class=\"on forward\"",
        ">F0</text>",
        "aria-label=\"zoom in\"",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    // No kind that is not there.
    assert!(!page.contains("</svg>recompute</li>"));
    let data = data(&page);
    assert_eq!(data["origin"], 5_000);
    assert_eq!(data["end"], 299_200);
    let rows = data["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    let bars: Vec<u64> = serde_json::from_value(rows[1]["bars"].clone()).unwrap();
    assert_eq!(bars.len(), 6 * 4 * 30);
    // Kind, batch, micro-batch, gap, length, staleness plus one.
    assert_eq!(bars[..6], [9, 0, 0, 100, 500, 0]);
    assert_eq!(bars[6..12], [0, 0, 0, 0, 2500, 0]);
    assert_eq!(bars[12..18], [2, 0, 0, 0, 6000, 3]);
    assert_eq!(bars[24..30], [9, 1, 0, 900, 500, 0]);
    let kinds = data["kinds"].as_array().unwrap();
    assert_eq!(kinds[9][2], "wait for images");
    assert_eq!(kinds[2][0], "backward");
    // The picture has the first batches: 28 actions of a stage are 9 batches and a forward pass.
    assert_eq!(data["first"], 93_000);
    assert!(page.contains(">F9</text>") && !page.contains(">F10</text>"));
    // A mark every 20 ms, of the clock of the run.
    assert!(page.contains(">0.02 s</text>") && page.contains(">0.08 s</text>"));
    assert!(!page.contains(">0.12 s</text>"));
}

#[test]
fn a_page_with_a_timeline_needs_no_network() {
    let page = page_of(&trace(2, 3));
    assert!(page.contains("default-src 'none'"));
    assert_eq!(page.matches("<script").count(), 2);
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    let addresses = addresses.replace("http-equiv", "");
    for word in ["http", "src=", "@import", "url(", "fetch(", "import("] {
        assert!(!addresses.contains(word), "{word}");
    }
}

/// Where a program of the system computes digests.
#[cfg(target_os = "linux")]
mod digest {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::{page_of, trace};
    use crate::base64::base64;

    fn sha256(text: &str) -> Vec<u8> {
        let mut program = Command::new("sha256sum")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("coreutils are installed");
        let mut input = program.stdin.take().expect("it is piped");
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let said = program.wait_with_output().unwrap().stdout;
        let digits = String::from_utf8(said).unwrap();
        let byte = |at: usize| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap();
        (0..32).map(byte).collect()
    }

    #[test]
    fn only_the_script_of_the_page_may_run() {
        let page = page_of(&trace(2, 3));
        let (_, rest) = page.split_once("\n<script>").unwrap();
        let script = rest.split_once("</script>").unwrap().0;
        let digest = base64(&sha256(script));
        let policy = format!("; script-src 'sha256-{digest}'; base-uri 'none'");
        assert!(page.contains(&policy), "SCRIPT_DIGEST has to be {digest}");
    }
}

#[test]
fn a_page_without_a_timeline_has_no_script() {
    let page = page(&metrics(30, ""));
    assert!(!page.contains("What each stage did when"));
    assert!(!page.contains("<script") && !page.contains("script-src"));
    let empty = page_of(&trace(2, 0));
    assert!(empty.contains("run/trace.json is a trace without a batch."));
    assert!(!empty.contains("<script"));
}

#[test]
fn a_page_says_what_of_a_trace_is_drawn() {
    let long = trace(2, 3000);
    let page = page_of(&long);
    assert!(
        page.contains(
            "has batches 0 to 2999; drawn are the last 16000 of 24000 slices, from batch 1000 on, and --trace-batches chooses others."
        ),
        "{}",
        &page[..4000]
    );
    assert!(page.len() < 450_000, "{} bytes", page.len());
    let cut = page_of(&long[..long.len() / 100]);
    assert!(cut.contains("The file ends in the middle: what comes before is drawn."));
    assert_eq!(cut.matches("<figure class=\"timeline\">").count(), 1);
}

#[test]
fn batches_are_chosen() {
    let (_parent, folder) = folder(&metrics(30, ""), "run");
    let file = folder.join("t.json");
    fs::write(&file, trace(2, 30)).unwrap();
    let run = || ReportedRun::read(&folder).unwrap();
    let page = to_html(&[run().with_trace(&file, Some(7..=8)).unwrap()]).unwrap();
    assert!(page.contains("t.json has batches 0 to 29; drawn is the time of 7 to 8.</p>"));
    // Without the wait of stage 0 for the images of batch 7.
    assert_eq!(data(&page)["origin"], 75_100);
    assert!(page.contains(">F7</text>") && !page.contains(">F6</text>"));
    let error = run().with_trace(&file, Some(30..=40)).unwrap_err();
    let error = error.to_string();
    assert!(
        error.ends_with(": it has batches 0 to 29, and none of 30 to 40"),
        "{error}"
    );
}

#[test]
fn what_is_no_trace_of_the_run_is_said() {
    let (_parent, folder) = folder(&metrics(30, ""), "run");
    let refused = |text: &[u8]| {
        let file = folder.join("t.json");
        fs::write(&file, text).unwrap();
        let run = ReportedRun::read(&folder).unwrap();
        run.with_trace(&file, None).unwrap_err().to_string()
    };
    let other = trace(3, 5);
    assert!(
        refused(&other)
            .ends_with("it has 3 tracks, and run has 2 stages; give the trace of that run")
    );
    assert!(refused(b"<html>").contains("it does not begin as"));
    // One that is found, and not named, is no reason to have no page.
    let page = page_of(&other);
    assert!(page.contains("<p class=\"note\">Not drawn: run/trace.json is no trace"));
    assert!(page.contains("<h3>Training loss</h3>") && !page.contains("<script"));
    let run = ReportedRun::read(&folder).unwrap();
    let nowhere = run.with_trace(Path::new("/gone/t.json"), None).unwrap_err();
    assert!(
        nowhere
            .to_string()
            .starts_with("could not read /gone/t.json: ")
    );
}
