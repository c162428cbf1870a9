//! Where a data set is, and what to say when it is not there.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::datasets::{archive, recognise};
use crate::error::DataError;
use crate::framing::Framing;

/// Where a data set is and how it is read.
#[derive(Clone, Debug, PartialEq)]
pub struct OpenOptions {
    /// Folder of the files, or one that holds their usual folder; not needed for `shapes`.
    pub data_dir: Option<PathBuf>,
    /// Side in pixels that images of an image folder are brought to; others have a fixed size.
    pub image_size: Option<usize>,
    /// How pictures of an image folder are brought to that size; [`Framing::CentreCrop`] asks for an image size.
    pub framing: Framing,
    /// What is seen through transparent parts of an image folder's pictures; white without it. Other sets have no such parts.
    pub background: Option<Colour>,
    /// An image folder is kept in memory, decoded, if it takes no more bytes than this. With [`Framing::CentreCrop`] only its images to
    /// evaluate on are.
    pub cache_bytes: u64,
    /// A share of the images of an image folder to evaluate on, where no folder holds others for that.
    pub val_split: Option<ValSplit>,
    /// Which images of an image folder a trained network is evaluated on; only [`crate::open_for_evaluation`] looks at it. Without
    /// it, those that choose the best weights.
    pub part: Option<EvaluationPart>,
    /// Opens an image folder even if more of its files are left out than used.
    pub allow_left_out: bool,
    /// Leaves out the pictures of an image folder that do not decode, instead of refusing the folder. To find them, every picture is
    /// decoded before anything else.
    pub skip_bad_images: bool,
    /// Seed of `shapes`: another seed draws other images. Other sets do not depend on it.
    pub seed: u64,
}

/// A part of the images that are not trained on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EvaluationPart {
    /// Those that choose the best weights, where there are others to test on.
    Validation,
    /// Those that choose nothing.
    Test,
}

/// What is set aside for evaluation of images that all lie in one folder: a share of each class, drawn at random. Of a class
/// with two images or more, each part has at least one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ValSplit {
    /// The share, above 0 and below 1.
    pub share: f64,
    /// Another seed draws other images.
    pub seed: u64,
}

impl Default for OpenOptions {
    /// No folder, native image size, white behind pictures, 1 GiB of cache, seed 0, nothing set aside, and no images left out for being damaged, nor
    /// most files.
    fn default() -> Self {
        Self {
            data_dir: None,
            image_size: None,
            framing: Framing::default(),
            background: None,
            cache_bytes: 1 << 30,
            val_split: None,
            part: None,
            allow_left_out: false,
            skip_bad_images: false,
            seed: 0,
        }
    }
}

/// A colour of 8 bits per channel: red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

impl Colour {
    /// White.
    pub const WHITE: Self = Self([255; 3]);
}

impl FromStr for Colour {
    type Err = NotAColour;

    /// Reads six hexadecimal digits, such as `ff8800` or `#ff8800`.
    fn from_str(text: &str) -> Result<Self, NotAColour> {
        let digits = text.strip_prefix('#').unwrap_or(text);
        let is_hex = digits.len() == 6 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        let number = is_hex.then(|| u32::from_str_radix(digits, 16).ok());
        let [_, red, green, blue] = number.flatten().ok_or(NotAColour)?.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

/// What is not a [`Colour`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a colour is six hexadecimal digits, such as ff8800")]
pub struct NotAColour;

impl OpenOptions {
    /// Refuses what means nothing for a data set whose images have one size, which is not resized, and no transparent parts.
    ///
    /// # Errors
    /// [`DataError::FixedImageSize`], [`DataError::NoTransparency`].
    pub(crate) fn fixed_size(&self, dataset: &'static str, native: usize) -> Result<(), DataError> {
        self.refuse_background(dataset)?;
        match self.image_size {
            Some(requested) if requested != native => Err(DataError::FixedImageSize {
                dataset,
                native,
                requested,
            }),
            _ => Ok(()),
        }
    }

    /// Refuses a background for images that have no transparent parts.
    ///
    /// # Errors
    /// [`DataError::NoTransparency`].
    pub(crate) fn refuse_background(&self, dataset: &'static str) -> Result<(), DataError> {
        match self.background {
            Some(_) => Err(DataError::NoTransparency { dataset }),
            None => Ok(()),
        }
    }
}

/// How a sentence on a folder begins that is not there.
pub(crate) const NO_FOLDER: &str = "there is no such folder";

/// Where the files of a data set usually are.
pub(crate) struct Place {
    pub(crate) dataset: &'static str,
    /// Folders within the given one that are looked into as well.
    pub(crate) folders: &'static [&'static str],
    /// The files, in words.
    pub(crate) looks_for: &'static str,
    /// Where they come from, and what to do with them.
    pub(crate) hint: &'static str,
}

impl Place {
    /// The folder given.
    ///
    /// # Errors
    /// [`DataError::MissingDataDir`].
    pub(crate) fn folder<'a>(&self, options: &'a OpenOptions) -> Result<&'a Path, DataError> {
        let Self {
            dataset,
            looks_for,
            hint,
            ..
        } = *self;
        options
            .data_dir
            .as_deref()
            .ok_or(DataError::MissingDataDir {
                dataset,
                looks_for,
                hint,
            })
    }

    /// What is said where the files are nowhere.
    pub(crate) fn nothing_there(&self, given: &Path) -> DataError {
        archive::refusal(self.dataset, given)
            .unwrap_or_else(|| self.not_found(given, self.what_is_there(given)))
    }

    fn what_is_there(&self, folder: &Path) -> String {
        let others = recognise::names(folder);
        match others.iter().find(|name| **name != self.dataset) {
            Some(other) => format!("it looks like --dataset {other}"),
            None => "they are neither there nor in the folders below".to_string(),
        }
    }

    pub(crate) fn not_found(&self, folder: &Path, reason: String) -> DataError {
        let Self {
            dataset,
            looks_for,
            hint,
            ..
        } = *self;
        let reason = match (folder.is_dir(), folder.exists()) {
            (true, _) => reason,
            (false, true) => "it is a file".to_string(),
            // It may be the name of a set in the folder above.
            (false, false) if reason.starts_with(NO_FOLDER) => reason,
            (false, false) => NO_FOLDER.to_string(),
        };
        DataError::NotFound {
            dataset,
            dir: folder.to_path_buf(),
            looks_for,
            reason,
            hint,
        }
    }
}
