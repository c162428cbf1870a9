//! What `stagger sweep` and `stagger compare` have in common: what they refuse before the first run, what they keep, and what becomes of
//! their runs without them.

use std::fs;

use image::{GrayImage, Luma};
use serde_json::json;

use crate::support::{Bench, Output};

const FLAGS: &str = "--batch-size 8 --max-batches 3 --evaluate false";

/// Refused in one sentence, which it gives; a table may follow.
fn refused(output: &Output) -> &str {
    assert_eq!(output.status, 2, "{}{}", output.stdout, output.stderr);
    let mut table = output.stderr.lines().skip(1);
    assert!(table.all(|row| row.starts_with("  ")), "{}", output.stderr);
    output.stderr.trim().trim_start_matches("error: ")
}

fn succeeds(output: &Output) {
    assert_eq!(output.status, 0, "{}{}", output.stdout, output.stderr);
}

/// A sweep and a comparison of two runs each, and the folder of the second run.
fn both() -> [(String, &'static str); 2] {
    [
        (
            format!("sweep --over lr=0.1,0.2 {FLAGS} --output out"),
            "out/runs/2",
        ),
        (
            format!("compare bp dsp {FLAGS} --output out"),
            "out/runs/dsp-seed1",
        ),
    ]
}

#[test]
fn weights_that_do_not_fit_are_told_before_the_first_run() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", "");
    bench.train("other", "--model resnet20");
    for (flags, series) in [
        ("--pretrained nope", "sweep --over pretrained=nope"),
        (
            "--pretrained nope",
            "sweep --over lr=0.1,0.2 --pretrained nope",
        ),
        (
            "--resume-weights nope",
            "sweep --over resume-weights=run,nope",
        ),
        (
            "--resume-weights other",
            "sweep --over resume-weights=run,other",
        ),
        (
            "--resume-weights run --model resnet20",
            "sweep --over model=resnet8,resnet20 --resume-weights run",
        ),
        ("--pretrained nope", "compare bp dsp --pretrained nope"),
        (
            "--resume-weights other",
            "compare bp dsp --resume-weights other",
        ),
        // Of other classes.
        (
            &*format!("--resume-weights run {data}"),
            &*format!("compare bp --resume-weights run {data}"),
        ),
        ("--wire-dtype bf16", "compare bp --wire-dtype bf16"),
    ] {
        let alone = bench.stagger(&format!("train {flags} {FLAGS} --output out"));
        let together = bench.stagger(&format!("{series} {FLAGS} --output out"));
        let (alone, together) = (refused(&alone), refused(&together));
        assert!(together.ends_with(alone), "{series}: {together}, {alone}");
        assert!(!bench.path("out").exists(), "{series}");
    }
    succeeds(&bench.stagger(&format!(
        "sweep --over resume-weights=run --over lr=0.1,0.2 {FLAGS} --output out"
    )));
}

#[test]
fn what_is_not_of_a_run_is_not_removed() {
    for (command, run) in both() {
        let bench = Bench::new();
        succeeds(&bench.stagger(&command));
        let place = bench.path(run);
        // A kept run may have company.
        fs::write(place.join("hi"), "hi").unwrap();
        succeeds(&bench.stagger(&command));
        fs::remove_file(place.join("metrics.jsonl")).unwrap();
        let output = bench.stagger(&command);
        let noun = command.split(' ').next().map(|verb| match verb {
            "compare" => "comparison",
            other => other,
        });
        let name = place.file_name().unwrap().to_string_lossy();
        assert_eq!(
            refused(&output),
            format!(
                "{run}/hi is of no run, and would be lost when the {} makes its run {name}; move it away, or choose another --output",
                noun.unwrap()
            )
        );
        assert_eq!(fs::read_to_string(place.join("hi")).unwrap(), "hi");
        assert!(place.join("config.toml").exists());
        fs::remove_dir_all(&place).unwrap();
        fs::write(&place, "mine").unwrap();
        let output = bench.stagger(&command);
        assert!(refused(&output).starts_with(&format!("{run} is of no run")));
        assert_eq!(fs::read_to_string(&place).unwrap(), "mine");
        fs::remove_file(&place).unwrap();
        let said = format!("{run}.err");
        fs::create_dir(bench.path(&said)).unwrap();
        let output = bench.stagger(&command);
        assert!(refused(&output).starts_with(&format!("{said} is of no run")));
        fs::remove_dir(bench.path(&said)).unwrap();
        // What a run has left, snapshots included, makes room.
        bench.train(run, "--snapshot-every 2");
        fs::remove_file(place.join("metrics.jsonl")).unwrap();
        succeeds(&bench.stagger(&command));
        assert!(!place.join("snapshots").exists());
    }
}

#[test]
fn a_kept_run_is_the_one_that_was_asked_for() {
    for ((command, run), difference) in both().into_iter().zip([
        "`lr` is 0.1 there and 0.2 here",
        "`schedule` is \"bp\" there and \"dsp\" here",
    ]) {
        let bench = Bench::new();
        succeeds(&bench.stagger(&command));
        let first = match run {
            "out/runs/2" => "out/runs/1",
            _ => "out/runs/bp-seed1",
        };
        let place = bench.path(run);
        let own = fs::read_to_string(place.join("config.toml")).unwrap();
        for entry in fs::read_dir(bench.path(first)).unwrap() {
            let from = entry.unwrap().path();
            fs::copy(&from, place.join(from.file_name().unwrap())).unwrap();
        }
        let output = bench.stagger(&command);
        assert_eq!(
            refused(&output),
            format!(
                "{run} is another run than the one that was asked for: {difference}; move it away to have this one run"
            )
        );
        let damaged = own.replacen("seed = 1", "seed = 2", 1);
        assert!(damaged != own, "{own}");
        for (text, expected) in [
            (Some(&*damaged), "it is damaged"),
            (Some(""), "it is empty"),
            (None, "config.toml is gone"),
        ] {
            match text {
                Some(text) => fs::write(place.join("config.toml"), text).unwrap(),
                None => fs::remove_file(place.join("config.toml")).unwrap(),
            }
            let output = bench.stagger(&command);
            let sentence = refused(&output);
            assert!(
                sentence.contains(expected) && sentence.contains("move the folder away"),
                "{sentence}"
            );
        }
        fs::remove_dir_all(&place).unwrap();
        let output = bench.stagger(&command);
        succeeds(&output);
        assert_eq!(output.stdout.matches("(kept)").count(), 1);
        let again = fs::read_to_string(place.join("config.toml")).unwrap();
        assert_eq!(again, own);
    }
}

/// Whatever a run makes of what was asked for, it is the same when it is asked for again.
#[test]
fn runs_are_kept_whatever_they_were_asked_for() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    for (number, (command, runs)) in [
        ("compare bp dsp dp(2) --slowdowns 0,100 --seeds 1,2", 12),
        ("compare bp dsp --straggler stage=1,probability=0.5,slowdown=10% --balance uniform --optimizer adamw", 2),
        ("sweep --over balance=\"2,3\",auto --over replicas=\"1\",\"1,2\" --over snapshot-every='5,10min'", 4),
        (&*format!("sweep --over schedule=bp,dsp --over seed=1,2 {data} --lr-schedule step --emulate equal:1ms"), 4),
        ("sweep --over lr=log(1e-3,.1) --draw 3 --winograd false --max-seconds 20", 3),
    ]
    .into_iter()
    .enumerate()
    {
        let command = format!("{command} {FLAGS} --output out{number}");
        succeeds(&bench.stagger(&command));
        let again = bench.stagger(&command);
        succeeds(&again);
        assert_eq!(again.stdout.matches("(kept)").count(), runs, "{command}: {}", again.stdout);
    }
}

/// SIGKILL, which no process hears, ends the run too, as a request to terminate: it leaves a snapshot, and the same command goes on.
#[cfg(target_os = "linux")]
#[test]
fn a_run_ends_with_its_series() {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    use stagger::report::Record;

    let bench = Bench::new();
    let data = bench.tiny_data();
    let flags = format!(
        "{data} --batch-size 8 --epochs 100000 --max-seconds 90 --lr-schedule constant --warmup-batches 0"
    );
    for (command, run) in [
        (
            format!("sweep --over lr=0.01,0.02 {flags} --snapshot-every 100000 --output s"),
            "s/runs/1",
        ),
        (
            format!("compare bp dsp {flags} --output c"),
            "c/runs/bp-seed1",
        ),
    ] {
        let mut series = Command::new(assert_cmd::cargo::cargo_bin("stagger"))
            .args(command.split_whitespace())
            .current_dir(&bench.folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let wait_for = |is_so: &dyn Fn() -> bool, what: &str| {
            let begin = Instant::now();
            while !is_so() {
                assert!(begin.elapsed() < Duration::from_secs(60), "{what}");
                sleep(Duration::from_millis(10));
            }
        };
        let metrics = bench.path(run).join("metrics.jsonl");
        let trains = || fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 3);
        wait_for(&trains, "the run begins");
        series.kill().expect("a child");
        series.wait().expect("a child");
        let has_ended = || fs::read_to_string(&metrics).is_ok_and(|text| text.contains("\"end\""));
        wait_for(&has_ended, "the run ends");
        let Some(Record::End(end)) = bench.metrics(run).pop() else {
            panic!("no end")
        };
        assert!(end.interrupted, "{end:?}");
        assert_eq!(
            bench.path(run).join("snapshots").exists(),
            run.starts_with('s')
        );
    }
}

/// Runs that are kept have gone by the same files as those that are still to be made.
#[test]
fn files_that_runs_read_do_not_change_within_a_series() {
    let bench = Bench::new();
    let write_profile = |seconds: f64| {
        let names = ["stem", "layer1.0", "layer2.0", "layer3.0", "head"];
        let blocks = names.map(
            |name| json!({"name": name, "parameter_bytes": 1, "output_bytes": 1, "graph_bytes": 1}),
        );
        let times = [seconds; 5];
        let profile = json!({
            "format": 1, "model": "resnet8", "input": [3, 32, 32], "classes": 10, "samples": 8, "dtype": "f32", "blocks": blocks,
            "devices": [{"name": "d", "forward": times, "recompute": times, "backward": times, "update": times}],
            "links": [],
        });
        fs::write(bench.path("p.json"), profile.to_string()).unwrap();
    };
    for (command, runs) in [
        ("compare bp dsp", ["c/runs/bp-seed1", "c/runs/dsp-seed1"]),
        ("sweep --over schedule=bp,dsp", ["s/runs/1", "s/runs/2"]),
    ] {
        let output = &runs[0][..1];
        let command = format!("{command} --emulate p.json {FLAGS} --output {output}");
        write_profile(1e-4);
        succeeds(&bench.stagger(&command));
        fs::remove_dir_all(bench.path(runs[1])).unwrap();
        write_profile(2e-4);
        let output = bench.stagger(&command);
        let sentence = refused(&output);
        assert!(
            sentence.contains("p.json has changed since the "),
            "{sentence}"
        );
        assert!(!bench.path(runs[1]).exists());
        write_profile(1e-4);
        let again = bench.stagger(&command);
        succeeds(&again);
        assert_eq!(again.stdout.matches("(kept)").count(), 1);
        // Nothing is left that would have gone by another file.
        for run in runs {
            fs::remove_dir_all(bench.path(run)).unwrap();
        }
        write_profile(2e-4);
        succeeds(&bench.stagger(&command));
    }
}

#[test]
fn images_do_not_change_within_a_series() {
    let bench = Bench::new();
    for class in ["a", "b"] {
        fs::create_dir_all(bench.path(&format!("d/{class}"))).unwrap();
        for number in 0..8 {
            let image = GrayImage::from_pixel(8, 8, Luma([number * 20]));
            let path = bench.path(&format!("d/{class}/{number}.png"));
            image.save(path).unwrap();
        }
    }
    let data = "--data-dir d --val-split 0.25";
    for (command, run) in [
        ("compare bp dsp --seeds 1,2", "out/runs/dsp-seed2"),
        ("sweep --over lr=0.1,0.2", "sweep/runs/2"),
    ] {
        let folder = run.split('/').next().unwrap();
        let command = format!("{command} {data} {FLAGS} --output {folder}");
        succeeds(&bench.stagger(&command));
        succeeds(&bench.stagger(&command));
        let picture = bench.path("d/a/3.png");
        let bytes = fs::read(&picture).unwrap();
        fs::remove_dir_all(bench.path(run)).unwrap();
        fs::remove_file(&picture).unwrap();
        let output = bench.stagger(&command);
        let sentence = refused(&output);
        assert!(
            sentence.contains("has gone by other images to train on"),
            "{sentence}"
        );
        fs::write(&picture, bytes).unwrap();
        let again = bench.stagger(&command);
        succeeds(&again);
        assert!(again.stdout.contains("(kept)"), "{}", again.stdout);
    }
}

/// What came of hours is not thrown away because a line of it is damaged.
#[test]
fn a_finished_run_with_damaged_metrics_is_not_made_again() {
    for (command, run) in both() {
        let bench = Bench::new();
        succeeds(&bench.stagger(&command));
        let metrics = bench.path(run).join("metrics.jsonl");
        let whole = fs::read_to_string(&metrics).unwrap();
        let mut lines: Vec<&str> = whole.lines().collect();
        lines[1] = "garbage";
        fs::write(&metrics, lines.join("\n") + "\n").unwrap();
        let output = bench.stagger(&command);
        let sentence = refused(&output);
        assert!(
            sentence.contains("metrics.jsonl") && sentence.contains("the run has come to its end"),
            "{sentence}"
        );
        assert!(bench.path(run).join("last.safetensors").is_file());
        // One that was killed has no last line.
        fs::write(&metrics, lines[..2].join("\n") + "\n").unwrap();
        let again = bench.stagger(&command);
        succeeds(&again);
        assert_eq!(again.stdout.matches("(kept)").count(), 1);
    }
}
