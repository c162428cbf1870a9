//! Optimizer steps: fused loops on the CPU, one operation over all parameters at a time elsewhere.

use tch::{Kind, Tensor};

use crate::failure::OrFailure;
use stagger_cpu::channels_last::Bf16;
use stagger_cpu::fused_step::{Parameter, fused_step};
use stagger_engine::EngineError;
use stagger_engine::Optimizer;
use stagger_engine::layered::ParameterStep;

use super::TorchTensor;
use super::direct::Threads;
use super::host::to_kind;
use super::order::{empty_like, is_direct, ordered, owned};
use super::shim::{self, Stored, values, values_mut};

type Steps<'a> = Vec<ParameterStep<'a, TorchTensor>>;

pub(super) fn step(
    optimizer: &Optimizer,
    number: u64,
    learning_rate: f64,
    parameters: Steps<'_>,
) -> Result<(), EngineError> {
    let direct = |each: &ParameterStep<'_, TorchTensor>| {
        each.weight.as_tensor().kind() == Kind::Float && is_direct(each.weight.as_tensor())
    };
    if !parameters.iter().all(direct) {
        return foreach(optimizer, number, learning_rate, parameters);
    }
    for each in parameters {
        match each.gradient.as_tensor().kind() {
            Kind::BFloat16 => fused::<Bf16>(optimizer, number, learning_rate, each)?,
            _ => fused::<f32>(optimizer, number, learning_rate, each)?,
        }
    }
    Ok(())
}

/// Takes a tensor out of its place, to write to it in memory with no other handle.
fn take(place: &mut TorchTensor) -> Result<Tensor, EngineError> {
    let tensor = std::mem::replace(place, Tensor::new().into());
    owned(ordered(tensor.into_tensor())?)
}

fn fused<G: Stored>(
    optimizer: &Optimizer,
    number: u64,
    learning_rate: f64,
    each: ParameterStep<'_, TorchTensor>,
) -> Result<(), EngineError> {
    let gradient = ordered(each.gradient.into_tensor())?;
    let mut weight = take(each.weight)?;
    let mut slots = each
        .slots
        .iter_mut()
        .map(take)
        .collect::<Result<Vec<_>, _>>()?;
    let mut rounded = match each.rounded {
        Some(place) => Some((overwritten(place)?, place)),
        None => None,
    };
    let dimensions = weight.dim();
    let shadow = match &mut rounded {
        Some((tensor, _)) => Some(values_mut::<Bf16>(tensor)?),
        None => None,
    };
    let parameter = Parameter {
        weights: values_mut(&mut weight)?,
        gradients: values::<G>(&gradient)?,
        slots: slots.iter_mut().map(values_mut).collect::<Result<_, _>>()?,
        shadow,
        dimensions,
    };
    fused_step(optimizer, parameter, number, learning_rate, &Threads);
    *each.weight = weight.into();
    for (place, slot) in each.slots.iter_mut().zip(slots) {
        *place = slot.into();
    }
    if let Some((tensor, place)) = rounded {
        *place = tensor.into();
    }
    Ok(())
}

/// As [`take`], for a tensor whose values will all be written.
fn overwritten(place: &mut TorchTensor) -> Result<Tensor, EngineError> {
    let tensor = std::mem::replace(place, Tensor::new().into()).into_tensor();
    if shim::is_unique(&tensor) {
        ordered(tensor)
    } else {
        empty_like(&tensor)
    }
}

/// The formulas of [`Optimizer::reference_step`] over lists of tensors: a kernel launch costs more than most parameters
/// are worth.
pub(super) fn foreach(
    optimizer: &Optimizer,
    number: u64,
    learning_rate: f64,
    parameters: Steps<'_>,
) -> Result<(), EngineError> {
    let mut weights = Vec::new();
    let mut gradients = Vec::new();
    let mut places = Vec::new();
    let mut slots: Vec<Vec<Tensor>> = optimizer.slots().iter().map(|_| Vec::new()).collect();
    for each in parameters {
        let kind = each.weight.as_tensor().kind();
        let weight = take(each.weight)?;
        gradients.push(ordered(to_kind(each.gradient.into_tensor(), kind)?)?);
        for (slot, all) in each.slots.iter_mut().zip(&mut slots) {
            all.push(take(slot)?);
        }
        weights.push(weight);
        places.push((each.weight, each.slots, each.rounded));
    }
    let decays: Vec<f64> = weights
        .iter()
        .map(|weight| optimizer.weight_decay().rate_for(weight.dim()))
        .collect();
    match (optimizer, slots.as_mut_slice()) {
        (Optimizer::Momentum { beta, nesterov, .. }, [velocities]) => {
            let gradients = decayed(gradients, &weights, &decays)?;
            shim::foreach_mul_scalar(velocities, *beta)?;
            shim::foreach_add(velocities, &gradients, 1.0)?;
            let share = 1.0 - nesterov * (1.0 - beta);
            shim::foreach_add(&mut weights, velocities, -learning_rate * share)?;
            if *nesterov != 0.0 {
                shim::foreach_add(&mut weights, &gradients, -learning_rate * nesterov)?;
            }
        }
        (
            Optimizer::AdamW {
                beta1,
                beta2,
                epsilon,
                ..
            },
            [means, squares],
        ) => {
            shrink(&mut weights, learning_rate, &decays)?;
            shim::foreach_mul_scalar(means, *beta1)?;
            shim::foreach_add(means, &gradients, 1.0 - beta1)?;
            shim::foreach_mul_scalar(squares, *beta2)?;
            shim::foreach_addcmul(squares, &gradients, &gradients, 1.0 - beta2)?;
            let unbias = |beta: f64| 1.0 / (1.0 - beta.powf(number as f64));
            let mut roots = shim::foreach_sqrt(squares)?;
            shim::foreach_mul_scalar(&mut roots, unbias(*beta2).sqrt())?;
            shim::foreach_add_scalar(&mut roots, *epsilon)?;
            let rate = learning_rate * unbias(*beta1);
            shim::foreach_addcdiv(&mut weights, means, &roots, -rate)?;
        }
        (Optimizer::Lars { beta, trust, .. }, [velocities]) => {
            let ratios = trust_ratios(optimizer, *trust, &weights, &gradients, &decays)?;
            let mut gradients = decayed(gradients, &weights, &decays)?;
            for (gradient, ratio) in gradients.iter_mut().zip(&ratios) {
                if let Some(ratio) = ratio {
                    let _ = gradient.f_mul_(ratio).or_failure()?;
                }
            }
            shim::foreach_mul_scalar(velocities, *beta)?;
            shim::foreach_add(velocities, &gradients, 1.0)?;
            shim::foreach_add(&mut weights, velocities, -learning_rate)?;
        }
        (Optimizer::Lion { beta1, beta2, .. }, [means]) => {
            let signs = means.iter().zip(&gradients).map(|(mean, gradient)| {
                let kept = mean.f_mul_scalar(*beta1).or_failure()?;
                let added = gradient.f_mul_scalar(1.0 - beta1).or_failure()?;
                kept.f_add(&added).and_then(|sum| sum.f_sign()).or_failure()
            });
            let signs = signs.collect::<Result<Vec<_>, _>>()?;
            shrink(&mut weights, learning_rate, &decays)?;
            shim::foreach_add(&mut weights, &signs, -learning_rate)?;
            shim::foreach_mul_scalar(means, *beta2)?;
            shim::foreach_add(means, &gradients, 1.0 - beta2)?;
        }
        _ => {
            let gradients = decayed(gradients, &weights, &decays)?;
            shim::foreach_add(&mut weights, &gradients, -learning_rate)?;
        }
    }
    let mut slots: Vec<_> = slots.into_iter().map(Vec::into_iter).collect();
    for (weight, (place, places, rounded)) in weights.into_iter().zip(places) {
        if let Some(rounded) = rounded {
            let kind = rounded.as_tensor().kind();
            *rounded = to_kind(weight.shallow_clone(), kind)?.into();
        }
        *place = weight.into();
        for (place, all) in places.iter_mut().zip(&mut slots) {
            if let Some(slot) = all.next() {
                *place = slot.into();
            }
        }
    }
    Ok(())
}

/// `w − η·λ·w`: decay that does not go through the gradient.
fn shrink(weights: &mut [Tensor], learning_rate: f64, decays: &[f64]) -> Result<(), EngineError> {
    for (weight, decay) in weights.iter_mut().zip(decays) {
        if *decay != 0.0 {
            let _ = weight
                .f_mul_scalar_(1.0 - learning_rate * decay)
                .or_failure()?;
        }
    }
    Ok(())
}

/// [`Optimizer::trust_ratio`] of each parameter, `[]` on its device, so that nothing waits for its value; `None` where that is 1 anyway.
fn trust_ratios(
    optimizer: &Optimizer,
    trust: f64,
    weights: &[Tensor],
    gradients: &[Tensor],
    decays: &[f64],
) -> Result<Vec<Option<Tensor>>, EngineError> {
    let ratio = |weight: &Tensor, gradient: &Tensor, decay: f64| {
        let (weight, gradient) = (weight.f_norm()?, gradient.f_norm()?);
        let below = gradient.f_add(&weight.f_mul_scalar(decay)?)?;
        let ratio = weight.f_mul_scalar(trust)?.f_div(&below)?;
        let have_lengths = weight.f_mul(&gradient)?.f_gt(0.0)?;
        ratio.f_where_self(&have_lengths, &ratio.f_ones_like()?)
    };
    let each = weights.iter().zip(gradients).zip(decays);
    each.map(|((weight, gradient), &decay)| {
        let reads = optimizer.reads_norms(weight.dim());
        reads
            .then(|| ratio(weight, gradient, decay).or_failure())
            .transpose()
    })
    .collect()
}

/// `g + λ·w`, for those whose λ is not 0.
fn decayed(
    gradients: Vec<Tensor>,
    weights: &[Tensor],
    decays: &[f64],
) -> Result<Vec<Tensor>, EngineError> {
    let mut gradients = gradients
        .into_iter()
        .map(owned)
        .collect::<Result<Vec<_>, _>>()?;
    let Some(&rate) = decays.iter().find(|&&decay| decay != 0.0) else {
        return Ok(gradients);
    };
    // A rate is the same wherever it is not 0.
    if decays.iter().all(|&decay| decay == rate) {
        shim::foreach_add(&mut gradients, weights, rate)?;
        return Ok(gradients);
    }
    let all = gradients.iter_mut().zip(weights).zip(decays);
    for ((gradient, weight), &decay) in all {
        if decay != 0.0 {
            let _ = gradient
                .f_add_(&weight.f_mul_scalar(decay).or_failure()?)
                .or_failure()?;
        }
    }
    Ok(gradients)
}
