//! Specifications of stragglers.

use stagger::runtime::Straggler;

use crate::bounded;

/// Checks one input; text that is not UTF-8 is none.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(straggler) = bounded(text.as_bytes(), 64, || text.parse::<Straggler>()) else {
        return;
    };
    let printed = straggler.to_string();
    let again: Straggler = printed.parse().unwrap();
    assert_eq!(again.to_string(), printed);
    assert_eq!(again.stage(), straggler.stage());
    let stage = straggler.stage().unwrap_or(2);
    for batch in [0, 1, 19, 20, usize::MAX] {
        let slowdown = straggler.slowdown(7, stage, batch);
        assert!((0.0..=100.0).contains(&slowdown));
        // A slowdown is printed to a hundredth of a percent.
        assert!((again.slowdown(7, stage, batch) - slowdown).abs() <= 0.51e-4);
        if straggler.stage().is_some() {
            assert_eq!(straggler.slowdown(7, stage.wrapping_add(1), batch), 0.0);
        }
    }
}
