//! Metrics files, `metrics.jsonl`.

use std::path::Path;

use stagger::report::{Record, read_metrics_from};

use crate::bounded;

/// As for a manifest; and a line is read into a buffer that doubles.
const FACTOR: usize = 64;

/// Checks one input.
pub fn check(data: &[u8]) {
    let read = |bytes: &[u8]| bounded(bytes, FACTOR, || read_metrics_from(bytes, Path::new("x")));
    if let Ok(records) = read(data) {
        let bytes = written(&records);
        let again = read(&bytes).unwrap();
        // Lines are compared, as a duration of more than a hundred days is not kept to the nanosecond.
        assert_eq!(written(&again), bytes);
    }
}

fn written(records: &[Record]) -> Vec<u8> {
    let line = |record| serde_json::to_vec(record).unwrap();
    records
        .iter()
        .map(line)
        .flat_map(|line| [line, b"\n".to_vec()].concat())
        .collect()
}
