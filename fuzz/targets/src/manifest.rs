//! Manifests of snapshots.

use std::path::{Component, Path};

use stagger::report::snapshot::Manifest;

use crate::bounded;

/// An empty array in the free part, `[],`, becomes a value of 32 bytes in a vector that doubles.
const FACTOR: usize = 64;

/// Checks one input.
pub fn check(data: &[u8]) {
    if let Ok(manifest) = bounded(data, FACTOR, || Manifest::decode(data)) {
        for file in &manifest.files {
            let mut components = Path::new(&file.name).components();
            let first = components.next();
            assert!(matches!(first, Some(Component::Normal(_))), "{}", file.name);
            assert_eq!(components.next(), None, "{}", file.name);
            assert!(!file.name.contains(['\\', ':']), "{}", file.name);
        }
        let bytes = manifest.encode().unwrap();
        assert_eq!(Manifest::decode(&bytes), Ok(manifest));
    }
}
