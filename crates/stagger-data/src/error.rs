//! What can be wrong with a data set.

use std::io;
use std::path::{Path, PathBuf};

use crate::file_error::FileError;
use crate::shown::path as shown;

/// Every error of this crate; each message is one sentence that says what, where, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// Something is wrong with a file.
    #[error(transparent)]
    File(#[from] FileError),
    /// No data set has this name.
    #[error("there is no data set '{name}'; known are {known}")]
    UnknownDataset {
        /// The name asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// The data set lies in files, and no folder was given.
    #[error("{dataset} needs a data folder that holds {looks_for}; {hint}")]
    MissingDataDir {
        /// Name of the data set.
        dataset: &'static str,
        /// The files it reads.
        looks_for: &'static str,
        /// Where the files come from.
        hint: &'static str,
    },
    /// The folder does not hold the files of the data set.
    #[error("{dataset}: {} does not hold {looks_for}: {reason}; {hint}", shown(.dir))]
    NotFound {
        /// Name of the data set.
        dataset: &'static str,
        /// The folder given.
        dir: PathBuf,
        /// The files it reads.
        looks_for: &'static str,
        /// What was found instead.
        reason: String,
        /// Where the files come from.
        hint: &'static str,
    },
    /// The images of this data set have one size and are not resized.
    #[error(
        "{dataset} has images of {native}×{native} pixels that are not resized, but an image size \
         of {requested} was asked for; leave the image size out"
    )]
    FixedImageSize {
        /// Name of the data set.
        dataset: &'static str,
        /// Side of its images in pixels.
        native: usize,
        /// The size asked for.
        requested: usize,
    },
    /// A background for images that have no transparent parts.
    #[error(
        "{dataset} has no transparent images, but a background was asked for; leave the background out"
    )]
    NoTransparency {
        /// Name of the data set.
        dataset: &'static str,
    },
    /// An image size that cannot be resized to.
    #[error("an image size of {requested} was asked for; it must be from 1 to {most} pixels")]
    ImageSize {
        /// The size asked for.
        requested: usize,
        /// The largest side.
        most: usize,
    },
    /// Pictures are to be cropped to a size that is not said.
    #[error("crops of pictures were asked for and no image size; give one, such as 224")]
    NoImageSize,
    /// Pictures are to be cropped of a data set whose images have one size.
    #[error(
        "{dataset} has images of one size, and crops of pictures were asked for; take an image folder, or leave them out"
    )]
    NoPictures {
        /// Name of the data set.
        dataset: &'static str,
    },
    /// An augmentation of colour pictures, and the images have another number of channels.
    #[error(
        "{what} needs images of three channels, and those of {dataset} have {found}; leave it out, or take another data set"
    )]
    AugmentedChannels {
        /// The augmentation.
        what: &'static str,
        /// Name of the data set.
        dataset: String,
        /// Its channels.
        found: usize,
    },
    /// A picture cannot be brought to another size.
    #[error("image {index} cannot be resized: {reason}")]
    Resize {
        /// The image.
        index: usize,
        /// Why not.
        reason: String,
    },
    /// No data set is named, and the files of the folder are those of several.
    #[error("{} holds the files of several data sets, {found}; choose one with --dataset", shown(.dir))]
    SeveralDatasets {
        /// The folder.
        dir: PathBuf,
        /// Their names.
        found: String,
    },
    /// No data set is named, and the files of the folder are of none.
    #[error(
        "no data set is named, and {} holds none that is known by its files: neither pictures in train/CLASS and val/CLASS, nor the files of \
         CIFAR-10 or CIFAR-100 (binary or Python version), MNIST, Fashion-MNIST, EMNIST, KMNIST or QMNIST; {remedy}",
        shown(.dir)
    )]
    Unrecognised {
        /// The folder.
        dir: PathBuf,
        /// What to do.
        remedy: &'static str,
    },
    /// A folder holds several sets of files, and nothing says which is meant.
    #[error(
        "{dataset}: {} holds several sets of such files, {found}; name one of them, such as --data-dir {}",
        shown(.dir), shown(.example)
    )]
    SeveralSets {
        /// Name of the data set.
        dataset: &'static str,
        /// The folder.
        dir: PathBuf,
        /// The sets.
        found: String,
        /// What names the first of them.
        example: PathBuf,
    },
    /// The folders of an image folder are not laid out as splits and classes.
    #[error("image-folder: {found}; {remedy}")]
    Layout {
        /// What is there.
        found: String,
        /// What to do.
        remedy: String,
    },
    /// More files of an image folder cannot be used than can.
    #[error(
        "image-folder: of the files in {} only {used} can be used, and {left_out} are left out: {reasons}; convert them or \
         take them away, or add --allow-left-out to go on without them",
        shown(.dir)
    )]
    MostLeftOut {
        /// The folder.
        dir: PathBuf,
        /// Images that can be used.
        used: usize,
        /// Files and links that cannot.
        left_out: usize,
        /// Why not, with an example for each reason.
        reasons: String,
    },
    /// The folder of a class holds files, and none is an image.
    #[error(
        "class folder {} {}; convert or replace what is there, take the folder away, or add --allow-left-out to go on without \
         the class",
        shown(.path), without_images(.path, *.files, .example)
    )]
    EmptyClass {
        /// The folder.
        path: PathBuf,
        /// Files in it.
        files: usize,
        /// One of them; the folder itself where that cannot be read.
        example: PathBuf,
    },
    /// The names of two class folders cannot be told apart by looking at them.
    #[error(
        "{} holds two class folders whose names look the same, {one} and {other}; rename one, or move its images into the \
         other",
        shown(.dir)
    )]
    SameClass {
        /// The folder that they are in.
        dir: PathBuf,
        /// The name of one, in quotes, with what is not seen escaped.
        one: String,
        /// The name of the other.
        other: String,
    },
    /// The evaluation images have a class that the training images lack.
    #[error(
        "{} is a class of the evaluation images{}, but no folder of that name holds images to train on; {remedy}",
        shown(.path),
        one_of(.more)
    )]
    UnknownClass {
        /// The folder.
        path: PathBuf,
        /// How many more such classes there are.
        more: usize,
        /// What to do.
        remedy: String,
    },
    /// Images of a class that a trained network does not know.
    #[error(
        "{} is no class that the network was trained on{}; {remedy}",
        shown(.path),
        one_of(.more)
    )]
    NotTrainedOn {
        /// The folder of the class.
        path: PathBuf,
        /// How many more such classes there are.
        more: usize,
        /// What to do.
        remedy: String,
    },
    /// An image to train on, where only those to evaluate on were opened.
    #[error("{dataset} was opened for evaluation only, without its images to train on")]
    Absent {
        /// The data set.
        dataset: String,
    },
    /// A data set is not the one that a network was trained on.
    #[error("{dataset} has images of {found}; the network was trained on {expected}")]
    OtherImages {
        /// The data set.
        dataset: String,
        /// Shape and classes of the images of old.
        expected: String,
        /// Those that are there.
        found: String,
    },
    /// Images are to be set aside for evaluation, and there are images for that already.
    #[error(
        "images to evaluate on are in {} already, so that --val-split does nothing; leave it out, or take that folder away",
        shown(.path)
    )]
    ValSplitUnused {
        /// Their folder.
        path: PathBuf,
    },
    /// Images are to be set aside of a data set that has its own for evaluation.
    #[error("{dataset} has images to evaluate on, so that --val-split does nothing; leave it out")]
    NoValSplit {
        /// Name of the data set.
        dataset: &'static str,
    },
    /// A network is to be evaluated on images that choose the best weights, of a data set that has none beside those to test on.
    #[error("{dataset} has images to test on and no others to evaluate on; leave --split out")]
    NoValidation {
        /// Name of the data set.
        dataset: String,
    },
    /// What is to be set aside for evaluation is no share.
    #[error(
        "a share of {found} was asked for to evaluate on; it must be above 0 and below 1, such as 0.1"
    )]
    ValSplitShare {
        /// The share asked for.
        found: f64,
    },
    /// A contact sheet without samples, or with more than it can hold.
    #[error(
        "a contact sheet with {requested} samples of each of {classes} classes was asked for; {}",
        sheet_remedy(.fit)
    )]
    SheetSize {
        /// Samples of each class that were asked for.
        requested: usize,
        /// Number of classes.
        classes: usize,
        /// The largest number of samples.
        fit: usize,
    },
    /// A data set, or one of its files, holds no record.
    #[error("{what} holds no images")]
    Empty {
        /// File, folder or data set.
        what: String,
    },
    /// An index is not below the length of the data set.
    #[error("image {index} was asked for, but the data set holds {len}")]
    IndexOutOfRange {
        /// The index.
        index: usize,
        /// Images in the data set.
        len: usize,
    },
    /// The buffer for an image has another size than the image.
    #[error("an image has {expected} bytes, but the buffer for it has {found}")]
    BufferSize {
        /// Bytes of an image.
        expected: usize,
        /// Bytes of the buffer.
        found: usize,
    },
    /// A batch size of 0.
    #[error("the batch size is 0; it must be at least 1")]
    ZeroBatchSize,
    /// The last batch is dropped and there is no other.
    #[error(
        "{len} images do not fill one batch of {batch_size}, and incomplete batches are dropped; \
         choose a smaller batch size"
    )]
    NoFullBatch {
        /// Images in the data set.
        len: usize,
        /// Images per batch.
        batch_size: usize,
    },
    /// The sampler draws from a data set of another length.
    #[error("the sampler draws from {sampler} images, but {dataset} holds {found}")]
    SamplerLength {
        /// Length given to the sampler.
        sampler: usize,
        /// Name of the data set.
        dataset: String,
        /// Its length.
        found: usize,
    },
    /// Training and test images differ in shape.
    #[error(
        "the training images have shape {expected:?} and the test images {found:?} (channels, height, width); both \
         must be the same"
    )]
    TestShape {
        /// Channels, height and width of the training images.
        expected: [usize; 3],
        /// Those of the test images.
        found: [usize; 3],
    },
    /// Training and test set differ in their classes.
    #[error(
        "the training set has the classes {expected}, but the test set has {found}; both must have the same, in the \
         same order"
    )]
    TestClasses {
        /// Class names of the training set, separated by commas.
        expected: String,
        /// Those of the test set.
        found: String,
    },
    /// The pixels of a data set in memory are not as many as its labels and its shape ask for.
    #[error(
        "{dataset}: {images} images of shape {shape:?} (channels, height, width) have {expected} bytes of pixels, but \
         {found} are given"
    )]
    PixelCount {
        /// Name of the data set.
        dataset: String,
        /// Its number of labels.
        images: usize,
        /// Channels, height and width of an image.
        shape: [usize; 3],
        /// Bytes of all images.
        expected: usize,
        /// Bytes given.
        found: usize,
    },
    /// The normalisation has another number of channels than the images.
    #[error("the normalisation has {found} channels, but the images have {expected}")]
    NormalizationChannels {
        /// Channels of the images.
        expected: usize,
        /// Channels of the normalisation.
        found: usize,
    },
    /// A thread of the loader cannot be started.
    #[error("cannot start a loader thread: {source}")]
    Spawn {
        /// The system's reason.
        source: io::Error,
    },
    /// A thread of the loader panicked; this is a defect of stagger or of a [`crate::Dataset`].
    #[error("the loader panicked at batch {batch}: {message}")]
    WorkerPanicked {
        /// Global index of the batch that was being prepared.
        batch: usize,
        /// The panic's message.
        message: String,
    },
}

fn sheet_remedy(fit: &usize) -> String {
    match fit {
        0 => "so many classes do not fit on one; ask for a smaller image size".to_owned(),
        fit => format!("give a number from 1 to {fit}"),
    }
}

fn without_images(folder: &Path, files: usize, example: &Path) -> String {
    if folder == example {
        return "cannot be read".to_string();
    }
    let noun = if files == 1 { "file" } else { "files" };
    let example = shown(example);
    format!("holds no image that can be read, but {files} other {noun} (such as {example})")
}

fn one_of(more: &usize) -> String {
    match more {
        0 => String::new(),
        _ => format!(", one of {} such", more + 1),
    }
}
