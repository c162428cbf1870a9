//! Shapes through single layers, and the sentences for what does not fit.

use stagger_model::{Layer, ShapeError, output_shape};

fn pool(kernel: usize, stride: usize, padding: usize) -> Layer {
    Layer::MaxPool2d {
        kernel,
        stride,
        padding,
    }
}

fn error(layer: Layer, input: &[usize]) -> String {
    layer.output_shape(input).unwrap_err().to_string()
}

#[test]
fn windows_round_down_and_padding_counts_twice() {
    for (layer, input, output) in [
        (Layer::conv3x3("c", 3, 8, 1), [3, 32, 32], [8, 32, 32]),
        (Layer::conv3x3("c", 3, 8, 2), [3, 7, 6], [8, 4, 3]),
        (Layer::conv1x1("c", 3, 8, 2), [3, 7, 6], [8, 4, 3]),
        (pool(2, 2, 0), [3, 7, 6], [3, 3, 3]),
        (pool(3, 2, 1), [3, 7, 6], [3, 4, 3]),
        (
            Layer::SubsamplePad {
                stride: 2,
                in_channels: 3,
                out_channels: 7,
            },
            [3, 7, 6],
            [7, 4, 3],
        ),
        (
            Layer::AvgPool2d {
                kernel: 2,
                stride: 2,
                padding: 0,
            },
            [3, 7, 6],
            [3, 3, 3],
        ),
        (Layer::GlobalAvgPool, [3, 7, 6], [3, 1, 1]),
    ] {
        assert_eq!(layer.output_shape(&input).unwrap(), output, "{layer:?}");
    }
}

#[test]
fn flatten_and_linear_end_in_features() {
    let layers = [Layer::Flatten, Layer::linear("fc", 126, 10)];
    assert_eq!(output_shape(&layers, &[3, 7, 6]).unwrap(), [10]);
}

#[test]
fn wrong_channels_name_layer_expected_and_found() {
    assert_eq!(
        error(Layer::conv3x3("conv1", 3, 8, 1), &[1, 28, 28]),
        "layer `conv1` expects 3 channels but its input of shape [1, 28, 28] has 1; \
         change its channels or those of the layer before it"
    );
    assert!(error(Layer::batch_norm("bn1", 4), &[3, 2, 2]).contains("`bn1` expects 4 channels"));
}

#[test]
fn wrong_features_and_missing_flatten_are_told_apart() {
    assert_eq!(
        error(Layer::linear("fc", 64, 10), &[65]),
        "layer `fc` expects 64 features but gets 65; change its `inputs` to 65"
    );
    assert_eq!(
        error(Layer::linear("fc", 64, 10), &[64, 1, 1]),
        "layer `fc` expects an input of shape [F] but gets [64, 1, 1]; put a flatten layer before it"
    );
    assert!(
        error(Layer::GlobalAvgPool, &[64])
            .contains("`global-avg-pool` expects an input of shape [C, H, W]")
    );
}

#[test]
fn a_window_larger_than_the_image_is_refused() {
    assert_eq!(
        error(pool(2, 2, 0), &[3, 1, 5]),
        "layer `max-pool2d` expects an image of at least 2x2 pixels but its input of shape [3, 1, 5] is 1x5; \
         use larger images or fewer layers that shrink them"
    );
}

#[test]
fn branches_of_a_residual_must_end_alike() {
    let body = vec![Layer::conv3x3("layer2.0.conv1", 16, 32, 2)];
    let residual = Layer::Residual {
        body,
        shortcut: Vec::new(),
    };
    assert_eq!(
        error(residual, &[16, 8, 8]),
        "the residual around `layer2.0.conv1` adds its body of shape [32, 4, 4] to its shortcut of shape \
         [16, 8, 8]; give the shortcut the same channels and stride as the body"
    );
}

#[test]
fn a_concatenation_adds_channels_and_keeps_the_size() {
    let concat = |stride| Layer::Concat {
        body: vec![Layer::conv3x3("dense1.0.conv2", 4, 2, stride)],
    };
    assert_eq!(concat(1).output_shape(&[4, 8, 8]).unwrap(), [6, 8, 8]);
    assert_eq!(
        error(concat(2), &[4, 8, 8]),
        "the concatenation around `dense1.0.conv2` joins its body of shape [2, 4, 4] to its input of shape \
         [4, 8, 8]; give them the same height and width"
    );
    assert!(error(concat(1), &[4]).contains("`concat` expects an input of shape [C, H, W]"));
}

#[test]
fn settings_out_of_range_are_refused() {
    let dropout = |probability| Layer::Dropout {
        name: "d".into(),
        probability,
    };
    assert!(dropout(0.0).output_shape(&[4]).is_ok());
    assert_eq!(
        error(dropout(1.0), &[4]),
        "layer `d` has probability = 1; expected at least 0 and below 1"
    );
    assert!(error(dropout(f64::NAN), &[4]).contains("probability = NaN"));
    assert!(error(pool(0, 1, 0), &[1, 4, 4]).contains("kernel = 0; expected at least 1"));
    assert!(error(pool(2, 0, 0), &[1, 4, 4]).contains("stride = 0; expected at least 1"));
    assert!(error(pool(3, 1, 2), &[1, 4, 4]).contains("padding = 2; expected at most 1"));
    let padded = |kernel, padding| Layer::Conv2d {
        name: "c".into(),
        in_channels: 1,
        out_channels: 1,
        kernel,
        stride: 4000,
        padding,
        groups: 1,
        bias: false,
        zero_weight: false,
    };
    for (kernel, most) in [(3, 6), (7, 7)] {
        assert!(padded(kernel, most).output_shape(&[1, 4, 6]).is_ok());
        assert_eq!(
            error(padded(kernel, 4000), &[1, 4, 6]),
            format!(
                "layer `c` has padding = 4000; expected at most {most}, as long as a side of its image or kernel"
            )
        );
    }
    let odd = Layer::SubsamplePad {
        stride: 2,
        in_channels: 3,
        out_channels: 4,
    };
    assert!(
        error(odd, &[3, 4, 4])
            .contains("out_channels = 4; expected in_channels = 3 plus an even number")
    );
    let grouped = |groups| Layer::grouped3x3("c", 6, 4, groups, 1);
    assert_eq!(grouped(2).output_shape(&[6, 4, 4]).unwrap(), [4, 4, 4]);
    for groups in [0, 3, 4, 5] {
        assert_eq!(
            error(grouped(groups), &[6, 4, 4]),
            format!(
                "layer `c` has groups = {groups}; expected a divisor of in_channels = 6 and out_channels = 4"
            )
        );
    }
    let norm = |epsilon: f64| Layer::BatchNorm2d {
        name: "bn".into(),
        channels: 1,
        epsilon,
        momentum: 0.1,
    };
    for epsilon in [0.0, -1.0, 1.5, 1e300, f64::INFINITY, f64::NAN] {
        let error = error(norm(epsilon), &[1, 4, 4]);
        let expected = format!("epsilon = {epsilon}; expected a number above 0 and at most 1");
        assert!(error.contains(&expected), "{error}");
    }
    assert!(norm(1.0).output_shape(&[1, 4, 4]).is_ok());
}

#[test]
fn absurd_sizes_give_an_error_or_a_shape_but_no_overflow() {
    let huge = usize::MAX;
    assert_eq!(
        Layer::Flatten.output_shape(&[huge, huge, huge]).unwrap(),
        [huge]
    );
    let conv = Layer::Conv2d {
        name: "c".into(),
        in_channels: 1,
        out_channels: 1,
        kernel: huge,
        stride: 1,
        padding: huge,
        groups: 1,
        bias: false,
        zero_weight: false,
    };
    assert!(conv.output_shape(&[1, huge, huge]).is_ok());
    let found = Layer::conv3x3("c", 1, 1, 1).output_shape(&[1, 0, 4]);
    assert!(matches!(found, Err(ShapeError::Window { .. })));
}
