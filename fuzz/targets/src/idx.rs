//! IDX files of MNIST and its relatives, plain and compressed.

use std::path::Path;

use stagger::data::idx::{read_images, read_labels};

use crate::bounded;

/// Deflate compresses by 1 : 1032 at best; a growing vector holds up to three times its content while it is moved.
const FACTOR: usize = 3 * 1032;

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
    if let Ok(labels) = bounded(data, FACTOR, || read_labels(data, size_bytes, path))
        && is_plain
    {
        let count = (labels.len() as u32).to_be_bytes();
        assert_eq!(data[4..8], count);
        let is_of_bytes = data.starts_with(&[0, 0, 8, 1]);
        let rows = data.len().saturating_sub(12) / labels.len();
        for (record, &label) in labels.iter().enumerate() {
            match is_of_bytes {
                true => assert_eq!(u16::from(data[8 + record]), label),
                false => assert_eq!(data[12 + record * rows..][..4], u32::from(label).to_be_bytes()),
            }
        }
        if is_of_bytes {
            assert_eq!(data.len(), 8 + labels.len());
        }
    }
}
