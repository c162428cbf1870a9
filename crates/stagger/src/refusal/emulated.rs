//! Weights of runs that have learned nothing.

use std::path::Path;

use stagger_engine::StageState;
use stagger_report::CONFIG_FILE;

use super::Refusal;
use crate::config_file;

/// Refuses the weights of an emulated run: there are none, whether its folder is named, or one of its snapshots, whose `state` has been
/// read.
pub(crate) fn refuse_emulated(path: &Path, state: Option<&StageState>) -> Result<(), Refusal> {
    let is_emulated = match state {
        Some(state) => stagger_emulate::is_emulated(state),
        // A config that cannot be read is told of by those who need it.
        None => config_file::read_of_run(&path.join(CONFIG_FILE))
            .is_ok_and(|options| options.emulate.is_some()),
    };
    match is_emulated {
        true => Err(Refusal::EmulatedRun {
            run: path.to_owned(),
        }),
        false => Ok(()),
    }
}
