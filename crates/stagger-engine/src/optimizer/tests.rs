use proptest::prelude::*;

use super::*;

/// Weights of a parameter of one value, which is 1 at the start, after each step.
fn run(optimizer: &Optimizer, gradients: &[f64], rate: f64) -> Vec<f64> {
    let (mut weight, mut slots) = (1.0_f64, [0.0; 2]);
    let steps = gradients.iter().zip(1..);
    steps
        .map(|(&gradient, number)| {
            let of = StepOf {
                number,
                learning_rate: rate,
                dimensions: 2,
                trust_ratio: optimizer.trust_ratio(weight.abs(), gradient.abs(), 2),
            };
            optimizer.reference_step(&mut weight, gradient, &mut slots, of);
            weight
        })
        .collect()
}

fn momentum(beta: f64, nesterov: f64) -> Optimizer {
    Optimizer::Momentum {
        beta,
        nesterov,
        weight_decay: WeightDecay::default(),
    }
}

fn close(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() < 1e-12,
            "{found} is not {expected}"
        );
    }
}

#[test]
fn by_hand() {
    // Heavy ball: v = 1, 1.5; w = 1 − 0.1·1, 0.9 − 0.1·1.5.
    close(&run(&momentum(0.5, 0.0), &[1.0, 1.0], 0.1), &[0.9, 0.75]);
    // Nesterov: steps g + β·v = 1.5, 1.75.
    close(&run(&momentum(0.5, 1.0), &[1.0, 1.0], 0.1), &[0.85, 0.675]);
    let decaying = Optimizer::Sgd {
        weight_decay: WeightDecay::everywhere(0.5),
    };
    close(&run(&decaying, &[1.0, 0.0], 0.1), &[0.85, 0.8075]);
    // The first step of Adam is −η·sign(g), up to ε, after the decoupled decay of 0.1·0.5.
    let adamw = Optimizer::AdamW {
        beta1: 0.9,
        beta2: 0.999,
        epsilon: 1e-12,
        weight_decay: WeightDecay::everywhere(0.5),
    };
    let found = run(&adamw, &[3.0], 0.1)[0];
    assert!((found - 0.85).abs() < 1e-9, "{found}");
    // A step of trust · η in the direction of the gradient, however long that is: q = 0.5·1/(4 + 1·1) = 0.1 makes 0.1·(4 + 1)
    // of it; then v = 0.5·0.5 + (0.5·0.95/(9.5 + 0.95))·(9.5 + 0.95).
    let lars = Optimizer::Lars {
        beta: 0.5,
        trust: 0.5,
        weight_decay: WeightDecay::everywhere(1.0),
    };
    close(&run(&lars, &[4.0, 9.5], 0.1), &[0.95, 0.95 - 0.1 * 0.725]);
    // Signs of 0.1·3, of 0.9·0.03 − 0.1·0.2 and of 0.9·0.0277 − 0.1·1, after a decay of a twentieth each.
    let lion = Optimizer::lion(WeightDecay::everywhere(0.5));
    close(
        &run(&lion, &[3.0, -0.2, -1.0], 0.1),
        &[0.85, 0.85 * 0.95 - 0.1, (0.85 * 0.95 - 0.1) * 0.95 + 0.1],
    );
    close(
        &run(&Optimizer::lion(WeightDecay::default()), &[0.0], 0.1),
        &[1.0],
    );
}

#[test]
fn trust_is_for_gradients_and_weights_that_have_a_length() {
    let lars = Optimizer::lars(0.9, WeightDecay::everywhere(1.0));
    assert_eq!(lars.trust_ratio(2.0, 6.0, 4), 0.01 * 2.0 / 8.0);
    for (weight, gradient, dimensions) in [(0.0, 1.0, 4), (1.0, 0.0, 4), (2.0, 6.0, 1)] {
        assert_eq!(lars.trust_ratio(weight, gradient, dimensions), 1.0);
    }
    assert_eq!(momentum(0.9, 0.0).trust_ratio(2.0, 6.0, 4), 1.0);
}

#[test]
fn one_dimensional_parameters_can_be_exempt_from_decay() {
    let optimizer = Optimizer::Sgd {
        weight_decay: WeightDecay::matrices(0.5),
    };
    let mut bias = 1.0;
    let of = |dimensions| StepOf {
        number: 1,
        learning_rate: 0.1,
        dimensions,
        trust_ratio: 1.0,
    };
    optimizer.reference_step(&mut bias, 0.0, &mut [], of(1));
    assert_eq!(bias, 1.0);
    optimizer.reference_step(&mut bias, 0.0, &mut [], of(2));
    assert_eq!(bias, 0.95);
}

proptest! {
    /// The velocity form is Yan et al.'s two-sequence form, for a constant learning rate.
    #[test]
    fn unified_form(
        beta in 0.0..0.99_f64,
        share in 0.0..1.0_f64,
        gradients in prop::collection::vec(-2.0..2.0_f64, 1..20),
    ) {
        let (rate, nesterov) = (0.1, share / (1.0 - beta));
        let found = run(&momentum(beta, nesterov), &gradients, rate);
        let (mut weight, mut previous) = (1.0_f64, 1.0_f64);
        for (gradient, found) in gradients.iter().zip(found) {
            let y = weight - rate * gradient;
            let z = weight - nesterov * rate * gradient;
            weight = y + beta * (z - previous);
            previous = z;
            prop_assert!((weight - found).abs() < 1e-8 * (1.0 + weight.abs()));
        }
    }
}

#[test]
fn settings_are_checked() {
    let message = |optimizer: Optimizer| optimizer.validate().unwrap_err().to_string();
    assert_eq!(
        message(momentum(1.0, 0.0)),
        "optimizer `momentum` expects beta to be at least 0 and below 1 but it is 1"
    );
    assert_eq!(
        message(momentum(0.5, 3.0)),
        "optimizer `momentum` expects nesterov to be between 0 and 1/(1-beta) = 2 but it is 3"
    );
    assert!(momentum(0.9, 1.0 / (1.0 - 0.9)).validate().is_ok());
    assert_eq!(
        message(Optimizer::Sgd {
            weight_decay: WeightDecay::everywhere(f64::NAN)
        }),
        "optimizer `sgd` expects weight decay to be finite and at least 0 but it is NaN"
    );
}

#[test]
fn reads_what_it_writes() {
    let optimizer = momentum(0.9, 1.0);
    let text = serde_json::to_string(&optimizer).unwrap();
    assert_eq!(
        text,
        r#"{"kind":"momentum","beta":0.9,"nesterov":1.0,"weight_decay":{"rate":0.0,"matrices_only":false}}"#
    );
    assert_eq!(serde_json::from_str::<Optimizer>(&text).unwrap(), optimizer);
}
