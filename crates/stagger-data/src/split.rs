//! What belongs to a training and a test set together.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use crate::augmentation::Augmentation;
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::file_error::FileError;
use crate::inventory::Inventory;
use crate::normalization::Normalization;
use crate::shown;

/// A training and a test set, and how images of both become numbers.
#[derive(Clone)]
pub struct Split {
    /// The images to train on.
    pub train: Arc<dyn Dataset>,
    /// The images to evaluate on; same shape and classes.
    pub test: Arc<dyn Dataset>,
    /// Images to test on once, when training has ended; same shape and classes. Only where there are some beside [`Split::test`],
    /// which then chooses the best weights.
    pub final_test: Option<Arc<dyn Dataset>>,
    /// Per-channel normalisation of all.
    pub normalization: Normalization,
    /// What is done to training images; never to test images.
    pub augmentation: Augmentation,
    /// What was found in the folder of the images, and what of it is used; only image folders are searched.
    pub inventory: Option<Inventory>,
    /// What else a person should know of what was taken for the data set, a sentence each; often none.
    pub notes: Vec<String>,
}

impl Split {
    /// A training and a test set of one's own, with the normalisation measured on the training images and without
    /// augmentation; both can be changed afterwards.
    ///
    /// ```
    /// use stagger_data::{Augmentation, InMemory, Split};
    ///
    /// // Four grey images of 2 × 2 pixels, dark or light; two of them to train on.
    /// let set = |pixels| InMemory::new("tones", ["dark", "light"], [1, 2, 2], vec![0, 1], pixels);
    /// let train = set(vec![0, 10, 20, 10, 255, 245, 250, 235])?;
    /// let test = set(vec![5, 5, 15, 25, 240, 250, 255, 255])?;
    /// let mut split = Split::new(train, test)?;
    /// split.augmentation = Augmentation { flip: true, ..Augmentation::NONE };
    /// # Ok::<(), stagger_data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// As [`Split::validate`], and if a training image cannot be read.
    pub fn new(
        train: impl Dataset + 'static,
        test: impl Dataset + 'static,
    ) -> Result<Self, DataError> {
        let split = Self {
            normalization: Normalization::measure(&train)?,
            train: Arc::new(train),
            test: Arc::new(test),
            final_test: None,
            augmentation: Augmentation::NONE,
            inventory: None,
            notes: Vec::new(),
        };
        split.validate()?;
        Ok(split)
    }

    /// What a person is told of the data before anything runs, a line each: the notes, and what the inventory says.
    #[must_use]
    pub fn account(&self) -> Vec<String> {
        let inventory = self.inventory.as_ref().map(Inventory::to_string);
        self.notes.iter().cloned().chain(inventory).collect()
    }

    /// Checks what training relies on: no set is empty, all have one shape and the same classes, every label is
    /// a class, the augmentation is one of such images, and the normalisation has as many channels as they.
    ///
    /// # Errors
    /// [`DataError::Empty`], [`DataError::TestShape`], [`DataError::TestClasses`], [`FileError::LabelOutOfRange`],
    /// [`DataError::AugmentedChannels`] or [`DataError::NormalizationChannels`], for the first of these that does not hold.
    pub fn validate(&self) -> Result<(), DataError> {
        let sets = || {
            [&self.train, &self.test]
                .into_iter()
                .chain(&self.final_test)
        };
        for set in sets() {
            if set.is_empty() || set.shape().contains(&0) {
                return Err(DataError::Empty {
                    what: set.name().to_owned(),
                });
            }
        }
        let expected = self.train.shape();
        for set in sets().skip(1) {
            let found = set.shape();
            if expected != found {
                return Err(DataError::TestShape { expected, found });
            }
            if self.train.class_names() != set.class_names() {
                return Err(DataError::TestClasses {
                    expected: listed(self.train.class_names()),
                    found: listed(set.class_names()),
                });
            }
        }
        for set in sets() {
            let classes = set.classes();
            let mut labels = (0..set.len()).map(|index| set.label(index)).enumerate();
            if let Some((record, label)) = labels.find(|&(_, label)| label >= classes) {
                return Err(FileError::LabelOutOfRange {
                    path: set.name().into(),
                    record,
                    label,
                    classes,
                }
                .into());
            }
        }
        self.validate_augmentation()?;
        self.normalization.check_channels(expected[0])
    }

    /// Checks that the augmentation is one of images with so many channels.
    ///
    /// # Errors
    /// [`DataError::AugmentedChannels`].
    pub fn validate_augmentation(&self) -> Result<(), DataError> {
        let [channels, ..] = self.train.shape();
        self.augmentation
            .check_channels(self.train.name(), channels)
    }
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().map(|name| shown::path(Path::new(name)));
    shown.collect::<Vec<String>>().join(", ")
}

impl fmt::Debug for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Split")
            .field("name", &self.train.name())
            .field("shape", &self.train.shape())
            .field("classes", &self.train.classes())
            .field("train", &self.train.len())
            .field("test", &self.test.len())
            .field("final_test", &self.final_test.as_ref().map(|set| set.len()))
            .field("normalization", &self.normalization)
            .field("augmentation", &self.augmentation)
            .field("inventory", &self.inventory)
            .field("notes", &self.notes)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::InMemory;

    fn set(shape: [usize; 3], classes: &[&str], label: u16) -> InMemory {
        let pixels = vec![7; shape.iter().product()];
        InMemory::new("x", classes.iter().copied(), shape, vec![label], pixels).unwrap()
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let train = || set([1, 2, 2], &["a", "b"], 0);
        assert!(Split::new(train(), train()).is_ok());
        let message = |test| Split::new(train(), test).unwrap_err().to_string();
        insta::assert_snapshot!(message(set([1, 2, 3], &["a", "b"], 0)), @"the training images have shape [1, 2, 2] and the test images [1, 2, 3] (channels, height, width); both must be the same");
        insta::assert_snapshot!(message(set([1, 2, 2], &["a"], 0)), @"the training set has the classes a, b, but the test set has a; both must have the same, in the same order");

        let mut split = Split::new(train(), train()).unwrap();
        split.normalization = Normalization::cifar10();
        let error = split.validate().unwrap_err();
        assert!(matches!(
            error,
            DataError::NormalizationChannels {
                expected: 1,
                found: 3
            }
        ));
    }

    /// A set of one's own, with a label that is no class.
    struct Wrong(InMemory);

    impl Dataset for Wrong {
        fn name(&self) -> &str {
            self.0.name()
        }
        fn len(&self) -> usize {
            self.0.len()
        }
        fn classes(&self) -> usize {
            self.0.classes()
        }
        fn class_names(&self) -> &[String] {
            self.0.class_names()
        }
        fn shape(&self) -> [usize; 3] {
            self.0.shape()
        }
        fn label(&self, _index: usize) -> usize {
            2
        }
        fn image(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError> {
            self.0.image(index, pixels)
        }
        fn fingerprint(&self) -> u64 {
            self.0.fingerprint()
        }
    }

    #[test]
    fn labels_of_any_data_set_are_checked() {
        let train = || set([1, 2, 2], &["a", "b"], 0);
        let error = Split::new(train(), Wrong(train())).unwrap_err();
        insta::assert_snapshot!(error, @"x: record 0 has label 2, but there are only 2 classes (0 to 1)");
    }
}
