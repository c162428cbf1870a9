//! Whether a finished run in the folder of a series is the one that was asked for.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use stagger::config_file;
use stagger::data::shown_path;
use stagger::report::compare::RunResult;
use stagger::{Spelling, TrainingOptions};

use super::{Means, differing, table};

/// Options whose absence says as much as a value.
const SAID_BY_ABSENCE: [&str; 2] = ["network", "straggler"];

/// Makes sure that a run has the options that were `said`, in the form that it gives them (`means`). What was not said may have had
/// another default then.
///
/// # Errors
/// One sentence on the first that differs, and when the run's own config cannot be read; and where its images were others than those at
/// hand.
pub fn check(run: &Path, result: &RunResult, said: &TrainingOptions, means: &Means) -> Result<()> {
    let ran = config_file::of_run(run).map_err(|error| {
        let error = stagger::Error::from(error).sentence(Spelling::Flags);
        anyhow!(
            "it cannot be told whether {} is the run that was asked for: {error}; move the folder away to have it run again",
            shown_path(run)
        )
    })?;
    let fingerprints = means.fingerprints.iter().flatten();
    let (said, means, ran) = (table(said)?, table(&means.options)?, table(&ran)?);
    let keys = said.keys().map(String::as_str).chain(SAID_BY_ABSENCE);
    for key in keys.filter(|key| *key != "output") {
        let (here, there) = (means.get(key), ran.get(key));
        if here != there {
            bail!(
                "{} is another run than the one that was asked for: {}; move it away to have this one run",
                shown_path(run),
                differing(key, here, there)
            );
        }
    }
    for (part, (then, now)) in ["train", "evaluate"]
        .into_iter()
        .zip(result.fingerprints.iter().zip(fingerprints))
    {
        // Earlier builds have not written all of them.
        if then.as_ref().is_some_and(|then| then != now) {
            bail!(
                "{} has gone by other images to {part} on than those that are there now, and other runs would not be like it; put the images \
                 back, or choose another --output",
                shown_path(run)
            );
        }
    }
    Ok(())
}
