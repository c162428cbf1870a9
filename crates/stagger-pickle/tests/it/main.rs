//! Pickles as Python and numpy write them, and what is wrong with others.
//!
//! The files in `fixtures` are of one dictionary, by numpy 2 in each protocol; those of numpy 1 name its modules.

use proptest::prelude::*;
use stagger_pickle::{Pickle, PickleError, Value, is_of_numpy};

const NUMPY: [&[u8]; 9] = [
    include_bytes!("fixtures/numpy2-protocol0"),
    include_bytes!("fixtures/numpy2-protocol1"),
    include_bytes!("fixtures/numpy2-protocol2"),
    include_bytes!("fixtures/numpy2-protocol3"),
    include_bytes!("fixtures/numpy2-protocol4"),
    include_bytes!("fixtures/numpy2-protocol5"),
    include_bytes!("fixtures/numpy1-protocol0"),
    include_bytes!("fixtures/numpy1-protocol2"),
    include_bytes!("fixtures/numpy1-protocol4"),
];

/// `cPickle.dumps({"data": numpy.arange(250, 256, dtype="u1").reshape(2, 3), "labels": [6, 9]}, 2)` of Python 2.
const PYTHON2: &[u8] = b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05\
(K\x01K\x02K\x03\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\
\x89U\x06\xfa\xfb\xfc\xfd\xfe\xfftbU\x06labelsq\x08]q\x09(K\x06K\x09eu.";

#[test]
fn every_protocol_gives_the_same() {
    for (i, bytes) in NUMPY.into_iter().enumerate() {
        let pickle =
            Pickle::read(bytes, is_of_numpy).unwrap_or_else(|error| panic!("{i}: {error}"));
        let entry = |key: &str| {
            pickle
                .entry(pickle.root(), key)
                .unwrap_or_else(|| panic!("{i}: {key}"))
        };
        let data = pickle.array(entry("data")).unwrap();
        assert_eq!(
            (data.kind, data.item_bytes, &data.shape[..]),
            (b'u', 1, &[2, 3][..]),
            "{i}"
        );
        assert_eq!(
            (&data.data[..], data.is_fortran),
            (&[250, 251, 252, 253, 254, 255][..], false),
            "{i}"
        );
        assert_eq!(
            pickle.integers(entry("labels")).unwrap(),
            [3, -1, 70_000, 1 << 40],
            "{i}"
        );
        assert_eq!(pickle.integers(entry("array")).unwrap(), [1, -2], "{i}");
        assert_eq!(pickle.integers(entry("scalars")).unwrap(), [5, 200], "{i}");
        let fortran = pickle.array(entry("fortran")).unwrap();
        assert!(fortran.is_fortran && fortran.is_big_endian, "{i}");
        assert_eq!(fortran.data[..8], [0, 0, 0, 0, 0, 0, 0, 3], "{i}");
        assert_eq!(pickle.array(entry("empty")).unwrap().shape, [0, 3], "{i}");
        assert_eq!(pickle.text(entry("text")).as_deref(), Some("é😀\n"), "{i}");
        assert_eq!(pickle.value(entry("float")), &Value::Float(1.5), "{i}");
        assert_eq!(pickle.value(entry("big")), &Value::Other, "{i}");
        assert_eq!(pickle.value(entry("none")), &Value::Other, "{i}");
        let twice = pickle.items(entry("twice")).unwrap();
        assert_eq!(twice, [entry("data"), entry("data")], "{i}");
        assert!(
            pickle.integers(entry("text")).is_err() && pickle.array(entry("labels")).is_err(),
            "{i}"
        );
    }
}

#[test]
fn what_python_2_wrote_is_read() {
    let pickle = Pickle::read(PYTHON2, is_of_numpy).unwrap();
    let entry = |key: &str| pickle.entry(pickle.root(), key).unwrap();
    assert_eq!(
        pickle.array(entry("data")).unwrap().data[..],
        [250, 251, 252, 253, 254, 255]
    );
    assert_eq!(pickle.integers(entry("labels")).unwrap(), [6, 9]);
}

#[test]
fn nothing_is_called() {
    let refused = |bytes: &[u8]| Pickle::read(bytes, is_of_numpy).map(|_| ()).unwrap_err();
    let name = |name: &str| PickleError::Name(name.to_owned());
    assert_eq!(refused(b"cos\nsystem\n(S'echo'\ntR."), name("os.system"));
    assert_eq!(
        refused(b"\x8c\x05posix\x8c\x06system\x93."),
        name("posix.system")
    );
    assert_eq!(refused(b"(ios\nsystem\n."), PickleError::Instruction(b'i'));
    assert_eq!(refused(b"\x82\x01."), PickleError::Instruction(0x82));
    // What is expected may still be given anything: nobody looks.
    let pickle = Pickle::read(b"cnumpy\nndarray\n(I1\ntR.", is_of_numpy).unwrap();
    assert!(pickle.array(pickle.root()).is_err());
    // What is called is a name.
    assert_eq!(refused(b"I1\n)R."), PickleError::Damaged);
}

#[test]
fn arrays_that_are_not_whole_are_refused() {
    let at = PYTHON2
        .windows(4)
        .position(|found| found == b"K\x01K\x02")
        .unwrap();
    let mut wrong = PYTHON2.to_vec();
    wrong[at + 3] = 9;
    let pickle = Pickle::read(&wrong, is_of_numpy).unwrap();
    let data = pickle.entry(pickle.root(), "data").unwrap();
    let error = pickle.array(data).unwrap_err();
    assert_eq!(
        error,
        PickleError::Kind("an array with as many bytes as its shape says")
    );
}

#[test]
fn every_cut_is_refused_and_every_changed_byte_is_no_panic() {
    for bytes in NUMPY.into_iter().chain([PYTHON2]) {
        for length in 0..bytes.len() {
            assert!(
                Pickle::read(&bytes[..length], is_of_numpy).is_err(),
                "{length}"
            );
        }
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut changed = bytes.to_vec();
                changed[at] ^= 1 << bit;
                look_at_all(&changed);
            }
        }
    }
}

fn look_at_all(bytes: &[u8]) {
    let Ok(pickle) = Pickle::read(bytes, is_of_numpy) else {
        return;
    };
    for (key, value) in pickle.entries(pickle.root()).unwrap_or_default() {
        let _ = (
            pickle.text(*key),
            pickle.integers(*value),
            pickle.array(*value),
        );
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        look_at_all(&bytes);
    }
}
