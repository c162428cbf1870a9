//! What of a run lies outside of the assumptions of docs/theory.md.

use stagger_engine::Precision;

use crate::job::Job;

/// What of the run the theorems do not cover, or cover with more than usual constants: a line for people each.
pub(super) fn outside(job: &Job) -> Vec<String> {
    let mut kinds = Vec::new();
    let layers = job.model.blocks.iter().flat_map(|block| &block.layers);
    layers.for_each(|layer| layer.walk(&mut |layer| kinds.push(layer.kind())));
    let has = |kind| kinds.contains(&kind);
    let mut lines = Vec::new();
    let kinks = match (has("relu") || has("relu6"), has("max-pool2d")) {
        (true, true) => Some("ReLU and max pooling are"),
        (true, false) => Some("ReLU is"),
        (false, true) => Some("max pooling is"),
        (false, false) => None,
    };
    lines.extend(kinks.map(|kinks| format!("{kinks} not smooth: A1 fails at the kinks")));
    if has("batch-norm2d") {
        lines.push(format!(
            "batch normalisation: F is the expected loss of batches of {}, and its constants may be huge where variances are small",
            job.batch_size
        ));
    }
    lines.push(
        "an epoch draws its images without replacement, so that A3 holds over epochs only"
            .to_owned(),
    );
    if super::rate_changes(job) {
        lines.push("the learning rate changes, and the theorems have a constant one".to_owned());
    }
    if job.options.clip_norm.is_some() {
        lines.push("gradient clipping: the theorems hold where it never acts".to_owned());
    }
    if job.options.freeze_stages.is_some_and(|stages| stages > 0) {
        lines.push("stages that are not trained: the theorems are of the loss as a function of all parameters".to_owned());
    }
    if job
        .options
        .head_lr_factor
        .is_some_and(|factor| factor != 1.0)
    {
        lines.push(
            "a learning rate of its own for the head: the theorems have one for all parameters"
                .to_owned(),
        );
    }
    if job.precision == Precision::Bf16 {
        lines.push("passes round to bf16, which is in no proof".to_owned());
    }
    lines
}
