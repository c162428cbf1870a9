//! Weights from elsewhere.

use std::fs;

use crate::support::Bench;

/// Renames the tensors of a safetensors file, keeps its metadata, and writes the header as the library does.
fn with_prefix(bytes: &[u8], prefix: &str) -> Vec<u8> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let renamed = header.into_iter().map(|(name, entry)| match name.as_str() {
        "__metadata__" => format!("\"{name}\":{entry}"),
        _ => format!(
            "\"{prefix}{name}\":{{\"dtype\":{},\"shape\":{},\"data_offsets\":{}}}",
            entry["dtype"], entry["shape"], entry["data_offsets"]
        ),
    });
    let header = format!("{{{}}}", renamed.collect::<Vec<_>>().join(","));
    [
        &(header.len() as u64).to_le_bytes()[..],
        header.as_bytes(),
        &bytes[8 + length..],
    ]
    .concat()
}

#[test]
fn weights_with_a_prefix_train_and_evaluate_as_without() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", &data);
    let plain = fs::read(bench.path("run/last.safetensors")).unwrap();
    let foreign = with_prefix(&plain, "module._orig_mod.");
    fs::write(bench.path("foreign.safetensors"), foreign).unwrap();
    bench.train(
        "plain",
        &format!("{data} --resume-weights run/last.safetensors"),
    );
    bench.train(
        "foreign",
        &format!("{data} --resume-weights foreign.safetensors"),
    );
    let log = fs::read_to_string(bench.path("foreign/run.log")).unwrap();
    let said = log.matches("begin with `module._orig_mod.`, which is left out");
    assert_eq!(said.count(), 1, "{log}");
    assert!(bench.weights("plain") == bench.weights("foreign"));
    let eval = bench.stagger("eval --run run --weights foreign.safetensors");
    assert_eq!(eval.status, 0, "{}", eval.stderr);
    assert!(
        eval.stdout.contains("begin with `module._orig_mod.`"),
        "{}",
        eval.stdout
    );
}

#[test]
fn fine_tuning_starts_from_weights_alone_and_excludes_going_on() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", &data);
    // The head fits, so it is that of the file.
    bench.train("fine", &format!("{data} --pretrained run"));
    bench.train(
        "file",
        &format!("{data} --resume-weights run/last.safetensors"),
    );
    assert!(bench.weights("fine") == bench.weights("file"));
    for (flags, expected) in [
        (
            "--pretrained run --resume-weights run",
            "--resume-weights and --pretrained exclude each other",
        ),
        (
            "--pretrained run --model resnet20",
            "--pretrained: the weights of ",
        ),
        (
            "--resume-weights run --model resnet14",
            "do not fit resnet14",
        ),
        (
            "--pretrained nowhere",
            "is neither a run folder, nor a snapshot, nor a weights file",
        ),
    ] {
        let refused = bench.stagger(&format!("train {data} {flags} --output other"));
        assert_eq!(refused.status, 2, "{}", refused.stdout);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
        // The table is there once.
        let rows = refused.stderr.matches("layer1.1.bn1.bias [16]");
        assert!(rows.count() <= 1, "{}", refused.stderr);
        assert!(!bench.path("other").exists());
    }
    let resumed = bench.stagger("train --resume run --pretrained fine");
    assert_eq!(resumed.status, 2, "{}", resumed.stdout);
    assert!(resumed.stderr.contains("pretrained"), "{}", resumed.stderr);
}

#[test]
fn files_that_are_no_weights_are_named() {
    let bench = Bench::new();
    for (bytes, expected) in [
        (&b""[..], "it is empty"),
        (b"<!DOCTYPE html>", "it is a web page"),
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "git lfs pull",
        ),
        (b"PK\x03\x04", "cut short"),
    ] {
        fs::write(bench.path("w.pth"), bytes).unwrap();
        let refused = bench.stagger("train --pretrained w.pth --output other");
        assert_eq!(refused.status, 2, "{}", refused.stdout);
        assert!(refused.stderr.contains(expected), "{}", refused.stderr);
        // Once is enough.
        let named = refused.stderr.matches("w.pth").count();
        assert_eq!(named, 1, "{}", refused.stderr);
        assert!(!bench.path("other").exists());
    }
}

/// PyTorch's names on the way out, and back in again.
#[test]
fn weights_are_copied_under_other_names() {
    let bench = Bench::new();
    let data = bench.tiny_data();
    bench.train("run", &data);
    let copied = bench.stagger("weights run other.safetensors --names torchvision");
    assert_eq!(copied.status, 0, "{}", copied.stderr);
    assert!(
        copied
            .stdout
            .ends_with("of run/best.safetensors, torchvision names\n"),
        "{}",
        copied.stdout
    );
    let header = |file: &str| {
        let bytes = fs::read(bench.path(file)).unwrap();
        let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        String::from_utf8(bytes[8..8 + length].to_vec()).unwrap()
    };
    let names = header("other.safetensors");
    assert!(names.contains("\"fc.weight\"") && !names.contains("\"linear.weight\""));
    assert!(names.contains("\"bn1.num_batches_tracked\"") && names.contains("\"class_names\""));
    let back = bench.stagger("weights other.safetensors back.safetensors --model resnet8");
    assert_eq!(back.status, 0, "{}", back.stderr);
    assert!(
        back.stdout.contains("`fc.bias` is `linear.bias`"),
        "{}",
        back.stdout
    );
    let same = |one: &str, other: &str| {
        let bytes = |file| fs::read(bench.path(file)).unwrap();
        bytes(one) == bytes(other)
    };
    assert!(same("run/best.safetensors", "back.safetensors"));
    for (words, expected) in [
        (
            "weights run other.safetensors",
            "other.safetensors exists already",
        ),
        ("weights run w.pth", "stagger writes safetensors"),
        (
            "weights nowhere w.safetensors",
            "is neither a run folder with weights",
        ),
        (
            "weights run w.safetensors --names keras",
            "use own, torchvision, timm or cifar",
        ),
        (
            "weights run w.safetensors --model resnet14",
            "do not fit resnet14",
        ),
        (
            "weights run w.safetensors --model alexnet",
            "there is no model `alexnet`",
        ),
    ] {
        let refused = bench.stagger(words);
        assert_eq!(refused.status, 2, "{words}: {}", refused.stdout);
        assert!(
            refused.stderr.contains(expected),
            "{words}: {}",
            refused.stderr
        );
        assert!(!bench.path("w.safetensors").exists() && !bench.path("w.pth").exists());
    }
}
