//! Little memory, few threads and few files, as containers and login nodes have them: less is used, or it is said before training.
//!
//! Not with libtorch: the loader maps gigabytes of it before there is a line of ours, and from where other users may not read.
#![cfg(all(target_os = "linux", not(feature = "torch")))]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::support::{Bench, is_empty};

const RUN: &str = "train --model resnet8 --stages 2 --schedule bp --batch-size 16 --calibration-batches 0 --max-batches 2 --evaluate false \
                   --output run";

/// Runs this line of a shell, in which `PROGRAM` stands for the binary, and `STAGGER` for it with the arguments of a run.
fn limited(bench: &Bench, line: &str) -> (Option<i32>, String) {
    let binary = assert_cmd::cargo::cargo_bin("stagger");
    let line = (line.replace("STAGGER", &format!("PROGRAM {RUN}")))
        .replace("PROGRAM", &binary.display().to_string());
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(&bench.folder)
        .output()
        .expect("a shell");
    let stderr = String::from_utf8(output.stderr).expect("text");
    (output.status.code(), stderr)
}

/// Refused in one sentence with all of these, and nothing written.
fn refused(line: &str, expected: &[&str]) {
    let bench = Bench::new();
    let (status, stderr) = limited(&bench, line);
    assert_eq!(status, Some(2), "{line}: {stderr}");
    assert_eq!(stderr.lines().count(), 1, "{line}: {stderr}");
    for part in expected {
        assert!(stderr.contains(part), "{line}: {stderr}");
    }
    assert!(is_empty(bench.folder.path()), "{line}");
}

#[test]
fn too_little_memory_is_said_before_training() {
    refused(
        "ulimit -v 78000; exec STAGGER",
        &[
            "error: the run needs at least ",
            " of memory, and the limit on the address space (ulimit -v) leaves ",
            "; raise the limit, or use a smaller --batch-size, a smaller model, or a method that keeps less\n",
        ],
    );
    refused(
        "ulimit -v 60000; exec STAGGER",
        &[
            "error: the images need at least 39.2 MiB of memory, and the limit on the address space (ulimit -v) leaves ",
        ],
    );
    refused(
        "ulimit -d 60000; exec STAGGER --batch-size 512",
        &["the limit on the data segment (ulimit -d) leaves "],
    );
    let (status, stderr) = limited(&Bench::new(), "ulimit -v 400000; exec STAGGER");
    assert_eq!(status, Some(0), "{stderr}");
}

#[test]
fn too_many_probe_batches_are_refused_before_anything_is_computed() {
    refused(
        "ulimit -v 600000; exec PROGRAM theory -b 64 --probe-batches 1024",
        &[
            "error: the images of 1024 probe batches and the weights of the measured versions need at least ",
            "use fewer --probe-batches or a smaller --batch-size",
        ],
    );
}

#[test]
fn too_few_files_are_said_before_training() {
    refused(
        "ulimit -n 6; exec STAGGER",
        &[
            "the run has up to 5 files open at once, and this process may open 3 more; raise the limit (ulimit -n)\n",
        ],
    );
    let (status, stderr) = limited(&Bench::new(), "ulimit -n 8; exec STAGGER");
    assert_eq!(status, Some(0), "{stderr}");
}

#[test]
fn too_few_threads_are_said_before_training() {
    // Root has as many as it wants. Another user may not reach the build's folder: it gets a copy.
    let public = tempfile::tempdir().expect("a folder");
    let copy = public.path().join("stagger");
    let line = match rustix::process::geteuid().is_root() {
        true => {
            let everybody = Permissions::from_mode(0o755);
            fs::set_permissions(public.path(), everybody.clone()).expect("its owner");
            fs::copy(assert_cmd::cargo::cargo_bin("stagger"), &copy).expect("a copy");
            fs::set_permissions(&copy, everybody).expect("its owner");
            let user = "setpriv --reuid 65534 --regid 65534 --clear-groups prlimit --nproc=3";
            format!("exec {user} {} {RUN}", copy.display())
        }
        false => "exec prlimit --nproc=1 STAGGER".to_owned(),
    };
    refused(
        &line,
        &[
            "error: the run needs 5 threads besides the first (stages, loaders, snapshots, the watch over the disk), and this process may start ",
            "; raise the limit (ulimit -u or -v, or that of the container), or use fewer --stages or --workers\n",
        ],
    );
}
