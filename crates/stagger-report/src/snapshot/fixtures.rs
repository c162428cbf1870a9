//! Snapshots for tests.

use proptest::prelude::*;
use serde_json::json;
use stagger_engine::{HostTensor, StageState};
use stagger_runtime::snapshot::{
    KeptLesson, KeptPass, PipelineState, RunningMean, Sent, Snapshot, StageSnapshot, SynthesisState,
};

use super::manifest::{DataSeal, FileEntry, Manifest, MetricsSeal, SNAPSHOT_FORMAT};

pub fn manifest(version: usize) -> Manifest {
    let file = |stage: usize| FileEntry {
        name: super::stage_file_name(stage),
        size_bytes: 1000,
        crc32: "01234567".to_owned(),
    };
    Manifest {
        format_version: SNAPSHOT_FORMAT,
        version,
        batches: 1000,
        stagger: "0.1.0".to_owned(),
        commit: None,
        model: "resnet8".to_owned(),
        schedule: "dsp(1,0;2,0)".to_owned(),
        cut: vec![2, 3],
        seed: 1,
        engine: "cpu".to_owned(),
        dtype: "f32".to_owned(),
        dataset: "shapes".to_owned(),
        data_fingerprint: "0123456789abcdef".to_owned(),
        data: vec![DataSeal {
            part: "train on".to_owned(),
            images: 20,
            fingerprint: "0123456789abcdef".to_owned(),
            content: None,
        }],
        class_names: vec!["cat".to_owned(), "dog".to_owned()],
        test_top1: Some(0.1 + 0.2),
        config: "seed = 1\n".to_owned(),
        progress: json!({ "loss_sum": 0.1 + 0.2 }),
        metrics: Some(MetricsSeal {
            batches_crc32: "89abcdef".to_owned(),
            epochs: 2,
            epochs_crc32: "fedcba98".to_owned(),
            short_epoch_crc32: None,
        }),
        files: vec![file(0), file(1)],
    }
}

fn tensor(value: f32) -> HostTensor {
    HostTensor::new(vec![2, 1], vec![value, -value]).unwrap()
}

/// A stage with everything that it can hold; all values differ.
pub fn stage_snapshot(seed: usize) -> StageSnapshot {
    let value = |number: usize| tensor((seed * 100 + number) as f32);
    let state = |number| StageState {
        tensors: [
            ("conv1.weight".to_owned(), value(number)),
            (
                "optimizer.conv1.weight.momentum_buffer".to_owned(),
                value(number + 1),
            ),
        ]
        .into(),
        counters: [("bn1.num_batches_tracked".to_owned(), 7 + seed as u64)].into(),
    };
    let sent = |batch, number| Sent {
        batch,
        micro: 0,
        version: batch,
        tensor: value(number),
    };
    StageSnapshot {
        state: state(1),
        pipeline: PipelineState {
            kept: vec![
                KeptPass {
                    batch: 5,
                    micro: 1,
                    version: 4,
                    input: value(3),
                    weights: Some(vec![value(4), value(5)]),
                    position: None,
                },
                KeptPass {
                    batch: 6,
                    micro: 0,
                    version: 5,
                    input: value(6),
                    weights: None,
                    position: Some(vec![value(7)]),
                },
            ],
            sent_up: vec![sent(5, 8), sent(6, 9)],
            skipped_in_a_row: 3,
            statistics: None,
            sent_down: vec![sent(4, 10)],
            previous_weights: Some(vec![value(11)]),
            mean_step: RunningMean {
                mean: 0.1 + 0.2,
                count: 3,
            },
            synthesis: Some(SynthesisState {
                state: state(12),
                scale: RunningMean {
                    mean: 1e-300,
                    count: 20,
                },
                lessons: vec![KeptLesson {
                    batch: 4,
                    micro: 0,
                    output: value(14),
                    weights: vec![value(15), value(16)],
                }],
            }),
        },
        replicas: Vec::new(),
    }
}

pub fn snapshot(version: usize) -> Snapshot {
    Snapshot {
        version,
        stages: vec![stage_snapshot(version), stage_snapshot(version + 1)],
    }
}

fn tensors() -> impl Strategy<Value = HostTensor> {
    prop::collection::vec(-1e6_f32..1e6, 0..5)
        .prop_map(|data| HostTensor::new(vec![data.len()], data).unwrap())
}

fn lists() -> impl Strategy<Value = Option<Vec<HostTensor>>> {
    prop::option::of(prop::collection::vec(tensors(), 0..3))
}

fn kept() -> impl Strategy<Value = KeptPass> {
    (
        any::<usize>(),
        0..9_usize,
        0..9_usize,
        tensors(),
        lists(),
        lists(),
    )
        .prop_map(
            |(batch, micro, version, input, weights, position)| KeptPass {
                batch,
                micro,
                version,
                input,
                weights,
                position,
            },
        )
}

fn sent() -> impl Strategy<Value = Vec<Sent>> {
    let one = (any::<usize>(), 0..9_usize, 0..9_usize, tensors()).prop_map(
        |(batch, micro, version, tensor)| Sent {
            batch,
            micro,
            version,
            tensor,
        },
    );
    prop::collection::vec(one, 0..3)
}

fn means() -> impl Strategy<Value = RunningMean> {
    (-1e300..1e300, any::<u32>()).prop_map(|(mean, count)| RunningMean { mean, count })
}

fn states() -> impl Strategy<Value = StageState> {
    let names = "[a-z]{1,3}(\\.weight|\\.bias)?";
    let tensors = prop::collection::btree_map(names, tensors(), 0..4);
    let counters = prop::collection::btree_map(
        "[a-z]{1,3}\\.num_batches_tracked",
        0..u64::from(u32::MAX),
        0..3,
    );
    (tensors, counters).prop_map(|(tensors, counters)| StageState { tensors, counters })
}

fn syntheses() -> impl Strategy<Value = Option<SynthesisState>> {
    let lesson = (
        any::<usize>(),
        0..9_usize,
        tensors(),
        prop::collection::vec(tensors(), 0..3),
    );
    let lesson = lesson.prop_map(|(batch, micro, output, weights)| KeptLesson {
        batch,
        micro,
        output,
        weights,
    });
    let synthesis = (states(), means(), prop::collection::vec(lesson, 0..3)).prop_map(
        |(state, scale, lessons)| SynthesisState {
            state,
            scale,
            lessons,
        },
    );
    prop::option::of(synthesis)
}

pub fn stage_snapshots() -> impl Strategy<Value = StageSnapshot> {
    let replicas = prop::collection::vec(pipelines(), 0..3);
    (states(), pipelines(), replicas).prop_map(|(state, pipeline, replicas)| StageSnapshot {
        state,
        pipeline,
        replicas,
    })
}

fn pipelines() -> impl Strategy<Value = PipelineState> {
    let kept = prop::collection::vec(kept(), 0..3);
    (kept, sent(), sent(), lists(), lists(), means(), syntheses()).prop_map(
        |(kept, sent_up, sent_down, previous_weights, statistics, mean_step, synthesis)| {
            PipelineState {
                kept,
                sent_up,
                sent_down,
                previous_weights,
                mean_step,
                skipped_in_a_row: 2,
                statistics,
                synthesis,
            }
        },
    )
}
