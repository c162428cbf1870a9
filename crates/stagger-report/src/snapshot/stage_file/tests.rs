use proptest::prelude::*;

use super::*;
use crate::snapshot::fixtures;

fn bytes(snapshot: &StageSnapshot) -> Vec<u8> {
    encode_stage(snapshot).unwrap()
}

proptest! {
    #[test]
    fn round_trip(snapshot in fixtures::stage_snapshots()) {
        let bytes = bytes(&snapshot);
        prop_assert_eq!(decode_stage(&bytes), Ok(snapshot));
    }

    #[test]
    fn a_damaged_file_is_an_error_or_another_snapshot_but_no_panic(
        snapshot in fixtures::stage_snapshots(), at: prop::sample::Index, flip in 1_u8..,
    ) {
        let mut bytes = bytes(&snapshot);
        let at = at.index(bytes.len());
        bytes[at] ^= flip;
        let _ = decode_stage(&bytes);
    }
}

#[test]
fn every_cut_is_refused() {
    let bytes = bytes(&fixtures::stage_snapshot(1));
    for length in 0..bytes.len() {
        assert!(decode_stage(&bytes[..length]).is_err(), "{length}");
    }
}

#[test]
fn what_does_not_belong_together_is_named() {
    let refuse = |change: &dyn Fn(&mut BTreeMap<String, String>)| {
        let snapshot = fixtures::stage_snapshot(1);
        let mut file = StageFile::of(&snapshot).unwrap();
        change(&mut file.metadata);
        decode_stage(&file.contents().encode().unwrap()).unwrap_err()
    };
    let error = refuse(&|metadata| {
        metadata.remove(FORMAT_KEY);
    });
    assert_eq!(error, "it is a weights file, not a stage of a snapshot");
    let error = refuse(&|metadata| {
        let index = metadata[INDEX_KEY].replace("\"sent_up\":[{", "\"sent_up\":[{\"odd\":1,");
        metadata.insert(INDEX_KEY.to_owned(), index);
    });
    assert!(error.contains("unknown field `odd`"), "{error}");
    let error = refuse(&|metadata| {
        let index = metadata[INDEX_KEY].replace("\"weights\":2", "\"weights\":99999999999");
        metadata.insert(INDEX_KEY.to_owned(), index);
    });
    assert!(error.ends_with("weights/2 is missing"), "{error}");
    let error = refuse(&|metadata| {
        let index = metadata[INDEX_KEY].replace("\"weights\":2", "\"weights\":1");
        metadata.insert(INDEX_KEY.to_owned(), index);
    });
    assert!(
        error.starts_with("nothing is said of its tensor"),
        "{error}"
    );
}
