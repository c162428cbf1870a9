//! Record files of CIFAR-10 and CIFAR-100.

use std::path::Path;

use stagger::data::cifar::{Layout, Records};

use crate::bounded;

const IMAGE_BYTES: usize = 3 * 32 * 32;

/// Checks one input.
pub fn check(data: &[u8]) {
    for (layout, label_bytes) in [(Layout::Cifar10, 1), (Layout::Cifar100, 2)] {
        let mut records = Records::default();
        let result = bounded(data, 4, || layout.read(data, Path::new("x"), &mut records));
        // After an error, the records before it are there.
        assert_eq!(records.pixels.len(), records.labels.len() * IMAGE_BYTES);
        let whole = data.chunks_exact(label_bytes + IMAGE_BYTES);
        let images = records.pixels.chunks_exact(IMAGE_BYTES);
        for ((record, image), &label) in whole.zip(images).zip(&records.labels) {
            assert!(usize::from(label) < layout.classes());
            assert_eq!(u16::from(record[label_bytes - 1]), label);
            assert_eq!(&record[label_bytes..], image);
        }
        if result.is_ok() {
            assert_eq!(
                records.labels.len() * (label_bytes + IMAGE_BYTES),
                data.len()
            );
        }
    }
}
