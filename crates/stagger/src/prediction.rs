//! What a trained network says of pictures.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use stagger_data::image_folder::{Pictures, open_pictures};
use stagger_data::{Inventory, LeftOut, LeftOutReason, TrainedOn};
use stagger_engine::{HostTensor, StageState};
use stagger_report::{CONFIG_FILE, DATA_FILE, Prediction, ReportError, RunFolder, Weights};
use stagger_runtime::Interrupt;

use crate::config_file;
use crate::data_file;
use crate::error::Error;
use crate::evaluation::evaluate_with;
use crate::job::{FORMER_CPU, Given, Job, images};
use crate::options::TrainingOptions;
use crate::refusal::{Refusal, refuse_emulated};
use crate::run_weights::{InStages, RunWeights};

/// What a run's network says of pictures: for each, in their order, the `top` likeliest classes, or why it cannot be read. Paths
/// are files, or folders that are searched; see [`open_pictures`].
///
/// ```no_run
/// use stagger::{RunWeights, TrainingOptions, predict};
///
/// let pictures = ["holiday".into(), "cat.jpg".into()];
/// for found in predict("runs/a".as_ref(), &RunWeights::Best, &pictures, 1, TrainingOptions::default())? {
///     match found {
///         Ok(prediction) => println!("{prediction}"),
///         Err(error) => eprintln!("{error}"),
///     }
/// }
/// # Ok::<(), stagger::Error>(())
/// ```
///
/// # Errors
/// As [`PreparedPrediction::of_run`]; and when the stages fail.
pub fn predict(
    run: &Path,
    weights: &RunWeights,
    paths: &[PathBuf],
    top: usize,
    said: TrainingOptions,
) -> Result<Vec<Result<Prediction, Error>>, Error> {
    let prepared = PreparedPrediction::of_run(run, weights, paths, said)?;
    let mut all = Vec::new();
    prepared.run(top, |found| {
        all.push(found.map(|(prediction, _)| prediction));
        Ok(())
    })?;
    Ok(all)
}

/// A prediction that has been checked and is ready to start: the run, its weights and the paths of the pictures.
pub struct PreparedPrediction {
    job: Job,
    weights: PathBuf,
    notes: Vec<String>,
    states: Vec<StageState>,
    pictures: Arc<Pictures>,
    trained_on: TrainedOn,
}

impl PreparedPrediction {
    /// Reads a run and its weights, and looks for pictures. They become inputs as they do in [`crate::evaluate_run`]: in the size
    /// and normalised as those of the training, without augmentation. `said` takes precedence over the config of the run: the
    /// batch size of the evaluation, which changes no number, or the background of transparent pictures.
    ///
    /// # Errors
    /// When `run` is no run folder, does not say what it was trained on, or its weights do not fit its model; when a path is not
    /// there, or a folder holds no pictures.
    pub fn of_run(
        run: &Path,
        weights: &RunWeights,
        paths: &[PathBuf],
        said: TrainingOptions,
    ) -> Result<Self, Error> {
        refuse_emulated(run, None)?;
        let folder = RunFolder::open(run)?;
        let mut options = said.or(config_file::read_of_run(&folder.file(CONFIG_FILE))?);
        // Neither is where the pictures are, nor sets any of them aside.
        (options.data_dir, options.val_split, options.allow_left_out) = (None, None, None);
        // Weights do not depend on the engine.
        options.engine = options.engine.filter(|engine| engine != FORMER_CPU);
        let trained_on =
            data_file::read(&folder.file(DATA_FILE))?.ok_or_else(|| Error::NoDataFile {
                run: run.to_owned(),
                file: DATA_FILE,
            })?;
        let pictures = open_pictures(paths, images::background(&options)?, &trained_on)?;
        let given = Given {
            split: Some(pictures.split()),
            ..Given::default()
        };
        let job = Job::new(options, &given)?;
        job.engine.check(&job.options, 0..job.replicas.places())?;
        let InStages {
            path,
            notes,
            states,
        } = weights.read(&folder, &job)?;
        Ok(Self {
            job,
            weights: path,
            notes,
            states,
            pictures,
            trained_on,
        })
    }

    /// The weights file.
    pub fn weights(&self) -> &Path {
        &self.weights
    }

    /// Lines for people: what names in the weights file were translated, and what of the folders is left out.
    pub fn notes(&self) -> Vec<String> {
        let mut notes = self.notes.clone();
        let left_out = self.pictures.left_out();
        if !left_out.is_empty() {
            let words = Inventory::left_out(left_out, Path::new(""));
            notes.push(format!("left out: {words}"));
        }
        notes
    }

    /// How many files and folders in the folders could not be read, and may be or hold pictures: what is left out of them is not known.
    pub fn unreadable(&self) -> usize {
        let of = |left_out: &&LeftOut| left_out.reason == LeftOutReason::Unreadable;
        let found = self.pictures.left_out().iter().filter(of);
        found.map(|left_out| left_out.count).sum()
    }

    /// How many pictures there are, and may yet turn out to be damaged.
    pub fn pictures(&self) -> usize {
        self.pictures.paths().len()
    }

    /// Hands on what the network says of each picture, in their order and as soon as its batch is through: the `top` likeliest
    /// classes and the logits of all, or why the picture cannot be read.
    ///
    /// # Errors
    /// When `top` is 0, when the stages fail, and [`ReportError::Output`] with the error of `on_picture`, which ends the work.
    pub fn run(
        &self,
        top: usize,
        mut on_picture: impl FnMut(Result<(Prediction, &[f32]), Error>) -> io::Result<()>,
    ) -> Result<(), Error> {
        if top == 0 {
            return Err(Refusal::Zero { option: "top" }.into());
        }
        let names = &self.trained_on.class_names;
        let mut next = 0;
        let mut failure = None;
        let mut on_logits = |_batch: usize, logits: HostTensor| {
            for row in logits.data.chunks_exact(names.len()) {
                let found = self.found(next, row, top);
                next += 1;
                if let Err(error) = on_picture(found) {
                    failure = Some(error);
                    return Err("the output has failed".into());
                }
            }
            Ok(())
        };
        let interrupt = Interrupt::new();
        let ended = evaluate_with(&self.job, &self.states, &interrupt, Some(&mut on_logits));
        match failure {
            Some(source) => Err(ReportError::Output { source }.into()),
            None => ended.map(drop),
        }
    }

    fn found<'a>(
        &self,
        index: usize,
        logits: &'a [f32],
        top: usize,
    ) -> Result<(Prediction, &'a [f32]), Error> {
        let path = &self.pictures.paths()[index];
        if let Some(error) = self.pictures.take_failure(index) {
            return Err(error.into());
        }
        if logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::NoScores { path: path.clone() });
        }
        let names = &self.trained_on.class_names;
        Ok((
            Prediction::of_logits(path.clone(), logits, names, top),
            logits,
        ))
    }

    /// An empty collection of logits, for [`LogitsOf::to_safetensors`].
    pub fn collect_logits(&self) -> LogitsOf {
        LogitsOf {
            class_names: self.trained_on.class_names.clone(),
            files: Vec::new(),
            values: Vec::new(),
        }
    }
}

impl fmt::Debug for PreparedPrediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PreparedPrediction")
            .field("weights", &self.weights)
            .field("pictures", &self.pictures)
            .finish_non_exhaustive()
    }
}

/// Logits of pictures, for a file.
#[derive(Clone, Debug)]
pub struct LogitsOf {
    class_names: Vec<String>,
    files: Vec<String>,
    values: Vec<f32>,
}

impl LogitsOf {
    /// Adds those of one picture.
    pub fn push(&mut self, prediction: &Prediction, logits: &[f32]) {
        self.files
            .push(prediction.file.to_string_lossy().into_owned());
        self.values.extend_from_slice(logits);
    }

    /// The bytes of a safetensors file with one tensor, `logits` (`[N, classes]`, f32). Its metadata have two JSON lists: `files`,
    /// with the picture of each row, and `class_names`, with the class of each column.
    ///
    /// # Errors
    /// A sentence, when a tensor has not as many values as its shape says, which rows of other lengths would cause.
    pub fn to_safetensors(self) -> Result<Vec<u8>, String> {
        let logits = HostTensor {
            shape: vec![self.files.len(), self.class_names.len()],
            data: self.values,
        };
        let metadata = BTreeMap::from([
            ("files".to_owned(), json!(self.files).to_string()),
            (
                "class_names".to_owned(),
                json!(self.class_names).to_string(),
            ),
        ]);
        let state = StageState {
            tensors: [("logits".to_owned(), logits)].into(),
            ..StageState::default()
        };
        stagger_report::encode_weights(&Weights { metadata, state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluation::PreparedEvaluation;
    use crate::options::Augment;
    use crate::training::Training;
    use image::{Rgb, RgbImage};

    /// Pictures of other sizes than that of training, in two classes.
    fn pictures(folder: &Path) {
        for (part, count) in [("train", 6), ("val", 5)] {
            for class in ["a", "b"] {
                let folder = folder.join(part).join(class);
                std::fs::create_dir_all(&folder).unwrap();
                for number in 0..count {
                    let seed = number * 7 + class.len() as u32 * 3;
                    let image = RgbImage::from_fn(20 + number, 24, |x, y| {
                        Rgb([x * seed, y * 9 + seed, x * y].map(|value| value as u8))
                    });
                    image.save(folder.join(format!("{number}.png"))).unwrap();
                }
            }
        }
    }

    /// Logits are those of the evaluation, to the bit: by the same preprocessing and the same stages, in batches of any size.
    #[test]
    fn logits_are_those_of_the_evaluation() {
        for augment in [Augment::CropAndFlip, Augment::ImageNet] {
            logits_agree(augment);
        }
    }

    fn logits_agree(augment: Augment) {
        let folder = tempfile::tempdir().unwrap();
        let (data, run) = (folder.path().join("d"), folder.path().join("run"));
        pictures(&data);
        Training::new()
            .options(TrainingOptions {
                dataset: Some("image-folder".to_owned()),
                data_dir: Some(data.clone()),
                image_size: Some(16),
                augment: Some(augment),
                batch_size: Some(4),
                epochs: Some(2),
                output: Some(run.clone()),
                ..TrainingOptions::default()
            })
            .run()
            .unwrap();
        let said = TrainingOptions::default;
        let evaluation = PreparedEvaluation::of_run(&run, &RunWeights::Last, said()).unwrap();
        let mut evaluated: Vec<u32> = Vec::new();
        let mut keep = |_: usize, logits: HostTensor| {
            evaluated.extend(logits.data.iter().map(|logit| logit.to_bits()));
            Ok(())
        };
        evaluation.run_with(Some(&mut keep)).unwrap();
        assert_eq!(evaluated.len(), 10 * 2);
        for batch_size in [4, 1, 100] {
            let said = TrainingOptions {
                eval_batch_size: Some(batch_size),
                ..said()
            };
            let paths = [data.join("val")];
            let prepared =
                PreparedPrediction::of_run(&run, &RunWeights::Last, &paths, said).unwrap();
            let mut predicted = Vec::new();
            prepared
                .run(1, |found| {
                    let (_, logits) = found.unwrap();
                    predicted.extend(logits.iter().map(|logit| logit.to_bits()));
                    Ok(())
                })
                .unwrap();
            assert_eq!(
                predicted, evaluated,
                "{augment}: in batches of {batch_size}"
            );
        }
    }
}
