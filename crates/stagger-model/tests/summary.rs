//! The printed summary of a model and its cut.

use stagger_model::{Balance, Cut, Model, StageSummaryInput, summary};

const STALE: StageSummaryInput = StageSummaryInput {
    staleness: 2,
    recompute: true,
};
const LAST: StageSummaryInput = StageSummaryInput {
    staleness: 0,
    recompute: false,
};

#[test]
fn resnet8_in_two_stages() {
    let model = Model::by_name("resnet8", [3, 32, 32], 10).unwrap();
    let cut = Balance::Auto.cut(&model, &[true, false], None).unwrap();
    insta::assert_snapshot!(summary(&model, &cut, &[STALE, LAST], 128).unwrap());
}

#[test]
fn runs_of_equal_blocks_are_shown_once() {
    let model = Model::by_name("resnet110", [3, 32, 32], 10).unwrap();
    let cut = Balance::Uniform.cut(&model, &[true, false], None).unwrap();
    let text = summary(&model, &cut, &[STALE, LAST], 128).unwrap();
    assert!(
        text.contains("layer1.1 to layer1.17, each like layer1.0"),
        "{text}"
    );
    assert!(text.lines().count() < 100, "{text}");
}

#[test]
fn a_kept_graph_is_counted_for_every_batch_in_flight() {
    let model = Model::by_name("resnet8", [3, 32, 32], 10).unwrap();
    let cut = Balance::Uniform.cut(&model, &[false], None).unwrap();
    let memory = |staleness| {
        let stage = StageSummaryInput {
            staleness,
            recompute: false,
        };
        let cost = model.cost(cut.stages()[0].clone()).unwrap();
        stagger_model::StageMemory::estimate(&cost, &[3, 32, 32], stage, 8)
    };
    assert_eq!(memory(2).graph_bytes, 3 * memory(0).graph_bytes);
    assert_eq!(memory(0).kept_input_bytes, 8 * 3 * 32 * 32 * 4);
    assert_eq!(memory(0).parameter_bytes, 3 * 4 * 75_290);
}

#[test]
fn a_cut_that_does_not_fit_is_refused() {
    let small = Model::by_name("resnet8", [3, 32, 32], 10).unwrap();
    let large = Model::by_name("resnet20", [3, 32, 32], 10).unwrap();
    let cut = Cut::new(&large, &[7, 4]).unwrap();
    let message = summary(&small, &cut, &[STALE, LAST], 1)
        .unwrap_err()
        .to_string();
    assert!(
        message.starts_with("the balance `7,4` deals out 11 blocks"),
        "{message}"
    );
    let message = summary(&large, &cut, &[LAST], 1).unwrap_err().to_string();
    assert!(
        message.starts_with("the balance `7,4` is for 2 stages but there are 1"),
        "{message}"
    );
}
