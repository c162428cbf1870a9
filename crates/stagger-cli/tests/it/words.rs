//! Command lines and configs as people mistype them: one sentence with the flag, what is wrong, and what to write.

use std::fs;

use crate::support::{Bench, is_empty};

/// Runs the binary with these words; gives the only line of its errors.
fn said(bench: &Bench, words: &[&str]) -> String {
    let mut command = assert_cmd::Command::cargo_bin("stagger").expect("the binary is built");
    let output = command
        .current_dir(&bench.folder)
        .env("HOME", "/home/anna")
        .args(words)
        .output()
        .expect("the binary starts");
    let stderr = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{words:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{words:?}");
    assert_eq!(stderr.lines().count(), 1, "{words:?}: {stderr}");
    stderr
}

#[test]
fn numbers() {
    let bench = Bench::new();
    for (flag, value, expected) in [
        ("--lr", "0,1", "--lr `0,1` is no number; write --lr 0.1\n"),
        ("--lr", "0.1 ", "--lr `0.1 ` is no number; write --lr 0.1\n"),
        ("--lr", "1/10", "--lr `1/10` is no number; write --lr 0.1\n"),
        ("--lr", "١", "--lr `١` is no number; write --lr 1\n"),
        ("--lr", "1k", "--lr `1k` is no number; write --lr 1000\n"),
        (
            "--lr",
            "fast",
            "--lr `fast` is no number; give a number such as 0.1 or 1e-3\n",
        ),
        (
            "--lr",
            "",
            "--lr needs a value behind it; see stagger train --help\n",
        ),
        (
            "--lr",
            "nan",
            "--lr NaN is not a learning rate; give a number above 0, such as 0.1\n",
        ),
        (
            "--lr",
            "inf",
            "--lr inf is not a learning rate; give a number above 0, such as 0.1\n",
        ),
        (
            "--lr",
            "-0.1",
            "--lr -0.1 is not a learning rate; give a number above 0, such as 0.1\n",
        ),
        (
            "--lr",
            "-inf",
            "stagger train has no flag -inf; if it is the value of --lr, write --lr=-inf\n",
        ),
        (
            "--batch-size",
            "1e2",
            "--batch-size `1e2` is no whole number; write --batch-size 100\n",
        ),
        (
            "--batch-size",
            "64.0",
            "--batch-size `64.0` is no whole number; write --batch-size 64\n",
        ),
        (
            "--batch-size",
            "1_000",
            "--batch-size `1_000` is no whole number; write --batch-size 1000\n",
        ),
        (
            "--batch-size",
            "-8",
            "--batch-size `-8` is below 0; give a whole number such as 64\n",
        ),
        (
            "--seed",
            "1e30",
            "--seed `1e30` is no whole number; give a whole number such as 64\n",
        ),
        (
            "--seed",
            "99999999999999999999",
            "--seed `99999999999999999999` is too large; give a whole number such as 64\n",
        ),
        (
            "--rank-timeout",
            "soon",
            "--rank-timeout `soon`: a number of seconds is expected, or 0\n",
        ),
        (
            "--rank-timeout",
            "1",
            "--rank-timeout `1`: ranks hear of each other once a second; give at least 3 seconds, or 0 to wait for ever\n",
        ),
        (
            "--evaluate",
            "nein",
            "--evaluate `nein` is no choice; use true or false\n",
        ),
    ] {
        let found = said(&bench, &["train", flag, value]);
        assert_eq!(found, format!("error: {expected}"));
    }
    assert!(is_empty(bench.folder.path()));
}

#[test]
fn words() {
    let bench = Bench::new();
    for (words, expected) in [
        (
            "train --epoch 3",
            "stagger train has no flag --epoch; did you mean --epochs?",
        ),
        (
            "train --frobnicate",
            "stagger train has no flag --frobnicate; see stagger train --help",
        ),
        (
            "train resnet8",
            "`resnet8` is one word too many for stagger train; leave it out, or put what belongs to one flag into quotes",
        ),
        (
            "train --lr",
            "--lr needs a value behind it; see stagger train --help",
        ),
        (
            "trian",
            "there is no command `trian`; did you mean `stagger train`?",
        ),
        (
            "fly",
            "there is no command `fly`; use train, eval, predict, data, inspect, report, watch, weights, explain, theory, summary, plan, simulate, bench, profile, compare or sweep",
        ),
        (
            "eval",
            "stagger eval needs --run <DIR>; see stagger eval --help",
        ),
        (
            "inspect",
            "stagger inspect needs <PATH>; see stagger inspect --help",
        ),
        (
            "eval --run a --run b",
            "--run is given more than once; give it once",
        ),
        (
            "bench --classes ten",
            "--classes `ten` is no whole number; give a whole number such as 64",
        ),
        (
            "compare bp --seeds 1,x",
            "--seeds `x` is no whole number; give a whole number such as 64",
        ),
        (
            "summary resnet8 -k 2.0",
            "--stages `2.0` is no whole number; write --stages 2",
        ),
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        assert_eq!(said(&bench, &words), format!("error: {expected}\n"));
    }
    assert!(is_empty(bench.folder.path()));
}

/// What no shell has replaced is not made a folder of that name.
#[test]
fn paths() {
    let bench = Bench::new();
    for (config, flags, expected) in [
        (
            "data-dir = \"~/data\"",
            "",
            "--data-dir is ~/data, and no shell has replaced the ~; write /home/anna/data, or ./~/data for a folder of that name",
        ),
        (
            "data-dir = \"$HOME/data\"",
            "",
            "--data-dir is $HOME/data, and no shell has replaced $HOME; write /home/anna/data",
        ),
        (
            "output = \"${NO_SUCH_NAME}/run\"",
            "",
            "--output is ${NO_SUCH_NAME}/run, and no shell has replaced $NO_SUCH_NAME; write the whole path",
        ),
        (
            "output = \"~bob/run\"",
            "",
            "--output is ~bob/run, and no shell has replaced the ~; write the whole path, or ./~bob/run for a folder of that name",
        ),
        (
            "",
            "--resume=~/run",
            "--resume is ~/run, and no shell has replaced the ~; write /home/anna/run, or ./~/run for a folder of that name",
        ),
        (
            "",
            "--pretrained=$HOME/a.safetensors",
            "--pretrained is $HOME/a.safetensors, and no shell has replaced $HOME; write /home/anna/a.safetensors",
        ),
    ] {
        fs::write(
            bench.path("c.toml"),
            format!("dataset = \"image-folder\"\n{config}\n"),
        )
        .unwrap();
        let mut words = vec!["train", "--config", "c.toml"];
        words.extend(flags.split_whitespace());
        assert_eq!(said(&bench, &words), format!("error: {expected}\n"));
    }
    assert_eq!(
        said(&bench, &["train", "--config=~/c.toml"]),
        "error: --config is ~/c.toml, and no shell has replaced the ~; write /home/anna/c.toml, or ./~/c.toml for a folder of that name\n"
    );
    assert_eq!(
        said(&bench, &["eval", "--run=$HOME/run"]),
        "error: --run is $HOME/run, and no shell has replaced $HOME; write /home/anna/run\n"
    );
}

#[test]
fn configs() {
    let bench = Bench::new();
    for (line, expected) in [
        (
            "batchsize = 8",
            "unknown field `batchsize`; did you mean `batch-size`?",
        ),
        (
            "batch_size = 8",
            "unknown field `batch_size`; did you mean `batch-size`?",
        ),
        (
            "colour = 8",
            "unknown field `colour`; the keys are the long flags of `stagger train`, without their dashes",
        ),
        (
            "batch-size = 64.0",
            "invalid type: floating point `64.0`, expected a whole number",
        ),
        (
            "lr = \"0.1\"",
            "invalid type: string \"0.1\", expected a number",
        ),
        (
            "augment = \"true\"",
            "invalid type: string \"true\", expected true or false, without quotes, or \"imagenet\"",
        ),
    ] {
        fs::write(
            bench.path("c.toml"),
            format!("model = \"resnet8\"\n{line}\n"),
        )
        .unwrap();
        let found = said(&bench, &["train", "--config", "c.toml"]);
        assert_eq!(found, format!("error: c.toml: line 2: {expected}\n"));
    }
    for line in [
        "lr = 0,1",
        "lr = .1",
        "batch-size = 1e2k",
        "lr =",
        "epochs = = 3",
    ] {
        fs::write(
            bench.path("c.toml"),
            format!("model = \"resnet8\"\n{line}\n"),
        )
        .unwrap();
        let found = said(&bench, &["train", "--config", "c.toml"]);
        assert!(
            found.starts_with("error: c.toml: line 2: "),
            "{line}: {found}"
        );
    }
}
