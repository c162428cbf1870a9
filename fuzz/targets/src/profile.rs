//! Profiles of `stagger profile`, as a run is cut by them.

use stagger::model::Model;
use stagger::plan::{Pipeline, Profile};
use stagger::schedule::Schedule;

use crate::bounded;

/// A distribution takes a few times the room of its shortest text, `0,`.
const FACTOR: usize = 1024;

/// Checks one input; text that is not UTF-8 is none.
pub fn check(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(profile) = bounded(text.as_bytes(), FACTOR, || Profile::from_json(text)) else {
        return;
    };
    let written = profile.to_json().unwrap();
    assert_eq!(Profile::from_json(&written).unwrap(), profile);
    for costs in profile.block_costs(8, 2) {
        costs.validate(profile.blocks.len()).unwrap();
    }
    let Ok(model) = Model::by_name("resnet8", [3, 8, 8], 10) else {
        return;
    };
    // A profile of a model with another number of blocks, or with other devices, is told and no panic.
    let cut = stagger::model::Cut::new(&model, &[2, 3]).unwrap();
    let schedule = Schedule::parse("dsp", Some(2)).unwrap();
    let _ = Pipeline::of(&profile, &schedule, cut.stages(), 8);
}
