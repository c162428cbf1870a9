//! JPEG files of several kinds (24×16, left half red, right half blue), whole and damaged.

use std::fs;

use proptest::prelude::*;
use stagger_data::{DataError, OpenOptions, Split, open};

const FILES: [(&str, &[u8]); 4] = [
    ("colour", include_bytes!("jpeg/colour.jpg")),
    ("progressive", include_bytes!("jpeg/progressive.jpg")),
    ("cmyk", include_bytes!("jpeg/cmyk.jpg")),
    ("grey", include_bytes!("jpeg/grey.jpg")),
];

/// An image folder of one training and one evaluation image, the latter whole.
fn read(bytes: &[u8], image_size: Option<usize>) -> Result<Split, DataError> {
    let folder = tempfile::tempdir().unwrap();
    for (part, bytes) in [("train", bytes), ("test", FILES[0].1)] {
        let class = folder.path().join(part).join("x");
        fs::create_dir_all(&class).unwrap();
        fs::write(class.join("0.jpeg"), bytes).unwrap();
    }
    let data_dir = Some(folder.path().to_path_buf());
    open(
        "image-folder",
        &OpenOptions {
            data_dir,
            image_size,
            ..OpenOptions::default()
        },
    )
}

fn assert_near(found: [u8; 3], expected: [u8; 3], name: &str) {
    let near = found
        .iter()
        .zip(expected)
        .all(|(found, expected)| found.abs_diff(expected) < 12);
    assert!(near, "{name}: {found:?}, expected {expected:?}");
}

#[test]
fn every_kind_becomes_rgb() {
    for (name, bytes) in FILES {
        let split = read(bytes, None).unwrap();
        assert_eq!(split.train.shape(), [3, 16, 24]);
        let mut pixels = vec![0; 3 * 16 * 24];
        split.train.image(0, &mut pixels).unwrap();
        let at =
            |row: usize, column: usize| [0, 1, 2].map(|c| pixels[(c * 16 + row) * 24 + column]);
        let expected = match name {
            "grey" => [[94; 3], [125; 3]],
            _ => [[200, 40, 90], [20, 160, 220]],
        };
        assert_near(at(2, 2), expected[0], name);
        assert_near(at(13, 21), expected[1], name);
    }
}

#[test]
fn the_centre_is_resized_to_the_size_asked_for() {
    let split = read(FILES[0].1, Some(8)).unwrap();
    let mut pixels = vec![0; 3 * 64];
    split.train.image(0, &mut pixels).unwrap();
    assert_near(
        [pixels[9], pixels[64 + 9], pixels[128 + 9]],
        [200, 40, 90],
        "left",
    );
    assert_near(
        [pixels[14], pixels[64 + 14], pixels[128 + 14]],
        [20, 160, 220],
        "right",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn every_truncation_is_an_error(kind in 0usize..4, share in 0.0f64..1.0) {
        let bytes = FILES[kind].1;
        let cut = (bytes.len() as f64 * share) as usize;
        prop_assert!(read(&bytes[..cut], Some(8)).is_err());
    }

    #[test]
    fn damage_never_panics(kind in 0usize..4, share in 0.0f64..1.0, values: [u8; 3]) {
        let mut bytes = FILES[kind].1.to_vec();
        let at = ((bytes.len() - 3) as f64 * share) as usize;
        bytes[at..at + 3].copy_from_slice(&values);
        if let Err(error) = read(&bytes, Some(8)) {
            prop_assert!(!error.to_string().contains("panicked"), "{}", error);
        }
    }
}
