//! What holds when nobody says otherwise.

use super::low::TrainValues;

/// Default values that do not depend on other values. The default run is the shortest command that
/// shows what stagger does: DSP over two stages on a built-in data set.
#[must_use]
pub fn train() -> TrainValues {
    TrainValues {
        model: Some("resnet8".into()),
        dataset: Some("shapes".into()),
        cache_bytes: Some(1 << 30),
        augment: Some(true),
        workers: Some(1),
        stages: Some(2),
        schedule: Some("dsp".into()),
        balance: Some("auto".into()),
        engine: Some("burn".into()),
        dtype: Some("f32".into()),
        epochs: Some(4),
        evaluate: Some(true),
        batch_size: Some(64),
        drop_last: Some(false),
        optimizer: Some("momentum".into()),
        lr_schedule: Some("cosine".into()),
        weight_decay: Some(5e-4),
        label_smoothing: Some(0.0),
        keep_snapshots: Some(2),
        on_nan: Some("stop".into()),
        stall_timeout: Some(600.0),
        seed: Some(1),
        ..TrainValues::default()
    }
}

/// Default values of settings that only some optimizers and learning-rate schedules have.
pub fn dependent(values: &mut TrainValues) {
    match values.optimizer.as_deref() {
        Some("momentum") => {
            values.momentum.get_or_insert(0.9);
            values.nesterov.get_or_insert(false);
        }
        // Adam's steps do not shrink with the gradient.
        Some("adamw") => {
            values.lr.get_or_insert(1e-3);
        }
        _ => {}
    }
    values.lr.get_or_insert(0.1);
    if values.lr_schedule.as_deref() == Some("step") {
        values.lr_gamma.get_or_insert(0.1);
    }
}
