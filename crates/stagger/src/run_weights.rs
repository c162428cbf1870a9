//! Which weights of a run are looked at, and how they come into its stages.

use std::path::{Path, PathBuf};

use stagger_data::{foreign, shown_path};
use stagger_engine::StageState;
use stagger_report::snapshot::SnapshotStore;
use stagger_report::{
    AVERAGE_WEIGHTS_FILE, BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE, RunFolder, read_weights,
    read_weights_inside,
};

use crate::error::Error;
use crate::job::Job;
use crate::stages;
use crate::training::{best_of_run, with_class_names};
use crate::weights_fit::{self, Classes};

/// Which weights of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RunWeights {
    /// Those with the highest test accuracy.
    #[default]
    Best,
    /// Those at the end.
    Last,
    /// Their running mean at the end, of a run that keeps one (option `ema`).
    Average,
    /// Those in a safetensors file.
    File(PathBuf),
}

/// Weights, by stage.
pub(crate) struct InStages {
    /// Their file.
    pub path: PathBuf,
    /// What names in the file were translated.
    pub notes: Vec<String>,
    pub states: Vec<StageState>,
}

/// Whether there is a snapshot of a version.
fn has_snapshot(run: &Path, version: usize) -> bool {
    let versions = SnapshotStore::of_run(run).versions();
    versions.is_ok_and(|versions| versions.iter().any(|(found, _)| *found == version))
}

impl RunWeights {
    /// Reads them. What does not fit is told before anything runs.
    pub(crate) fn read(&self, folder: &RunFolder, job: &Job) -> Result<InStages, Error> {
        let path = match self {
            Self::Best => folder.file(BEST_WEIGHTS_FILE),
            Self::Last => folder.file(LAST_WEIGHTS_FILE),
            Self::Average => folder.file(AVERAGE_WEIGHTS_FILE),
            Self::File(path) => path.clone(),
        };
        if *self == Self::Best && !foreign::is_there(&path) {
            let (run, file) = (folder.path().to_owned(), BEST_WEIGHTS_FILE);
            return Err(match best_of_run(&run) {
                Some((version, _)) => Error::BestWeightsGone {
                    snapshot: Some(version).filter(|version| has_snapshot(&run, *version)),
                    run,
                    file,
                },
                None => Error::NoBestWeights { run, file },
            });
        }
        if *self == Self::Average && !foreign::is_there(&path) {
            return Err(Error::NoAverageWeights {
                run: folder.path().to_owned(),
                file: AVERAGE_WEIGHTS_FILE,
            });
        }
        let found = match self {
            Self::File(_) => read_weights(&path)?,
            Self::Best | Self::Last | Self::Average => read_weights_inside(&path)?,
        };
        let (state, there) = with_class_names(found);
        let here = job.split.train.class_names();
        let classes = Classes::compare(there.as_deref(), here);
        let mut notes = Vec::new();
        let from = shown_path(&path);
        let mut whole =
            weights_fit::fit(&job.model, state, &from, &mut notes).map_err(|misfit| {
                Error::Weights {
                    path: path.clone(),
                    model: Some(job.model.name.clone()),
                    what: misfit.to_string(),
                }
            })?;
        match classes {
            Classes::Order(order) => {
                weights_fit::reorder(&job.model, &mut whole, &order);
                let there = there.as_deref().unwrap_or_default();
                notes.push(weights_fit::reordered(&from, there, here));
            }
            Classes::Others(difference) => return Err(Error::OtherClasses { path, difference }),
            Classes::Same => {}
        }
        let states = stages::split_state(job, &whole);
        stages::check_states(job, &states).map_err(|error| Error::Weights {
            path: path.clone(),
            model: None,
            what: error.to_string(),
        })?;
        Ok(InStages {
            path,
            notes,
            states,
        })
    }
}
