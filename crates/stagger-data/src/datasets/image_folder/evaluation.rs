//! The images that a trained network is evaluated on: labelled by the names of the classes that it knows.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use super::class_name::{Key, near};
use super::damage::{self, Depth};
use super::locate::{self, Layout};
use super::scan::{self, Item};
use super::tally::Tally;
use super::val_split::{self, set_aside};
use super::walk::{self, Class};
use super::{Folder, PLACE, Target};
use crate::augmentation::Augmentation;
use crate::error::DataError;
use crate::inventory::{Inventory, LeftOutReason};
use crate::place::{Colour, EvaluationPart, OpenOptions};
use crate::shown;
use crate::split::Split;
use crate::trained_on::TrainedOn;

/// Names of unknown classes in a sentence, at most.
const MOST_NAMES: usize = 10;

/// Reads the images to evaluate on, and no others; see [`crate::open_for_evaluation`]. With a share to set aside, they are those
/// that are set aside from the images of the folder.
pub(crate) fn open_for_evaluation(
    options: &OpenOptions,
    trained_on: &TrainedOn,
) -> Result<Split, DataError> {
    let folder = PLACE.folder(options)?;
    options.val_split.map_or(Ok(()), val_split::check)?;
    let val_split = options
        .val_split
        .filter(|_| options.part != Some(EvaluationPart::Test));
    let (place, unused) = match val_split {
        None => locate::locate_evaluation(folder, options.part)?,
        Some(_) => match locate::locate(folder, true)? {
            Layout::Together { folder, final_test } => (folder, final_test.into_iter().collect()),
            Layout::Apart {
                test, final_test, ..
            } => (test, final_test.into_iter().collect()),
        },
    };
    let mut tally = Tally::default();
    let mut found = walk::read(&place, &mut tally)?;
    scan::check_class_folders(&found, None)?;
    let skipped = match options.skip_bad_images {
        true => damage::leave_out_of([Some(&mut found)], &mut tally),
        false => None,
    };
    if !options.allow_left_out {
        scan::check_left_out(folder, &[Some(&found)], &tally)?;
    }
    let labels = trained_on.class_names.iter().enumerate();
    let labels: HashMap<Key, usize> = labels
        .map(|(label, name)| (Key::of(OsStr::new(name)), label))
        .collect();
    let (mut items, mut unknown): (Vec<Item>, Vec<Class>) = (Vec::new(), Vec::new());
    for class in found.classes {
        match labels.get(&Key::of(&class.name)) {
            _ if class.images.is_empty() => tally.add(LeftOutReason::EmptyClass, class.path),
            None => unknown.push(class),
            Some(&label) => {
                let all = scan::items(label, &class.images);
                match val_split {
                    None => items.extend(all),
                    Some(split) => {
                        let name = &trained_on.class_names[label];
                        let aside = set_aside(name, class.images.len(), split);
                        let aside = all.zip(aside).filter(|(_, aside)| *aside);
                        items.extend(aside.map(|(item, _)| item));
                    }
                }
            }
        }
    }
    if !unknown.is_empty() {
        return Err(not_trained_on(&unknown, trained_on));
    }
    if items.is_empty() {
        return Err(DataError::Empty {
            what: shown::path(&place),
        });
    }
    // By label, as they are when the folders of the classes are in the order of the network's outputs.
    items.sort_by_key(|item| item.label);
    let inventory = Inventory {
        folder: folder.to_path_buf(),
        train: None,
        test: scan::part(place, &items),
        final_test: None,
        classes: trained_on.class_names.len(),
        left_out: tally.left_out(),
        unlabelled: None,
        unused,
    };
    let [_, height, width] = trained_on.shape;
    let total_bytes = (items.len() * 3 * height * width) as u64;
    let is_kept = total_bytes <= options.cache_bytes;
    let test = Folder::new(
        trained_on.class_names.clone(),
        items.clone(),
        Target {
            size: [height, width],
            framing: trained_on.framing,
        },
        options.background.unwrap_or(Colour::WHITE),
        skipped,
    )
    .opened(is_kept)
    .map_err(|error| match damage::is_of_image(&error) {
        true => damage::listed(&items.iter().collect::<Vec<_>>(), Depth::Whole, error),
        false => error,
    })?;
    Ok(Split {
        train: Arc::new(trained_on.absent()),
        test,
        final_test: None,
        normalization: trained_on.normalization.clone(),
        augmentation: Augmentation::NONE,
        inventory: Some(inventory),
        notes: Vec::new(),
    })
}

fn not_trained_on(unknown: &[Class], trained_on: &TrainedOn) -> DataError {
    let first = &unknown[0];
    let names = &trained_on.class_names;
    let remedy = match near(&first.name, names.iter().map(OsStr::new)) {
        Some(words) => format!("{words}: rename the folder"),
        None => {
            let mut shown: Vec<String> = names
                .iter()
                .take(MOST_NAMES)
                .map(|name| shown::path(Path::new(name)))
                .collect();
            if names.len() > MOST_NAMES {
                shown.push(format!("… {} more", names.len() - MOST_NAMES));
            }
            format!(
                "its classes are {}: rename the folder to the one that it holds images of, or take it away",
                shown.join(", ")
            )
        }
    };
    DataError::NotTrainedOn {
        path: first.path.clone(),
        more: unknown.len() - 1,
        remedy,
    }
}
