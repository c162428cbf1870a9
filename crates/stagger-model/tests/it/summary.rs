//! The printed summary of a model and its cut.

use stagger_model::{Balance, CostModel, Cut, Model, StageSummaryInput, SummaryTime, summary};

const STALE: StageSummaryInput = StageSummaryInput {
    staleness: 2,
    recompute: true,
    micro_batches: 1,
    kept_micro_batches: 3,
    weight_copies: 1,
};
const LAST: StageSummaryInput = StageSummaryInput {
    staleness: 0,
    recompute: false,
    micro_batches: 1,
    kept_micro_batches: 1,
    weight_copies: 1,
};

fn time() -> SummaryTime<'static> {
    const COSTS: CostModel = CostModel {
        multiply_adds_per_element: 200.0,
        backward: 2.0,
    };
    SummaryTime {
        costs: &COSTS,
        of: "engine cpu",
        most_speedup: f64::INFINITY,
        replicas: 1,
    }
}

#[test]
fn resnet8_in_two_stages() {
    let model = Model::by_name("resnet8", [3, 32, 32], 10).unwrap();
    let cut = Balance::Auto.cut(&model, &[true, false], None).unwrap();
    insta::assert_snapshot!(summary(&model, &cut, &[STALE, LAST], 128, time()).unwrap());
}

#[test]
fn runs_of_equal_blocks_are_shown_once() {
    let model = Model::by_name("resnet110", [3, 32, 32], 10).unwrap();
    let cut = Balance::Uniform.cut(&model, &[true, false], None).unwrap();
    let text = summary(&model, &cut, &[STALE, LAST], 128, time()).unwrap();
    assert!(
        text.contains("layer1.1 to layer1.17, each like layer1.0"),
        "{text}"
    );
    assert!(text.lines().count() < 100, "{text}");
}

#[test]
fn kept_graphs_and_weight_versions_are_counted() {
    let model = Model::by_name("resnet8", [3, 32, 32], 10).unwrap();
    let cut = Balance::Uniform.cut(&model, &[false], None).unwrap();
    let memory = |kept_micro_batches, micro_batches, weight_copies| {
        let stage = StageSummaryInput {
            kept_micro_batches,
            micro_batches,
            weight_copies,
            ..LAST
        };
        let cost = model.cost(cut.stages()[0].clone()).unwrap();
        stagger_model::StageMemory::estimate(&cost, &[3, 32, 32], stage, 8)
    };
    let one = memory(1, 1, 1);
    assert_eq!(memory(3, 1, 1).graph_bytes, 3 * one.graph_bytes);
    assert_eq!(memory(4, 4, 1).graph_bytes, one.graph_bytes);
    assert_eq!(one.kept_input_bytes, 8 * 3 * 32 * 32 * 4);
    assert_eq!(one.parameter_bytes, 3 * 4 * 75_290);
    assert_eq!(memory(1, 1, 3).parameter_bytes, 5 * 4 * 75_290);
}

#[test]
fn a_cut_that_does_not_fit_is_refused() {
    let small = Model::by_name("resnet8", [3, 32, 32], 10).unwrap();
    let large = Model::by_name("resnet20", [3, 32, 32], 10).unwrap();
    let cut = Cut::new(&large, &[7, 4]).unwrap();
    let message = summary(&small, &cut, &[STALE, LAST], 1, time())
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("the balance `7,4` deals out 11 blocks"),
        "{message}"
    );
    let message = summary(&large, &cut, &[LAST], 1, time())
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("the balance `7,4` is for 2 stages but there is 1"),
        "{message}"
    );
}

/// Replicas share a batch, and a method that waits gives no more than it does with equal stages.
#[test]
fn what_a_cut_gives_depends_on_the_method() {
    let model = Model::by_name("resnet8", [3, 32, 32], 10).unwrap();
    let cut = Balance::Auto.cut(&model, &[false, false], None).unwrap();
    let with = |most_speedup, replicas| {
        let time = SummaryTime {
            most_speedup,
            replicas,
            ..time()
        };
        summary(&model, &cut, &[LAST, LAST], 128, time).unwrap()
    };
    let waits = with(1.0, 1);
    let said = "; with the waits of this method that gives at most 1.00x the images/s of one stage";
    assert!(waits.contains(said), "{waits}");
    let shared = with(4.0, 2);
    assert!(
        shared.contains("of the time, which 2 replicas share, so that this cut gives at most 3."),
        "{shared}"
    );
    assert!(
        shared.contains("memory: batch size 64 for each replica, f32"),
        "{shared}"
    );
}
