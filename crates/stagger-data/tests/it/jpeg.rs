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

/// The pixels of a file, as the data set has them.
fn pixels(bytes: &[u8], size: usize) -> Result<Vec<u8>, DataError> {
    let split = read(bytes, Some(size))?;
    let mut pixels = vec![0; 3 * size * size];
    split.train.image(0, &mut pixels)?;
    Ok(pixels)
}

#[test]
fn what_viewers_forgive_is_forgiven() {
    for (name, bytes) in FILES {
        let whole = pixels(bytes, 16).unwrap();
        let (body, end) = bytes.split_at(bytes.len() - 2);
        let (start, rest) = bytes.split_at(2);
        let comment: &[u8] = b"\xff\xfe\0\x0amade \xff\xd9 ";
        let frame = bytes
            .windows(2)
            .position(|pair| matches!(pair, [0xff, 0xc0 | 0xc2]));
        let (before_frame, from_frame) = bytes.split_at(frame.unwrap());
        for (oddity, odd) in [
            ("no end marker", body.to_vec()),
            ("half an end marker", [body, &end[..1]].concat()),
            (
                "zeros in place of the end marker",
                [body, &[0; 64]].concat(),
            ),
            ("zeros before the end marker", [body, &[0; 5], end].concat()),
            ("two end markers", [bytes, end].concat()),
            ("two pictures", [bytes, FILES[3].1].concat()),
            ("text after the end", [bytes, b"<!-- cached -->"].concat()),
            ("fill bytes", [start, &[0xff, 0xff], rest].concat()),
            (
                "an end marker in a comment",
                [start, comment, rest].concat(),
            ),
            (
                "bytes before the frame",
                [before_frame, &[0, 0, 7, 7, 7, 7], from_frame].concat(),
            ),
        ] {
            let found = pixels(&odd, 16);
            assert!(found.is_ok(), "{name}, {oddity}: {}", found.unwrap_err());
            assert!(found.unwrap() == whole, "{name}, {oddity}");
        }
    }
}

#[test]
fn pictures_are_turned_as_their_camera_says() {
    // Left red and right blue; turned clockwise, red is above.
    let (start, rest) = FILES[0].1.split_at(2);
    let exif: &[u8] =
        b"\xff\xe1\0\x22Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let split = read(&[start, exif, rest].concat(), None);
    // The other picture of the set is not turned, so that the two have no size in common.
    assert_eq!(split.unwrap().train.shape(), [3, 224, 224]);
    let pixels = pixels(&[start, exif, rest].concat(), 16).unwrap();
    let at = |row: usize, column: usize| [0, 1, 2].map(|c| pixels[(c * 16 + row) * 16 + column]);
    assert_near(at(1, 2), [200, 40, 90], "above");
    assert_near(at(1, 13), [200, 40, 90], "above");
    assert_near(at(14, 2), [20, 160, 220], "below");
}

#[test]
fn every_truncation_is_an_error() {
    for (name, bytes) in FILES {
        let whole = pixels(bytes, 8).unwrap();
        for cut in 0..bytes.len() {
            // Without its end marker, or bits that do not matter, it is whole.
            if let Ok(found) = pixels(&bytes[..cut], 8) {
                assert!(cut + 4 > bytes.len(), "{name}: {cut} of {}", bytes.len());
                assert!(found == whole, "{name}: {cut}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

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
