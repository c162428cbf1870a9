//! Tests of distributions.

use super::*;

fn read(text: &str) -> Distribution {
    text.parse().unwrap()
}

#[test]
fn the_mean_of_draws_is_the_mean() {
    for text in [
        "10ms",
        "uniform(8ms,12ms)",
        "exponential(10ms)",
        "lognormal(10ms,0.5)",
        "pareto(6ms,2.5)",
    ] {
        let spread = read(text);
        let draws = 400_000_u64;
        let sum: f64 = (0..draws).map(|key| spread.draw(mix(key))).sum();
        let mean = sum / draws as f64;
        assert!((mean / 0.010 - 1.0).abs() < 0.02, "{text}: {mean}");
        assert!((spread.mean() / 0.010 - 1.0).abs() < 1e-9, "{text}");
    }
}

#[test]
fn the_spread_of_draws_is_the_spread() {
    let spread = read("lognormal(1s,0.5)");
    let draws: Vec<f64> = (0..200_000_u64).map(|key| spread.draw(mix(key))).collect();
    let mean = draws.iter().sum::<f64>() / draws.len() as f64;
    let square = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    let deviation = (square / draws.len() as f64).sqrt();
    assert!((deviation - 0.5).abs() < 0.02, "{deviation}");
}

#[test]
fn all_samples_are_drawn() {
    let spread = Distribution::Samples(vec![1.0, 2.0, 4.0]);
    let draws: Vec<f64> = (0..50).map(|key| spread.draw(mix(key))).collect();
    for sample in [1.0, 2.0, 4.0] {
        assert!(draws.contains(&sample));
    }
    assert_eq!(spread.draw(3), spread.draw(3));
}

#[test]
fn one_disturbed_measurement_does_not_move_the_center() {
    let center = |samples: &[f64]| Distribution::Samples(samples.to_vec()).center();
    assert_eq!(center(&[3.0, 1.0, 900.0]), 3.0);
    assert_eq!(center(&[900.0, 1.0, 2.0, 3.0]), 2.5);
    assert_eq!(center(&[4.0]), 4.0);
    assert_eq!(read("uniform(1s,3s)").center(), 2.0);
}

#[test]
fn json_and_text_read_back() {
    for text in [
        "0.25",
        "[0.5,0.25]",
        "\"uniform(8ms,12ms)\"",
        "\"exponential(1s 500ms)\"",
        "\"lognormal(10ms,0.3)\"",
        "\"pareto(50ms,2.5)\"",
    ] {
        let spread: Distribution = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&spread).unwrap(), text);
    }
}

#[test]
fn wrong_ones_are_explained() {
    for (text, problem) in [
        ("", "``: value was empty"),
        ("3", "`3`: time unit needed, for example 3sec or 3ms"),
        ("-3ms", "`-3ms`: expected number at 0"),
        ("10days", "a time is not between 0 s and a day"),
        ("uniform(3ms)", "it has 1 arguments"),
        (
            "uniform(3ms,1ms)",
            "the first time is longer than the second",
        ),
        ("uniform(1ms,3ms", "the closing parenthesis is missing"),
        (
            "lognormal(3ms,-1)",
            "the variation is not between 0 and 100",
        ),
        ("lognormal(3ms,x)", "`x` is no number"),
        ("pareto(3ms,1)", "the shape is not above 1"),
        ("gauss(3ms,1)", "there is no `gauss`"),
    ] {
        let error = text.parse::<Distribution>().unwrap_err();
        assert_eq!(error.problem, problem, "{text}");
    }
    for text in ["-1", "1e9", "[]", "[1,-1]", "null", "{}"] {
        assert!(
            serde_json::from_str::<Distribution>(text).is_err(),
            "{text}"
        );
    }
}

#[test]
fn measured_rounds_add_up() {
    let first = Distribution::Samples(vec![1.0, 2.0]);
    let second = Distribution::Samples(vec![10.0, 20.0]);
    assert_eq!(
        Distribution::sum([&first, &second]),
        Distribution::Samples(vec![11.0, 22.0])
    );
    assert_eq!(Distribution::sum([]), Distribution::ZERO);
    let constant = Distribution::sum([&read("1s"), &read("2s")]);
    assert_eq!(constant, Distribution::Constant(3.0));
    let mixed = Distribution::sum([&first, &read("1s"), &second, &read("2s")]);
    let draws: Vec<f64> = (0..50).map(|key| mixed.draw(mix(key))).collect();
    assert!(draws.iter().all(|draw| [14.0, 25.0].contains(draw)));
    assert!(draws.contains(&14.0) && draws.contains(&25.0));
}

/// Blocks that vary each for itself: the variance of their sum is the sum of their variances.
#[test]
fn named_ones_vary_each_for_itself() {
    let block = read("lognormal(1s,0.5)");
    let sum = Distribution::sum([&block; 4]).times(0.25);
    assert_eq!((sum.mean(), sum.center()), (1.0, 1.0));
    let draws: Vec<f64> = (0..200_000_u64).map(|key| sum.draw(mix(key))).collect();
    let mean = draws.iter().sum::<f64>() / draws.len() as f64;
    let square = draws.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>();
    let deviation = (square / draws.len() as f64).sqrt();
    assert!((mean - 1.0).abs() < 0.01, "{mean}");
    assert!((deviation - 0.25).abs() < 0.01, "{deviation}");
    assert_eq!(sum.draw(3), sum.draw(3));
    assert!(serde_json::to_string(&sum).is_err());
}
