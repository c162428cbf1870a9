//! What a gradient means: which weights it was computed at, and what was done to it.

use super::layout::{paragraph, term};
use crate::{
    BackwardWeights, Corrections, Facts, ForwardWeights, GradientSource, Prediction, Schedule,
    StageFacts,
};

/// Which weights the passes use; empty where both use the newest ones.
pub(super) fn weights(facts: &Facts) -> String {
    let any = |wanted: fn(&StageFacts) -> bool| facts.stages.iter().any(wanted);
    let predicted = any(|stage| stage.forward_weights == ForwardWeights::Predicted);
    let previous = any(|stage| stage.forward_weights == ForwardWeights::Previous);
    let stashed = any(|stage| stage.backward_weights == BackwardWeights::Stashed);
    let corrected = any(|stage| stage.backward_weights == BackwardWeights::Corrected);
    let synthetic = any(|stage| stage.gradient == GradientSource::Synthetic);
    let mut text = String::new();
    if predicted || previous || stashed || corrected {
        let forward = if previous {
            "at the weights of one update before: batch j at w^max(j−1,0)."
        } else if predicted {
            "where m > 0, at weights predicted for the time of the backward pass; else at the \
             newest ones."
        } else {
            "at the newest weights."
        };
        let backward = if stashed {
            "at the weights of the forward pass, stashed until then, and through its graph."
        } else if corrected {
            "where m > 0, at the newest weights, moved back by m mean updates, towards those of the \
             forward pass; else at the newest ones."
        } else {
            "at the newest weights."
        };
        text += &term("forward pass", forward);
        text += &term("backward pass", backward);
    }
    if synthetic {
        let guess = "from a synthesizer, at every stage but the last; the one from the stage above \
                     trains the synthesizer afterwards (L).";
        text += &term("gradient", guess);
    }
    text
}

/// What it means that a batch travels in micro-batches; nothing if it travels whole.
pub(super) fn micro_batches(schedule: &Schedule) -> String {
    let (m, accumulated) = (schedule.micro_batches(), schedule.accumulated_batches());
    if m == 1 {
        return String::new();
    }
    let mut text = paragraph(&format!(
        "A batch, which is what one update sees, travels in {m} micro-batches. Of N samples, \
         micro-batch i has those from i·N/{m} to (i+1)·N/{m}, rounded down, so N is at least {m} \
         and need not be a multiple of it. Gradients are weighted by the share of the samples and \
         added up in order: their sum is the gradient of the mean loss of the batch."
    ));
    if accumulated > 1 {
        text += &paragraph(&format!(
            "By `accumulate({accumulated})` a batch has {accumulated} times the usual size, and \
             each micro-batch is as large as a batch without it."
        ));
    }
    text += &paragraph(
        "Batch normalisation sees each micro-batch alone: statistics are those of the \
         micro-batch, and running statistics move once per micro-batch.",
    );
    text
}

/// The corrections with their formulas; nothing if there are none.
pub(super) fn mitigations(schedule: &Schedule) -> String {
    let Corrections {
        prediction,
        shrinking,
        rescheduling,
        discrepancy,
        damping,
        look_ahead,
    } = schedule.corrections();
    let prediction = prediction.map(|form| {
        let coefficient = match form {
            Prediction::Linear => "a = η·m",
            Prediction::Geometric => "a = η·(γ − γ^(m+1))/(1 − γ)",
        };
        let text = format!(
            "forward at w − a·v, with v the momentum buffer and {coefficient}: about where the \
             weights are m updates later (SpecTrain)."
        );
        ("prediction", text)
    });
    let shrinking = shrinking.map(|shrinking| {
        let lowest = shrinking.at(0, schedule.stages());
        let text = format!(
            "the gradient sent down is multiplied by {} at every boundary, in all by {lowest:.3} \
             at stage 0, which is the stalest.",
            shrinking.beta
        );
        ("shrinking", text)
    });
    let rescheduling = rescheduling.map(|rescheduling| {
        let since = match rescheduling.first_batch {
            0 => String::new(),
            first => format!(", counted from batch {first}"),
        };
        let text = format!(
            "the learning rate of batch t is multiplied by (m+1)^−p with p = 1 − t/{}, until p is \
             0{since} (PipeMare T1).",
            rescheduling.anneal_batches
        );
        ("rescheduling", text)
    });
    let discrepancy = discrepancy.map(|discrepancy| {
        let text = format!(
            "backward at w − m·δ, with δ the running mean of updates, δ ← q·δ + (1 − q)·(w_new − \
             w_old), q = {}^(1/m) (PipeMare T2).",
            discrepancy.decay
        );
        ("discrepancy", text)
    });
    let damping = damping.map(|_| {
        let text = "a gradient is divided by 1 + ‖w − w_forward‖/s, with s the mean length of an \
                    update (gap-aware).";
        ("damping", text.to_owned())
    });
    let look_ahead = look_ahead.map(|look_ahead| {
        let text = format!(
            "Nesterov's, with a momentum that rises with staleness, up to {} at the stalest stage; \
             the learning rate falls with it, by (1 − γ_k)/(1 − γ).",
            look_ahead.largest_momentum
        );
        ("look-ahead", text)
    });
    [
        prediction,
        shrinking,
        rescheduling,
        discrepancy,
        damping,
        look_ahead,
    ]
    .iter()
    .flatten()
    .map(|(name, text)| term(name, text))
    .chain(split(schedule))
    .chain(warm_up(schedule))
    .collect()
}

/// Says that backward passes are split which the method does not split.
fn split(schedule: &Schedule) -> Option<String> {
    let text = "a stage sends the gradient of its input down before it computes those of its weights; numbers are \
                the same.";
    schedule.is_split().then(|| term("split", text))
}

/// Says that a schedule begins synchronously.
fn warm_up(schedule: &Schedule) -> Option<String> {
    match schedule.synchronous_batches() {
        0 | usize::MAX => None,
        batches => Some(term(
            "synchronous warm-up",
            &format!("nothing runs ahead before batch {batches} (PipeMare T3)."),
        )),
    }
}
