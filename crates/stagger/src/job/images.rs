//! The data set.

use stagger_data::{Colour, EvaluationPart, NAMES, OpenOptions, Split, TrainedOn, ValSplit};

use super::{Given, augmentation};
use crate::error::Error;
use crate::limits;
use crate::options::TrainingOptions;
use crate::refusal::Refusal;

/// The built-in data set is one data set: training seeds do not change it.
const DATA_SEED: u64 = 0;
/// The only data set that is searched, and that may lie in one folder.
const IMAGE_FOLDER: &str = "image-folder";
/// The only data set without files.
const SHAPES: &str = "shapes";

/// The data set that was given, or else the one that the options name, or else the one whose files are in the folder; which
/// the options name then.
pub(crate) fn open(options: &mut TrainingOptions, given: &Given) -> Result<Split, Error> {
    let note = match (&given.split, &options.dataset) {
        (None, None) => {
            let found = stagger_data::recognise(&files(options)?)?;
            options.dataset = Some(found.name.to_owned());
            Some(found.note)
        }
        _ => None,
    };
    let options = &*options;
    let name = options.dataset.as_deref().unwrap_or_default();
    refuse_unused(options, name, given)?;
    let mut split = match &given.split {
        Some(split) => split.clone(),
        None => {
            limits::check_images(options)?;
            let files = files(options)?;
            stagger_data::open(name, &files)?
        }
    };
    split.notes.splice(..0, note);
    if let [class] = split.train.class_names() {
        let inventory = split.inventory.as_ref();
        let train = inventory.and_then(|inventory| inventory.train.as_ref());
        let folder = train.map(|train| train.folder.clone());
        return Err(Refusal::OneClass {
            dataset: split.train.name().to_owned(),
            class: class.clone(),
            folder,
        }
        .into());
    }
    let channels = split.train.shape()[0];
    let normalization = &mut split.normalization;
    for (option, said, to) in [
        ("mean", &options.mean, &mut normalization.mean),
        ("std", &options.std, &mut normalization.std),
    ] {
        if let Some(said) = said {
            *to = by_channel(option, said, channels)?;
        }
    }
    augmentation::apply(options, &mut split)?;
    Ok(split)
}

/// The images to evaluate a network on that was trained on such: see [`stagger_data::open_for_evaluation`].
pub fn open_for_evaluation(
    options: &TrainingOptions,
    trained_on: &TrainedOn,
    part: Option<EvaluationPart>,
) -> Result<Split, Error> {
    let name = &trained_on.dataset;
    let files = OpenOptions {
        part,
        ..files(options)?
    };
    Ok(stagger_data::open_for_evaluation(name, &files, trained_on)?)
}

fn files(options: &TrainingOptions) -> Result<OpenOptions, Refusal> {
    let seed = options.seed.unwrap_or_default();
    Ok(OpenOptions {
        data_dir: options.data_dir.clone(),
        image_size: options.image_size,
        framing: augmentation::framing(options),
        background: background(options)?,
        cache_bytes: limits::cache_bytes(options.cache_bytes.unwrap_or_default()),
        val_split: options.val_split.map(|share| ValSplit { share, seed }),
        allow_left_out: options.allow_left_out.unwrap_or_default(),
        skip_bad_images: options.skip_bad_images.unwrap_or_default(),
        part: None,
        seed: DATA_SEED,
    })
}

/// The means or deviations that were asked for.
fn by_channel(option: &'static str, said: &[f64], channels: usize) -> Result<Vec<f32>, Refusal> {
    let least = if option == "std" {
        f64::MIN_POSITIVE
    } else {
        0.0
    };
    let is_right = said.len() == channels && said.iter().all(|x| (least..=1.0).contains(x));
    if !is_right {
        let found: Vec<String> = said.iter().map(f64::to_string).collect();
        return Err(Refusal::Value {
            option,
            found: found.join(","),
            kind: "a number for each channel",
            expected: match (option, channels) {
                ("std", 1) => {
                    "one above 0 and at most 1, such as 0.3081; divide by 255 what is of bytes"
                }
                ("std", _) => {
                    "three above 0 and at most 1, such as 0.229,0.224,0.225; divide by 255 what is of bytes"
                }
                (_, 1) => "one from 0 to 1, such as 0.1307; divide by 255 what is of bytes",
                _ => "three from 0 to 1, such as 0.485,0.456,0.406; divide by 255 what is of bytes",
            },
        });
    }
    Ok(said.iter().map(|&x| x as f32).collect())
}

/// A folder beside a data set without files, and options of image folders beside another data set. One that does not exist is
/// told of by that.
fn refuse_unused(options: &TrainingOptions, name: &str, given: &Given) -> Result<(), Refusal> {
    if name == SHAPES && given.split.is_none() && options.data_dir.is_some() {
        return Err(Refusal::Unused {
            option: "data_dir",
            beside: "dataset",
            found: name.to_owned(),
            expected: "image-folder, or another one that reads files",
        });
    }
    let is_unknown = given.split.is_none() && !NAMES.contains(&name);
    augmentation::refuse_unused(options, name, name == IMAGE_FOLDER || is_unknown, given)?;
    if name == IMAGE_FOLDER || is_unknown {
        return Ok(());
    }
    for (option, is_said) in [
        ("val_split", options.val_split.is_some()),
        ("allow_left_out", options.allow_left_out == Some(true)),
        ("skip_bad_images", options.skip_bad_images == Some(true)),
    ] {
        if is_said {
            return Err(Refusal::Unused {
                option,
                beside: "dataset",
                found: name.to_owned(),
                expected: IMAGE_FOLDER,
            });
        }
    }
    Ok(())
}

pub(crate) fn background(options: &TrainingOptions) -> Result<Option<Colour>, Refusal> {
    let read = |text: &String| {
        text.parse().map_err(|_| Refusal::Value {
            option: "background",
            found: text.clone(),
            kind: "a colour",
            expected: "six hexadecimal digits, such as ff8800",
        })
    };
    options.background.as_ref().map(read).transpose()
}
