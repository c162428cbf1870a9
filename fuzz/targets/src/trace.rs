//! Traces of `stagger train --trace`, as a timeline is drawn from them.

use std::path::Path;
use std::time::Duration;

use stagger::report::trace::{Slice, TracePart, TraceWindow, TraceWriter, read_trace_from};

use crate::bounded;

/// A slice takes about as much room as its line, and twice that in a buffer that doubles; a track takes more than its line.
const FACTOR: usize = 32;

/// Checks one input.
pub fn check(data: &[u8]) {
    let read = |bytes: &[u8], most_slices| {
        let window = TraceWindow {
            time: None,
            most_slices,
        };
        bounded(bytes, FACTOR, || {
            read_trace_from(bytes, Path::new("x"), &window)
        })
    };
    let Ok(part) = read(data, usize::MAX) else {
        return;
    };
    assert_eq!(part.left_out, 0);
    let mut until = vec![0; part.tracks.len()];
    for slice in &part.slices {
        assert!(until[slice.track] <= slice.starts_at && slice.starts_at < slice.ends_at);
        until[slice.track] = slice.ends_at;
    }
    let again = read(&written(&part), usize::MAX).unwrap();
    assert!(!again.is_cut);
    let is_cut = part.is_cut;
    assert_eq!(TracePart { is_cut, ..again }, part);
    // The last ones are kept.
    let few = read(data, 3).unwrap();
    assert!(part.slices.ends_with(&few.slices));
    assert_eq!(few.slices.len() + few.left_out, part.slices.len());
}

fn written(part: &TracePart) -> Vec<u8> {
    let mut writer = TraceWriter::new(Vec::new(), part.tracks.clone()).unwrap();
    for slice in &part.slices {
        let slice = Slice {
            track: slice.track,
            name: &slice.name(),
            kind: slice.kind.category(),
            starts_at: Duration::from_nanos(slice.starts_at),
            ends_at: Duration::from_nanos(slice.ends_at),
            staleness: slice.staleness.map(|staleness| staleness as usize),
        };
        writer.slice(&slice).unwrap();
    }
    writer.end().unwrap()
}
