//! Gradients of every layer, and of small models, against central differences in `f64`.

use stagger_model::{Layer, Model, Parameter};

use crate::layered::Kernels;
use crate::layered::layer::{Pass, Sequence};
use crate::layered::parameters::Gradients;
use crate::precision::Precision;
use crate::random::{stream, unit};

/// An engine that can be checked: tensors of `f64` on its CPU.
pub(crate) trait Wide: Kernels {
    fn device() -> Self::Device;
    fn tensor(values: &[f64], shape: &[usize]) -> Self::Tensor;
    fn values(tensor: &Self::Tensor) -> Vec<f64>;
}

/// The tests, for one engine.
macro_rules! gradient_checks {
    ($engine:ident, $kernels:ty) => {
        mod $engine {
            #[test]
            fn convolutions() {
                super::convolutions::<$kernels>();
            }

            #[test]
            fn batch_normalisation() {
                super::batch_normalisation::<$kernels>();
            }

            #[test]
            fn element_wise() {
                super::element_wise::<$kernels>();
            }

            #[test]
            fn pools_and_linear() {
                super::pools_and_linear::<$kernels>();
            }

            #[test]
            fn residuals() {
                super::residuals::<$kernels>();
            }

            #[test]
            fn whole_models() {
                super::whole_models::<$kernels>();
            }

            #[test]
            fn pool_ties() {
                super::pool_ties::<$kernels>();
            }
        }
    };
}

gradient_checks!(burn, burn_flex::Flex);
#[cfg(feature = "torch")]
gradient_checks!(torch, crate::torch::Torch);

fn random(name: &str, len: usize, centre: f64) -> Vec<f64> {
    let mut stream = stream(5, "test", name, 0);
    (0..len)
        .map(|_| centre + 2.0 * unit(&mut stream) - 1.0)
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
        let mut points = vec![random("input", input.iter().product(), 0.1)];
        for parameter in parameters {
            let len = parameter.shape.iter().product();
            // Scales around 1, so that no normalisation is flat.
            let centre = if parameter.name.ends_with("bn.weight") {
                1.5
            } else {
                0.0
            };
            points.push(random(&parameter.name, len, centre));
            shapes.push(parameter.shape);
        }
        Self {
            layers,
            shapes,
            points,
        }
    }

    /// A scalar function of everything, `Σ random · output`, and its gradients if asked for.
    fn run<K: Wide>(&self, points: &[Vec<f64>], backward: bool) -> (f64, Vec<Vec<f64>>) {
        let tensors: Vec<K::Tensor> = points
            .iter()
            .zip(&self.shapes)
            .map(|(values, shape)| K::tensor(values, shape))
            .collect();
        let (input, weights) = tensors.split_first().unwrap();
        let layers = Sequence::<K>::build(&self.layers, &mut Default::default()).unwrap();
        let pass = Pass {
            weights,
            statistics: &[],
            seed: 3,
            batch: 4,
            precision: Precision::F64,
            device: &K::device(),
        };
        let (output, graph) = layers
            .record(input.clone(), &pass, &mut Vec::new())
            .unwrap();
        assert_eq!(
            K::values(&output),
            K::values(&layers.forward(input.clone(), &pass).unwrap())
        );
        let shape = K::shape(&output);
        let output = K::values(&output);
        let factors = random("factors", output.len(), 0.0);
        let value = output
            .iter()
            .zip(&factors)
            .map(|(output, factor)| output * factor)
            .sum();
        if !backward {
            return (value, Vec::new());
        }
        let mut gradients = Gradients::none(weights.len());
        let input_grad = graph
            .pull(K::tensor(&factors, &shape), &mut gradients, true)
            .unwrap()
            .unwrap();
        let all = std::iter::once(Some(input_grad)).chain(gradients.0);
        (
            value,
            all.map(|gradient| K::values(&gradient.unwrap())).collect(),
        )
    }

    /// Compares at most `samples` elements of each gradient.
    fn check<K: Wide>(self, samples: usize) {
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

fn conv(kernel: usize, stride: usize, padding: usize, bias: bool) -> Layer {
    let name = "conv".into();
    Layer::Conv2d {
        name,
        in_channels: 2,
        out_channels: 3,
        kernel,
        stride,
        padding,
        bias,
        zero_weight: false,
    }
}

fn norm(channels: usize) -> Layer {
    Layer::batch_norm("bn", channels)
}

fn convolutions<K: Wide>() {
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

fn batch_normalisation<K: Wide>() {
    Subject::new(vec![norm(3)], &[2, 3, 3, 2]).check::<K>(40);
    Subject::new(vec![norm(3), Layer::Relu], &[2, 3, 3, 2]).check::<K>(40);
    Subject::new(vec![norm(2)], &[1, 2, 2, 2]).check::<K>(40);
}

fn element_wise<K: Wide>() {
    Subject::new(vec![Layer::Relu], &[2, 2, 3, 3]).check::<K>(40);
    Subject::new(
        vec![Layer::Dropout {
            name: "drop".into(),
            probability: 0.4,
        }],
        &[2, 2, 3, 3],
    )
    .check::<K>(40);
}

fn pools_and_linear<K: Wide>() {
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
    let head = vec![
        Layer::GlobalAvgPool,
        Layer::Flatten,
        Layer::linear("fc", 3, 4),
    ];
    Subject::new(head, &[2, 3, 3, 2]).check::<K>(40);
}

fn residuals<K: Wide>() {
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

fn whole_models<K: Wide>() {
    let model = Model::by_name("resnet8", [1, 8, 8], 10).unwrap();
    let layers = model
        .blocks
        .into_iter()
        .flat_map(|block| block.layers)
        .collect();
    Subject::new(layers, &[2, 1, 8, 8]).check::<K>(2);
}

/// Among equal values in a window, one alone takes the gradient: the first.
fn pool_ties<K: Wide>() {
    let layers = [Layer::MaxPool2d {
        kernel: 2,
        stride: 2,
        padding: 0,
    }];
    let layers = Sequence::<K>::build(&layers, &mut Default::default()).unwrap();
    let pass = Pass {
        weights: &[],
        statistics: &[],
        seed: 0,
        batch: 0,
        precision: Precision::F64,
        device: &K::device(),
    };
    let input = K::tensor(&[1.0, 1.0, 0.0, 1.0, 2.0, 3.0, 3.0, 3.0], &[2, 1, 2, 2]);
    let (_, graph) = layers.record(input, &pass, &mut Vec::new()).unwrap();
    let grad = K::tensor(&[5.0, 7.0], &[2, 1, 1, 1]);
    let found = graph.pull(grad, &mut Gradients::none(0), true).unwrap();
    assert_eq!(
        K::values(&found.unwrap()),
        [5.0, 0.0, 0.0, 0.0, 0.0, 7.0, 0.0, 0.0]
    );
}
