use std::fs;
use std::sync::Arc;

use stagger_runtime::snapshot::StageSnapshot;
use stagger_runtime::{Acted, Waits};
use stagger_schedule::Action;

use super::encoding::masked;
use super::*;
use crate::epoch::EpochPlan;

/// Steps, tags and values of all files in a folder, in the order of their names; "restart" for a restart, and of a histogram the number of
/// its values.
fn read(folder: &Path) -> Vec<(u64, String, f32)> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
        .iter()
        .flat_map(|file| read_file(&fs::read(file).unwrap()))
        .collect()
}

fn read_file(mut rest: &[u8]) -> Vec<(u64, String, f32)> {
    let mut found = Vec::new();
    let mut is_first = true;
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        let checksum = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        assert_eq!(checksum(8), masked(&rest[..8]));
        let data = &rest[12..12 + length];
        assert_eq!(checksum(12 + length), masked(data));
        rest = &rest[16 + length..];
        // Time and step, then one field.
        assert_eq!((data[0], data[9]), (0x09, 0x10));
        let (step, data) = varint(&data[10..]);
        match (data[0], is_first) {
            (0x1a, true) => assert_eq!(&data[2..], b"brain.Event:2"),
            (0x3a, false) => {
                assert_eq!(data[1..], [2, 0x08, 1]);
                found.push((step, "restart".to_owned(), 0.0));
            }
            (0x2a, false) => {
                // Keys and lengths of summary, value and tag.
                let data = varint(&data[1..]).1;
                let data = varint(&data[1..]).1;
                let (length, data) = varint(&data[1..]);
                let (tag, data) = data.split_at(length as usize);
                let value = match data[0] {
                    0x15 => f32::from_le_bytes(data[1..].try_into().unwrap()),
                    0x2a => {
                        // The smallest value and the largest, and how many there are.
                        let histogram = varint(&data[1..]).1;
                        f64::from_le_bytes(histogram[19..27].try_into().unwrap()) as f32
                    }
                    other => panic!("{other}"),
                };
                let tag = String::from_utf8(tag.to_vec()).unwrap();
                found.push((step, tag, value));
            }
            other => panic!("{other:?}"),
        }
        is_first = false;
    }
    found
}

fn varint(bytes: &[u8]) -> (u64, &[u8]) {
    let length = 1 + bytes.iter().position(|byte| byte & 0x80 == 0).unwrap();
    let number = bytes[..length].iter().rev();
    let number = number.fold(0, |number, byte| number << 7 | u64::from(byte & 0x7f));
    (number, &bytes[length..])
}

fn tally(batches: usize, emulated: bool) -> EpochTally {
    EpochTally::new(EpochPlan {
        batches_per_epoch: 4,
        batches,
        evaluate_at: Default::default(),
        emulated,
    })
}

fn trained(batch: usize, loss: f32) -> Event {
    Event::Trained {
        batch,
        samples: 8,
        loss,
        correct_top1: 2,
        correct_top5: 5,
        learning_rate: 0.25,
        at: Duration::from_millis(batch as u64),
    }
}

/// The only stage has updated with a batch.
fn updated(batch: usize) -> Event {
    let at = Duration::from_millis(batch as u64);
    Event::Acted(Acted {
        stage: 0,
        action: Action::Update { version: batch },
        started_at: at,
        ended_at: at + Duration::from_millis(1),
        waits: Waits::default(),
        transfer: Duration::ZERO,
        delayed: Duration::ZERO,
        staleness: None,
        gap: None,
    })
}

fn sink(folder: &Path, batches: usize) -> TensorBoard {
    TensorBoard::new(folder, tally(batches, false))
}

#[test]
fn batches_become_points() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("board");
    let mut board = sink(&folder, 8);
    assert!(!folder.exists());
    board.event(&Event::Started { stages: 1 }).unwrap();
    board.event(&trained(0, 2.0)).unwrap();
    board.event(&trained(1, 1.5)).unwrap();
    board.write().unwrap();
    let of = |step, loss| {
        [
            (step, "loss/train".to_owned(), loss),
            (step, "accuracy/train".to_owned(), 25.0),
            (step, "learning_rate".to_owned(), 0.25),
        ]
    };
    assert_eq!(read(&folder), [of(0, 2.0), of(1, 1.5)].concat());
}

#[test]
fn a_long_run_has_means_of_more_and_more_batches() {
    let folder = tempfile::tempdir().unwrap();
    let batches = 4 * SINGLE_POINTS + 1;
    let mut board = sink(folder.path(), 10 * batches);
    for batch in 0..batches {
        board.event(&trained(batch, (batch % 2) as f32)).unwrap();
    }
    let outcome = Outcome {
        version: batches,
        interrupted: true,
        ended_by: None,
        wall: Duration::from_secs(1),
    };
    board.finish(Ok(&outcome)).unwrap();
    let losses: Vec<(u64, f32)> = read(folder.path())
        .into_iter()
        .filter(|(_, tag, _)| tag == "loss/train")
        .map(|(step, _, loss)| (step, loss))
        .collect();
    assert_eq!(
        losses.len(),
        SINGLE_POINTS + SINGLE_POINTS / 2 + SINGLE_POINTS / 2 + 1
    );
    assert_eq!(losses[SINGLE_POINTS - 1], (SINGLE_POINTS as u64 - 1, 1.0));
    assert_eq!(losses[SINGLE_POINTS], (SINGLE_POINTS as u64 + 1, 0.5));
    // What the end left of a point.
    assert_eq!(losses.last().unwrap(), &(batches as u64 - 1, 0.0));
}

#[test]
fn an_epoch_that_the_end_cuts_short_is_told_once() {
    // A goal has ended the second, or its plan the third.
    for (planned, interrupted, expected) in [(8, true, 0), (8, false, 1), (6, false, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let mut board = sink(folder.path(), planned);
        board.event(&Event::Started { stages: 1 }).unwrap();
        for batch in 0..6 {
            board.event(&trained(batch, 1.0)).unwrap();
            board.event(&updated(batch)).unwrap();
        }
        let outcome = Outcome {
            version: 6,
            interrupted,
            ended_by: None,
            wall: Duration::from_secs(1),
        };
        board.finish(Ok(&outcome)).unwrap();
        let found = read(folder.path());
        let of_epochs = found
            .iter()
            .filter(|(_, tag, _)| tag == "images_per_second");
        let steps: Vec<u64> = of_epochs.map(|(step, ..)| *step).collect();
        assert_eq!(steps, [3, 6][..1 + expected], "{found:?}");
    }
}

#[test]
fn a_go_from_the_start_replaces_all_of_the_one_before() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let mut board = sink(folder.path(), 8);
        board.event(&Event::Started { stages: 1 }).unwrap();
        board.event(&trained(0, 1.0)).unwrap();
        board.write().unwrap();
    }
    let found = read(folder.path());
    let tags: Vec<&str> = found.iter().map(|(_, tag, _)| tag.as_str()).collect();
    let of_a_go = ["loss/train", "accuracy/train", "learning_rate"];
    assert_eq!(tags, [&of_a_go[..], &["restart"], &of_a_go].concat());
    assert_eq!(found[3].0, 0);
}

#[test]
fn emulated_stages_have_learned_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut board = TensorBoard::new(folder.path(), tally(8, true));
    board.event(&trained(0, 2.0)).unwrap();
    board.write().unwrap();
    let learned = ["loss/train", "accuracy/train", "learning_rate", "loss/test"];
    let found = read(folder.path());
    assert!(
        found
            .iter()
            .all(|(_, tag, _)| !learned.contains(&tag.as_str())),
        "{found:?}"
    );
}

#[test]
fn a_run_that_resumes_replaces_what_comes_after() {
    let folder = tempfile::tempdir().unwrap();
    let mut board = sink(folder.path(), 8);
    for batch in 0..6 {
        board.event(&trained(batch, 1.0)).unwrap();
    }
    board.write().unwrap();
    let progress = crate::progress::EpochProgress {
        version: 4,
        ..Default::default()
    };
    let plan = tally(8, false).plan().clone();
    let mut board = TensorBoard::new(folder.path(), EpochTally::resumed(plan, progress));
    board.event(&trained(4, 0.5)).unwrap();
    board.write().unwrap();
    let found = read(folder.path());
    let restart = found
        .iter()
        .position(|(_, tag, _)| tag == "restart")
        .unwrap();
    assert_eq!(found[restart].0, 4);
    assert_eq!(found[restart + 1], (4, "loss/train".to_owned(), 0.5));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_place_that_cannot_be_a_folder_is_refused() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "mine").unwrap();
    let message = |path: &Path| TensorBoard::check(path, None).unwrap_err().to_string();
    assert!(
        message(&file).contains("a file already"),
        "{}",
        message(&file)
    );
    let nowhere = parent.path().join("no/board");
    assert!(message(&nowhere).contains("its folder is not there"));
    assert!(TensorBoard::check(parent.path(), None).is_ok());
}

/// A stage's snapshot of a parameter, its running statistics and its optimizer state.
fn snapshot(version: usize) -> Event {
    let tensor = |values: usize| HostTensor::new(vec![values], vec![0.5; values]).unwrap();
    let mut state = StageState::default();
    for (name, values) in [
        ("conv1.weight".to_owned(), 3),
        ("bn1.running_mean".to_owned(), 2),
        ("bn1.running_var".to_owned(), 2),
        (StageState::optimizer_name("conv1.weight", "momentum"), 3),
    ] {
        state.tensors.insert(name, tensor(values));
    }
    let snapshot = StageSnapshot {
        state,
        ..StageSnapshot::default()
    };
    Event::Snapshot {
        stage: 0,
        version,
        snapshot: Arc::new(snapshot),
    }
}

#[test]
fn an_epoch_has_histograms_of_weights_and_gradients() {
    let folder = tempfile::tempdir().unwrap();
    let mut board = sink(folder.path(), 6);
    // In the middle of an epoch, at its end, and where the end of the run cuts one short.
    for version in [2, 4, 6] {
        board.event(&snapshot(version)).unwrap();
    }
    let values = vec![1.0, f32::NAN];
    let gradient = HostTensor::new(vec![2], values).unwrap();
    let none = HostTensor::new(vec![1], vec![f32::INFINITY]).unwrap();
    let gradients = vec![("bn1.bias".to_owned(), gradient), ("a".to_owned(), none)];
    board
        .event(&Event::Gradients {
            stage: 0,
            batch: 3,
            gradients,
        })
        .unwrap();
    board.write().unwrap();
    let of = |step, tag: &str, count| (step, tag.to_owned(), count);
    let expected = [
        of(3, "weights/conv1.weight", 3.0),
        of(5, "weights/conv1.weight", 3.0),
        of(3, "gradients/bn1.bias", 1.0),
    ];
    assert_eq!(read(folder.path()), expected);
}
