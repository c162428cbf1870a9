//! Lists the images of a folder: which files there are, and which class each is of.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::Target;
use super::class_name::{Key, near};
use super::damage;
use super::locate::Layout;
use super::tally::Tally;
use super::val_split::set_aside;
use super::walk::{self, Class, Image, SplitFolder};
use crate::error::DataError;
use crate::file_error::FileError;
use crate::fingerprint::Fingerprint;
use crate::framing::Framing;
use crate::inventory::{Inventory, InventoryPart, LeftOutReason};
use crate::place::{Colour, OpenOptions};
use crate::shown;

/// The most classes that labels can tell apart.
const MOST_CLASSES: usize = u16::MAX as usize + 1;

/// One image file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) image: Image,
    pub(super) label: u16,
}

/// What a folder holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listing {
    pub(super) class_names: Vec<String>,
    pub(super) train: Vec<Item>,
    pub(super) test: Vec<Item>,
    /// None where there are no others than `test`.
    pub(super) final_test: Vec<Item>,
    /// What is left out for being damaged, as a hash; `None` where nothing is.
    pub(super) skipped: Option<u64>,
    pub(super) inventory: Inventory,
}

/// Lists the class folders of `layout`, which was found in `folder`. Classes are in the order of their folders' names, files
/// as `walk` has them. What is left out is in the inventory.
///
/// # Errors
/// [`FileError::Io`]; [`DataError::Layout`] where a split has images and no class folders; [`DataError::MostLeftOut`] and
/// [`DataError::EmptyClass`], unless the options allow them; [`DataError::Empty`] without images to train or evaluate on;
/// [`DataError::SameClass`], [`DataError::UnknownClass`]; [`FileError::TooLarge`] above 65,536 classes.
pub(super) fn scan(
    layout: &Layout,
    folder: &Path,
    options: &OpenOptions,
) -> Result<Listing, DataError> {
    let mut tally = Tally::default();
    let (train, test, final_test) = match layout {
        Layout::Apart {
            train,
            test,
            final_test,
        } => (train, Some(test), final_test),
        Layout::Together { folder, final_test } => (folder, None, final_test),
    };
    let mut train = walk::read(train, &mut tally)?;
    let mut test = test.map(|test| walk::read(test, &mut tally)).transpose()?;
    let (mut final_test, unlabelled) = match final_test {
        Some(path) => read_final_test(path, &train, &mut tally)?,
        None => (None, None),
    };
    check_class_folders(&train, [&test, &final_test].into_iter().flatten())?;
    let skipped = match options.skip_bad_images {
        true => {
            let splits = [Some(&mut train), test.as_mut(), final_test.as_mut()];
            damage::leave_out_of(splits, &mut tally)
        }
        false => None,
    };
    if !options.allow_left_out {
        let splits = [Some(&train), test.as_ref(), final_test.as_ref()];
        check_left_out(folder, &splits, &tally)?;
    }
    let train_folder = train.path.clone();
    let test_folder = test.as_ref().map_or(&train.path, |test| &test.path).clone();
    let classes = Classes::of(train, options.allow_left_out, &mut tally)?;
    let (train, test) = match test {
        Some(test) => {
            let test = classes.find(test, &mut tally)?;
            (classes.all(), test)
        }
        None => classes.split(options),
    };
    let final_folder = final_test.as_ref().map(|split| split.path.clone());
    let final_test = match final_test {
        Some(split) => classes.find(split, &mut tally)?,
        None => Vec::new(),
    };
    if test.is_empty() {
        return Err(match layout {
            Layout::Apart { test, .. } => DataError::Empty {
                what: shown::path(test),
            },
            Layout::Together { folder, .. } => DataError::Layout {
                found: format!(
                    "{} has only one image of each class, and none can be set aside for evaluation",
                    shown::path(folder)
                ),
                remedy: "add images".to_string(),
            },
        });
    }
    let inventory = Inventory {
        folder: folder.to_path_buf(),
        train: Some(part(train_folder, &train)),
        test: part(test_folder, &test),
        final_test: final_folder
            .filter(|_| !final_test.is_empty())
            .map(|path| part(path, &final_test)),
        classes: classes.names.len(),
        left_out: tally.left_out(),
        unlabelled,
        unused: Vec::new(),
    };
    Ok(Listing {
        class_names: classes.names,
        train,
        test,
        final_test,
        skipped,
        inventory,
    })
}

/// Reads the images to test on at the end. Where none is in the folder of a class, nobody knows what they show: the second is that
/// folder then, and nothing of it is counted.
fn read_final_test(
    path: &Path,
    train: &SplitFolder,
    tally: &mut Tally,
) -> Result<(Option<SplitFolder>, Option<PathBuf>), DataError> {
    let mut own = Tally::default();
    let found = walk::read(path, &mut own)?;
    let names: HashSet<Key> = train
        .classes
        .iter()
        .map(|class| Key::of(&class.name))
        .collect();
    let mut with_images = found
        .classes
        .iter()
        .filter(|class| !class.images.is_empty());
    if !with_images.any(|class| names.contains(&Key::of(&class.name))) {
        return Ok((None, Some(path.to_path_buf())));
    }
    tally.join(own);
    Ok((Some(found), None))
}

pub(super) fn part(folder: PathBuf, items: &[Item]) -> InventoryPart {
    let mut labels: Vec<u16> = items.iter().map(|item| item.label).collect();
    labels.sort_unstable();
    labels.dedup();
    InventoryPart {
        folder,
        images: items.len(),
        classes: labels.len(),
    }
}

/// Refuses a split without class folders, and two class folders that look like one.
pub(super) fn check_class_folders<'a>(
    train: &'a SplitFolder,
    others: impl IntoIterator<Item = &'a SplitFolder>,
) -> Result<(), DataError> {
    for split in std::iter::once(train).chain(others) {
        let holds_nothing = |class: &Class| class.images.is_empty() && class.missed == 0;
        let has_none = split.classes.iter().all(holds_nothing) && split.images_beside > 0;
        if split.classes.is_empty() || has_none {
            return Err(no_class_folders(split, &train.path));
        }
        let mut names = HashMap::new();
        for class in &split.classes {
            if let Some(other) = names.insert(Key::seen(&class.name), &class.name) {
                return Err(DataError::SameClass {
                    dir: split.path.clone(),
                    one: shown::exactly(other),
                    other: shown::exactly(&class.name),
                });
            }
        }
    }
    Ok(())
}

fn no_class_folders(split: &SplitFolder, train: &Path) -> DataError {
    let dir = shown::path(&split.path);
    let Some(example) = &split.beside_example else {
        return DataError::Empty { what: dir };
    };
    let remedy = match split.path == train {
        true => format!("put those of each class into a folder of its own, {dir}/CLASS"),
        false => format!(
            "put each into the folder of its class, {dir}/CLASS, with the names of the folders in {} (for ImageNet, the list \
             of labels in its development kit says which)",
            shown::path(train)
        ),
    };
    DataError::Layout {
        found: format!(
            "{dir} holds {} (such as {}) and no folder for each class",
            counted(split.images_beside, "image"),
            shown::path(example)
        ),
        remedy,
    }
}

fn counted(count: usize, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        _ => format!("{count} {noun}s"),
    }
}

/// Refuses a set most of which would be left out.
pub(super) fn check_left_out(
    folder: &Path,
    splits: &[Option<&SplitFolder>],
    tally: &Tally,
) -> Result<(), DataError> {
    let classes = splits.iter().flatten().flat_map(|split| &split.classes);
    let used = classes.map(|class| class.images.len()).sum();
    if tally.missed <= used {
        return Ok(());
    }
    let mut left_out = tally.left_out();
    left_out.retain(|left_out| left_out.reason.is_of_files());
    Err(DataError::MostLeftOut {
        dir: folder.to_path_buf(),
        used,
        left_out: left_out.iter().map(|left_out| left_out.count).sum(),
        reasons: Inventory::left_out(&left_out, Path::new("")),
    })
}

/// The classes that there are images of to train on, by label.
struct Classes {
    names: Vec<String>,
    folder: PathBuf,
    folders: Vec<Class>,
}

impl Classes {
    fn of(train: SplitFolder, allow_left_out: bool, tally: &mut Tally) -> Result<Self, DataError> {
        let mut folders = Vec::new();
        for class in train.classes {
            if !class.images.is_empty() {
                folders.push(class);
                continue;
            }
            match class.missed_example {
                Some(example) if !allow_left_out => {
                    return Err(DataError::EmptyClass {
                        path: class.path,
                        files: class.missed,
                        example,
                    });
                }
                _ => tally.add(LeftOutReason::EmptyClass, class.path),
            }
        }
        if folders.is_empty() {
            return Err(DataError::Empty {
                what: shown::path(&train.path),
            });
        }
        if folders.len() > MOST_CLASSES {
            return Err(FileError::TooLarge {
                path: train.path,
                what: "classes",
                found: folders.len() as u64,
                limit: MOST_CLASSES as u64,
                why: "labels can tell apart",
            }
            .into());
        }
        let name = |class: &Class| class.name.to_string_lossy().into_owned();
        Ok(Self {
            names: folders.iter().map(name).collect(),
            folder: train.path,
            folders,
        })
    }

    /// All images to train on.
    fn all(&self) -> Vec<Item> {
        let classes = self.folders.iter().enumerate();
        classes
            .flat_map(|(label, class)| items(label, &class.images))
            .collect()
    }

    /// The images to evaluate on, labelled by the names of their folders.
    fn find(&self, test: SplitFolder, tally: &mut Tally) -> Result<Vec<Item>, DataError> {
        let labels = self.folders.iter().enumerate();
        let labels: HashMap<Key, usize> = labels
            .map(|(label, class)| (Key::of(&class.name), label))
            .collect();
        let mut found = Vec::new();
        let mut unknown = Vec::new();
        for class in test.classes {
            match labels.get(&Key::of(&class.name)) {
                _ if class.images.is_empty() => tally.add(LeftOutReason::EmptyClass, class.path),
                Some(&label) => found.extend(items(label, &class.images)),
                None => unknown.push(class),
            }
        }
        match unknown.first() {
            None => Ok(found),
            Some(class) => Err(self.unknown(class, unknown.len() - 1)),
        }
    }

    fn unknown(&self, class: &Class, more: usize) -> DataError {
        let names = self.folders.iter().map(|class| class.name.as_os_str());
        DataError::UnknownClass {
            path: class.path.clone(),
            more,
            remedy: match near(&class.name, names) {
                Some(words) => format!("{words}: rename one of the two folders"),
                None => {
                    let folder = self.folder.join(&class.name);
                    let shown = shown::path(&folder);
                    match folder.is_symlink() && !folder.exists() {
                        true => format!("{shown} is a link that leads nowhere: mend it"),
                        false => format!("put images of it into {shown}, or take its folder away"),
                    }
                }
            },
        }
    }

    /// The images to train on, and those of them that are set aside to evaluate on.
    fn split(&self, options: &OpenOptions) -> (Vec<Item>, Vec<Item>) {
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for (label, class) in self.folders.iter().enumerate() {
            let aside = match options.val_split {
                Some(split) => set_aside(&self.names[label], class.images.len(), split),
                None => vec![false; class.images.len()],
            };
            for (item, aside) in items(label, &class.images).zip(aside) {
                match aside {
                    true => test.push(item),
                    false => train.push(item),
                }
            }
        }
        (train, test)
    }
}

pub(super) fn items(label: usize, images: &[Image]) -> impl Iterator<Item = Item> {
    images.iter().map(move |image| Item {
        image: image.clone(),
        label: label as u16,
    })
}

/// A hash of names, sizes and labels of the files, and of what is left out for being damaged; the pixels are not looked at, as
/// that would mean reading a set that may not fit into memory.
pub(super) fn fingerprint(
    class_names: &[String],
    items: &[Item],
    Target { size, framing }: Target,
    background: Colour,
    skipped: Option<u64>,
) -> u64 {
    let mut hash = Fingerprint::default()
        .number(size[0] as u64)
        .number(size[1] as u64);
    if framing != Framing::LargestPart {
        hash = hash.bytes(framing.name().as_bytes());
    }
    if background != Colour::WHITE {
        hash = hash.bytes(&background.0);
    }
    for name in class_names {
        hash = hash.bytes(name.as_bytes());
    }
    for Item { image, label } in items {
        hash = hash
            .bytes(image.name())
            .number(u64::from(*label))
            .number(image.size_bytes);
    }
    if let Some(skipped) = skipped {
        hash = hash.number(skipped);
    }
    hash.finish()
}
