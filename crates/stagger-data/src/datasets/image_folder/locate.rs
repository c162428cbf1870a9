//! Finds the folders of the splits: by their names, whatever their case.

use std::fs;
use std::path::{Path, PathBuf};

use super::PLACE;
use super::walk::{entries, first_image, is_hidden};
use crate::datasets::archive;
use crate::error::DataError;
use crate::place::EvaluationPart;
use crate::shown;

/// Names of folders of images to train on, in the order of preference; likewise below.
const TRAIN: &[&str] = &["train", "training"];
/// Of images to choose the best weights by.
const VALIDATION: &[&str] = &["val", "valid", "validation"];
/// Of images to test on at the end, or to evaluate on where there are none of the former.
const TEST: &[&str] = &["test", "testing"];
/// How many names in each folder are looked at, at most, where there are no splits and the question is only what to say.
const MOST_NAMES: usize = 1000;
/// How many folders are looked into for the same question.
const MOST_FOLDERS: usize = 1000;

/// Where the images are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Images to train on and images to evaluate on have folders of their own.
    Apart {
        train: PathBuf,
        test: PathBuf,
        /// Images to test on at the end, where others choose the best weights.
        final_test: Option<PathBuf>,
    },
    /// All lie in one folder of class folders, and some are to be set aside for evaluation.
    Together {
        folder: PathBuf,
        final_test: Option<PathBuf>,
    },
}

/// Finds the splits in `folder`, or in the only folder within it that has them. With `sets_aside`, images to evaluate on are
/// taken from those to train on.
///
/// # Errors
/// [`DataError::NotFound`], [`DataError::Layout`] or [`DataError::ValSplitUnused`], which say what is there instead.
pub(crate) fn locate(folder: &Path, sets_aside: bool) -> Result<Layout, DataError> {
    let splits = Splits::of(folder)?;
    if splits.has_train(sets_aside) {
        return splits.layout(sets_aside);
    }
    let folders = folders(folder);
    let inner = folders.iter().filter_map(|folder| Splits::of(folder).ok());
    let (complete, partial): (Vec<Splits>, Vec<Splits>) = inner
        .filter(|inner| inner.has_train(sets_aside))
        .partition(|inner| sets_aside || inner.has_evaluation());
    match (&complete[..], &partial[..]) {
        // The latter is told what it lacks.
        ([only], _) | ([], [only]) => return only.layout(sets_aside),
        ([], _) => {}
        (several, _) => {
            let reason = format!(
                "{} folders in it hold such images; name one of them",
                several.len()
            );
            return Err(PLACE.not_found(folder, reason));
        }
    }
    match splits.validation.first().or(splits.test.first()) {
        Some(evaluation) => {
            let dir = shown::path(folder);
            Err(DataError::Layout {
                found: format!(
                    "{} is there, and no folder train beside it",
                    shown::path(evaluation)
                ),
                remedy: format!("put the images to train on into {dir}/train/CLASS"),
            })
        }
        None => without_splits(folder, &folders, sets_aside),
    }
}

/// Finds the images to evaluate a trained network on: the folder with the name of such a split, or of the part that is asked for,
/// in `folder` or in the only folder within it that has one, else `folder` itself, whose folders are then the classes. The second
/// is of folders with such names that are not used.
///
/// # Errors
/// As [`locate`]; [`DataError::Layout`] where there is no folder of the part that is asked for.
pub(super) fn locate_evaluation(
    folder: &Path,
    part: Option<EvaluationPart>,
) -> Result<(PathBuf, Vec<PathBuf>), DataError> {
    let splits = Splits::of(folder)?;
    if splits.has_evaluation() {
        return splits.evaluation(part);
    }
    if splits.has_train(false) && part.is_none() {
        // It says what is missing.
        splits.layout(false)?;
    }
    let folders = folders(folder);
    let inner = folders.iter().filter_map(|folder| Splits::of(folder).ok());
    let inner: Vec<Splits> = inner.filter(Splits::has_evaluation).collect();
    match (&inner[..], part) {
        ([], Some(part)) => Err(splits.lacks(part)),
        ([], _) if folders.is_empty() => {
            without_splits(folder, &folders, false).map(|_| (folder.to_path_buf(), Vec::new()))
        }
        ([], _) => Ok((folder.to_path_buf(), Vec::new())),
        ([only], part) => only.evaluation(part),
        (several, _) => {
            let reason = format!(
                "{} folders in it hold such images; name one of them",
                several.len()
            );
            Err(PLACE.not_found(folder, reason))
        }
    }
}

/// The layout of a folder that has no splits.
fn without_splits(
    folder: &Path,
    folders: &[PathBuf],
    sets_aside: bool,
) -> Result<Layout, DataError> {
    if sets_aside && let Some(first) = folders.first() {
        // A single folder of folders holds the classes: by itself it would be the only one.
        let is_above = folders.len() == 1 && !self::folders(first).is_empty();
        return Ok(Layout::Together {
            folder: if is_above { first } else { folder }.to_path_buf(),
            final_test: None,
        });
    }
    let dir = shown::path(folder);
    let looked_into = folders.iter().take(MOST_FOLDERS);
    let with_images: Vec<&PathBuf> = looked_into
        .filter(|folder| first_image(folder, MOST_NAMES).is_some())
        .collect();
    if let Some(first) = with_images.first() {
        let found = match with_images.len() {
            1 => format!(
                "{} holds images, and there is no folder train",
                shown::path(first)
            ),
            several => format!(
                "{dir} has {several} folders of images, such as {}, and no folder train",
                shown::path(first)
            ),
        };
        let classes_in = match with_images.len() == 1 && !self::folders(first).is_empty() {
            true => shown::path(first),
            false => dir,
        };
        return Err(DataError::Layout {
            found,
            remedy: format!(
                "if the folders in {classes_in} are the classes, set a tenth of each aside for evaluation with --val-split 0.1, \
                 else put each class into {classes_in}/train/CLASS and {classes_in}/val/CLASS"
            ),
        });
    }
    match first_image(folder, MOST_NAMES) {
        Some(image) => Err(DataError::Layout {
            found: format!(
                "{dir} holds images itself, such as {}, and no folder for each class",
                shown::path(&image)
            ),
            remedy: format!(
                "put those of each class into a folder of its own, {dir}/CLASS, and set a tenth aside for evaluation with \
                 --val-split 0.1"
            ),
        }),
        None => Err(archive::refusal(PLACE.dataset, folder).unwrap_or_else(|| {
            let reason = "there is no folder train, neither in it nor one level below".to_string();
            PLACE.not_found(folder, reason)
        })),
    }
}

/// Folders by whose names they hold a split.
#[derive(Debug)]
struct Splits {
    folder: PathBuf,
    train: Vec<PathBuf>,
    validation: Vec<PathBuf>,
    test: Vec<PathBuf>,
    /// Links of such names that lead nowhere.
    dangling: Vec<PathBuf>,
}

impl Splits {
    fn of(folder: &Path) -> Result<Self, DataError> {
        let mut splits = Self {
            folder: folder.to_path_buf(),
            train: Vec::new(),
            validation: Vec::new(),
            test: Vec::new(),
            dangling: Vec::new(),
        };
        let all = entries(folder).map_err(|error| {
            archive::refusal(PLACE.dataset, folder)
                .unwrap_or_else(|| PLACE.not_found(folder, error.to_string()))
        })?;
        // Preferred names first.
        for (names, is_rank) in [TRAIN, VALIDATION, TEST].map(|names| (names, 0..names.len())) {
            for rank in is_rank {
                for (name, path, _) in &all {
                    let name = name.to_str().unwrap_or_default();
                    if !name.eq_ignore_ascii_case(names[rank]) {
                        continue;
                    }
                    let place = match (path.is_dir(), path.is_symlink()) {
                        (true, _) if names == TRAIN => &mut splits.train,
                        (true, _) if names == VALIDATION => &mut splits.validation,
                        (true, _) => &mut splits.test,
                        (false, true) => &mut splits.dangling,
                        (false, false) => continue,
                    };
                    place.push(path.clone());
                }
            }
        }
        Ok(splits)
    }

    fn has_train(&self, sets_aside: bool) -> bool {
        // All by itself, and without folders, it is a class of that name.
        let is_class = |train: &PathBuf| folders(train).is_empty();
        let may_be_class = sets_aside && !self.has_evaluation();
        match may_be_class {
            true => self.train.iter().any(|train| !is_class(train)),
            false => !self.train.is_empty(),
        }
    }

    fn has_evaluation(&self) -> bool {
        !self.validation.is_empty() || !self.test.is_empty()
    }

    /// The folder to evaluate on, and those of such names that are not used.
    fn evaluation(
        &self,
        part: Option<EvaluationPart>,
    ) -> Result<(PathBuf, Vec<PathBuf>), DataError> {
        if let Some(part) = part {
            let found = match part {
                EvaluationPart::Validation => the_only(&self.validation)?,
                EvaluationPart::Test => the_only(&self.test)?,
            };
            let found = found.ok_or_else(|| self.lacks(part))?;
            return Ok((found, Vec::new()));
        }
        match the_only(&self.validation)? {
            Some(validation) => Ok((validation, self.test.clone())),
            None => {
                let test = the_only(&self.test)?;
                Ok((test.unwrap_or_else(|| self.folder.clone()), Vec::new()))
            }
        }
    }

    fn lacks(&self, part: EvaluationPart) -> DataError {
        let names = match part {
            EvaluationPart::Validation => VALIDATION,
            EvaluationPart::Test => TEST,
        };
        let (first, others) = (names[0], names[1..].join(" or "));
        DataError::Layout {
            found: format!(
                "{} has no folder {first} ({others})",
                shown::path(&self.folder)
            ),
            remedy: "leave --split out to evaluate on the images that are there".to_string(),
        }
    }

    fn layout(&self, sets_aside: bool) -> Result<Layout, DataError> {
        let train = the_only(&self.train)?;
        let (validation, test) = (the_only(&self.validation)?, the_only(&self.test)?);
        let (train, test) = match (train, validation) {
            (None, _) => (None, None),
            (Some(_), Some(path)) if sets_aside => return Err(DataError::ValSplitUnused { path }),
            (Some(folder), None) if sets_aside => {
                return Ok(Layout::Together {
                    folder,
                    final_test: test,
                });
            }
            (Some(train), Some(validation)) => {
                return Ok(Layout::Apart {
                    train,
                    test: validation,
                    final_test: test,
                });
            }
            (Some(train), None) => (Some(train), test),
        };
        let dir = shown::path(&self.folder);
        match (train, test) {
            (Some(train), Some(test)) => Ok(Layout::Apart {
                train,
                test,
                final_test: None,
            }),
            (train, _) => {
                let train = train.unwrap_or_else(|| self.folder.join("train"));
                let found = match self.dangling.first() {
                    Some(link) => format!(
                        "{} is there, but {} is a link that leads nowhere",
                        shown::path(&train),
                        shown::path(link)
                    ),
                    None => format!(
                        "{} is there, and neither val nor test beside it",
                        shown::path(&train)
                    ),
                };
                Err(DataError::Layout {
                    found,
                    remedy: format!(
                        "put images to evaluate on into {dir}/val/CLASS, or set a tenth of those to train on aside with \
                         --val-split 0.1"
                    ),
                })
            }
        }
    }
}

/// The folder of a split, where its names do not lead to several.
fn the_only(folders: &[PathBuf]) -> Result<Option<PathBuf>, DataError> {
    let Some((first, others)) = folders.split_first() else {
        return Ok(None);
    };
    let real = fs::canonicalize(first).ok();
    match others
        .iter()
        .find(|other| real.is_none() || fs::canonicalize(other).ok() != real)
    {
        None => Ok(Some(first.clone())),
        Some(other) => Err(DataError::Layout {
            found: format!(
                "{} and {} are both names for the same part of the images",
                shown::path(first),
                shown::path(other)
            ),
            remedy: "keep one of them, and rename or move the other".to_string(),
        }),
    }
}

/// The folders in a folder, hidden ones left out; none if it cannot be read.
fn folders(folder: &Path) -> Vec<PathBuf> {
    let entries = entries(folder).unwrap_or_default();
    let folders = entries
        .into_iter()
        .filter(|(name, path, kind)| !is_hidden(name) && (kind.is_dir() || path.is_dir()));
    folders.map(|(_, path, _)| path).collect()
}
