//! `stagger profile`, and cuts by what it has written.

use std::fs;

use serde_json::{Value, json};
use stagger::cut_by_profile;
use stagger::model::Model;
use stagger::plan::{Distribution, Pipeline, Profile};
use stagger::schedule::Schedule;

use crate::support::{Bench, is_empty};

/// A model that is quick, and how to measure it.
const MODEL: &str = "--model resnet8 --input 1x8x8 --batch-size 8";
const SHORT: &str = "--rounds 3 --batches 3 --warmup 1";

fn resnet8() -> Model {
    Model::by_name("resnet8", [1, 8, 8], 10).expect("a model of the zoo")
}

/// A profile of it in the file `p.json`.
fn measured(bench: &Bench, arguments: &str) -> Profile {
    let output = bench.stagger(&format!(
        "profile {MODEL} {SHORT} --output p.json {arguments}"
    ));
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(
        output.stdout.contains("written to p.json"),
        "{}",
        output.stdout
    );
    let text = fs::read_to_string(bench.path("p.json")).expect("a file");
    Profile::from_json(&text).expect("a profile")
}

/// A profile by hand: for each device, the seconds that each block's backward pass takes. Everything else takes no time.
fn by_hand(bench: &Bench, devices: &[[f64; 5]]) -> Value {
    let names = ["stem", "layer1.0", "layer2.0", "layer3.0", "head"];
    assert!(resnet8().blocks.iter().map(|block| &block.name).eq(&names));
    let blocks = names.map(
        |name| json!({"name": name, "parameter_bytes": 4, "output_bytes": 4, "graph_bytes": 4}),
    );
    let device = |seconds: &[f64; 5]| {
        let none = [0.0; 5];
        json!({"name": "by hand", "forward": none, "recompute": none, "backward": seconds, "update": none})
    };
    let devices: Vec<Value> = devices.iter().map(device).collect();
    let profile = json!({
        "format": 1, "model": "resnet8", "input": [1, 8, 8], "classes": 10, "samples": 8, "dtype": "f32",
        "blocks": blocks, "devices": devices,
    });
    write(bench, &profile);
    profile
}

fn write(bench: &Bench, profile: &Value) {
    fs::write(bench.path("p.json"), profile.to_string()).expect("a writable folder");
}

/// The cut that `stagger bench` runs with.
fn cut_of_bench(bench: &Bench, arguments: &str) -> String {
    let output = bench.stagger(&format!(
        "bench {MODEL} --batches 1 --warmup 0 --json --balance p.json {arguments}"
    ));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let found: Value = serde_json::from_str(&output.stdout).expect("one JSON object");
    let sizes = found["cut"].as_array().expect("sizes").iter();
    let sizes: Vec<String> = sizes.map(Value::to_string).collect();
    sizes.join(",")
}

#[test]
fn a_profile_has_blocks_stages_and_links_and_cuts_a_run() {
    let bench = Bench::new();
    let profile = measured(&bench, "");
    let model = resnet8();
    let names: Vec<&str> = profile.blocks.iter().map(|b| b.name.as_str()).collect();
    assert!(
        names
            .iter()
            .eq(&["stem", "layer1.0", "layer2.0", "layer3.0", "head"])
    );
    assert_eq!((profile.samples, profile.input), (8, [1, 8, 8]));
    let parameters: u64 = profile.blocks.iter().map(|b| b.parameter_bytes).sum();
    assert_eq!(parameters, 4 * model.parameter_count());
    // 16 channels of 8x8 pixels, of 8 samples, in 4 bytes each.
    assert_eq!(profile.blocks[0].output_bytes, 16 * 8 * 8 * 8 * 4);

    // All stages compute on the same processor.
    let [device] = profile.devices.as_slice() else {
        panic!("{} devices", profile.devices.len());
    };
    for times in [
        &device.forward,
        &device.recompute,
        &device.backward,
        &device.update,
    ] {
        for time in times {
            assert!(matches!(time, Distribution::Samples(samples) if samples.len() == 3));
        }
    }
    assert_eq!(profile.links.len(), 1);

    let schedule = Schedule::parse("dsp", Some(2)).expect("a schedule");
    let cut = cut_by_profile(&bench.path("p.json"), &model, &schedule, 8).expect("a cut");
    let whole = profile.stages.clone().expect("whole stages");
    assert_eq!(whole.cut, cut.sizes());
    for times in &whole.times {
        for time in [
            &times.forward,
            &times.recompute,
            &times.backward,
            &times.update,
        ] {
            assert!(matches!(time, Distribution::Samples(samples) if samples.len() == 3));
        }
    }
    assert_eq!(cut_of_bench(&bench, ""), cut.to_string());
    // It says what a pipeline of these stages takes, too, and of any other cut.
    let schedule = stagger::schedule::Schedule::parse("dsp", Some(2)).expect("a schedule");
    for sizes in [cut.sizes(), vec![1, 4]] {
        let cut = stagger::model::Cut::new(&model, &sizes).expect("a cut");
        let pipeline = Pipeline::of(&profile, &schedule, cut.stages(), 8).expect("a pipeline");
        assert!(
            pipeline
                .places
                .iter()
                .all(|stage| stage.backward.mean() > 0.0)
        );
    }
}

#[test]
fn a_profile_goes_to_the_standard_output_or_into_a_new_file() {
    let bench = Bench::new();
    let output = bench.stagger(&format!("profile {MODEL} {SHORT} --json -s bp --stages 1"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let profile = Profile::from_json(&output.stdout).expect("a profile");
    assert!(profile.links.is_empty());
    assert_eq!(profile.stages.expect("whole stages").cut, [5]);
    assert!(is_empty(bench.folder.path()));

    fs::write(bench.path("p.json"), "mine").expect("a writable folder");
    let output = bench.stagger(&format!("profile {MODEL} {SHORT} --output p.json"));
    assert_eq!(output.status, 2);
    assert_eq!(
        output.stderr,
        "error: p.json is there already; name another file, or remove it\n"
    );
    assert_eq!(
        fs::read_to_string(bench.path("p.json")).expect("a file"),
        "mine"
    );
}

#[test]
fn stages_that_are_measured_whole_are_cut_as_asked() {
    let bench = Bench::new();
    let micro_batches = "-s gpipe(2) --stages 3 --balance 1,3,1";
    let profile = measured(&bench, micro_batches);
    assert_eq!(profile.samples, 4);
    let whole = profile.stages.expect("whole stages");
    assert_eq!(whole.cut, [1, 3, 1]);
    // Two micro-batches of each of three batches, and one update.
    for times in &whole.times {
        assert!(matches!(&times.backward, Distribution::Samples(all) if all.len() == 6));
        assert!(matches!(&times.update, Distribution::Samples(all) if all.len() == 3));
    }
}

/// A profile that was measured over replicas is one of whole micro-batches, as any other: it cuts and simulates the same run, and runs
/// without replicas.
#[test]
fn a_profile_is_measured_over_replicas() {
    let bench = Bench::new();
    let profile = measured(&bench, "--replicas 2,1");
    assert_eq!((profile.samples, profile.devices.len()), (8, 1));
    let whole = profile.stages.expect("whole stages");
    assert_eq!(whole.times.len(), 2);
    // One of the replicas stands for its stage: no sample is counted twice.
    for times in &whole.times {
        assert!(matches!(&times.update, Distribution::Samples(all) if all.len() == 3));
    }
    for replicas in ["", "--replicas 2,1"] {
        let cut = cut_of_bench(&bench, replicas);
        let simulated = bench.stagger(&format!(
            "simulate dsp --stages 2 --profile p.json --batches 10 --json {replicas}"
        ));
        assert_eq!(simulated.status, 0, "{}", simulated.stderr);
        let found: Value = serde_json::from_str(&simulated.stdout).expect("one JSON object");
        assert_eq!(found["cut"].to_string(), format!("[{cut}]"));
    }
}

#[test]
fn people_get_tables() {
    let bench = Bench::new();
    let output = bench.stagger(&format!("profile {MODEL} {SHORT}"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    for expected in [
        "resnet8 · dsp(1,0;2,0) · 2 stages",
        "blocks on cpu",
        "layer1.0",
        "whole stages",
        "each hop:",
        "against auto",
        "nothing is written",
    ] {
        assert!(output.stdout.contains(expected), "{}", output.stdout);
    }
    assert!(is_empty(bench.folder.path()));
}

/// Backward passes of 1, 1, 1, 1 and 2 seconds are cut evenly, those of a device that is half as fast get less, and what does not fit
/// a device is not put there.
#[test]
fn cuts_go_by_devices_and_their_memory() {
    let bench = Bench::new();
    let even = [1.0, 1.0, 1.0, 1.0, 2.0];
    let slow = even.map(|seconds| 2.0 * seconds);
    let mut profile = by_hand(&bench, &[even]);
    assert_eq!(cut_of_bench(&bench, ""), "3,2");
    assert_eq!(cut_of_bench(&bench, "--stages 3"), "2,2,1");
    by_hand(&bench, &[slow, even]);
    assert_eq!(cut_of_bench(&bench, ""), "2,3");
    by_hand(&bench, &[even, slow]);
    assert_eq!(cut_of_bench(&bench, ""), "4,1");
    // Only the stem, whose weights are few, leaves room for three kept inputs and a graph.
    profile["devices"] = by_hand(&bench, &[even, even])["devices"].take();
    profile["devices"][0]["memory_bytes"] = json!(120_000);
    write(&bench, &profile);
    assert_eq!(cut_of_bench(&bench, ""), "1,4");
    profile["devices"][0]["memory_bytes"] = json!(1_000);
    write(&bench, &profile);
    let refused = bench.stagger(&format!("bench {MODEL} --balance p.json"));
    assert_eq!(refused.status, 2);
    assert_eq!(
        refused.stderr,
        "error: no cut of model `resnet8` keeps every stage within the memory of its device (stage 0 has 1000 B); use more stages, a \
         smaller batch size, or a method that keeps less\n"
    );
    let summary = bench.stagger("summary resnet8 --input 1x8x8 --balance p.json");
    assert_eq!(summary.status, 2);
    by_hand(&bench, &[even]);
    let summary = bench.stagger("summary resnet8 --input 1x8x8 --balance p.json");
    assert!(
        summary.stdout.contains("5 blocks cut into 3,2"),
        "{}",
        summary.stdout
    );
}

/// A run keeps the cut and not the profile, so it can be resumed without the file.
#[test]
fn a_run_is_resumed_without_the_profile() {
    let bench = Bench::new();
    let mut profile = by_hand(&bench, &[[1.0, 0.0, 0.0, 0.0, 1.0]]);
    // The built-in data.
    profile["input"] = json!([3, 32, 32]);
    write(&bench, &profile);
    // What was measured with something else may mislead.
    let mut others = profile.clone();
    others["devices"][0]["engine"] = json!("torch");
    write(&bench, &others);
    let train = bench.train("torch", "--balance ./p.json");
    let line = "ms per micro-batch; the profile is of engine torch, and the run computes with engine cpu: better measure a profile of that\n";
    assert!(train.stdout.contains(line), "{}", train.stdout);
    others["devices"][0]["engine"] = json!("cpu");
    others["devices"][0]["threads"] = json!(4);
    write(&bench, &others);
    let train = bench.train("threads", "--balance ./p.json");
    let line = "ms per micro-batch; the profile is of 4 threads per stage, and the run computes with 1: better measure a profile of that\n";
    assert!(train.stdout.contains(line), "{}", train.stdout);
    others["devices"][0]["threads"] = json!(0);
    write(&bench, &others);
    let refused = bench.stagger("train --balance ./p.json");
    assert_eq!(refused.status, 2, "{}", refused.stdout);
    let sentence = "p.json: its device 0 has 0 threads; give 1 to 1024";
    assert!(refused.stderr.contains(sentence), "{}", refused.stderr);
    others["devices"][0]["threads"] = json!(null);
    others["devices"][0]["engine"] = json!(null);
    others["dtype"] = json!("bf16");
    write(&bench, &others);
    let train = bench.train("bf16", "--balance ./p.json");
    let line = "ms per micro-batch; the profile is of bf16, and the run computes in f32: better measure a profile of that\n";
    assert!(train.stdout.contains(line), "{}", train.stdout);

    profile["devices"][0]["engine"] = json!("cpu");
    write(&bench, &profile);
    let train = bench.train("run", "--balance ./p.json");
    let line = "balance ./p.json: blocks 1,4, expected to take 1000.0, 1000.0 ms per micro-batch\n";
    assert!(train.stdout.contains(line), "{}", train.stdout);
    // Its last line is a checksum.
    let config = || {
        let text = fs::read_to_string(bench.path("run/config.toml")).expect("a config");
        let end = text.find("# crc32").expect("a checksum");
        text[..end].to_owned()
    };
    assert!(config().contains("balance = \"1,4\""), "{}", config());
    fs::remove_file(bench.path("p.json")).expect("a file");
    let before = config();
    let again = bench.stagger("train --resume run --balance ./p.json --max-batches 6");
    assert_eq!(again.status, 0, "{}", again.stderr);
    assert_eq!(
        before.replace("max-batches = 4", "max-batches = 6"),
        config()
    );
}

#[test]
fn compared_methods_are_cut_by_one_profile() {
    let bench = Bench::new();
    let mut profile = by_hand(&bench, &[[1.0, 0.0, 0.0, 0.0, 1.0]]);
    profile["input"] = json!([3, 32, 32]);
    write(&bench, &profile);
    let compare = "compare bp dsp --balance p.json --batch-size 8 --max-batches 2 --evaluate false";
    let output = bench.stagger(&format!("{compare} --output both"));
    assert_eq!(output.status, 0, "{}", output.stderr);
    let runs = fs::read_dir(bench.path("both/runs")).expect("a folder");
    let configs = runs.filter_map(|run| {
        let path = run.expect("an entry").path().join("config.toml");
        fs::read_to_string(path).ok()
    });
    let configs: Vec<String> = configs.collect();
    assert_eq!(configs.len(), 2);
    for config in configs {
        assert!(config.contains("balance = \"1,4\""), "{config}");
    }
    fs::write(bench.path("p.json"), "{}").expect("a writable folder");
    let output = bench.stagger(&format!("{compare} --output again"));
    assert_eq!(output.status, 2, "{}", output.stderr);
    assert!(!bench.path("again").exists());
}

#[test]
fn what_is_no_profile_of_the_run_is_refused_in_one_sentence() {
    let bench = Bench::new();
    let refused = |arguments: &str| {
        let output = bench.stagger(arguments);
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (2, ""),
            "{arguments}"
        );
        output.stderr
    };
    let run = format!("bench {MODEL} --balance p.json");
    let cannot = refused(&run);
    let begin = "error: --balance: p.json cannot be read: ";
    let end = "; measure one with `stagger profile --output FILE`\n";
    assert!(
        cannot.starts_with(begin) && cannot.ends_with(end),
        "{cannot}"
    );
    assert!(
        refused(&format!("bench {MODEL} --balance ~/p.json"))
            .contains("no shell has replaced the ~")
    );

    let whole = by_hand(&bench, &[[1.0; 5]]);
    for (damage, told) in [
        ("nonsense".to_owned(), "it is no profile: expected ident"),
        ("{}".to_owned(), "it is no profile: missing field `format`"),
        (
            whole.to_string().replace("\"format\":1", "\"format\":2"),
            "its format is 2, and this version reads format 1",
        ),
        (
            whole.to_string().replace("1.0,1.0,", "1.0,"),
            "it has 5 blocks, but 3 backward times of device 0",
        ),
        (
            whole.to_string().replace("1.0,1.0,", "-1.0,1.0,"),
            "a time is not between 0 s and a day",
        ),
        (
            whole.to_string().replace("\"f32\"", "\"f16\""),
            "its dtype is \"f16\"; it has to be f32 or bf16",
        ),
        (
            whole.to_string().replace("\"f32\"", "\"\\u001b[31m\""),
            "its dtype is \"\\u{1b}[31m\"; it has to be f32 or bf16",
        ),
        (
            whole
                .to_string()
                .replace("\"f32\"", "\"bf16\"")
                .replace("\"by hand\"", "\"by hand\",\"engine\":\"cpu\""),
            "its dtype is \"bf16\"; it has to be f32, as a device of engine cpu computes in that alone",
        ),
        (
            whole
                .to_string()
                .replace("\"by hand\"", "\"by hand\",\"engine\":\"burn\""),
            "its engine is \"burn\"; it has to be cpu or torch",
        ),
        (
            whole.to_string().replace("classes", "cla\\u001b[31msses"),
            "unknown field `cla\\u{1b}[31msses`",
        ),
    ] {
        fs::write(bench.path("p.json"), &damage).expect("a writable folder");
        let sentence = refused(&run);
        assert!(sentence.contains(told), "{damage}: {sentence}");
        assert!(
            sentence.starts_with("error: --balance: p.json: "),
            "{sentence}"
        );
        assert_eq!(sentence.lines().count(), 1);
        assert!(!sentence.contains('\u{1b}'));
    }

    by_hand(&bench, &[[1.0; 5]]);
    let other = refused("bench --model resnet14 --input 1x8x8 --balance p.json");
    assert_eq!(
        other,
        "error: --balance: p.json is a profile of resnet8 with 5 blocks, block 2 `layer2.0`, for 1x8x8 images and 10 classes, and the run trains resnet14 \
         with 8 blocks, block 2 `layer1.1`, for 1x8x8 images and 10 classes; measure that with `stagger profile`\n"
    );
    for other in ["--input 3x8x8", "--input 1x8x8 --classes 9"] {
        let sentence = refused(&format!("bench --model resnet8 --balance p.json {other}"));
        assert!(sentence.contains("is a profile of resnet8"), "{sentence}");
    }
    by_hand(&bench, &[[1.0; 5], [1.0; 5]]);
    assert_eq!(
        refused(&format!("{run} --stages 3")),
        "error: --balance: p.json: the profile has 2 devices; 3 stages need 3, or one that counts for all\n"
    );
    fs::remove_file(bench.path("p.json")).expect("a file");
    for (arguments, sentence) in [
        (
            "--rounds 0",
            "--rounds is 0; give a whole number of at least 1",
        ),
        (
            "--batches 0",
            "--batches is 0; give a whole number of at least 1",
        ),
        (
            "--classes 0",
            "--classes is 0; give a whole number of at least 1",
        ),
        ("--model nonsense", "nonsense"),
        (
            "--rounds 18446744073709551615",
            "--rounds 18446744073709551615 is not a number that anything is measured in; give at most 10000",
        ),
        (
            "--warmup 18446744073709551615",
            "--warmup 18446744073709551615 is not a number that anything is measured in; give at most 100000",
        ),
        (
            "--emulate equal:1ms",
            "--emulate: stages that sleep take what they are told, and there is nothing to measure; leave it out",
        ),
        (
            "--classes 18446744073709551615",
            "is not a number of classes to measure with; give at most 1000000",
        ),
        (
            "--batch-size 18446744073709551615",
            "is not a batch size; give at most 4294967295",
        ),
        ("--batch-size 100000000", "the run needs at least "),
        ("--input 3x30000x30000", "the run needs at least "),
        (
            "--input 3x99999999x99999999",
            "expects an input of at most 4294967295 values",
        ),
        (
            "--output missing/p.json",
            "missing/p.json cannot be written: its folder is not there",
        ),
        (
            "--rank-timeout 3",
            "--rank-timeout is for a measurement over several processes",
        ),
    ] {
        let found = refused(&format!("profile {arguments}"));
        assert!(found.contains(sentence), "{found}");
    }
    assert!(is_empty(bench.folder.path()));
}

/// Every rank measures its own stages, and the hop between them; the cut is for any run.
#[cfg(feature = "mpi")]
#[test]
fn ranks_measure_a_profile_together() {
    let bench = Bench::new();
    let profile = "profile --model resnet8 --input 1x8x8 -b 8 --rounds 2 --batches 3 --warmup 1 --output p.json";
    let output = crate::mpi::stagger(&bench, 2, profile);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert_eq!(output.stdout.matches("written to p.json").count(), 1);
    let text = fs::read_to_string(bench.path("p.json")).expect("a file");
    let profile = Profile::from_json(&text).expect("a profile");
    let names: Vec<&str> = profile.devices.iter().map(|d| d.name.as_str()).collect();
    assert!(names[0].starts_with("cpu on rank 0 ("), "{names:?}");
    assert!(names[1].starts_with("cpu on rank 1 ("), "{names:?}");
    assert_eq!((names.len(), profile.links.len()), (2, 1));
    assert!(profile.links[0].latency.mean() > 0.0);
    let cut = profile.stages.expect("whole stages").cut;
    let cut = format!("balance p.json: blocks {},{}", cut[0], cut[1]);
    // Of the built-in data there is no profile.
    let text = text.replace(
        "\"input\": [\n    1,\n    8,\n    8\n  ]",
        "\"input\": [3, 32, 32]",
    );
    fs::write(bench.path("p.json"), text).expect("a writable folder");
    let train = "train --eval-batch-size 250 --calibration-batches 0 --lr 0.01 -b 8 --max-batches 2 --balance p.json --output run";
    let output = crate::mpi::stagger(&bench, 2, train);
    assert_eq!(output.status, 0, "{}", output.stderr);
    assert!(output.stdout.contains(&cut), "{cut}: {}", output.stdout);
}
