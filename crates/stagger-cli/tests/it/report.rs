//! `stagger report`: a page of runs.

use std::fs;
use std::thread;

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
