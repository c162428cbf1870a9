//! Networks from files of one's own.

use std::fs;

use serde_json::Value;

use crate::support::{Bench, Output};

const NETWORK: &str = r#"# A network for any images.
name = "small"

[[blocks]]
name = "stem"
layers = [
    { kind = "conv2d", out_channels = 8, kernel = 3, padding = 1 },
    { kind = "batch-norm2d" },
    { kind = "relu" },
]

[[blocks]]
name = "head"
layers = [
    { kind = "global-avg-pool" },
    { kind = "flatten" },
    { kind = "linear", outputs = "classes" },
]
"#;

fn with_network() -> Bench {
    let bench = Bench::new();
    write(&bench, NETWORK);
    bench
}

fn write(bench: &Bench, text: &str) {
    fs::write(bench.path("small.toml"), text).unwrap();
}

fn succeeds(bench: &Bench, arguments: &str) -> Output {
    let output = bench.stagger(arguments);
    assert_eq!(output.status, 0, "{arguments}: {}", output.stderr);
    output
}

fn refused(bench: &Bench, arguments: &str) -> String {
    let output = bench.stagger(arguments);
    assert_eq!(output.status, 2, "{arguments}: {}", output.stdout);
    assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    output.stderr
}

#[test]
fn a_run_takes_its_network_with_it() {
    let bench = with_network();
    let data = bench.tiny_data();
    let run = format!("train {data} --batch-size 8 --epochs 2 --snapshot-every 3");
    let whole = succeeds(
        &bench,
        &format!("{run} --model small.toml --stages 2 --output whole"),
    );
    assert!(
        whole.stdout.starts_with("small on cifar10"),
        "{}",
        whole.stdout
    );
    succeeds(
        &bench,
        &format!("{run} --model ./small.toml --stages 2 --max-batches 3 --output parts"),
    );
    let resume = "train --resume parts --epochs 2 --max-batches 6";

    // The file may be gone, say the same in other words, and nothing else.
    write(&bench, &NETWORK.replace("\"relu\"", "\"relu6\""));
    let other = refused(&bench, &format!("{resume} --model small.toml"));
    assert_eq!(
        other,
        "error: the network small has other layers now than in parts; a resumed run has to be the run that it was; leave --model out, or start a \
         new run\n"
    );
    let zoo = refused(&bench, &format!("{resume} --model resnet8"));
    assert!(
        zoo.contains("--model was \"small\" and is \"resnet8\" now"),
        "{zoo}"
    );
    write(&bench, &NETWORK.replace("# A network", "# The network"));
    succeeds(&bench, &format!("{resume} --model small.toml"));
    fs::remove_file(bench.path("small.toml")).unwrap();
    assert_eq!(bench.losses("parts").len(), 6);
    succeeds(&bench, "eval --run parts");
    succeeds(&bench, "inspect parts");
    succeeds(&bench, "weights whole copy.safetensors");
    let again = format!("{run} --config whole/config.toml --output again");
    succeeds(&bench, &again);
    assert_eq!(bench.weights("again"), bench.weights("whole"));
    // Of another network, what the config says of this one does not count.
    let zoo = succeeds(
        &bench,
        &format!("{run} --config whole/config.toml --model resnet8 --output zoo"),
    );
    assert!(
        zoo.stdout.starts_with("resnet8 on cifar10"),
        "{}",
        zoo.stdout
    );
}

#[test]
fn other_commands_take_files_too() {
    let bench = with_network();
    let summary = succeeds(&bench, "summary small.toml --input 1x8x8");
    assert!(
        summary.stdout.starts_with("small: input 1x8x8"),
        "{}",
        summary.stdout
    );
    let measured =
        "--model small.toml --input 1x8x8 -b 8 --batches 2 --warmup 0 --stages 2 --schedule dsp";
    succeeds(&bench, &format!("bench {measured}"));
    succeeds(
        &bench,
        &format!("profile {measured} --rounds 2 --output p.json"),
    );
    let data = bench.tiny_data();
    succeeds(
        &bench,
        &format!(
            "compare bp dsp {data} --model small.toml --batch-size 8 --epochs 1 --output both"
        ),
    );
    let profile: Value =
        serde_json::from_str(&fs::read_to_string(bench.path("p.json")).unwrap()).unwrap();
    assert_eq!(profile["network"].as_str(), Some(NETWORK));
    succeeds(&bench, &format!("bench {measured} --balance p.json"));
    // A profile needs no file either.
    fs::remove_file(bench.path("small.toml")).unwrap();
    let plan = succeeds(&bench, "plan --profile p.json --speeds 1,1");
    assert!(
        plan.stdout.contains("stagger train --model FILE "),
        "{}",
        plan.stdout
    );
    succeeds(&bench, "simulate dsp --profile p.json --stages 2");
}

#[test]
fn what_is_no_network_is_refused_in_one_sentence() {
    let bench = with_network();
    for (text, expected) in [
        (
            NETWORK.replace("\"relu\"", "\"gelu\""),
            "error: --model: small.toml, line 9: there is no layer of kind `gelu`; there are conv2d, ",
        ),
        (
            NETWORK.replace("\"relu\"", "\"\\u001b[31m\""),
            "error: --model: small.toml, line 9: there is no layer of kind `\\u{1b}[31m`",
        ),
        (
            NETWORK.replace("\"small\"", "\"ResNet20\""),
            "error: --model: small.toml, line 2: `ResNet20` is a network of the zoo",
        ),
        (
            String::new(),
            "error: --model: small.toml, line 1: missing field `name`",
        ),
        (
            "name = \"a\"".to_owned(),
            "error: --model: small.toml, line 1: missing field `blocks`",
        ),
        (
            "name = \"a\"\nblocks = []".to_owned(),
            "error: --model: small.toml, line 1: the last block has to end in shape [10]",
        ),
    ] {
        write(&bench, &text);
        for command in [
            "train --model small.toml",
            "summary small.toml",
            "bench --model small.toml",
        ] {
            let found = refused(&bench, command);
            assert!(found.starts_with(expected), "{command}: {found}");
        }
    }
    let gone = refused(&bench, "train --model nets/none.toml");
    assert!(
        gone.starts_with("error: --model: nets/none.toml cannot be read: "),
        "{gone}"
    );
    let folder = refused(&bench, "train --model ./");
    assert!(
        folder.starts_with("error: --model: ./ cannot be read: "),
        "{folder}"
    );
    let home = refused(&bench, "train --model ~/none.toml");
    assert!(home.contains("--model"), "{home}");
    // A name without a slash is one of the zoo's.
    let unknown = refused(&bench, "train --model small");
    assert!(
        unknown.starts_with("error: there is no model `small`"),
        "{unknown}"
    );
}

/// A pipe never ends, and a text that is too long is not read.
#[cfg(unix)]
#[test]
fn what_is_no_plain_file_is_not_waited_for() {
    let bench = Bench::new();
    assert!(
        std::process::Command::new("mkfifo")
            .arg(bench.path("pipe.toml"))
            .status()
            .unwrap()
            .success()
    );
    let pipe = refused(&bench, "train --model pipe.toml");
    assert!(pipe.contains("pipe.toml cannot be read: "), "{pipe}");
    let long = fs::File::create(bench.path("long.toml")).unwrap();
    long.set_len(1 << 40).unwrap();
    let long = refused(&bench, "train --model long.toml");
    assert!(long.contains("long.toml cannot be read: "), "{long}");
}
