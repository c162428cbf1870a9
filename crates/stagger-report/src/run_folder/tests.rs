use std::collections::HashSet;
use std::time::{Duration, UNIX_EPOCH};

use super::*;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_413_027)
}

#[test]
fn makes_parents_and_stays_empty() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("a/b/run");
    let folder = RunFolder::create(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    folder.write(CONFIG_FILE, b"seed = 1\n").unwrap();
    assert_eq!(fs::read(path.join("config.toml")).unwrap(), b"seed = 1\n");
}

#[test]
fn a_taken_path_is_refused_with_advice() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("run");
    fs::write(&path, b"precious").unwrap();
    let error = RunFolder::create(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "the output path {} is a file already; choose another with --output, or remove it",
            path.display()
        )
    );
    let error = RunFolder::create(base.path()).unwrap_err().to_string();
    assert!(
        error.contains("is a folder that is not empty; choose another"),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"precious");
}

#[test]
fn of_many_that_want_one_folder_one_gets_it() {
    let base = tempfile::tempdir().unwrap();
    for round in 0..200 {
        let path = base.path().join(format!("runs/{round}"));
        let start = std::sync::Barrier::new(4);
        let contend = || {
            start.wait();
            let folder = RunFolder::create(&path)?;
            folder.write(CONFIG_FILE, b"seed = 1\n")?;
            Ok(folder)
        };
        let results: Vec<Result<RunFolder, ReportError>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(contend)).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        let (won, lost): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
        assert_eq!(won.len(), 1, "{lost:?}");
        assert_eq!(fs::read(path.join(CONFIG_FILE)).unwrap(), b"seed = 1\n");
        assert_eq!(fs::read_dir(&path).unwrap().count(), 1);
        for error in lost.into_iter().map(Result::unwrap_err) {
            assert!(
                matches!(
                    error,
                    ReportError::Occupied { .. } | ReportError::InUse { .. }
                ),
                "{error}"
            );
        }
    }
}

#[test]
fn of_many_that_want_one_name_each_gets_a_folder() {
    let base = tempfile::tempdir().unwrap();
    for round in 0..50 {
        let start = std::sync::Barrier::new(4);
        let base = base.path().join(round.to_string());
        let contend = || {
            start.wait();
            let folder = RunFolder::create_named(&base, "bp", now()).unwrap();
            folder.write(CONFIG_FILE, b"seed = 1\n").unwrap();
            folder
        };
        let folders: Vec<RunFolder> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(contend)).collect();
            let joined = threads.into_iter().map(|thread| thread.join().unwrap());
            joined.collect()
        });
        let paths: HashSet<&Path> = folders.iter().map(RunFolder::path).collect();
        assert_eq!(paths.len(), 4);
    }
}

#[test]
fn an_empty_folder_is_taken_and_outlives_a_discard() {
    let base = tempfile::tempdir().unwrap();
    let folder = RunFolder::create(base.path()).unwrap();
    folder.write(CONFIG_FILE, b"").unwrap();
    folder.discard().unwrap();
    assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
}

#[test]
fn discard_removes_what_was_made_and_nothing_else() {
    let base = tempfile::tempdir().unwrap();
    let path = base.path().join("a/b/run");
    let folder = RunFolder::create(&path).unwrap();
    for name in ALL_FILES {
        folder.write(name, b"x").unwrap();
    }
    fs::write(base.path().join("a/notes.txt"), b"mine").unwrap();
    folder.discard().unwrap();
    assert!(!base.path().join("a/b").exists());
    assert!(base.path().join("a/notes.txt").exists());

    let folder = RunFolder::create(&path).unwrap();
    fs::write(path.join("notes.txt"), b"mine").unwrap();
    folder.discard().unwrap();
    assert!(path.join("notes.txt").exists());
}

#[test]
fn a_place_that_cannot_be_written_is_named() {
    let base = tempfile::tempdir().unwrap();
    fs::write(base.path().join("file"), b"").unwrap();
    let path = base.path().join("file/run");
    let error = RunFolder::create(&path).unwrap_err().to_string();
    assert!(error.starts_with("could not create the folder"), "{error}");
    assert!(error.contains("file/run"), "{error}");
}

/// Not even root can create a folder in `/sys`.
#[cfg(target_os = "linux")]
#[test]
fn read_only_place_comes_with_advice() {
    let error = RunFolder::create(Path::new("/sys/stagger/run"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("could not create the folder /sys/stagger/run: "),
        "{error}"
    );
    assert!(
        error.contains("choose another place with --output"),
        "{error}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn full_disk_is_found_at_once() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    assert_eq!(fill(full).unwrap_err().kind(), ErrorKind::StorageFull);
}

#[cfg(unix)]
#[test]
fn the_probe_follows_no_link_and_leaves_nothing() {
    let base = tempfile::tempdir().unwrap();
    let folder = RunFolder {
        path: base.path().join("run"),
        made: Vec::new(),
        lock: None,
    };
    fs::create_dir(folder.path()).unwrap();
    folder.try_writing().unwrap();
    let theirs = base.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    let probe = partial_path(&folder.file(CONFIG_FILE));
    std::os::unix::fs::symlink(&theirs, &probe).unwrap();
    assert!(folder.try_writing().is_err());
    assert_eq!(fs::read(&theirs).unwrap(), b"theirs");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn default_names_are_readable_and_never_collide() {
    let base = tempfile::tempdir().unwrap();
    let path = default_path(Path::new("runs"), "dsp-resnet8/shapes", now());
    assert_eq!(
        path,
        Path::new("runs/2026-11-23T05-50-27-dsp-resnet8-shapes")
    );

    let names: Vec<_> = (0..3)
        .map(|_| {
            let folder = RunFolder::create_named(base.path(), "bp", now()).unwrap();
            folder.write(CONFIG_FILE, b"").unwrap();
            folder
                .path()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect();
    let first = "2026-11-23T05-50-27-bp";
    assert_eq!(
        names,
        [first.to_owned(), format!("{first}-2"), format!("{first}-3")]
    );
}

#[test]
fn opening_names_what_is_missing() {
    let base = tempfile::tempdir().unwrap();
    let error = RunFolder::open(&base.path().join("gone"))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("could not open the run folder"),
        "{error}"
    );

    let folder = RunFolder::create(&base.path().join("run")).unwrap();
    let error = RunFolder::open(folder.path()).unwrap_err().to_string();
    assert!(error.ends_with("config.toml, metrics.jsonl and last.safetensors are missing"));
    folder.write(CONFIG_FILE, b"").unwrap();
    folder.write(METRICS_FILE, b"").unwrap();
    let error = RunFolder::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.ends_with("of a finished run: last.safetensors is missing"),
        "{error}"
    );
    folder.write(LAST_WEIGHTS_FILE, b"").unwrap();
    assert_eq!(
        RunFolder::open(folder.path()).unwrap().path(),
        folder.path()
    );
}

/// What a run leaves is all its own, and the first thing that is not is named.
#[test]
fn what_no_run_writes_is_found() {
    let base = tempfile::tempdir().unwrap();
    let run = base.path().join("run");
    let foreign = || RunFolder::foreign_entry(&run).unwrap();
    assert_eq!(foreign(), None, "nothing is there");
    fs::write(&run, "a file").unwrap();
    assert_eq!(foreign().as_deref(), Some(&*run));
    fs::remove_file(&run).unwrap();
    for folder in ["v00000010", ".v00000020.partial"] {
        let snapshot = run.join("snapshots").join(folder);
        fs::create_dir_all(&snapshot).unwrap();
        for file in ["manifest.json", "stage-12.safetensors"] {
            fs::write(snapshot.join(file), "").unwrap();
        }
    }
    for name in ALL_FILES {
        fs::write(run.join(name), "").unwrap();
        fs::write(partial_path(&run.join(name)), "").unwrap();
    }
    fs::write(run.join("snapshots/.v00000010.manifest.partial"), "").unwrap();
    assert_eq!(foreign(), None);
    for left in [
        ".DS_Store",
        "snapshots/.nfs0001",
        "snapshots/v00000010/Thumbs.db",
    ] {
        fs::write(run.join(left), "").unwrap();
        assert_eq!(foreign(), None, "{left}");
        fs::remove_file(run.join(left)).unwrap();
        fs::create_dir(run.join(left)).unwrap();
        assert_eq!(foreign(), Some(run.join(left)), "a folder");
        fs::remove_dir(run.join(left)).unwrap();
    }
    for name in [
        "snapshots/v00000010/notes",
        "snapshots/mine",
        "hi",
        "config.toml.orig",
    ] {
        let path = run.join(name);
        fs::write(&path, "").unwrap();
        assert_eq!(foreign().as_ref(), Some(&path));
        fs::remove_file(&path).unwrap();
    }
    fs::remove_file(run.join(TEST_FILE)).unwrap();
    fs::create_dir(run.join(TEST_FILE)).unwrap();
    assert_eq!(foreign(), Some(run.join(TEST_FILE)), "a folder");
}
