//! Gradients of every layer, and of small models, against central differences in `f64`.

use stagger_engine::layered::{LayeredActivation, LayeredStage, Weights};
use stagger_engine::{Precision, Stage, StageSpec};
use stagger_model::{Block, Layer, Model, Parameter};

use crate::DoublePrecision;
use crate::fixtures::values;

/// Values up to 1 around a centre.
fn around(name: &str, len: usize, centre: f64) -> Vec<f64> {
    values(name, len)
        .into_iter()
        .map(|value| centre + value)
        .collect()
}

/// Layers with values for everything that a gradient can be taken by: the input first, then the parameters.
struct Subject {
    layers: Vec<Layer>,
    shapes: Vec<Vec<usize>>,
    points: Vec<Vec<f64>>,
}

impl Subject {
    fn new(layers: Vec<Layer>, input: &[usize]) -> Self {
        let parameters: Vec<Parameter> = layers.iter().flat_map(Layer::parameters).collect();
        let mut shapes = vec![input.to_vec()];
        let mut points = vec![around("input", input.iter().product(), 0.1)];
        for parameter in parameters {
            let len = parameter.shape.iter().product();
            // Scales around 1, so that no normalisation is flat.
            let centre = if parameter.name.ends_with("bn.weight") {
                1.5
            } else {
                0.0
            };
            points.push(around(&parameter.name, len, centre));
            shapes.push(parameter.shape);
        }
        Self {
            layers,
            shapes,
            points,
        }
    }

    /// A scalar function of everything, `Σ factor · output`, and its gradients if asked for.
    fn run<K: DoublePrecision>(&self, points: &[Vec<f64>], backward: bool) -> (f64, Vec<Vec<f64>>) {
        let tensors: Vec<K::Tensor> = points
            .iter()
            .zip(&self.shapes)
            .map(|(values, shape)| K::tensor(values, shape))
            .collect();
        let (input, weights) = tensors.split_first().unwrap();
        let mut stage = stage::<K>(&self.layers, &self.shapes[0]);
        stage.replace_weights(Weights::from_tensors(weights.to_vec()));
        let input = LayeredActivation::from_tensor(input.clone());
        let batch = 4;
        let (output, graph) = stage.record(&input, batch).unwrap();
        let output = output.into_tensor();
        let again = stage.forward(&input, batch).unwrap().into_tensor();
        assert_eq!(K::values(&output), K::values(&again));
        let shape = K::shape(&output);
        let output = K::values(&output);
        let factors = values("factors", output.len());
        let value = output
            .iter()
            .zip(&factors)
            .map(|(output, factor)| output * factor)
            .sum();
        if !backward {
            return (value, Vec::new());
        }
        let output_grad = LayeredActivation::from_tensor(K::tensor(&factors, &shape));
        let input_grad = stage
            .backward(graph, output_grad)
            .unwrap()
            .unwrap()
            .into_tensor();
        let gradients = stage.gradients().map(|gradient| gradient.unwrap());
        let all = std::iter::once(&input_grad).chain(gradients);
        (value, all.map(K::values).collect())
    }

    /// Compares at most `samples` elements of each gradient.
    fn check<K: DoublePrecision>(self, samples: usize) {
        const STEP: f64 = 1e-5;
        let (_, gradients) = self.run::<K>(&self.points, true);
        let mut points = self.points.clone();
        for (which, gradient) in gradients.iter().enumerate() {
            assert_eq!(gradient.len(), self.points[which].len());
            let every = gradient.len().div_ceil(samples);
            for at in (0..gradient.len()).step_by(every) {
                let mut value = |step: f64| {
                    points[which][at] = self.points[which][at] + step;
                    let value = self.run::<K>(&points, false).0;
                    points[which][at] = self.points[which][at];
                    value
                };
                let slope = (value(STEP) - value(-STEP)) / (2.0 * STEP);
                let found = gradient[at];
                assert!(
                    (found - slope).abs() <= 1e-6 * (1.0 + slope.abs()),
                    "{:?}, tensor {which} ({:?}), element {at}: {found}, by differences {slope}",
                    self.layers,
                    self.shapes[which]
                );
            }
        }
    }
}

/// These layers in `f64`, as a stage that is neither the first nor the last.
fn stage<K: DoublePrecision>(layers: &[Layer], input: &[usize]) -> LayeredStage<K> {
    let model = Model {
        name: "subject".into(),
        input: [input[1], input[2], input[3]],
        classes: 1,
        blocks: vec![Block::new("only", layers.to_vec())],
    };
    let spec = StageSpec {
        precision: Precision::F64,
        first: false,
        last: false,
        ..StageSpec::new(&model, 0..1, 3)
    };
    LayeredStage::new(&spec, Default::default()).unwrap()
}

fn conv(kernel: usize, stride: usize, padding: usize, bias: bool) -> Layer {
    grouped([2, 3], 1, [kernel, stride, padding], bias)
}

/// From and to so many channels, in groups; kernel, stride and padding.
fn grouped(channels: [usize; 2], groups: usize, window: [usize; 3], bias: bool) -> Layer {
    let [in_channels, out_channels] = channels;
    let [kernel, stride, padding] = window;
    Layer::Conv2d {
        name: "conv".into(),
        in_channels,
        out_channels,
        kernel,
        stride,
        padding,
        groups,
        bias,
        zero_weight: false,
    }
}

fn norm(channels: usize) -> Layer {
    Layer::batch_norm("bn", channels)
}

/// Convolutions of several kernels, strides and paddings.
pub fn convolutions<K: DoublePrecision>() {
    for (kernel, stride, padding) in [
        (3, 1, 1),
        (3, 2, 1),
        (1, 1, 0),
        (1, 2, 0),
        (5, 2, 2),
        (2, 3, 1),
    ] {
        Subject::new(vec![conv(kernel, stride, padding, true)], &[2, 2, 6, 5]).check::<K>(60);
    }
}

/// Groups of channels, as many as there are channels too, of several kernels, strides and paddings.
pub fn grouped_convolutions<K: DoublePrecision>() {
    for (channels, groups) in [([4, 6], 2), ([6, 3], 3), ([3, 3], 3), ([2, 4], 2)] {
        for window in [[3, 1, 1], [3, 2, 1], [1, 1, 0], [2, 3, 1]] {
            let layer = grouped(channels, groups, window, true);
            Subject::new(vec![layer], &[2, channels[0], 5, 4]).check::<K>(30);
        }
    }
}

/// Batch normalisation, with and without a ReLU.
pub fn batch_normalisation<K: DoublePrecision>() {
    Subject::new(vec![norm(3)], &[2, 3, 3, 2]).check::<K>(40);
    Subject::new(vec![norm(3), Layer::Relu], &[2, 3, 3, 2]).check::<K>(40);
    Subject::new(vec![norm(2)], &[1, 2, 2, 2]).check::<K>(40);
}

/// ReLU, ReLU6 and dropout.
pub fn element_wise<K: DoublePrecision>() {
    Subject::new(vec![Layer::Relu], &[2, 2, 3, 3]).check::<K>(40);
    let mut wider = Subject::new(vec![Layer::Relu6], &[2, 2, 3, 3]);
    // Some on either side of both cuts.
    wider.points[0].iter_mut().for_each(|value| *value *= 10.0);
    wider.check::<K>(40);
    Subject::new(
        vec![Layer::Dropout {
            name: "drop".into(),
            probability: 0.4,
        }],
        &[2, 2, 3, 3],
    )
    .check::<K>(40);
}

/// Pooling, and a linear classifier.
pub fn pools_and_linear<K: DoublePrecision>() {
    for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1)] {
        Subject::new(
            vec![Layer::MaxPool2d {
                kernel,
                stride,
                padding,
            }],
            &[2, 2, 5, 4],
        )
        .check::<K>(80);
    }
    for (kernel, stride, padding) in [(2, 2, 0), (3, 2, 1), (3, 1, 1)] {
        let pool = Layer::AvgPool2d {
            kernel,
            stride,
            padding,
        };
        Subject::new(vec![pool], &[2, 2, 5, 4]).check::<K>(80);
    }
    let head = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("fc", 3, 4),
    ];
    Subject::new(head, &[2, 3, 3, 2]).check::<K>(40);
}

/// Sums of two branches, with every kind of shortcut.
pub fn residuals<K: DoublePrecision>() {
    let identity = Layer::Residual {
        body: vec![Layer::conv3x3("conv", 2, 2, 1), norm(2)],
        shortcut: vec![],
    };
    Subject::new(vec![identity.clone(), Layer::Relu], &[2, 2, 4, 4]).check::<K>(40);
    Subject::new(vec![identity], &[2, 2, 4, 4]).check::<K>(40);
    for side in [4, 5] {
        let padded = Layer::Residual {
            body: vec![Layer::conv3x3("conv", 2, 6, 2), norm(6)],
            shortcut: vec![Layer::SubsamplePad {
                stride: 2,
                in_channels: 2,
                out_channels: 6,
            }],
        };
        Subject::new(vec![padded, Layer::Relu], &[2, 2, side, side]).check::<K>(40);
    }
    let projected = Layer::Residual {
        body: vec![norm(2), Layer::Relu, Layer::conv3x3("conv", 2, 3, 2)],
        shortcut: vec![
            Layer::conv1x1("short", 2, 3, 2),
            Layer::batch_norm("short.bn", 3),
        ],
    };
    Subject::new(vec![projected], &[2, 2, 4, 4]).check::<K>(40);
}

/// An input beside what layers make of it, once and again.
pub fn concatenations<K: DoublePrecision>() {
    let dense = |number: usize, channels: usize| {
        let name = format!("{number}.conv");
        let norm = Layer::batch_norm(format!("{number}.bn"), channels);
        let body = vec![norm, Layer::Relu, Layer::conv3x3(name, channels, 2, 1)];
        Layer::Concat { body }
    };
    Subject::new(vec![dense(1, 3)], &[2, 3, 4, 3]).check::<K>(40);
    Subject::new(vec![dense(1, 3), dense(2, 5), Layer::Relu], &[2, 3, 4, 3]).check::<K>(30);
    // The input alone, twice.
    Subject::new(vec![Layer::Concat { body: vec![] }], &[2, 3, 2, 2]).check::<K>(40);
}

/// A few parameters of each layer of ResNet-8.
pub fn whole_models<K: DoublePrecision>() {
    let model = Model::by_name("resnet8", [1, 8, 8], 10).unwrap();
    let layers = model
        .blocks
        .into_iter()
        .flat_map(|block| block.layers)
        .collect();
    Subject::new(layers, &[2, 1, 8, 8]).check::<K>(2);
}

/// Among equal values in a window, one alone takes the gradient: the first.
pub fn pool_ties<K: DoublePrecision>() {
    let layers = [Layer::MaxPool2d {
        kernel: 2,
        stride: 2,
        padding: 0,
    }];
    let mut stage = stage::<K>(&layers, &[2, 1, 2, 2]);
    let input = K::tensor(&[1.0, 1.0, 0.0, 1.0, 2.0, 3.0, 3.0, 3.0], &[2, 1, 2, 2]);
    let (_, graph) = stage
        .record(&LayeredActivation::from_tensor(input), 0)
        .unwrap();
    let grad = K::tensor(&[5.0, 7.0], &[2, 1, 1, 1]);
    let found = stage
        .backward(graph, LayeredActivation::from_tensor(grad))
        .unwrap();
    assert_eq!(
        K::values(&found.unwrap().into_tensor()),
        [5.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0]
    );
}
