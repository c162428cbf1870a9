//! Products with a weight, convolutions and linear layers, on the way back: at once, or the gradient of the input first.

use crate::error::EngineError;
use crate::layered::timing::timed;

use super::kernels::{Convolution, Kernels, ProductGrads, ProductWants};
use super::parameters::Gradients;

/// What a product keeps of a recorded pass.
pub(crate) struct Product<K: Kernels> {
    /// `None` for a linear layer.
    pub geometry: Option<Convolution>,
    /// Index of the weight.
    pub weight_at: usize,
    /// Index of the bias, where there is one.
    pub bias_at: Option<usize>,
    pub input: K::Tensor,
    pub weight: K::Tensor,
}

impl<K: Kernels> Product<K> {
    fn backward(
        self,
        output_grad: K::Tensor,
        wants: ProductWants,
    ) -> Result<ProductGrads<K::Tensor>, EngineError> {
        let (input, weight) = (self.input, self.weight);
        match self.geometry {
            Some(geometry) => timed("convolution backward", || {
                K::convolution_backward(input, weight, output_grad, geometry, wants)
            }),
            None => timed("linear backward", || {
                K::linear_backward(input, weight, output_grad, wants)
            }),
        }
    }

    /// The gradient of the input alone.
    fn input_grad(&self, output_grad: K::Tensor) -> Result<Option<K::Tensor>, EngineError> {
        let wants = ProductWants {
            input: true,
            weight: false,
            bias: false,
        };
        let handles = Self {
            input: self.input.clone(),
            weight: self.weight.clone(),
            ..*self
        };
        Ok(handles.backward(output_grad, wants)?.input)
    }

    /// Adds the gradients of weight and bias, and gives that of the input if it is wanted.
    fn pull(
        self,
        output_grad: K::Tensor,
        gradients: &mut Gradients<K>,
        wants_input: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        let (weight_at, bias_at) = (self.weight_at, self.bias_at);
        let wants = ProductWants {
            input: wants_input,
            weight: true,
            bias: bias_at.is_some(),
        };
        let grads = self.backward(output_grad, wants)?;
        if let (Some(bias), Some(gradient)) = (bias_at, grads.bias) {
            gradients.add(bias, gradient)?;
        }
        if let Some(gradient) = grads.weight {
            gradients.add(weight_at, gradient)?;
        }
        Ok(grads.input)
    }
}

/// A product whose gradients of weight and bias are still to be taken, with the gradient of its output.
pub(crate) struct LateProduct<K: Kernels> {
    product: Product<K>,
    output_grad: K::Tensor,
}

impl<K: Kernels> LateProduct<K> {
    /// Adds the gradients of weight and bias.
    pub(crate) fn add_to(self, gradients: &mut Gradients<K>) -> Result<(), EngineError> {
        self.product.pull(self.output_grad, gradients, false)?;
        Ok(())
    }
}

/// Where the way back through a stage leaves the gradients of parameters.
pub(crate) struct Collected<'a, K: Kernels> {
    gradients: &'a mut Gradients<K>,
    /// Where products wait for the second half; `None` where there are no halves.
    late: Option<&'a mut Vec<LateProduct<K>>>,
}

impl<'a, K: Kernels> Collected<'a, K> {
    /// All gradients at once.
    pub(crate) fn whole(gradients: &'a mut Gradients<K>) -> Self {
        let late = None;
        Self { gradients, late }
    }

    /// Products put their part off.
    pub(crate) fn first_half(
        gradients: &'a mut Gradients<K>,
        late: &'a mut Vec<LateProduct<K>>,
    ) -> Self {
        let late = Some(late);
        Self { gradients, late }
    }

    /// Adds to the gradient of a parameter.
    pub(crate) fn add(&mut self, parameter: usize, gradient: K::Tensor) -> Result<(), EngineError> {
        self.gradients.add(parameter, gradient)
    }

    /// Pulls a gradient back through a product.
    pub(crate) fn pull(
        &mut self,
        product: Product<K>,
        output_grad: K::Tensor,
        wants_input: bool,
    ) -> Result<Option<K::Tensor>, EngineError> {
        let Some(late) = &mut self.late else {
            return product.pull(output_grad, self.gradients, wants_input);
        };
        let input_grad = match wants_input {
            true => product.input_grad(output_grad.clone())?,
            false => None,
        };
        late.push(LateProduct {
            product,
            output_grad,
        });
        Ok(input_grad)
    }
}
