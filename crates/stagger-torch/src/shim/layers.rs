//! Convolution and batch normalisation, forward and backward, without a graph of autograd.

use std::ffi::c_char;
use std::ptr::null_mut;

use tch::Tensor;
use torch_sys::C_tensor;

use super::{check, pointer, take, take_some};
use stagger_engine::EngineError;

unsafe extern "C" {
    fn stagger_convolution_backward(
        results: *mut *mut C_tensor,
        output_grad: *const C_tensor,
        input: *const C_tensor,
        weight: *const C_tensor,
        stride: *const i64,
        padding: *const i64,
        groups: i64,
        wants: *const bool,
    ) -> *mut c_char;
    fn stagger_batch_norm(
        results: *mut *mut C_tensor,
        input: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        running_mean: *const C_tensor,
        running_var: *const C_tensor,
        momentum: f64,
        epsilon: f64,
    ) -> *mut c_char;
    fn stagger_batch_norm_backward(
        results: *mut *mut C_tensor,
        output_grad: *const C_tensor,
        input: *const C_tensor,
        weight: *const C_tensor,
        mean: *const C_tensor,
        inverse_std: *const C_tensor,
        epsilon: f64,
        wants: *const bool,
    ) -> *mut c_char;
}

/// Which gradients a backward pass is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ThreeWants {
    /// Of the layer's input.
    pub input: bool,
    /// Of its weight.
    pub weight: bool,
    /// Of its bias.
    pub bias: bool,
}

impl ThreeWants {
    fn in_order(self) -> [bool; 3] {
        [self.input, self.weight, self.bias]
    }
}

/// The gradients that were asked for.
#[derive(Debug)]
pub struct ThreeGrads {
    /// Shape of the input.
    pub input: Option<Tensor>,
    /// Shape of the weight.
    pub weight: Option<Tensor>,
    /// Shape of the bias, `[channels]`.
    pub bias: Option<Tensor>,
}

impl ThreeGrads {
    /// # Safety
    ///
    /// As for [`take`], for each.
    unsafe fn take(handles: [*mut C_tensor; 3]) -> Self {
        // SAFETY: by the contract above.
        let [input, weight, bias] = handles.map(|handle| unsafe { take(handle) });
        Self {
            input,
            weight,
            bias,
        }
    }
}

/// How a convolution without dilation moves over its input.
#[derive(Clone, Copy, Debug)]
pub struct ConvolutionSides {
    /// Steps between two outputs in pixels, vertical and horizontal.
    pub stride: [i64; 2],
    /// Zeros on each side in pixels, vertical and horizontal.
    pub padding: [i64; 2],
    /// Runs of channels that do not mix.
    pub groups: i64,
}

/// Gradients of a convolution without dilation: `output_grad` `[N, O, H', W']`, `input` `[N, I, H, W]`,
/// `weight` `[O, I / groups, h, w]`.
///
/// # Errors
///
/// [`EngineError::Backend`] if shapes, kinds or devices do not belong together, or memory runs out.
pub fn convolution_backward(
    output_grad: &Tensor,
    input: &Tensor,
    weight: &Tensor,
    geometry: ConvolutionSides,
    wants: ThreeWants,
) -> Result<ThreeGrads, EngineError> {
    let ConvolutionSides {
        stride,
        padding,
        groups,
    } = geometry;
    let mut grads = [null_mut(); 3];
    // SAFETY: live handles; `grads`, `stride`, `padding` and `wants` hold as many values as are read or written.
    unsafe {
        check(stagger_convolution_backward(
            grads.as_mut_ptr(),
            output_grad.as_ptr(),
            input.as_ptr(),
            weight.as_ptr(),
            stride.as_ptr(),
            padding.as_ptr(),
            groups,
            wants.in_order().as_ptr(),
        ))?;
        Ok(ThreeGrads::take(grads))
    }
}

/// What batch normalisation in training hands on.
#[derive(Debug)]
pub struct Normalized {
    /// Shape of the input.
    pub output: Tensor,
    /// Mean of the batch, `[channels]`.
    pub mean: Tensor,
    /// `1 / √(variance + ε)` of the batch, with the biased variance, `[channels]`.
    pub inverse_std: Tensor,
}

/// Batch normalisation in training, of `[N, channels, …]`. `running` are the running mean and (unbiased) variance; they
/// are moved in place towards the batch's by the share `momentum`.
///
/// # Errors
///
/// [`EngineError::Backend`] if shapes, kinds or devices do not belong together, or memory runs out.
pub fn batch_norm(
    input: &Tensor,
    weight: Option<&Tensor>,
    bias: Option<&Tensor>,
    running: Option<(&mut Tensor, &mut Tensor)>,
    momentum: f64,
    epsilon: f64,
) -> Result<Normalized, EngineError> {
    let (mean, var) = running.map_or((None, None), |(mean, var)| (Some(&*mean), Some(&*var)));
    let mut results = [null_mut(); 3];
    // SAFETY: live handles, or null where there is none; `results` holds three.
    unsafe {
        check(stagger_batch_norm(
            results.as_mut_ptr(),
            input.as_ptr(),
            pointer(weight),
            pointer(bias),
            pointer(mean),
            pointer(var),
            momentum,
            epsilon,
        ))?;
        let [output, mean, inverse_std] = results.map(|handle| take_some(handle));
        Ok(Normalized {
            output: output?,
            mean: mean?,
            inverse_std: inverse_std?,
        })
    }
}

/// Gradients of [`batch_norm`]; `mean` and `inverse_std` are what it handed on.
///
/// # Errors
///
/// [`EngineError::Backend`] if shapes, kinds or devices do not belong together, or memory runs out.
pub fn batch_norm_backward(
    output_grad: &Tensor,
    input: &Tensor,
    weight: Option<&Tensor>,
    mean: &Tensor,
    inverse_std: &Tensor,
    epsilon: f64,
    wants: ThreeWants,
) -> Result<ThreeGrads, EngineError> {
    let mut grads = [null_mut(); 3];
    // SAFETY: live handles, or null where there is none; `grads` and `wants` hold three.
    unsafe {
        check(stagger_batch_norm_backward(
            grads.as_mut_ptr(),
            output_grad.as_ptr(),
            input.as_ptr(),
            pointer(weight),
            mean.as_ptr(),
            inverse_std.as_ptr(),
            epsilon,
            wants.in_order().as_ptr(),
        ))?;
        Ok(ThreeGrads::take(grads))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const ALL: ThreeWants = ThreeWants {
        input: true,
        weight: true,
        bias: true,
    };

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Double, Device::Cpu))
    }

    fn leaf(shape: &[i64]) -> Tensor {
        random(shape).set_requires_grad(true)
    }

    fn assert_close(found: &Tensor, expected: &Tensor) {
        assert_eq!(found.size(), expected.size());
        let difference = (found - expected).abs().max().double_value(&[]);
        assert!(difference < 1e-10, "differs by {difference}");
        assert!(expected.abs().max().double_value(&[]) > 1e-3);
    }

    #[test]
    fn convolution_backward_equals_autograd() {
        for (outputs, groups) in [(5, 1), (6, 2), (4, 4)] {
            backward_equals_autograd(outputs, groups);
        }
    }

    fn backward_equals_autograd(outputs: i64, groups: i64) {
        let input = leaf(&[3, 4, 9, 7]);
        let (weight, bias) = (leaf(&[outputs, 4 / groups, 3, 2]), leaf(&[outputs]));
        let geometry = ConvolutionSides {
            stride: [2, 1],
            padding: [1, 0],
            groups,
        };
        let ConvolutionSides {
            stride, padding, ..
        } = geometry;
        let output = input.conv2d(&weight, Some(&bias), stride, padding, [1, 1], groups);
        let output_grad = random(&output.size());
        (&output * &output_grad).sum(Kind::Double).backward();

        let of = |wants| {
            let (input, weight) = (input.detach(), weight.detach());
            convolution_backward(&output_grad, &input, &weight, geometry, wants).unwrap()
        };
        let grads = of(ALL);
        assert_close(&grads.input.unwrap(), &input.grad());
        assert_close(&grads.weight.unwrap(), &weight.grad());
        assert_close(&grads.bias.unwrap(), &bias.grad());

        let grads = of(ThreeWants {
            input: false,
            weight: true,
            bias: false,
        });
        assert!(grads.input.is_none() && grads.bias.is_none());
        assert_close(&grads.weight.unwrap(), &weight.grad());
    }

    #[test]
    fn shapes_that_do_not_fit_are_an_error() {
        let in_groups = |output_grad: &[i64], weight: &[i64], stride, padding, groups| {
            let (grad, input) = (random(output_grad), random(&[1, 4, 9, 7]));
            let geometry = ConvolutionSides {
                stride,
                padding,
                groups,
            };
            let found = convolution_backward(&grad, &input, &random(weight), geometry, ALL);
            matches!(found, Err(EngineError::Backend { message }) if !message.is_empty())
        };
        let fails = |output_grad: &[i64], weight: &[i64], stride, padding| {
            in_groups(output_grad, weight, stride, padding, 1)
        };
        assert!(!in_groups(&[1, 6, 9, 7], &[6, 2, 3, 3], [1, 1], [1, 1], 2));
        assert!(in_groups(&[1, 5, 9, 7], &[5, 2, 3, 3], [1, 1], [1, 1], 2));
        assert!(in_groups(&[1, 6, 9, 7], &[6, 4, 3, 3], [1, 1], [1, 1], 2));
        assert!(in_groups(&[1, 6, 9, 7], &[6, 2, 3, 3], [1, 1], [1, 1], 0));
        assert!(!fails(&[1, 5, 9, 7], &[5, 4, 3, 3], [1, 1], [1, 1]));
        assert!(fails(&[1, 5, 9, 7], &[5, 3, 3, 3], [1, 1], [1, 1]));
        assert!(fails(&[1, 5, 9, 7], &[5], [1, 1], [1, 1]));
        assert!(fails(&[1, 5, 9, 6], &[5, 4, 3, 3], [1, 1], [1, 1]));
        assert!(fails(&[2, 5, 9, 7], &[5, 4, 3, 3], [1, 1], [1, 1]));
        assert!(fails(&[1, 5, 9, 7], &[5, 4, 3, 3], [0, 1], [1, 1]));
        assert!(fails(&[1, 5, 1, 1], &[5, 4, 11, 9], [1, 1], [0, 0]));

        let (input, three, four) = (random(&[2, 4, 3, 3]), random(&[3]), random(&[4]));
        let forward = |weight, bias| batch_norm(&input, weight, bias, None, 0.1, 1e-5).is_err();
        assert!(!forward(Some(&four), Some(&four)));
        assert!(forward(Some(&three), Some(&four)) && forward(Some(&four), Some(&three)));
        let narrower = random(&[2, 4, 3, 2]);
        let backward = |grad, weight, mean, inverse_std| {
            batch_norm_backward(grad, &input, weight, mean, inverse_std, 1e-5, ALL).is_err()
        };
        assert!(!backward(&input, Some(&four), &four, &four));
        assert!(backward(&narrower, Some(&four), &four, &four));
        assert!(backward(&input, Some(&three), &four, &four));
        assert!(backward(&input, Some(&four), &three, &four));
        assert!(backward(&input, Some(&four), &four, &three));
    }

    #[test]
    fn batch_norm_equals_autograd() {
        let (input, weight, bias) = (leaf(&[6, 3, 4, 4]), leaf(&[3]), leaf(&[3]));
        let statistics = || {
            let options = (Kind::Double, Device::Cpu);
            (Tensor::zeros([3], options), Tensor::ones([3], options))
        };
        let (mean, var) = statistics();
        let expected = input.batch_norm(
            Some(&weight),
            Some(&bias),
            Some(&mean),
            Some(&var),
            true,
            0.3,
            1e-5,
            false,
        );
        let output_grad = random(&expected.size());
        (&expected * &output_grad).sum(Kind::Double).backward();

        let (x, w, b) = (input.detach(), weight.detach(), bias.detach());
        let (mut own_mean, mut own_var) = statistics();
        let running = Some((&mut own_mean, &mut own_var));
        let found = batch_norm(&x, Some(&w), Some(&b), running, 0.3, 1e-5).unwrap();
        assert_close(&found.output, &expected.detach());
        assert_close(&own_var, &var);
        assert_eq!(own_mean, mean);
        assert_close(
            &found.mean,
            &x.mean_dim([0, 2, 3].as_slice(), false, Kind::Double),
        );

        let (mean, inverse_std) = (&found.mean, &found.inverse_std);
        let of = |wants| {
            batch_norm_backward(&output_grad, &x, Some(&w), mean, inverse_std, 1e-5, wants).unwrap()
        };
        let grads = of(ALL);
        assert_close(&grads.input.unwrap(), &input.grad());
        assert_close(&grads.weight.unwrap(), &weight.grad());
        assert_close(&grads.bias.unwrap(), &bias.grad());
    }
}
