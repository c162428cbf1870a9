//! The default kernels: compositions of Burn's own operations, for any backend and any precision.

use std::marker::PhantomData;

use burn_backend::ops::ConvOptions;
use burn_backend::tensor::FloatTensor;
use burn_backend::{Backend, Shape, Slice, TensorMetadata};

use crate::layered::{
    Convolution, Normalization, NormalizationGrads, Normalized, ProductGrads, ProductWants,
    Subsample,
};

/// Carries the backend; a backend that overrides a kernel still reaches the default through it.
pub(crate) struct Generic<B>(PhantomData<B>);

impl<B: Backend> Generic<B> {
    pub(crate) fn convolution(
        input: FloatTensor<B>,
        weight: FloatTensor<B>,
        bias: Option<FloatTensor<B>>,
        geometry: Convolution,
    ) -> FloatTensor<B> {
        B::conv2d(input, weight, bias, geometry.options())
    }

    pub(crate) fn convolution_backward(
        input: FloatTensor<B>,
        weight: FloatTensor<B>,
        output_grad: FloatTensor<B>,
        geometry: Convolution,
        wants: ProductWants,
    ) -> ProductGrads<FloatTensor<B>> {
        let options = geometry.options();
        let input_grad = wants.input.then(|| {
            let (input, weight) = (input.clone(), weight.clone());
            B::conv2d_x_backward(input, weight, output_grad.clone(), options.clone())
        });
        let bias = wants.bias.then(|| {
            let sum = B::float_sum_dims(output_grad.clone(), &[0, 2, 3]);
            let channels = sum.shape()[1];
            B::float_reshape(sum, Shape::new([channels]))
        });
        let weight = B::conv2d_weight_backward(input, weight, output_grad, options);
        ProductGrads {
            input: input_grad,
            weight,
            bias,
        }
    }

    pub(crate) fn normalize(
        input: FloatTensor<B>,
        with: &Normalization<FloatTensor<B>>,
    ) -> Normalized<FloatTensor<B>> {
        let (scale, shift) = (with.scale.clone(), with.shift.clone());
        let result = B::batch_norm_train(input, scale, shift, with.epsilon);
        let output = if with.relu {
            B::relu(result.output)
        } else {
            result.output
        };
        Normalized {
            output: Some(output),
            mean: result.mean,
            variance: result.variance,
        }
    }

    pub(crate) fn normalize_by(
        input: FloatTensor<B>,
        with: &Normalization<FloatTensor<B>>,
        mean: FloatTensor<B>,
        variance: FloatTensor<B>,
    ) -> FloatTensor<B> {
        let (scale, shift) = (with.scale.clone(), with.shift.clone());
        let output = B::batch_norm(input, scale, shift, mean, variance, with.epsilon);
        if with.relu { B::relu(output) } else { output }
    }

    pub(crate) fn normalize_backward(
        input: FloatTensor<B>,
        result: Normalized<FloatTensor<B>>,
        with: &Normalization<FloatTensor<B>>,
        output_grad: FloatTensor<B>,
    ) -> NormalizationGrads<FloatTensor<B>> {
        let output_grad = match result.output {
            Some(output) if with.relu => B::relu_backward(output, output_grad),
            _ => output_grad,
        };
        let grads = B::batch_norm_train_backward(
            input,
            with.scale.clone(),
            result.mean,
            result.variance,
            with.epsilon,
            output_grad,
        );
        NormalizationGrads {
            input: grads.x_grad,
            scale: grads.gamma_grad,
            shift: grads.beta_grad,
            addend: None,
        }
    }

    pub(crate) fn relu(input: FloatTensor<B>) -> FloatTensor<B> {
        B::relu(input)
    }

    pub(crate) fn relu_backward(
        output: FloatTensor<B>,
        output_grad: FloatTensor<B>,
    ) -> FloatTensor<B> {
        B::relu_backward(output, output_grad)
    }

    pub(crate) fn sum(a: FloatTensor<B>, b: FloatTensor<B>, relu: bool) -> FloatTensor<B> {
        let sum = B::float_add(a, b);
        if relu { B::relu(sum) } else { sum }
    }

    pub(crate) fn blend(
        a: FloatTensor<B>,
        keep: f64,
        b: FloatTensor<B>,
        gain: f64,
    ) -> FloatTensor<B> {
        let kept = B::float_mul_scalar(a, keep.into());
        B::float_add(kept, B::float_mul_scalar(b, gain.into()))
    }

    pub(crate) fn subsample(input: FloatTensor<B>, geometry: Subsample) -> FloatTensor<B> {
        let [samples, channels, height, width] = input.shape().dims();
        let kept = geometry.slices(0..channels, height, width);
        let pixels = B::float_slice(input, &kept);
        if geometry.padding == 0 {
            return pixels;
        }
        let [_, _, height, width] = pixels.shape().dims();
        let shape = [samples, channels + 2 * geometry.padding, height, width];
        let zeros = B::float_zeros(shape.into(), &pixels.device(), pixels.dtype().into());
        let middle = geometry.padding..geometry.padding + channels;
        B::float_slice_assign(
            zeros,
            &Subsample::dense().slices(middle, height, width),
            pixels,
        )
    }

    pub(crate) fn subsample_backward(
        output_grad: FloatTensor<B>,
        shape: [usize; 4],
        geometry: Subsample,
    ) -> FloatTensor<B> {
        let [_, channels, height, width] = shape;
        let [_, _, out_height, out_width] = output_grad.shape().dims();
        let middle = geometry.padding..geometry.padding + channels;
        let kept = Subsample::dense().slices(middle, out_height, out_width);
        let pixels = B::float_slice(output_grad, &kept);
        let zeros = B::float_zeros(shape.into(), &pixels.device(), pixels.dtype().into());
        B::float_slice_assign(zeros, &geometry.slices(0..channels, height, width), pixels)
    }
}

impl Convolution {
    fn options(self) -> ConvOptions<2> {
        ConvOptions::new([self.stride; 2], [self.padding; 2], [1, 1], 1)
    }
}

impl Subsample {
    fn dense() -> Self {
        Self {
            stride: 1,
            padding: 0,
        }
    }

    fn slices(self, channels: std::ops::Range<usize>, height: usize, width: usize) -> [Slice; 4] {
        let side = |end: usize| Slice::new(0, Some(end as isize), self.stride as isize);
        let channels = Slice::new(channels.start as isize, Some(channels.end as isize), 1);
        [Slice::full(), channels, side(height), side(width)]
    }
}
