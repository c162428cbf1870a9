//! What a network knows of the data that it was trained on.

use crate::dataset::Dataset;
use crate::error::DataError;
use crate::framing::Framing;
use crate::normalization::Normalization;
use crate::split::Split;

/// What the inputs and outputs of a network mean: of which classes its outputs are, and how images became its inputs.
///
/// A network is evaluated by these, never by those of the folder that its new images lie in: [`crate::open_for_evaluation`].
#[derive(Clone, Debug, PartialEq)]
pub struct TrainedOn {
    /// Name of the data set.
    pub dataset: String,
    /// Name of the class of each output.
    pub class_names: Vec<String>,
    /// Channels, height and width in pixels of every image.
    pub shape: [usize; 3],
    /// How pictures of other sizes are brought to that shape.
    pub framing: Framing,
    /// What pixels were normalised with.
    pub normalization: Normalization,
    /// Number of images to train on.
    pub images: usize,
}

impl Split {
    /// What a network learns of these data.
    #[must_use]
    pub fn trained_on(&self) -> TrainedOn {
        TrainedOn {
            dataset: self.train.name().to_owned(),
            class_names: self.train.class_names().to_vec(),
            shape: self.train.shape(),
            framing: self.train.framing(),
            normalization: self.normalization.clone(),
            images: self.train.len(),
        }
    }
}

impl TrainedOn {
    /// Checks that these can be facts of a data set: two classes or more, images of one or three channels and at most 4096 pixels a
    /// side, a mean and a deviation above 0 for each channel.
    ///
    /// # Errors
    /// A sentence on the first that is wrong.
    pub fn validate(&self) -> Result<(), String> {
        let [channels, height, width] = self.shape;
        let Normalization { mean, std } = &self.normalization;
        if self.class_names.len() < 2 {
            return Err(format!(
                "it names {} classes, expected two or more",
                self.class_names.len()
            ));
        }
        if ![1, 3].contains(&channels)
            || [height, width]
                .iter()
                .any(|side| !(1..=4096).contains(side))
        {
            return Err(format!(
                "it has images of shape {:?}, expected 1 or 3 channels and 1 to 4096 pixels a side",
                self.shape
            ));
        }
        if self.dataset == crate::image_folder::NAME && channels != 3 {
            return Err(
                "it has images of one channel, but those of image folders have three".to_owned(),
            );
        }
        if self.images == 0 {
            return Err("it has no images".to_owned());
        }
        normalization_error(mean, std, channels).map_or(Ok(()), Err)
    }

    /// Images of which only these facts are known, where a network is evaluated far from the images that it was trained on.
    pub(crate) fn absent(&self) -> Absent {
        Absent(self.clone())
    }
}

/// Images that are not here.
pub(crate) struct Absent(TrainedOn);

impl Dataset for Absent {
    fn name(&self) -> &str {
        &self.0.dataset
    }

    fn len(&self) -> usize {
        self.0.images
    }

    fn classes(&self) -> usize {
        self.0.class_names.len()
    }

    fn class_names(&self) -> &[String] {
        &self.0.class_names
    }

    fn shape(&self) -> [usize; 3] {
        self.0.shape
    }

    fn framing(&self) -> Framing {
        self.0.framing
    }

    fn label(&self, _index: usize) -> usize {
        0
    }

    fn image(&self, _index: usize, _pixels: &mut [u8]) -> Result<(), DataError> {
        Err(DataError::Absent {
            dataset: self.0.dataset.clone(),
        })
    }

    fn fingerprint(&self) -> u64 {
        0
    }
}

/// What is wrong with means and deviations that were given.
fn normalization_error(mean: &[f32], std: &[f32], channels: usize) -> Option<String> {
    if mean.len() != channels || std.len() != channels {
        return Some(format!(
            "it has {} means and {} standard deviations, expected {channels} of each",
            mean.len(),
            std.len()
        ));
    }
    let finite = mean.iter().all(|mean| mean.is_finite());
    let positive = std.iter().all(|std| std.is_finite() && *std > 0.0);
    (!finite || !positive).then(|| {
        format!("it has means {mean:?} and standard deviations {std:?}, expected numbers, and deviations above 0")
    })
}
