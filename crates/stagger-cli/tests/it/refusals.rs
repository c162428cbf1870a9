//! Requests that cannot be fulfilled: one sentence, exit status 2, and nothing left behind.

use std::fs;
use std::io::Cursor;

use crate::support::{Bench, is_empty};

/// Checks status, that there is one line of error that says `expected`, and that no file came to
/// be.
fn refused(arguments: &str, expected: &str) {
    let bench = Bench::new();
    refused_in(&bench, arguments, expected);
    assert!(
        is_empty(bench.folder.path()),
        "{arguments} left something behind"
    );
}

fn refused_in(bench: &Bench, arguments: &str, expected: &str) {
    let output = bench.stagger(arguments);
    assert_eq!(output.status, 2, "{arguments}: {}", output.stderr);
    assert_eq!(
        output.stderr.lines().count(),
        1,
        "{arguments}: {}",
        output.stderr
    );
    assert!(
        output.stderr.starts_with("error: "),
        "{arguments}: {}",
        output.stderr
    );
    assert!(
        output.stderr.contains(expected),
        "{arguments}: {}",
        output.stderr
    );
}

#[test]
fn flags() {
    for (arguments, expected) in [
        (
            "train --model resnet9",
            "there is no model `resnet9`; did you mean `resnet8`?",
        ),
        ("train --dataset cifar", "there is no data set 'cifar'"),
        ("train --schedule dsp(1;2)", "column 7: m has 1 numbers"),
        (
            "train --schedule pipedram",
            "there is no method `pipedram`; known are bp, dp, gpipe, 1f1b",
        ),
        (
            "train --schedule bp+predict",
            "`predict` works against staleness, and `bp` with K = 2 has none",
        ),
        (
            "train --sync-batch-norm",
            "--sync-batch-norm normalises over the replicas of a stage, and no stage has any; use --replicas, or leave it out",
        ),
        (
            "bench --stages 3 --sync-batch-norm",
            "--sync-batch-norm normalises over the replicas of a stage, and no stage has any; use --replicas, or leave it out",
        ),
        (
            "compare bp dsp --sync-batch-norm",
            "--sync-batch-norm normalises over the replicas of a stage, and no stage has any; use --replicas, or leave it out",
        ),
        (
            "train --schedule pipedream --on-nan skip",
            "--on-nan skip cannot leave a batch out with `pipedream`",
        ),
        (
            "train --on-nan ignore",
            "--on-nan `ignore` is no choice; use stop, skip or rollback",
        ),
        (
            "train --snapshot-every soon",
            "--snapshot-every `soon` is neither a number of batches nor a time",
        ),
        (
            "train --resume nowhere",
            "--resume: nowhere is neither a run folder nor one of its snapshots",
        ),
        (
            "train --resume-weights nowhere",
            "is neither a run folder, nor a snapshot, nor a weights file",
        ),
        (
            "train --schedule dsp+predict --optimizer adamw",
            "looks ahead by the formulas of optimizer momentum, and the run has optimizer adamw",
        ),
        (
            "train --model resnet18 --schedule gpipe(8) --batch-size 8",
            "batch normalisation of single pixels needs at least 2 samples in each of 8 micro-batches; use --batch-size 16 or more",
        ),
        (
            "train --model resnet18 --schedule gpipe(8) --batch-size 27",
            "the last batch of the 10000 training samples holds 10, and batch normalisation of single pixels needs at least 2 samples in each of 8",
        ),
        (
            "train --straggler stage=2,slowdown=50%",
            "there is no stage 2; stages count from 0 to 1",
        ),
        (
            "train --straggler slowdown=much",
            "slowdown is `much`, expected 0% to 10000%; a right one is",
        ),
        ("train --stages 6", "has 5 blocks, too few for 6 stages"),
        ("train --stages 0", "--stages is 0"),
        ("bench --batches 0", "--batches is 0"),
        ("bench --classes 0", "--classes is 0"),
        ("bench --input 3x32", "--input `3x32` is not a shape"),
        ("bench --model resnet9", "did you mean `resnet8`?"),
        (
            "train --engine tensorflow",
            "there is no engine `tensorflow`; use cpu or torch",
        ),
        (
            "train --engine burn",
            "error: engine `burn` is now `cpu`; use --engine cpu",
        ),
        ("train --dtype f16", "there is no number format `f16`"),
        (
            "train --dtype f64",
            "--dtype f64 is for checking gradients only",
        ),
        (
            "train --dtype bf16",
            "--engine cpu computes in f32, not in bf16",
        ),
        (
            "train --device cuda",
            "--device does nothing with --engine cpu",
        ),
        ("train --threads-per-stage 0", "--threads-per-stage is 0"),
        (
            "train --threads-per-stage 1025",
            "--threads-per-stage 1025 is more than any run needs; give at most 1024",
        ),
        #[cfg(not(feature = "torch"))]
        (
            "train --engine torch",
            "built without engine torch; run `scripts/libtorch` in its source tree",
        ),
        #[cfg(feature = "torch")]
        (
            "train --engine torch --device gpu",
            "there is no device `gpu`",
        ),
        #[cfg(feature = "torch")]
        (
            "train --engine torch --device cuda:99",
            "cuda:99 is not there",
        ),
        #[cfg(feature = "torch")]
        (
            "train --engine torch --devices cpu",
            "--devices names 1 device for 2 stages",
        ),
        #[cfg(feature = "torch")]
        (
            "train --engine torch --threads-per-stage 0",
            "--threads-per-stage is 0",
        ),
        #[cfg(feature = "torch")]
        (
            "train --engine torch --winograd false",
            "--winograd does nothing with --engine torch; leave it out, or use --engine cpu",
        ),
        #[cfg(feature = "torch")]
        (
            "train --engine torch --tf32",
            "concern CUDA devices, and none is used",
        ),
        (
            "train --stages 1025",
            "expected 1 to 1024 stages, found 1025",
        ),
        (
            "train --balance 1,2",
            "deals out 3 blocks but model `resnet8` has 5",
        ),
        ("train --balance 1,2,2", "is for 3 stages but there are 2"),
        (
            "train --freeze-stages 2",
            "--freeze-stages 2 leaves nothing to train on 2 stages; freeze 1 at most",
        ),
        ("train --head-lr-factor 0", "--head-lr-factor 0 is no"),
        (
            "train --weight-decay-on biases",
            "--weight-decay-on `biases` is no choice; use all or weights",
        ),
        (
            "train --weight-decay-on weights --weight-decay 0",
            "--weight-decay-on",
        ),
        ("train --epochs 0", "--epochs is 0"),
        ("train --epochs 1000000000000", "is more than any run needs"),
        ("train --max-batches 0", "--max-batches is 0"),
        (
            "train --model resnet18 --batch-size 1",
            "batch normalisation of single pixels needs at least 2 samples",
        ),
        (
            "train --model resnet18 --batch-size 3333",
            "the last batch of the 10000 training samples holds 1",
        ),
        (
            "train --batch-size 20000 --drop-last",
            "10000 images do not fill one batch of 20000",
        ),
        ("train --max-seconds 0", "--max-seconds 0 is not a duration"),
        (
            "train --max-seconds NaN",
            "--max-seconds NaN is not a duration",
        ),
        ("compare", "no method is named; name some"),
        (
            "compare bp pipedram",
            "error: schedule `pipedram`, column 1: there is no method `pipedram`",
        ),
        ("compare bp dsp bp", "method `bp` is named twice"),
        ("compare bp --preset papers", "there is no preset `papers`"),
        (
            "compare bp --schedule dsp",
            "--schedule is for `stagger train`",
        ),
        ("compare bp --seed 3", "use --seeds"),
        ("compare bp --seeds 3,3", "--seeds names 3 twice"),
        (
            "compare bp --slowdowns -5",
            "--slowdowns -5 is no slow-down",
        ),
        (
            "compare bp --slowdowns=-5",
            "--slowdowns -5 is no slow-down",
        ),
        (
            "compare bp --slowdowns 0,20,20",
            "--slowdowns names 20 twice",
        ),
        (
            "compare bp --straggler-probability 0.5",
            "does nothing without slow-downs",
        ),
        (
            "compare bp --slowdowns 50 --straggler-probability 1.5",
            "--straggler-probability 1.5 is not a probability",
        ),
        ("compare bp --target 101", "--target is not an accuracy"),
        (
            "compare --preset stragglers --target 50",
            "--target is of no use where nothing is evaluated",
        ),
        (
            "compare bp --target 90%",
            "--target `90%` is no number; write --target 90",
        ),
        (
            "train --seed 9223372036854775808",
            "--seed 9223372036854775808 is not a number that a config can hold; give at most 9223372036854775807",
        ),
        (
            "sweep --over lr=0.1,0.2 --cache-bytes 18446744073709551615",
            "--cache-bytes 18446744073709551615 is not a number that a config can hold",
        ),
        (
            "compare bp --keep-snapshots 18446744073709551615",
            "--keep-snapshots 18446744073709551615 is not a number that a config can hold",
        ),
        (
            "profile --schedule gpipe(3) -b 5",
            "--batch-size 5 is not a number of samples that the micro-batches of the schedule share alike",
        ),
        (
            "compare bp --patience 2",
            "--patience would end a run before the others",
        ),
        ("compare bp --epochs 0", "--epochs is 0"),
        (
            "compare bp --balance profile",
            "error: --balance profile would cut the model anew for every run",
        ),
        ("train --lr -0.1", "--lr -0.1 is not a learning rate"),
        ("train --lr=-0.1", "--lr -0.1 is not a learning rate"),
        ("train --lr NaN", "--lr NaN is not a learning rate"),
        (
            "train --lr-schedule linear",
            "there is no learning-rate schedule `linear`",
        ),
        (
            "train --lr-schedule step --lr-steps 3,1",
            "--lr-steps must rise",
        ),
        ("train --optimizer tiger", "there is no optimizer `tiger`"),
        ("train --momentum 1.5", "beta to be at least 0 and below 1"),
        ("train --weight-decay -1", "weight decay"),
        (
            "train --label-smoothing 1",
            "label smoothing expects at least 0 and below 1",
        ),
        (
            "train --clip-norm 0",
            "gradient clipping expects a finite number above 0",
        ),
        ("explain dsp(1,1,0;4,2)", "column 11"),
        (
            "summary resnet20 --stages 12",
            "has 11 blocks, too few for 12 stages",
        ),
        ("summary resnet20 --input 3x32", "`3x32` is not a shape"),
        (
            "eval --run nowhere",
            "could not open the run folder nowhere",
        ),
    ] {
        refused(arguments, expected);
    }
}

#[test]
fn config_files() {
    let bench = Bench::new();
    fs::write(
        bench.path("typo.toml"),
        "model = \"resnet8\"\nbatchsize = 8\n",
    )
    .unwrap();
    refused_in(
        &bench,
        "train --config typo.toml",
        "typo.toml: line 2: unknown field `batchsize`",
    );
    refused_in(
        &bench,
        "train --config none.toml",
        "cannot read the config file none.toml",
    );
}

#[test]
fn data() {
    refused("train --dataset cifar10", "--data-dir");
    refused("train --dataset cifar10 --data-dir .", "data_batch_1.bin");
    refused(
        "train --background 000000",
        "shapes has no transparent images, but a background was asked for",
    );
    refused(
        "train --dataset image-folder --data-dir . --background white",
        "--background white is not a colour; give six hexadecimal digits, such as ff8800",
    );

    let bench = Bench::new();
    for folder in ["train/a", "train/b", "val/a", "val/b"] {
        fs::create_dir_all(bench.path(folder)).unwrap();
    }
    let run = "train --dataset image-folder --data-dir . --output run";
    refused_in(
        &bench,
        "train --output=~/run",
        "--output is ~/run, and no shell has replaced the ~; write ",
    );
    refused_in(
        &bench,
        "train --dataset image-folder --data-dir=~/pictures",
        "--data-dir is ~/pictures, and no shell has replaced the ~; write ",
    );
    refused_in(&bench, run, "train holds no images");
    for folder in ["train/a", "train/b", "val/a", "val/b"] {
        // A grey 8 × 8 PNG.
        let picture = image(8);
        fs::write(bench.path(folder).join("1.png"), &picture).unwrap();
        fs::write(bench.path(folder).join("2.png"), &picture).unwrap();
    }
    refused_in(
        &bench,
        &format!("{run} --model vgg11"),
        "at least 32x32 pixels",
    );
    fs::write(bench.path("train/b/2.png"), &image(8)[..40]).unwrap();
    refused_in(&bench, run, "2.png");
    assert!(!bench.path("run").exists());

    fs::write(bench.path("data_batch_1.bin"), vec![0; 3073 + 100]).unwrap();
    fs::write(bench.path("test_batch.bin"), vec![0; 3073]).unwrap();
    let run = "train --dataset cifar10 --data-dir . --output run";
    refused_in(&bench, run, "data_batch_1.bin");
    let mut records = vec![0; 2 * 3073];
    records[3073] = 10;
    fs::write(bench.path("data_batch_1.bin"), &records).unwrap();
    refused_in(&bench, run, "record 1");
    fs::write(bench.path("data_batch_1.bin"), b"").unwrap();
    refused_in(&bench, run, "data_batch_1.bin");
    assert!(!bench.path("run").exists());
}

#[test]
fn output_folders() {
    let bench = Bench::new();
    fs::write(bench.path("file"), "precious").unwrap();
    refused_in(
        &bench,
        "train --output file",
        "is a file already; choose another",
    );
    fs::create_dir(bench.path("full")).unwrap();
    fs::write(bench.path("full/notes.txt"), "precious").unwrap();
    refused_in(
        &bench,
        "train --output full",
        "is a folder that is not empty",
    );
    assert_eq!(
        fs::read_to_string(bench.path("full/notes.txt")).unwrap(),
        "precious"
    );
    refused_in(
        &bench,
        "compare bp --output full",
        "is a folder that is not empty",
    );
    // Not even root can make folders there.
    if cfg!(target_os = "linux") {
        refused_in(
            &bench,
            "train --output /sys/run",
            "could not create the folder /sys/run",
        );
    }
}

/// A grey picture as PNG.
fn image(side: u32) -> Vec<u8> {
    let picture =
        image::GrayImage::from_fn(side, side, |x, y| image::Luma([(x * 7 + y * 3) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

/// A launcher that has started several processes of a stagger that cannot connect them would get as many unconnected runs.
#[test]
fn several_processes_are_not_several_runs() {
    let bench = Bench::new();
    let several = |variable: &str, arguments: &str| {
        let mut command = assert_cmd::Command::cargo_bin("stagger").expect("the binary is built");
        command.current_dir(&bench.folder).env(variable, "4");
        let output = command.args(arguments.split(' ')).output();
        let output = output.expect("the binary starts");
        assert_eq!(output.status.code(), Some(2));
        assert!(is_empty(bench.folder.path()));
        String::from_utf8(output.stderr).expect("text")
    };
    let sizes = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"];
    for variable in sizes {
        assert_eq!(
            several(variable, "bench --batches 1"),
            "error: only stagger train and stagger profile run in several processes, and a launcher has started 4 of this one; start it \
             without mpirun\n"
        );
        #[cfg(not(feature = "mpi"))]
        assert_eq!(
            several(variable, "train"),
            "error: a launcher has started 4 processes of stagger, and this stagger was built without MPI; build it with `cargo \
             build --release --features mpi`\n"
        );
    }
}

#[test]
fn a_wire_format_without_a_wire_is_refused() {
    refused(
        "train --wire-dtype bf16",
        "--wire-dtype does nothing with --transport threads; leave it out, or use --transport bytes",
    );
    refused(
        "train --transport bytes --wire-dtype f16",
        "--wire-dtype `f16` is no choice; use `f32` or `bf16`",
    );
    refused(
        "train --transport pigeons",
        "--transport `pigeons` is no choice; use `threads` or `bytes`",
    );
}
