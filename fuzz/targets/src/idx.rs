//! IDX files of MNIST and its relatives, plain and compressed.

use std::path::Path;

use stagger::data::idx::{read_images, read_labels};

use crate::bounded;

/// Deflate compresses by 1 : 1032 at best; a growing vector holds up to three times its content while it is moved.
const FACTOR: usize = 3 * 1032;
const CLASSES: usize = 10;

/// Checks one input.
pub fn check(data: &[u8]) {
    let (path, size_bytes) = (Path::new("x"), data.len() as u64);
    let is_plain = !data.starts_with(&[0x1f, 0x8b]);
    if let Ok(images) = bounded(data, FACTOR, || read_images(data, size_bytes, path)) {
        let [height, width] = images.size;
        assert_eq!(images.pixels.len(), images.count * height * width);
        if is_plain {
            let header = [0x0803, images.count, height, width];
            let header = header.map(|word| (word as u32).to_be_bytes()).concat();
            assert_eq!([header, images.pixels].concat(), data);
        }
    }
    if let Ok(labels) = bounded(data, FACTOR, || {
        read_labels(data, size_bytes, path, CLASSES)
    }) {
        assert!(labels.iter().all(|&label| usize::from(label) < CLASSES));
        if is_plain {
            let header = [0x0801, labels.len()];
            let mut bytes = header.map(|word| (word as u32).to_be_bytes()).concat();
            bytes.extend(labels.iter().map(|&label| label as u8));
            assert_eq!(bytes, data);
        }
    }
}
