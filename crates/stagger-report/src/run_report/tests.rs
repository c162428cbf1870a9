mod timeline;

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::run_folder::METRICS_FILE;

const EMULATED: &str = r#""emulated":"equal:40ms","#;

/// The metrics of an unfinished run of `batches` batches on 2 stages, with 10 batches per epoch.
fn metrics(batches: usize, facts: &str) -> String {
    let mut text =
        format!(r#"{{"kind":"run","format_version":1,"facts":{{{facts}"model":"resnet8"}}}}"#)
            + "\n";
    for batch in 0..batches {
        let (epoch, loss) = (batch / 10 + 1, 2.0 - batch as f64 / batches as f64);
        text += &format!(
            r#"{{"kind":"batch","batch":{batch},"epoch":{epoch},"loss":{loss},"top1":50.0,"top5":90.0,"lr":0.1,"samples":8,"seconds":{batch}.5}}"#
        );
        text += "\n";
        if batch % 10 == 9 {
            let stage = |staleness: usize| {
                let counts = if staleness == 0 { "10" } else { "1,1,8" };
                format!(
                    r#"{{"busy_share":0.75,"forward_seconds":2.0,"recompute_seconds":0.5,"backward_seconds":4.0,"update_seconds":0.25,"transfer_seconds":0.0,"waited_seconds":1.25,"loader_seconds":0.25,"receive_seconds":0.5,"send_seconds":0.5,"unaccounted_seconds":0.0,"staleness_mean":{staleness},"staleness_max":{staleness},"staleness_counts":[{counts}],"gap_mean":0.01}}"#
                )
            };
            let stages = [stage(2), stage(0)].join(",");
            let version = batch + 1;
            let top1 = if epoch == 2 { 91.25 } else { 80.0 };
            text += &format!(
                r#"{{"kind":"epoch","epoch":{epoch},"epochs":9,"version":{version},"batches":10,"train_loss":1.5,"train_top1":60.0,"train_top5":95.0,"learning_rate":0.1,"test_loss":1.0,"test_top1":{top1},"test_top5":99.0,"images_per_second":320.0,"wall_seconds":8.0,"stages":[{stages}],"bubble_share":0.25}}"#
            );
            text += "\n";
        }
    }
    text
}

const END: &str = r#"{"kind":"end","version":30,"interrupted":false,"wall_seconds":24.5,"peak_memory_bytes":104857600,"error":null}"#;

fn folder(text: &str, name: &str) -> (TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join(name);
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join(METRICS_FILE), text).unwrap();
    (parent, folder)
}

fn page(text: &str) -> String {
    let (_parent, folder) = folder(text, "run");
    to_html(&[ReportedRun::read(&folder).unwrap()]).unwrap()
}

#[test]
fn a_page_has_what_the_run_has() {
    let page = page(&(metrics(30, "") + END + "\n"));
    for expected in [
        "done at version 30 after 24.5 s",
        "<dd>resnet8</dd>",
        "91.25 % after epoch 2",
        "<dd>100 MiB</dd>",
        "<h3>Training loss</h3>",
        "<h3>Accuracy</h3>",
        "<h3>Learning rate</h3>",
        "<h3>Throughput</h3>",
        "<h3>Busy share of each stage</h3>",
        "<h3>Gap of each stage</h3>",
        "<h3>Staleness of each stage</h3>",
        "<td>0</td><td>25.0 %</td><td>6.2 %</td><td>50.0 %</td>",
        "<td>2</td><td>1.5000</td><td>60.00 %</td><td>91.25 %</td>",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    assert_eq!(page.matches("<svg").count(), 7);
}

#[test]
fn second_halves_of_backward_passes_have_a_column() {
    let split = metrics(30, "").replace(
        r#""backward_seconds":4.0"#,
        r#""backward_seconds":2.0,"weights_seconds":2.0"#,
    );
    let whole = page(&metrics(30, ""));
    assert!(!whole.contains(r#"<th scope="col">weights</th>"#));
    let page = page(&split);
    assert!(page.contains(r#"<th scope="col">weights</th>"#));
    assert!(page.contains("<td>0</td><td>25.0 %</td><td>6.2 %</td><td>25.0 %</td><td>25.0 %</td>"));
}

#[test]
fn a_page_needs_no_network() {
    let page = page(&metrics(30, ""));
    let addresses = page.replace("http://www.w3.org/2000/svg", "");
    assert!(page.contains(
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri"
    ));
    let addresses = addresses.replace("http-equiv", "");
    for word in ["http", "src=", "@import", "url(", "<script"] {
        assert!(!addresses.contains(word), "{word}");
    }
}

#[test]
fn a_run_in_progress_is_read_as_far_as_it_is() {
    let whole = metrics(25, "");
    let read = |text: &str| {
        let (_parent, folder) = folder(text, "run");
        ReportedRun::read(&folder).unwrap()
    };
    let run = read(&whole);
    assert_eq!(
        run.state,
        "not ended: it trains, or was killed; the last batch is 24"
    );
    // Every length that a reader may find.
    for length in whole.find('\n').unwrap() + 1..whole.len() {
        if !whole.is_char_boundary(length) {
            continue;
        }
        let run = read(&whole[..length]);
        let lines = whole[..length].matches("\"kind\":\"batch\"").count();
        assert!(run.batches <= lines && run.batches + 1 >= lines);
        assert_eq!(
            run.state.contains("which is no record"),
            !whole[..length].ends_with('\n'),
            "{}",
            run.state
        );
    }
    let nothing = page(whole.split_inclusive('\n').next().unwrap());
    assert!(nothing.contains("no batch is through"));
    assert!(nothing.contains("There is nothing to draw yet"));
}

#[test]
fn how_a_run_ended_is_said() {
    let with = |end: &str| page(&(metrics(30, "") + end + "\n"));
    let failed = END.replace("null", r#""the disk is full""#);
    assert!(with(&failed).contains("failed after 24.5 s: the disk is full"));
    let interrupted = END.replace("false", "true");
    assert!(with(&interrupted).contains("interrupted at version 30 after 24.5 s; train --resume"));
}

#[test]
fn emulated_stages_have_learned_nothing() {
    let page = page(&metrics(30, EMULATED));
    assert!(page.contains("Emulated (equal:40ms): stages slept"));
    for learned in [
        "Training loss",
        "<h3>Accuracy",
        "Learning rate",
        "1.5000",
        "91.25 %</td>",
    ] {
        assert!(!page.contains(learned), "{learned}");
    }
    assert!(page.contains("<h3>Throughput</h3>"));
}

#[test]
fn several_runs_share_charts_and_keep_their_names() {
    let (_one, first) = folder(&metrics(30, ""), "run");
    let (_other, second) = folder(&metrics(40, ""), "run");
    let runs = [&first, &second].map(|folder| ReportedRun::read(folder).unwrap());
    let page = to_html(&runs).unwrap();
    for expected in [
        "<h1>run, run (2)</h1>",
        "<h2>run</h2>",
        "<h2>run (2)</h2>",
        "run (2), test",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    // Four together, and three of each.
    assert_eq!(page.matches("<svg").count(), 10);
}

#[test]
fn a_long_run_has_a_small_page() {
    let page = page(&metrics(6000, ""));
    assert!(page.len() < 400_000, "{} bytes", page.len());
    assert!(page.contains("Mean loss of 16 neighbouring batches"));
    assert!(page.contains("One in 6 of 600 epochs."));
    assert!(page.contains("One epoch in 3 of the longest run is drawn."));
}

/// Each of these is a record as far as JSON goes: a page of it hung, ended in a panic, or had hundreds of megabytes.
#[test]
fn numbers_out_of_all_bounds_make_a_page_all_the_same() {
    let whole = metrics(30, "");
    let half = usize::MAX / 2 + 1;
    let many = vec!["1"; 200_000].join(",");
    for (from, to) in [
        (
            r#""epoch":1,"loss":2,"top1":50.0,"top5":90.0,"lr":0.1"#,
            r#""epoch":1,"loss":2,"top1":50.0,"top5":90.0,"lr":-1e308"#.to_owned(),
        ),
        (
            r#""staleness_counts":[10]"#,
            format!(r#""staleness_counts":[{half}]"#),
        ),
        (
            r#""staleness_counts":[10]"#,
            format!(r#""staleness_counts":[{many}]"#),
        ),
        (
            r#""staleness_max":2"#,
            format!(r#""staleness_max":{}"#, usize::MAX),
        ),
        (
            r#""forward_seconds":2.0"#,
            r#""forward_seconds":1e19"#.to_owned(),
        ),
    ] {
        assert!(whole.contains(from), "{from}");
        let page = page(
            &whole
                .replace(from, &to)
                .replacen(r#""lr":0.1"#, r#""lr":1e308"#, 1),
        );
        assert!(page.contains("Training loss"), "{from}");
        assert!(page.len() < 1 << 20, "{from}: {} bytes", page.len());
    }
}

#[test]
fn no_name_becomes_a_tag() {
    let tags = "<\u{202e}script>x('a')<img src='y'>&lt;\u{1b}[31m";
    let facts = format!(
        r#""schedule":"{}","{}":1,"#,
        tags.replace('\u{1b}', "\\u001b"),
        "<b>"
    );
    let (_parent, folder) = folder(&metrics(30, &facts), tags);
    let page = to_html(&[ReportedRun::read(&folder).unwrap()]).unwrap();
    for tag in ["<script", "<img", "<b>", "\u{1b}", "\u{202e}"] {
        assert!(!page.contains(tag), "{tag:?}");
    }
    // Whether the charts have the name.
    assert!(page.contains("script&gt;x("));
}

#[test]
fn what_is_no_run_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let message = ReportedRun::read(parent.path()).unwrap_err().to_string();
    assert!(
        message.contains("is no run folder: it has no metrics.jsonl"),
        "{message}"
    );
    let (_parent, other) = folder("hello\n", "run");
    let message = ReportedRun::read(&other).unwrap_err().to_string();
    assert!(
        message.contains("metrics.jsonl, line 1: no record"),
        "{message}"
    );
}

fn wrong_images() -> WrongImages {
    WrongImages {
        note: "by <best> weights\n\u{1b}[2J".to_owned(),
        images: vec![WrongImage {
            number: 7,
            png: b"foo".to_vec(),
            class: "<script>\"x' onload='y'&".to_owned(),
            taken_for: "cat\n\u{202e}</figure>".to_owned(),
            probability: 0.9876,
        }],
    }
}

#[test]
fn wrong_images_are_on_the_page_and_names_are_escaped() {
    let (_parent, folder) = folder(&metrics(30, ""), "run");
    let run = ReportedRun::read(&folder).unwrap();
    let without = to_html(std::slice::from_ref(&run)).unwrap();
    assert!(!without.contains("<img") && !without.contains("taken for"));
    let page = to_html(&[run.clone().with_wrong_images(wrong_images())]).unwrap();
    for expected in [
        "src=\"data:image/png;base64,Zm9v\"",
        "with 98.8 %; image 7<",
        r"taken for cat\n\u{202e}",
        r"weights\n\u{1b}[2J",
    ] {
        assert!(page.contains(expected), "{expected}: {page}");
    }
    for raw in [
        "<script>",
        "\"x'",
        "='y'",
        "<best>",
        "}</figure>",
        "\u{1b}",
        "\u{202e}",
    ] {
        assert!(!page.contains(raw), "{raw}: {page}");
    }
    // Nothing but what is on it.
    assert_eq!(page.matches("src=").count(), 1);
    let none = WrongImages {
        note: "runs/a has no last.safetensors".to_owned(),
        ..WrongImages::default()
    };
    let page = to_html(&[run.with_wrong_images(none)]).unwrap();
    assert!(page.contains("<p class=\"note\">runs/a has no last.safetensors</p>"));
    assert!(!page.contains("<img"));
}
