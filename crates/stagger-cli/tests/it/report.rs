//! `stagger report`: a page of runs.

use std::fs;
use std::thread;

use image::Rgb;

use crate::support::Bench;

const RUN: &str = "--max-batches 60 --batch-size 16 --calibration-batches 0 --evaluate false";

#[test]
fn a_page_is_written_once() {
    let bench = Bench::new();
    bench.train("run", RUN);
    let output = bench.stagger("report run");
    assert_eq!(
        (output.status, output.stdout.as_str()),
        (0, "report.html\n")
    );
    let page = fs::read_to_string(bench.path("report.html")).unwrap();
    assert!(page.contains("done at version 60"));
    assert!(page.contains("<h3>Training loss</h3>"));
    let again = bench.stagger("report run");
    assert_eq!(again.status, 2);
    assert_eq!(
        again.stderr,
        "error: report.html is there already; name another file, or remove it\n"
    );
    let nowhere = bench.stagger("report run elsewhere --output other.html");
    assert_eq!(nowhere.status, 2);
    assert_eq!(
        nowhere.stderr,
        "error: elsewhere is no run folder: it has no metrics.jsonl; name the folder of a run that has begun to train\n"
    );
    assert!(!bench.path("other.html").exists());
    assert_eq!(bench.stagger("report").status, 2);
}

/// Reports of a run while it trains: each is a whole page, and the run does not feel them.
#[test]
fn a_run_that_trains_is_reported() {
    let bench = Bench::new();
    bench.train("quiet", RUN);
    let mut pages = 0;
    thread::scope(|scope| {
        let training = scope.spawn(|| bench.train("watched", RUN));
        while !training.is_finished() {
            let file = format!("{pages}.html");
            let output = bench.stagger(&format!("report watched --output {file}"));
            match output.status {
                0 => {
                    let page = fs::read_to_string(bench.path(&file)).unwrap();
                    assert!(page.ends_with("</html>\n") || page.ends_with("</html>"));
                    pages += 1;
                }
                // Before its first line.
                _ => assert!(
                    output.stderr.contains("is no run folder")
                        || output.stderr.contains("the file is empty"),
                    "{}",
                    output.stderr
                ),
            }
        }
    });
    assert!(pages > 0);
    assert_eq!(bench.losses("quiet"), bench.losses("watched"));
}

/// What `report` says of a run's mistakes, and how many of them its page shows.
fn mistakes(bench: &Bench, arguments: &str) -> (String, usize) {
    let output = bench.stagger(&format!("report run {arguments} --output page.html"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let page = fs::read_to_string(bench.path("page.html")).unwrap();
    fs::remove_file(bench.path("page.html")).unwrap();
    let note = page.split_once("taken for another class</h3>\n<p class=\"note\">");
    let note = note.map_or(String::new(), |(_, rest)| {
        rest[..rest.find('<').unwrap()].to_owned()
    });
    (note, page.matches("data:image/png;base64,iVBOR").count())
}

#[test]
fn images_that_are_wrong_are_shown_where_that_is_asked_for() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", &format!("{data} --max-batches 2"));
    let said = bench.stagger("eval --run run");
    let right: f64 = {
        let percent = said.stdout.split_once("test ").unwrap().1;
        percent.split(' ').next().unwrap().parse().unwrap()
    };
    let wrong = 10 - (right / 10.0).round() as usize;
    assert!(wrong >= 4, "{}", said.stdout);
    let expected = |shown: usize| {
        format!(
            "run/best.safetensors takes {wrong} of 10 images for another class; these are the {shown} of which it is most certain"
        )
    };
    assert_eq!(mistakes(&bench, "--mistakes 3"), (expected(3), 3));
    assert_eq!(mistakes(&bench, "--mistakes 100"), (expected(wrong), wrong));
    assert_eq!(mistakes(&bench, ""), (String::new(), 0));
    // Without a test there are no best weights.
    fs::remove_file(bench.path("run/best.safetensors")).unwrap();
    let (note, shown) = mistakes(&bench, "--mistakes 2");
    assert!(note.starts_with("run/last.safetensors takes "), "{note}");
    assert_eq!(shown, 2);
    fs::remove_file(bench.path("test_batch.bin")).unwrap();
    let (note, shown) = mistakes(&bench, "--mistakes 2");
    assert!(note.starts_with("not evaluated: "), "{note}");
    assert!(note.contains("test_batch.bin"), "{note}");
    assert_eq!((note.lines().count(), shown), (1, 0));
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=').bytes();
    let digits = digits.map(|digit| DIGITS.iter().position(|it| *it == digit).unwrap() as u32);
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0, 0);
    for digit in digits {
        (bits, count) = (bits << 6 | digit, count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    bytes
}

/// Each is the image that it says, of its class, and taken for what an evaluation takes it for.
#[test]
fn wrong_images_are_what_they_say() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", &format!("{data} --max-batches 2"));
    assert_eq!(bench.stagger("eval --run run --confusion c.csv").status, 0);
    let csv = fs::read_to_string(bench.path("c.csv")).unwrap();
    let mut lines = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let classes = lines.next().unwrap()[1..].to_vec();
    let mut expected = Vec::new();
    for (label, line) in lines.enumerate() {
        for (taken_for, count) in line[1..].iter().enumerate() {
            if label != taken_for && *count == "1" {
                expected.push((label, classes[label], classes[taken_for]));
            }
        }
    }
    assert!(expected.len() >= 4, "{csv}");

    assert_eq!(bench.stagger("report run --mistakes 10").status, 0);
    let page = fs::read_to_string(bench.path("report.html")).unwrap();
    let mut found = Vec::new();
    let mut shares = Vec::new();
    for figure in page.split("src=\"data:image/png;base64,").skip(1) {
        let (png, rest) = figure.split_once('"').unwrap();
        let caption = rest.split_once("<figcaption>").unwrap().1;
        let caption = caption.split_once("</figcaption>").unwrap().0;
        let (class, rest) = caption.split_once(", taken for ").unwrap();
        let (taken_for, rest) = rest.split_once(" with ").unwrap();
        let (share, number) = rest.split_once(" %; image ").unwrap();
        let number: usize = number.parse().unwrap();
        shares.push(share.parse::<f64>().unwrap());
        // The first pixel of an image of the test, in every channel.
        let picture = image::load_from_memory(&base64(png)).unwrap().to_rgb8();
        assert_eq!(picture.get_pixel(0, 0), &Rgb([(number * 31) as u8; 3]));
        found.push((number % 10, class, taken_for));
    }
    assert!(shares.is_sorted_by(|one, next| one >= next), "{shares:?}");
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn a_run_without_weights_has_no_wrong_images() {
    let bench = Bench::new();
    bench.train("run", "--emulate equal:1ms --evaluate false");
    let (note, shown) = mistakes(&bench, "--mistakes 2");
    assert!(
        note.starts_with("not evaluated: ") && note.contains("emulated"),
        "{note}"
    );
    assert_eq!(shown, 0);
}

/// The page of the run `run` with these arguments, and removes it.
fn page(bench: &Bench, arguments: &str) -> String {
    let output = bench.stagger(&format!("report run {arguments} --output page.html"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let page = fs::read_to_string(bench.path("page.html")).unwrap();
    fs::remove_file(bench.path("page.html")).unwrap();
    page
}

#[test]
fn a_trace_of_the_run_becomes_a_timeline() {
    let bench = Bench::new();
    bench.train("run", &format!("{RUN} --trace trace.json"));
    assert!(!page(&bench, "").contains("What each stage did when"));
    let whole = page(&bench, "--trace trace.json");
    for expected in [
        "trace.json has batches 0 to 59.</p>",
        "</svg>recompute</li>",
        ">stage 1</text>",
        ">stage 0</text>",
        "; script-src 'sha256-",
    ] {
        assert!(whole.contains(expected), "{expected}: {whole}");
    }
    // As many bars as the file has slices.
    let trace = fs::read_to_string(bench.path("trace.json")).unwrap();
    let data = whole
        .split_once("<script type=\"application/json\">")
        .unwrap()
        .1;
    let data = data.split_once("</script>").unwrap().0;
    let data: serde_json::Value = serde_json::from_str(data).unwrap();
    let numbers: usize = data["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["bars"].as_array().unwrap().len())
        .sum();
    assert_eq!(numbers / 6, trace.matches("\"ph\":\"X\"").count());
    let few = page(&bench, "--trace trace.json --trace-batches 20-21");
    assert!(few.contains("drawn is the time of 20 to 21.</p>"));
    assert!(few.contains(">20</text>") || few.contains(">B20</text>"));
    assert!(few.len() < whole.len());

    for (arguments, expected) in [
        (
            "report run run --trace trace.json",
            "the number of --trace is 1 and that of runs 2; give one for each run, in their order",
        ),
        (
            "report run --trace-batches 1-2",
            "--trace-batches needs a trace; give --trace FILE beside it, or put trace.json into the folder of the run",
        ),
        (
            "report run --trace trace.json --trace-batches 60-99",
            "trace.json is no trace that a timeline can be drawn from: it has batches 0 to 59, and none of 60 to 99",
        ),
        (
            "report run --trace trace.json --trace-batches 9-8",
            "--trace-batches `9-8`: the first and the last batch are expected, such as 100-140",
        ),
        (
            "report run --trace run/metrics.jsonl",
            "run/metrics.jsonl is no trace that a timeline can be drawn from: it does not begin as the files of `stagger train --trace` do; give one of them as it was written",
        ),
        ("report run --trace gone.json", "could not read gone.json: "),
    ] {
        let output = bench.stagger(&format!("{arguments} --output page.html"));
        assert_eq!(output.status, 2, "{arguments}: {}", output.stderr);
        assert!(
            output.stderr.starts_with(&format!("error: {expected}")),
            "{arguments}: {}",
            output.stderr
        );
        assert_eq!(output.stderr.lines().count(), 1);
        assert!(!bench.path("page.html").exists());
    }

    // In the folder of the run it is found.
    fs::rename(bench.path("trace.json"), bench.path("run/trace.json")).unwrap();
    assert!(page(&bench, "").contains("run/trace.json has batches 0 to 59.</p>"));
    bench.train("other", &format!("{RUN} --stages 3 --trace other.json"));
    fs::rename(bench.path("other.json"), bench.path("run/trace.json")).unwrap();
    let other = page(&bench, "");
    assert!(
        other.contains("Not drawn: run/trace.json is no trace that a timeline can be drawn from: it has 3 tracks, and run has 2 stages"),
        "{other}"
    );
}
