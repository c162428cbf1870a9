//! What a folder of images is, as training would see it.

mod words;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use stagger_data::{Augmentation, ContactSheet, Dataset, Split, source_sizes};
use stagger_report::{ContactPageRow, contact_page};

use crate::error::Error;
use crate::job::{Given, images};
use crate::options::TrainingOptions;

/// What a folder holds that training would use, and how.
#[derive(Clone, Debug)]
pub struct InspectedData {
    /// The folder.
    pub folder: PathBuf,
    /// The data, as a run with these options would open them.
    pub split: Split,
    /// The classes, by label.
    pub classes: Vec<ClassCounts>,
    /// Sizes of the pictures to train and to evaluate on, as they are before they are brought to one size.
    pub sizes: SourceSizes,
    /// Seed of the run.
    pub seed: u64,
}

/// How many images of a class there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCounts {
    /// The name of the class.
    pub name: String,
    /// Images to train on.
    pub train: usize,
    /// Images to evaluate on.
    pub test: usize,
}

/// Height and width, by number of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceSizes {
    /// Of the picture with the fewest.
    pub smallest: [usize; 2],
    /// Of the one in the middle; of two, the larger one.
    pub median: [usize; 2],
    /// Of the picture with the most.
    pub largest: [usize; 2],
}

/// Looks at a folder as a run with these options would, `dataset` being one of them: without it, what the folder is follows from
/// what it holds. Reads the header of every picture, and as many pictures as measuring their mean takes.
///
/// ```no_run
/// use stagger::{TrainingOptions, inspect_data};
///
/// let found = inspect_data("pictures".as_ref(), TrainingOptions::default())?;
/// println!("{found}");
/// for class in found.classes.iter().filter(|class| class.train < 10) {
///     println!("{}: only {} images to train on", class.name, class.train);
/// }
/// # Ok::<(), stagger::Error>(())
/// ```
///
/// # Errors
/// Whatever would keep a run from training on it.
pub fn inspect_data(folder: &Path, said: TrainingOptions) -> Result<InspectedData, Error> {
    let mut options = said;
    options.data_dir = Some(folder.to_owned());
    // Decoded on demand, pictures still know what size they had.
    options.cache_bytes = Some(0);
    let mut options = options.or_defaults();
    let split = images::open(&mut options, &Given::default())?;
    let seed = options.seed.unwrap_or_default();
    let mut sizes = source_sizes(split.train.as_ref())?;
    sizes.extend(source_sizes(split.test.as_ref())?);
    sizes.sort_by_key(|&[height, width]| (height * width, height));
    Ok(InspectedData {
        folder: folder.to_owned(),
        classes: counts(&split),
        sizes: SourceSizes {
            smallest: sizes.first().copied().unwrap_or_default(),
            median: sizes.get(sizes.len() / 2).copied().unwrap_or_default(),
            largest: sizes.last().copied().unwrap_or_default(),
        },
        split,
        seed,
    })
}

fn counts(split: &Split) -> Vec<ClassCounts> {
    let of = |set: &dyn Dataset| {
        let mut counts = vec![0; set.classes()];
        (0..set.len()).for_each(|index| counts[set.label(index)] += 1);
        counts
    };
    let counts = of(split.train.as_ref())
        .into_iter()
        .zip(of(split.test.as_ref()));
    let names = split.train.class_names().iter();
    names
        .zip(counts)
        .map(|(name, (train, test))| ClassCounts {
            name: name.clone(),
            train,
            test,
        })
        .collect()
}

impl InspectedData {
    /// The first `samples` images of each class in the first epoch of training, augmented as they are there.
    ///
    /// # Errors
    /// When there would be none or more than a sheet can hold, and when an image cannot be read.
    pub fn contact_sheet(&self, samples: usize) -> Result<ContactSheet, Error> {
        Ok(ContactSheet::draw(&self.split, self.seed, 0, samples)?)
    }

    /// A contact sheet as a page of HTML with a row of pictures for each class, which needs no other file.
    ///
    /// # Errors
    /// A sentence when a picture or the page cannot be written.
    pub fn contact_page(&self, sheet: &ContactSheet) -> Result<String, String> {
        let rows = self.classes.iter().enumerate();
        let rows = rows.map(|(label, class)| {
            Ok(ContactPageRow {
                class: class.name.clone(),
                images: class.train,
                png: sheet.row_to_png(label)?,
            })
        });
        let rows: Vec<ContactPageRow> = rows.collect::<Result<_, String>>()?;
        let title = stagger_data::shown_path(&self.folder);
        contact_page(&title, &self.sheet_words(), &rows)
    }

    /// The same as an object, for programs. Sizes are of height and width, means and deviations of pixels scaled to 0…1.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self {
            folder,
            split,
            classes,
            sizes,
            seed,
        } = self;
        let [channels, height, width] = split.train.shape();
        let inventory = split.inventory.as_ref();
        let left_out = inventory.map(|inventory| inventory.left_out.iter());
        let left_out = left_out.into_iter().flatten().map(|left_out| {
            json!({
                "reason": left_out.reason.name(),
                "count": left_out.count,
                "example": left_out.example.to_string_lossy(),
            })
        });
        let unused = inventory.map(|inventory| inventory.unused.iter());
        let unused = unused.into_iter().flatten();
        let unused = unused.map(|path| path.to_string_lossy().into_owned());
        let classes = classes
            .iter()
            .map(|class| json!({ "name": class.name, "train": class.train, "test": class.test }));
        json!({
            "folder": folder.to_string_lossy(),
            "dataset": split.train.name(),
            "train_images": split.train.len(),
            "test_images": split.test.len(),
            "final_test_images": split.final_test.as_ref().map(|set| set.len()),
            "notes": split.notes,
            "classes": classes.collect::<Vec<_>>(),
            "left_out": left_out.collect::<Vec<_>>(),
            "unused": unused.collect::<Vec<_>>(),
            "channels": channels,
            "size": [height, width],
            "source_sizes": {
                "smallest": sizes.smallest,
                "median": sizes.median,
                "largest": sizes.largest,
            },
            "mean": shortest(&split.normalization.mean),
            "std": shortest(&split.normalization.std),
            "augmentation": augmentation_json(&split.augmentation),
            "framing": split.train.framing().name(),
            "seed": seed,
        })
    }
}

fn augmentation_json(augmentation: &Augmentation) -> Value {
    let jitter = augmentation.color_jitter.map(|jitter| {
        shortest(&[
            jitter.brightness,
            jitter.contrast,
            jitter.saturation,
            jitter.hue,
        ])
    });
    let drawn = augmentation.rand_augment;
    json!({
        "resized_crop": augmentation.resized_crop,
        "pad": augmentation.pad,
        "flip": augmentation.flip,
        "color_jitter": jitter,
        "rand_augment": drawn.map(|drawn| [drawn.operations, drawn.magnitude]),
        "random_erasing": shortest(&[augmentation.erasing])[0],
    })
}

/// Numbers that are written with the digits that tell them apart, as in `data.json`, and not with those of their 64 bits.
fn shortest(values: &[f32]) -> Vec<f64> {
    let number = |value: &f32| value.to_string().parse().unwrap_or(f64::from(*value));
    values.iter().map(number).collect()
}
