//! What the weights of a run come to on images that have chosen nothing, once it has ended.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use stagger_data::{Dataset, Split, foreign};
use stagger_engine::StageState;
use stagger_report::snapshot::SnapshotStore;
use stagger_report::{
    BEST_WEIGHTS_FILE, CONFIG_FILE, LAST_WEIGHTS_FILE, TEST_FILE, checksum, read_weights_inside,
};
use stagger_runtime::Event;

use super::data_check;
use super::session::{Session, StartPoint, Stretch};
use crate::config_file;
use crate::error::Error;
use crate::job::Job;

/// Accuracies on the images that have chosen nothing: neither weights nor hyperparameters.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FinalTest {
    /// Where the images are, if they were found in a folder.
    pub folder: Option<PathBuf>,
    /// Number of images.
    pub samples: usize,
    /// With the weights of the end.
    pub last: TestScores,
    /// With those that were best on the images that choose; `None` where no file has them.
    pub best: Option<TestScores>,
}

/// What weights come to on images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TestScores {
    /// Version of the weights.
    pub version: usize,
    /// Mean loss, without label smoothing.
    pub loss: f64,
    /// Images whose label had the highest score, in percent.
    pub top1: f64,
    /// Images whose label was among the five highest scores, in percent.
    pub top5: f64,
}

impl fmt::Display for FinalTest {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.samples;
        write!(f, "test at the end, {samples} images: ")?;
        match &self.best {
            Some(best) if best.version != self.last.version => {
                write!(
                    f,
                    "{best} with the best weights, {} with the last",
                    self.last
                )
            }
            Some(best) => write!(f, "{best} with the last weights, which are the best"),
            None => write!(f, "{} with the last weights", self.last),
        }
    }
}

impl fmt::Display for TestScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            loss, top1, top5, ..
        } = self;
        write!(f, "{top1:.1} % (top-5 {top5:.1} %, loss {loss:.3})")
    }
}

/// Whether a run that ends at a version is tested then.
fn is_due(job: &Job, version: usize) -> bool {
    job.split.final_test.is_some() && job.options.evaluate != Some(false) && version > 0
}

/// Whether the folder has the test of the weights of a version: a process that is killed in it leaves none.
fn is_there(run: &Path, version: usize) -> bool {
    /// Far more than the file has.
    const MOST_BYTES: u64 = 1 << 20;
    let bytes = foreign::read_inside(&run.join(TEST_FILE), MOST_BYTES);
    // Earlier builds wrote no checksum.
    let is_whole = |bytes: &Vec<u8>| checksum::check_json(bytes).is_ok();
    let found = bytes
        .ok()
        .filter(is_whole)
        .and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    found.is_some_and(|found| found["last"]["version"].as_u64() == Some(version as u64))
}

/// Whether a run that ended at a version was to be tested then and is not, as its newest manifest and its config say.
pub fn lacks(run: &Path, version: usize) -> bool {
    let mut store = SnapshotStore::of_run(run);
    let newest = store
        .versions()
        .ok()
        .and_then(|mut versions| versions.pop());
    let manifest = newest.and_then(|(_, path)| store.manifest(&path).ok());
    let has_images = manifest.is_some_and(|manifest| manifest.data.iter().any(data_check::is_test));
    let config = config_file::read_of_run(&run.join(CONFIG_FILE));
    let is_asked_for = config.is_ok_and(|config| config.evaluate != Some(false));
    has_images && is_asked_for && !is_there(run, version)
}

impl Session<'_, '_> {
    /// Tests the weights of a run that has come to its end, and writes the result to its folder. Gives nothing where there are no
    /// images for that, where nothing is to be evaluated, and for a run that was cut short.
    pub fn test_at_the_end(&self, stretch: &Stretch) -> Result<Option<FinalTest>, Error> {
        let (Some(images), Ok(outcome)) = (&self.job.split.final_test, &stretch.ended) else {
            return Ok(None);
        };
        if !is_due(self.job, outcome.version) || outcome.interrupted || stretch.finished.is_err() {
            return Ok(None);
        }
        let best = stretch.summary.best_test_top1.map(|(version, _)| version);
        self.test_weights(images, outcome.version, best, stretch.last_weights.as_ref())
    }

    /// Tests the weights of a run that has ended and was to be tested, where its process ended before it was.
    pub fn test_missing(&self, from: &StartPoint) -> Result<Option<FinalTest>, Error> {
        let version = from.version();
        let is_there = self
            .folder
            .is_some_and(|folder| is_there(folder.path(), version));
        match &self.job.split.final_test {
            Some(images) if is_due(self.job, version) && !is_there => {
                let best = from.progress.best.map(|(version, _)| version);
                self.test_weights(images, version, best, None)
            }
            _ => Ok(None),
        }
    }

    /// Tests the weights of the end, at a version, and the best ones; without a folder the former are given.
    fn test_weights(
        &self,
        images: &Arc<dyn Dataset>,
        version: usize,
        best: Option<usize>,
        last_weights: Option<&StageState>,
    ) -> Result<Option<FinalTest>, Error> {
        let job = Job {
            split: Split {
                test: Arc::clone(images),
                ..self.job.split.clone()
            },
            ..self.job.clone()
        };
        let last = match self.folder {
            Some(folder) => read_weights_inside(&folder.file(LAST_WEIGHTS_FILE))?.state,
            None => last_weights.cloned().ok_or(Error::NoWeights)?,
        };
        let last = self.test(&job, &last, version)?;
        let best = match (best, self.folder) {
            (Some(version), _) if version == last.version => Some(last),
            (Some(version), Some(folder)) => {
                let best = read_weights_inside(&folder.file(BEST_WEIGHTS_FILE))?.state;
                Some(self.test(&job, &best, version)?)
            }
            _ => None,
        };
        let inventory = job.split.inventory.as_ref();
        let found = FinalTest {
            folder: inventory
                .and_then(|inventory| inventory.final_test.as_ref())
                .map(|part| part.folder.clone()),
            samples: images.len(),
            last,
            best,
        };
        if let Some(folder) = self.folder {
            // A path that is no text has no form in JSON, and is left out.
            let object = serde_json::to_vec_pretty(&found).or_else(|_| {
                serde_json::to_vec_pretty(&FinalTest {
                    folder: None,
                    ..found.clone()
                })
            });
            let object = object.map(checksum::seal_json);
            folder.write(TEST_FILE, &object.unwrap_or_default())?;
        }
        Ok(Some(found))
    }

    fn test(&self, job: &Job, state: &StageState, of: usize) -> Result<TestScores, Error> {
        let Some(Event::Evaluated {
            samples,
            loss,
            correct_top1,
            correct_top5,
            ..
        }) = self.evaluate(job, state)?
        else {
            return Err(Error::NotEvaluated);
        };
        let percent = |correct: usize| 100.0 * correct as f64 / samples as f64;
        Ok(TestScores {
            version: of,
            loss,
            top1: percent(correct_top1),
            top5: percent(correct_top5),
        })
    }
}
