//! TOML files: values of `stagger train`, and models.

use stagger::config_file;
use stagger::model::{Balance, CostModel, Model, StageSummaryInput, SummaryTime, summary};

use crate::bounded;

/// The parser keeps a few words for every token.
const FACTOR: usize = 1024;

/// Checks one input; text that is not UTF-8 is none.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(values) = bounded(text.as_bytes(), FACTOR, || config_file::parse(text)) {
        // Text is compared, as NaN differs from itself.
        let written = toml::to_string(&values).unwrap();
        let again = config_file::parse(&written).unwrap();
        assert_eq!(toml::to_string(&again).unwrap(), written);
    }
    let model = bounded(text.as_bytes(), FACTOR, || toml::from_str::<Model>(text));
    if let Ok(model) = model {
        let written = toml::to_string(&model).unwrap();
        assert_eq!(toml::from_str::<Model>(&written).unwrap(), model);
        describe(&model);
    }
    // A model file, for two kinds of images.
    for (input, classes) in [([3, 16, 16], 5), ([1, 8, 8], 10)] {
        let read = bounded(text.as_bytes(), FACTOR, || {
            Model::from_toml(text, input, classes)
        });
        match read {
            Ok(model) => {
                assert_eq!(Model::name_in_toml(text).unwrap(), model.name);
                let written = toml::to_string(&model).unwrap();
                assert_eq!(
                    Model::from_toml(&written, input, classes).unwrap(),
                    model
                );
                describe(&model);
            }
            Err(error) => assert!(error.line <= text.lines().count() + 1),
        }
    }
}

/// Whatever a checked model holds, it can be cut and described.
fn describe(model: &Model) {
    for stages in 1..=model.blocks.len().min(3) {
        let recompute = vec![true; stages];
        let Ok(cut) = Balance::Auto.cut(model, &recompute, None) else {
            continue;
        };
        assert_eq!(cut.sizes().iter().sum::<usize>(), model.blocks.len());
        let stage = StageSummaryInput {
            staleness: 2,
            recompute: true,
            micro_batches: 1,
            kept_micro_batches: 2,
            weight_copies: 1,
        };
        let time = SummaryTime {
            costs: &CostModel::default(),
            of: "engine cpu",
            most_speedup: 1.0,
            replicas: 1,
        };
        summary(model, &cut, &vec![stage; stages], 8, time).unwrap();
    }
}
