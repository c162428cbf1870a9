//! Operations in place over many tensors at once: on a GPU one kernel for all of them.

use std::ffi::c_char;
use std::ptr::null_mut;

use tch::Tensor;
use torch_sys::C_tensor;

use super::{check, take_some};
use stagger_engine::EngineError;

unsafe extern "C" {
    fn stagger_foreach_add(
        tensors: *const *const C_tensor,
        others: *const *const C_tensor,
        count: usize,
        alpha: f64,
    ) -> *mut c_char;
    fn stagger_foreach_add_scalar(
        tensors: *const *const C_tensor,
        count: usize,
        value: f64,
    ) -> *mut c_char;
    fn stagger_foreach_mul_scalar(
        tensors: *const *const C_tensor,
        count: usize,
        value: f64,
    ) -> *mut c_char;
    fn stagger_foreach_addcmul(
        tensors: *const *const C_tensor,
        left: *const *const C_tensor,
        right: *const *const C_tensor,
        count: usize,
        value: f64,
    ) -> *mut c_char;
    fn stagger_foreach_addcdiv(
        tensors: *const *const C_tensor,
        numerators: *const *const C_tensor,
        denominators: *const *const C_tensor,
        count: usize,
        value: f64,
    ) -> *mut c_char;
    fn stagger_foreach_sqrt(
        results: *mut *mut C_tensor,
        tensors: *const *const C_tensor,
        count: usize,
    ) -> *mut c_char;
}

/// Handles, for as long as the tensors are borrowed.
fn handles<'a>(tensors: impl IntoIterator<Item = &'a Tensor>) -> Vec<*const C_tensor> {
    tensors.into_iter().map(Tensor::as_ptr).collect()
}

fn same_length(lists: &[usize]) -> Result<usize, EngineError> {
    match lists {
        [first, rest @ ..] if rest.iter().all(|length| length == first) => Ok(*first),
        _ => Err(EngineError::Backend {
            message: format!("lists of tensors expect one length but have {lists:?}"),
        }),
    }
}

/// `tensor ← tensor + alpha · other`, for each.
///
/// # Errors
///
/// [`EngineError::Backend`] if lengths, shapes, kinds or devices do not belong together.
pub fn foreach_add(
    tensors: &mut [Tensor],
    others: &[Tensor],
    alpha: f64,
) -> Result<(), EngineError> {
    let count = same_length(&[tensors.len(), others.len()])?;
    let (tensors, others) = (handles(&*tensors), handles(others));
    // SAFETY: `count` live handles each.
    check(unsafe { stagger_foreach_add(tensors.as_ptr(), others.as_ptr(), count, alpha) })
}

/// `tensor ← tensor + value`, for each.
///
/// # Errors
///
/// [`EngineError::Backend`] if the kind cannot hold `value`.
pub fn foreach_add_scalar(tensors: &mut [Tensor], value: f64) -> Result<(), EngineError> {
    let tensors = handles(&*tensors);
    // SAFETY: as many live handles as said.
    check(unsafe { stagger_foreach_add_scalar(tensors.as_ptr(), tensors.len(), value) })
}

/// `tensor ← tensor · value`, for each.
///
/// # Errors
///
/// [`EngineError::Backend`] if the kind cannot hold `value`.
pub fn foreach_mul_scalar(tensors: &mut [Tensor], value: f64) -> Result<(), EngineError> {
    let tensors = handles(&*tensors);
    // SAFETY: as many live handles as said.
    check(unsafe { stagger_foreach_mul_scalar(tensors.as_ptr(), tensors.len(), value) })
}

/// `tensor ← tensor + value · left · right`, for each.
///
/// # Errors
///
/// [`EngineError::Backend`] if lengths, shapes, kinds or devices do not belong together.
pub fn foreach_addcmul(
    tensors: &mut [Tensor],
    left: &[Tensor],
    right: &[Tensor],
    value: f64,
) -> Result<(), EngineError> {
    let count = same_length(&[tensors.len(), left.len(), right.len()])?;
    let (tensors, left, right) = (handles(&*tensors), handles(left), handles(right));
    // SAFETY: `count` live handles each.
    check(unsafe {
        stagger_foreach_addcmul(
            tensors.as_ptr(),
            left.as_ptr(),
            right.as_ptr(),
            count,
            value,
        )
    })
}

/// `tensor ← tensor + value · numerator / denominator`, for each.
///
/// # Errors
///
/// [`EngineError::Backend`] if lengths, shapes, kinds or devices do not belong together.
pub fn foreach_addcdiv(
    tensors: &mut [Tensor],
    numerators: &[Tensor],
    denominators: &[Tensor],
    value: f64,
) -> Result<(), EngineError> {
    let count = same_length(&[tensors.len(), numerators.len(), denominators.len()])?;
    let (tensors, numerators) = (handles(&*tensors), handles(numerators));
    let denominators = handles(denominators);
    // SAFETY: `count` live handles each.
    check(unsafe {
        stagger_foreach_addcdiv(
            tensors.as_ptr(),
            numerators.as_ptr(),
            denominators.as_ptr(),
            count,
            value,
        )
    })
}

/// The square root of each, in new tensors.
///
/// # Errors
///
/// [`EngineError::Backend`] if memory runs out.
pub fn foreach_sqrt(tensors: &[Tensor]) -> Result<Vec<Tensor>, EngineError> {
    let tensors = handles(tensors);
    let mut results = vec![null_mut(); tensors.len()];
    // SAFETY: as many live handles as said, and room for as many results, which are new handles.
    unsafe {
        check(stagger_foreach_sqrt(
            results.as_mut_ptr(),
            tensors.as_ptr(),
            tensors.len(),
        ))?;
    }
    // Every handle is taken before the first error returns, so that none leaks.
    // SAFETY: as above.
    let taken: Vec<_> = results
        .into_iter()
        .map(|handle| unsafe { take_some(handle) })
        .collect();
    taken.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two(values: [f32; 3]) -> Vec<Tensor> {
        vec![
            Tensor::from_slice(&values[..2]),
            Tensor::from_slice(&values[2..]),
        ]
    }

    fn values(tensors: &[Tensor]) -> Vec<f32> {
        let all = tensors.iter().map(Vec::<f32>::try_from);
        all.flat_map(Result::unwrap).collect()
    }

    #[test]
    fn each_tensor_is_changed_as_said() {
        let mut tensors = two([1.0, 2.0, 3.0]);
        foreach_add(&mut tensors, &two([10.0, 20.0, 30.0]), 0.5).unwrap();
        assert_eq!(values(&tensors), [6.0, 12.0, 18.0]);
        foreach_mul_scalar(&mut tensors, 0.5).unwrap();
        foreach_add_scalar(&mut tensors, 1.0).unwrap();
        assert_eq!(values(&tensors), [4.0, 7.0, 10.0]);
        let (left, right) = (two([1.0, 2.0, 3.0]), two([2.0, 4.0, 1.0]));
        foreach_addcmul(&mut tensors, &left, &right, 10.0).unwrap();
        assert_eq!(values(&tensors), [24.0, 87.0, 40.0]);
        foreach_addcdiv(&mut tensors, &left, &right, 2.0).unwrap();
        assert_eq!(values(&tensors), [25.0, 88.0, 46.0]);
        assert_eq!(
            values(&foreach_sqrt(&two([4.0, 9.0, 16.0])).unwrap()),
            [2.0, 3.0, 4.0]
        );
    }

    #[test]
    fn lists_of_other_lengths_or_shapes_are_an_error() {
        let mut tensors = two([1.0, 2.0, 3.0]);
        let one = &two([1.0, 2.0, 3.0])[..1];
        let message = foreach_add(&mut tensors, one, 1.0).unwrap_err().to_string();
        assert!(message.contains("[2, 1]"), "{message}");
        let wrong = vec![
            Tensor::from_slice(&[1.0f32; 5]),
            Tensor::from_slice(&[1.0f32; 5]),
        ];
        assert!(foreach_add(&mut tensors, &wrong, 1.0).is_err());
    }
}
