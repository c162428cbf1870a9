//! Networks that guess the gradient of an activation from the activation: Jaderberg et al. 2017, "Decoupled Neural
//! Interfaces using Synthetic Gradients".

use crate::block::Block;
use crate::error::ModelError;
use crate::layer::Layer;
use crate::model::Model;

/// The name of the block of [`synthesizer`]'s model that does the work.
pub const SYNTHESIZER_BLOCK: &str = "synthesizer";

/// A network from activations to gradients of the same shape: for `[C, H, W]` two 3×3 convolutions of C channels with
/// batch normalisation and ReLU between them, for `[F]` two linear layers with a ReLU between them. The last layer starts
/// at 0, so that the first synthetic gradients are 0. `name` is the model's, and the prefix of all parameter names.
///
/// Since a model goes from an image to classes, a block that only flattens stands before or after the block
/// [`SYNTHESIZER_BLOCK`], which alone is to be run.
///
/// # Errors
/// [`ModelError::SynthesizerShape`] for any other number of sides, or a side of 0.
pub fn synthesizer(name: &str, shape: &[usize]) -> Result<Model, ModelError> {
    let of_layer = |layer: &str| format!("{name}.{layer}");
    let flatten = Block::new("flatten", vec![Layer::Flatten]);
    match *shape {
        [channels, height, width] if !shape.contains(&0) => {
            let first = Layer::conv3x3(of_layer("conv1"), channels, channels, 1);
            let mut last = Layer::conv3x3(of_layer("conv2"), channels, channels, 1);
            start_at_zero(&mut last);
            let layers = vec![
                first,
                Layer::batch_norm(of_layer("bn1"), channels),
                Layer::Relu,
                last,
            ];
            let blocks = vec![Block::new(SYNTHESIZER_BLOCK, layers), flatten];
            let values = channels * height * width;
            Model::new(name, [channels, height, width], values, blocks)
        }
        [features] if features > 0 => {
            let mut last = Layer::linear(of_layer("linear2"), features, features);
            start_at_zero(&mut last);
            let layers = vec![
                Layer::linear(of_layer("linear1"), features, features),
                Layer::Relu,
                last,
            ];
            let blocks = vec![flatten, Block::new(SYNTHESIZER_BLOCK, layers)];
            Model::new(name, [features, 1, 1], features, blocks)
        }
        _ => Err(ModelError::SynthesizerShape {
            name: name.to_owned(),
            found: shape.to_vec(),
        }),
    }
}

/// Makes a layer with weights start as the function 0.
fn start_at_zero(layer: &mut Layer) {
    if let Layer::Conv2d {
        bias, zero_weight, ..
    }
    | Layer::Linear {
        bias, zero_weight, ..
    } = layer
    {
        // Biases start at 0 anyway.
        (*bias, *zero_weight) = (true, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Initializer;

    /// The shape that leaves the block that does the work, and the initial values of its parameters.
    fn found(shape: &[usize]) -> (Vec<usize>, Vec<(String, Initializer)>) {
        let model = synthesizer("dni.0", shape).unwrap();
        let mut blocks = model.blocks.iter();
        let at = blocks
            .position(|block| block.name == SYNTHESIZER_BLOCK)
            .unwrap();
        assert_eq!(model.stage_input_shape(at).unwrap(), shape);
        let parameters = model.parameters(at..at + 1).into_iter();
        let initial = parameters.map(|each| (each.name.clone(), each.initializer()));
        (model.stage_input_shape(at + 1).unwrap(), initial.collect())
    }

    #[test]
    fn gradients_have_the_shape_of_activations_and_start_at_zero() {
        let zero = Initializer::Constant { value: 0.0 };
        for (shape, last) in [(vec![5, 4, 3], "conv2"), (vec![7], "linear2")] {
            let (output, initial) = found(&shape);
            assert_eq!(output, shape);
            for (name, initial) in initial {
                if name.starts_with(&format!("dni.0.{last}.")) {
                    assert_eq!(initial, zero, "{name}");
                } else if name.ends_with("1.weight") {
                    assert_ne!(initial, zero, "{name}");
                }
            }
        }
    }

    #[test]
    fn other_shapes_are_errors() {
        for shape in [vec![], vec![0], vec![3, 4], vec![3, 0, 4]] {
            let error = synthesizer("dni.1", &shape).unwrap_err();
            assert!(
                matches!(&error, ModelError::SynthesizerShape { found, .. } if *found == shape)
            );
        }
        assert_eq!(
            synthesizer("dni.1", &[2, 3]).unwrap_err().to_string(),
            "synthesizer `dni.1` expects activations of shape [channels, height, width] or [features] per sample, \
             with no side of 0, but gets [2, 3]"
        );
    }
}
