//! What is on disk when, and disks that fill up.

use std::fs::OpenOptions;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::epoch::EpochPlan;

fn tally() -> EpochTally {
    EpochTally::new(EpochPlan {
        batches_per_epoch: 1,
        batches: 2,
        evaluate_at: vec![],
        emulated: false,
    })
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_full_disk_is_one_clear_error() {
    let path = Path::new("runs/a/metrics.jsonl");
    let made = MetricsFile::new(Box::new(full()), path, tally(), Map::new());
    assert_eq!(
        made.err().unwrap().to_string(),
        "could not write runs/a/metrics.jsonl: No space left on device (os error 28); free some \
         space, or choose another disk with --output"
    );
}

/// A disk with room for so many bytes.
struct Filling(usize);

impl Write for Filling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return full().write(bytes);
        }
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MetricsOutput for Filling {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_at(&self, _: &Path, _: u64) -> io::Result<bool> {
        Ok(true)
    }
}

/// A disk that counts how often it was flushed.
struct Flushed(Arc<AtomicUsize>);

impl Write for Flushed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MetricsOutput for Flushed {
    fn sync(&self) -> io::Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn is_at(&self, _: &Path, _: u64) -> io::Result<bool> {
        Ok(true)
    }
}

#[test]
fn the_metrics_are_on_disk_when_a_snapshot_is_complete() {
    let count = Arc::new(AtomicUsize::new(0));
    let out = Box::new(Flushed(Arc::clone(&count)));
    let mut metrics = MetricsFile::new(out, Path::new("m"), tally(), Map::new()).unwrap();
    metrics.event(&Event::Started { stages: 2 }).unwrap();
    for (stage, version, expected) in [(0, 1, 0), (0, 2, 0), (1, 1, 1), (1, 2, 2)] {
        let snapshot = Arc::default();
        let part = Event::Snapshot {
            stage,
            version,
            snapshot,
        };
        metrics.event(&part).unwrap();
        assert_eq!(count.load(Ordering::Relaxed), expected);
    }
}

/// No snapshot is taken whose lines another program has taken away.
#[test]
fn a_file_that_is_taken_away_ends_the_run() {
    type Take = fn(&Path);
    let taken: [(&str, Take); 3] = [
        ("moved", |path| {
            std::fs::rename(path, path.with_extension("old")).unwrap()
        }),
        ("replaced", |path| {
            let bytes = std::fs::read(path).unwrap();
            std::fs::remove_file(path).unwrap();
            std::fs::write(path, bytes).unwrap();
        }),
        ("cut short", |path| std::fs::write(path, "").unwrap()),
    ];
    for (how, take) in taken {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut metrics = MetricsFile::create(&path, tally(), Map::new()).unwrap();
        metrics.event(&Event::Started { stages: 1 }).unwrap();
        let snapshot = |version| Event::Snapshot {
            stage: 0,
            version,
            snapshot: Arc::default(),
        };
        metrics.event(&snapshot(1)).unwrap();
        // A new file may get the number of the old one that was removed.
        let _held = std::fs::File::open(&path).unwrap();
        take(&path);
        let error = metrics.event(&snapshot(2)).unwrap_err().to_string();
        assert!(
            error.contains("metrics.jsonl was moved, replaced or cut short"),
            "{how}: {error}"
        );
    }
}

/// A run whose folder is renamed goes on under its new name.
#[test]
fn a_folder_that_is_renamed_is_told() {
    let base = tempfile::tempdir().unwrap();
    let folder = base.path().join("run");
    std::fs::create_dir(&folder).unwrap();
    let path = folder.join("metrics.jsonl");
    let mut metrics = MetricsFile::create(&path, tally(), Map::new()).unwrap();
    metrics.event(&Event::Started { stages: 1 }).unwrap();
    std::fs::rename(&folder, base.path().join("renamed")).unwrap();
    let part = Event::Snapshot {
        stage: 0,
        version: 1,
        snapshot: Arc::default(),
    };
    let error = metrics.event(&part).unwrap_err().to_string();
    assert!(error.contains("its folder is gone"), "{error}");
}

/// Says once that it cannot be looked at.
struct Passing(AtomicUsize);

impl Write for Passing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MetricsOutput for Passing {
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn is_at(&self, _: &Path, _: u64) -> io::Result<bool> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Err(io::Error::from_raw_os_error(5)),
            _ => Ok(true),
        }
    }
}

/// An error of the disk that passes takes nothing away.
#[test]
fn a_file_that_cannot_be_looked_at_once_is_there() {
    let out = Box::new(Passing(AtomicUsize::new(0)));
    let mut metrics = MetricsFile::new(out, Path::new("m"), tally(), Map::new()).unwrap();
    metrics.event(&Event::Started { stages: 1 }).unwrap();
    let part = Event::Snapshot {
        stage: 0,
        version: 1,
        snapshot: Arc::default(),
    };
    metrics.event(&part).unwrap();
}

/// What others see of a run is a second old at most.
#[test]
fn lines_are_in_the_file_after_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let mut metrics = MetricsFile::create(&path, tally(), Map::new()).unwrap();
    let mut lines = |millis| {
        let skipped = Event::Skipped {
            batch: 0,
            loss: f32::NAN,
            at: Duration::from_millis(millis),
        };
        metrics.event(&skipped).unwrap();
        std::fs::read_to_string(&path).unwrap().lines().count()
    };
    let seen = [10, 999, 1000, 1999, 2000].map(&mut lines);
    assert_eq!(seen, [1, 1, 4, 4, 6]);
}

#[test]
fn a_disk_that_fills_up_is_noticed_at_the_end_of_the_epoch() {
    let path = Path::new("metrics.jsonl");
    let mut metrics = MetricsFile::new(Box::new(Filling(100)), path, tally(), Map::new()).unwrap();
    let at = Duration::from_millis(999);
    metrics.event(&Event::Started { stages: 1 }).unwrap();
    let trained = Event::Trained {
        batch: 0,
        samples: 2,
        loss: 1.0,
        correct_top1: 1,
        correct_top5: 2,
        learning_rate: 0.1,
        at,
    };
    metrics.event(&trained).unwrap();
    let update = Event::Acted(Acted {
        stage: 0,
        action: Action::Update { version: 0 },
        started_at: at,
        ended_at: at,
        waits: Default::default(),
        transfer: Duration::ZERO,
        delayed: Duration::ZERO,
        staleness: None,
        gap: None,
    });
    let error = metrics.event(&update).unwrap_err().to_string();
    assert!(
        error.starts_with("could not write metrics.jsonl: No space left"),
        "{error}"
    );
    assert!(
        metrics
            .finish(Err(&RunError::Event("full".into())))
            .is_err()
    );
}
