//! The store on disks that fail.

use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::*;
use crate::snapshot::fixtures;

fn parts(version: usize) -> Vec<Arc<StageSnapshot>> {
    let stages = fixtures::snapshot(version).stages;
    stages.into_iter().map(Arc::new).collect()
}

fn write<F: FileSystem>(
    store: &mut SnapshotStore<F>,
    version: usize,
    top1: Option<f64>,
) -> Result<u64, ReportError> {
    let manifest = Manifest {
        test_top1: top1,
        ..fixtures::manifest(version)
    };
    store.write(&parts(version), manifest)
}

fn names(run: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(run.path().join(SNAPSHOTS_FOLDER)).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_is_written_is_read() {
    let run = tempfile::tempdir().unwrap();
    let mut store = SnapshotStore::of_run(run.path());
    assert!(store.latest().unwrap().found.is_none());
    let bytes = write(&mut store, 500, None).unwrap();
    write(&mut store, 20, None).unwrap();
    let Latest { found, skipped } = store.latest().unwrap();
    let (manifest, snapshot) = found.unwrap();
    assert!(skipped.is_empty());
    assert_eq!(snapshot, fixtures::snapshot(500));
    assert_eq!((manifest.version, manifest.files.len()), (500, 2));
    assert_eq!(names(&run), ["v00000020", "v00000500"]);
    let folder = run.path().join("snapshots/v00000500");
    let on_disk: u64 = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert_eq!(on_disk, bytes);
}

#[test]
fn the_last_ones_and_the_best_stay() {
    let run = tempfile::tempdir().unwrap();
    let mut store = SnapshotStore::of_run(run.path());
    for (version, top1) in [
        (1, None),
        (2, Some(9.0)),
        (3, Some(9.0)),
        (4, Some(1.0)),
        (5, None),
    ] {
        write(&mut store, version, top1).unwrap();
        store.prune(&Keep::Newest(2)).unwrap();
    }
    assert_eq!(names(&run), ["v00000002", "v00000004", "v00000005"]);
    store.prune(&Keep::Newest(0)).unwrap();
    assert_eq!(names(&run), ["v00000002", "v00000005"]);
}

#[test]
fn cleaning_removes_later_and_incomplete_snapshots() {
    let run = tempfile::tempdir().unwrap();
    let mut store = SnapshotStore::of_run(run.path());
    for version in [10, 20, 30] {
        write(&mut store, version, None).unwrap();
    }
    fs::create_dir(run.path().join("snapshots/.v00000040.partial")).unwrap();
    fs::write(run.path().join("snapshots/notes.txt"), "of a person").unwrap();
    store.clean(20).unwrap();
    assert_eq!(names(&run), ["notes.txt", "v00000010", "v00000020"]);
}

#[test]
fn what_the_run_did_not_make_stays() {
    let run = tempfile::tempdir().unwrap();
    let mut store = SnapshotStore::of_run(run.path());
    for version in [1, 2] {
        write(&mut store, version, None).unwrap();
    }
    let folder = run.path().join(SNAPSHOTS_FOLDER);
    let theirs = [
        ".other.partial",
        "notes.partial",
        "v00000000",
        "v00000003",
        "v5",
    ];
    for name in theirs {
        fs::write(folder.join(name), "theirs").unwrap();
    }
    let own = [
        ".v00000004.partial",
        ".v00000004.old.partial",
        ".v00000004.manifest.partial",
    ];
    for name in own {
        fs::create_dir(folder.join(name)).unwrap();
    }
    let refused = write(&mut store, 3, None).unwrap_err();
    assert!(matches!(refused, ReportError::InTheWay { .. }), "{refused}");
    store
        .add_evaluation(Scored {
            version: 3,
            ..scored(Value::Null)
        })
        .unwrap();
    let Latest { found, skipped } = store.latest().unwrap();
    assert_eq!(found.unwrap().0.version, 2);
    assert!(skipped[0].why.to_string().contains("no folder of its own"));
    let in_the_way = store.in_the_way().unwrap();
    let expected = [folder.join("v00000000"), folder.join("v00000003")];
    assert_eq!(in_the_way, expected);
    // What is theirs is not one of those that stay, either.
    store.prune(&Keep::Newest(1)).unwrap();
    assert!(folder.join("v00000002").is_dir() && !folder.join("v00000001").exists());
    store.clean(1).unwrap();
    assert_eq!(names(&run), theirs);
}

#[cfg(unix)]
#[test]
fn a_link_is_no_folder_of_snapshots() {
    use std::os::unix::fs::symlink;

    let run = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    write(&mut SnapshotStore::of_run(other.path()), 1, None).unwrap();
    let theirs = other.path().join(SNAPSHOTS_FOLDER);
    symlink(&theirs, run.path().join(SNAPSHOTS_FOLDER)).unwrap();
    let mut store = SnapshotStore::of_run(run.path());
    for refused in [
        store.clean(0),
        store.prune(&Keep::Newest(1)),
        store.latest().map(drop),
        write(&mut store, 2, None).map(drop),
    ] {
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("it is a link"), "{error}");
    }
    assert_eq!(names(&other), ["v00000001"]);
    // Nor is a link a snapshot.
    fs::remove_file(run.path().join(SNAPSHOTS_FOLDER)).unwrap();
    fs::create_dir(run.path().join(SNAPSHOTS_FOLDER)).unwrap();
    let link = run.path().join(SNAPSHOTS_FOLDER).join("v00000001");
    symlink(theirs.join("v00000001"), &link).unwrap();
    let Latest { found, skipped } = store.latest().unwrap();
    assert!(found.is_none() && skipped.len() == 1);
    // But one that the user names.
    let linked = other.path().join("linked");
    symlink(theirs.join("v00000001"), &linked).unwrap();
    assert_eq!(
        SnapshotStore::of_run(&linked)
            .load(&linked)
            .unwrap()
            .0
            .version,
        1
    );
}

#[test]
fn a_damaged_snapshot_is_skipped_and_named() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 6] = [
        ("its checksum is", |folder| {
            let path = folder.join("stage-1.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(path, bytes).unwrap();
        }),
        ("the manifest says", |folder| {
            let path = folder.join("stage-0.safetensors");
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
        }),
        ("at most", |folder| {
            let path = folder.join("stage-0.safetensors");
            let mut bytes = fs::read(&path).unwrap();
            bytes.push(0);
            fs::write(path, bytes).unwrap();
        }),
        ("could not read", |folder| {
            fs::remove_file(folder.join("stage-0.safetensors")).unwrap();
        }),
        ("could not read", |folder| {
            fs::remove_file(folder.join(MANIFEST_FILE)).unwrap();
        }),
        ("it is no manifest", |folder| {
            let path = folder.join(MANIFEST_FILE);
            let bytes = fs::read(&path).unwrap();
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }),
    ];
    for (expected, damage) in damages {
        let run = tempfile::tempdir().unwrap();
        let mut store = SnapshotStore::of_run(run.path());
        write(&mut store, 1, None).unwrap();
        write(&mut store, 2, None).unwrap();
        damage(&run.path().join("snapshots/v00000002"));
        let Latest { found, skipped } = store.latest().unwrap();
        assert_eq!(found.unwrap().1, fixtures::snapshot(1));
        let why = skipped[0].why.to_string();
        assert!(skipped[0].path.ends_with("v00000002"));
        assert!(why.contains(expected), "{expected}: {why}");
    }
}

/// How a disk fails.
#[derive(Clone, Copy, Debug)]
enum Failure {
    /// One call fails; the later ones work.
    Once,
    /// This call and all later ones fail, as after a crash of the machine.
    Death,
    /// The same, and if the call is a write, it writes half of its bytes.
    TornWrite,
}

/// The disk, until call number `at`.
struct Failing {
    disk: Disk,
    calls: Arc<AtomicUsize>,
    at: usize,
    failure: Failure,
}

/// Counts a call, which fails if it has to.
fn call(calls: &AtomicUsize, at: usize, failure: Failure) -> io::Result<()> {
    let number = calls.fetch_add(1, Ordering::Relaxed);
    let fails = match failure {
        Failure::Once => number == at,
        Failure::Death | Failure::TornWrite => number >= at,
    };
    if fails {
        return Err(io::Error::other(format!("call {number} fails")));
    }
    Ok(())
}

impl Failing {
    fn call(&self) -> io::Result<()> {
        call(&self.calls, self.at, self.failure)
    }
}

struct FailingFile {
    file: Box<dyn SnapshotFile>,
    calls: Arc<AtomicUsize>,
    at: usize,
    failure: Failure,
}

impl Write for FailingFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let works = call(&self.calls, self.at, self.failure);
        if works.is_err() && matches!(self.failure, Failure::TornWrite) {
            self.file.write_all(&bytes[..bytes.len() / 2])?;
        }
        works?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl SnapshotFile for FailingFile {
    fn sync(&mut self) -> io::Result<()> {
        call(&self.calls, self.at, self.failure)?;
        self.file.sync()
    }
}

impl FileSystem for Failing {
    fn create_folder(&mut self, path: &Path) -> io::Result<()> {
        self.call()?;
        self.disk.create_folder(path)
    }

    fn create_file(&mut self, path: &Path) -> io::Result<Box<dyn SnapshotFile>> {
        self.call()?;
        Ok(Box::new(FailingFile {
            file: self.disk.create_file(path)?,
            calls: Arc::clone(&self.calls),
            at: self.at,
            failure: self.failure,
        }))
    }

    fn sync_folder(&mut self, path: &Path) -> io::Result<()> {
        self.call()?;
        self.disk.sync_folder(path)
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.call()?;
        self.disk.rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.call()?;
        self.disk.remove(path)
    }

    fn is_folder(&mut self, path: &Path) -> io::Result<bool> {
        self.call()?;
        self.disk.is_folder(path)
    }

    fn list(&mut self, path: &Path) -> io::Result<Vec<PathBuf>> {
        self.call()?;
        self.disk.list(path)
    }

    fn read(&mut self, path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
        self.call()?;
        self.disk.read(path, limit_bytes)
    }
}

/// Writes and prunes on a disk that fails at call `at`. Returns the number of calls, and whether all of them worked.
fn write_on_failing_disk(
    run: &TempDir,
    version: usize,
    at: usize,
    failure: Failure,
) -> (usize, bool) {
    let calls = Arc::new(AtomicUsize::new(0));
    let failing = Failing {
        disk: Disk,
        calls: Arc::clone(&calls),
        at,
        failure,
    };
    let mut store = SnapshotStore::on(failing, run.path());
    let done = write(&mut store, version, None).and_then(|_| store.prune(&Keep::Newest(2)));
    (calls.load(Ordering::Relaxed), done.is_ok())
}

#[test]
fn whatever_call_fails_the_snapshot_before_survives() {
    let healthy = tempfile::tempdir().unwrap();
    write(&mut SnapshotStore::of_run(healthy.path()), 1, None).unwrap();
    let (calls, went_well) = write_on_failing_disk(&healthy, 2, usize::MAX, Failure::Once);
    assert!(went_well && calls > 15, "{calls}");

    for failure in [Failure::Once, Failure::Death, Failure::TornWrite] {
        for at in 0..calls {
            let run = tempfile::tempdir().unwrap();
            let mut store = SnapshotStore::of_run(run.path());
            write(&mut store, 1, None).unwrap();
            write_on_failing_disk(&run, 2, at, failure);

            // The next process finds one of the two complete, and can write.
            let found = store.latest().unwrap().found;
            let (_, snapshot) = found.unwrap_or_else(|| panic!("{failure:?} at {at}: nothing"));
            assert_eq!(snapshot, fixtures::snapshot(snapshot.version));
            assert!([1, 2].contains(&snapshot.version), "{failure:?} at {at}");
            assert!(store.load(&run.path().join("snapshots/v00000001")).is_ok());
            store.clean(snapshot.version).unwrap();
            assert!(!names(&run).iter().any(|name| name.ends_with(PARTIAL)));
            write(&mut store, 2, None).unwrap();
            assert_eq!(
                store.latest().unwrap().found.unwrap().1,
                fixtures::snapshot(2),
                "{failure:?} at {at}"
            );
        }
    }
}

fn scored(progress: Value) -> Scored {
    Scored {
        version: 2,
        test_top1: 42.0,
        progress,
        metrics: None,
    }
}

/// Notes an evaluation on a disk that fails at call `at`. Returns the number of calls.
fn add_evaluation_on_failing_disk(run: &TempDir, at: usize, failure: Failure) -> usize {
    let calls = Arc::new(AtomicUsize::new(0));
    let failing = Failing {
        disk: Disk,
        calls: Arc::clone(&calls),
        at,
        failure,
    };
    let mut store = SnapshotStore::on(failing, run.path());
    let _ = store.add_evaluation(scored(Value::from("after")));
    calls.load(Ordering::Relaxed)
}

#[test]
fn whatever_call_fails_an_evaluation_is_there_wholly_or_not_at_all() {
    let two = || {
        let run = tempfile::tempdir().unwrap();
        let mut store = SnapshotStore::of_run(run.path());
        write(&mut store, 1, None).unwrap();
        write(&mut store, 2, None).unwrap();
        (run, store)
    };
    let calls = add_evaluation_on_failing_disk(&two().0, usize::MAX, Failure::Once);
    assert!(calls > 6, "{calls}");
    for failure in [Failure::Once, Failure::Death, Failure::TornWrite] {
        for at in 0..=calls {
            let (run, mut store) = two();
            let before = store.latest().unwrap().found.unwrap();
            add_evaluation_on_failing_disk(&run, at, failure);
            let (manifest, snapshot) = store.latest().unwrap().found.unwrap();
            assert_eq!(snapshot, before.1, "{failure:?} at {at}");
            let after = Manifest {
                test_top1: Some(42.0),
                progress: Value::from("after"),
                ..before.0.clone()
            };
            let whole = [&before.0, &after].contains(&&manifest);
            assert!(whole, "{failure:?} at {at}: {manifest:?}");
            assert!(at < calls || manifest == after, "nothing failed");
            store.clean(2).unwrap();
            assert_eq!(names(&run), ["v00000001", "v00000002"]);
        }
    }
}

#[test]
fn an_evaluation_of_no_snapshot_changes_nothing() {
    let run = tempfile::tempdir().unwrap();
    let mut store = SnapshotStore::of_run(run.path());
    store.add_evaluation(scored(Value::Null)).unwrap();
    write(&mut store, 1, None).unwrap();
    store.add_evaluation(scored(Value::Null)).unwrap();
    assert_eq!(names(&run), ["v00000001"]);
}

#[test]
fn a_failure_names_the_snapshot_and_what_to_do() {
    let run = tempfile::tempdir().unwrap();
    fs::write(run.path().join(SNAPSHOTS_FOLDER), "a file").unwrap();
    let error = write(&mut SnapshotStore::of_run(run.path()), 1, None).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("snapshots/v00000001"), "{error}");
}
