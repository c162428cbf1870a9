use super::*;

const PLAIN: &[u8] = include_bytes!("fixtures/plain.pth");
const LIGHTNING: &[u8] = include_bytes!("fixtures/lightning.ckpt");
const PROTOCOL4: &[u8] = include_bytes!("fixtures/protocol4.pth");

#[test]
fn tensors_of_every_float_and_any_strides_are_read() {
    let state = decode(PLAIN).unwrap();
    let data = |name: &str| state.tensors[name].data.clone();
    assert_eq!(data("module.a.weight"), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(state.tensors["module.a.weight"].shape, [2, 3]);
    assert_eq!(data("module.a.t"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(data("module.a.shared"), [4.0, 5.0]);
    assert_eq!(data("module.h"), [1.0, -2.0]);
    assert_eq!(data("module.b"), [1.0, -2.0]);
    assert_eq!(data("module.d"), [0.5, 2.0]);
    assert_eq!(state.counters["module.bn.num_batches_tracked"], 391);
    assert_eq!(state.tensors.len(), 6);
}

/// As PyTorch has written it: with numpy's numbers, an attribute dictionary, a set, a path, and a tensor of `_rebuild_tensor_v3`.
#[test]
fn plain_things_beside_the_weights_are_no_hindrance() {
    let state = decode(include_bytes!("fixtures/extras.pth")).unwrap();
    assert_eq!(
        state.tensors["state_dict.a.weight"].data,
        [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    );
    assert_eq!(state.counters["state_dict.a.num_batches_tracked"], 7);
    let error = decode(include_bytes!("fixtures/uint16.pth")).unwrap_err();
    assert!(error.starts_with("w is in a torch.uint16"), "{error}");
}

#[test]
fn weights_beside_an_optimizer_are_found() {
    let plain = decode(PLAIN).unwrap();
    for (bytes, prefix) in [(LIGHTNING, "state_dict."), (PROTOCOL4, "model.")] {
        let state = decode(bytes).unwrap();
        let names: Vec<String> = plain
            .tensors
            .keys()
            .map(|name| format!("{prefix}{name}"))
            .collect();
        assert!(
            state.tensors.keys().eq(&names),
            "{:?}",
            state.tensors.keys()
        );
    }
}

#[test]
fn what_is_no_plain_tensor_is_refused() {
    for (bytes, expected) in [
        (
            &include_bytes!("fixtures/evil.pth")[..],
            "system`, which is no plain tensor",
        ),
        (
            include_bytes!("fixtures/beyond.pth"),
            "a reaches beyond its values",
        ),
        (
            include_bytes!("fixtures/huge.pth"),
            "a is larger than the file",
        ),
    ] {
        let error = decode(bytes).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn every_cut_is_refused_and_every_changed_byte_is_no_panic() {
    for length in 0..LIGHTNING.len() {
        assert!(decode(&LIGHTNING[..length]).is_err(), "{length}");
    }
    for at in 0..LIGHTNING.len() {
        for bit in 0..8 {
            let mut changed = LIGHTNING.to_vec();
            changed[at] ^= 1 << bit;
            let _ = decode(&changed);
        }
    }
}
