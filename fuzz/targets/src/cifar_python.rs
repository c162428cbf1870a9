//! Pickles of the Python version of CIFAR-10 and CIFAR-100: batches, and names of classes.

use std::path::Path;

use stagger::data::cifar::{Layout, Records};

use crate::bounded;

const IMAGE_BYTES: usize = 3 * 32 * 32;
/// An instruction of a pickle has one byte and makes a value of some 100.
const FACTOR: usize = 512;

/// Checks one input.
pub fn check(data: &[u8]) {
    let path = Path::new("x");
    for layout in [Layout::Cifar10, Layout::Cifar100] {
        let mut records = Records::default();
        let read = bounded(data, FACTOR, || layout.read_python(data, path, &mut records));
        // All of a batch, or nothing.
        assert_eq!(records.pixels.len(), records.labels.len() * IMAGE_BYTES);
        assert_eq!(read.is_ok(), !records.labels.is_empty());
        let classes = layout.classes();
        assert!(records.labels.iter().all(|&label| usize::from(label) < classes));
        if let Ok(names) = bounded(data, FACTOR, || layout.read_python_names(data, path)) {
            assert!(names.len() <= classes + 1);
        }
    }
}
