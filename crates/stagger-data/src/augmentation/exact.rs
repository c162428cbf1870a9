//! Functions made of operations that IEEE 754 rounds exactly, so that every platform draws the same.

/// eˣ for |x| ≤ 1.5, by its series: the terms left out are below 10⁻²⁰.
pub(super) fn exp(x: f64) -> f64 {
    (1..=28)
        .rev()
        .fold(1.0, |sum, n| 1.0 + x / f64::from(n) * sum)
}

/// Sine and cosine of an angle of at most 1 in radians.
pub(super) fn sin_cos(x: f64) -> [f64; 2] {
    let square = x * x;
    let series = |first: u32| {
        (0..10).rev().fold(1.0, |sum, n| {
            let below = first + 2 * n;
            1.0 - square / f64::from(below * (below + 1)) * sum
        })
    };
    [x * series(2), series(1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_the_functions_of_the_standard_library() {
        for at in -100..=100 {
            let x = f64::from(at) / 100.0;
            assert!((exp(1.5 * x) / (1.5 * x).exp() - 1.0).abs() < 1e-15, "{x}");
            let [sine, cosine] = sin_cos(x);
            assert!((sine - x.sin()).abs() < 1e-15, "{x}");
            assert!((cosine - x.cos()).abs() < 1e-15, "{x}");
        }
    }
}
