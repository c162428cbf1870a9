//! What was found in the folder of a data set, what of it is used, and what is left out.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::shown;

/// An account of what lies below the folders of a data set.
///
/// Its text is one line: `12 images to train on (train), 4 to evaluate on (val), 2 classes; left out: 1 file of another
/// format (train/a/notes.txt)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inventory {
    /// The folder in which the data set was looked for.
    pub folder: PathBuf,
    /// The images to train on; none where a trained network is evaluated.
    pub train: Option<InventoryPart>,
    /// The images to evaluate on; in the same folder where they are set aside from those to train on.
    pub test: InventoryPart,
    /// The images to test on when training has ended, where there are some beside the former.
    pub final_test: Option<InventoryPart>,
    /// Number of classes.
    pub classes: usize,
    /// What is not used: an entry for each reason that there is, in the order of [`LeftOutReason`].
    pub left_out: Vec<LeftOut>,
    /// A folder of images to test on that has no folder of a class; it is not used.
    pub unlabelled: Option<PathBuf>,
    /// Folders with the name of a split that are not looked into: `test`, where a network is evaluated on `val`.
    pub unused: Vec<PathBuf>,
}

/// One part of the images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryPart {
    /// The folder that they are in.
    pub folder: PathBuf,
    /// Number of images.
    pub images: usize,
    /// Number of classes that they are of.
    pub classes: usize,
}

/// What is not used for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Why.
    pub reason: LeftOutReason,
    /// How many files, folders or links.
    pub count: usize,
    /// The first of them by name.
    pub example: PathBuf,
}

/// Why something in a folder of images is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LeftOutReason {
    /// A file that does not begin as an image of a known format does, whatever its name ends with.
    OtherFormat,
    /// A file or folder whose name begins with a dot.
    Hidden,
    /// A file or folder that cannot be read, or something that is neither, such as a pipe.
    Unreadable,
    /// An image that does not decode; only where such images are to be left out.
    Damaged,
    /// A link to something that does not exist.
    DanglingLink,
    /// A link that leads back to itself, or to a folder that it lies in.
    LinkLoop,
    /// A class folder that holds no image.
    EmptyClass,
    /// A file beside the class folders, which is of no class.
    OutsideClasses,
}

impl LeftOutReason {
    /// Whether it leaves out something that may be an image.
    pub(crate) fn is_of_files(self) -> bool {
        !matches!(self, Self::LinkLoop | Self::EmptyClass)
    }

    /// A word for programs: `other-format`, `hidden`, `unreadable`, `damaged`, `dangling-link`, `link-loop`,
    /// `empty-class`, `outside-classes`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OtherFormat => "other-format",
            Self::Hidden => "hidden",
            Self::Unreadable => "unreadable",
            Self::Damaged => "damaged",
            Self::DanglingLink => "dangling-link",
            Self::LinkLoop => "link-loop",
            Self::EmptyClass => "empty-class",
            Self::OutsideClasses => "outside-classes",
        }
    }

    fn words(self) -> [&'static str; 2] {
        match self {
            Self::OtherFormat => ["file of another format", "files of other formats"],
            Self::Hidden => ["hidden file or folder", "hidden files or folders"],
            Self::Unreadable => ["unreadable file or folder", "unreadable files or folders"],
            Self::Damaged => ["damaged image", "damaged images"],
            Self::DanglingLink => ["dangling link", "dangling links"],
            Self::LinkLoop => ["loop of links", "loops of links"],
            Self::EmptyClass => [
                "class folder without images",
                "class folders without images",
            ],
            Self::OutsideClasses => [
                "file beside the class folders",
                "files beside the class folders",
            ],
        }
    }
}

impl Inventory {
    /// What is left out, in words, with paths below `from` shown from there.
    #[must_use]
    pub fn left_out(left_out: &[LeftOut], from: &Path) -> String {
        let words = |left_out: &LeftOut| {
            let LeftOut {
                reason,
                count,
                example,
            } = left_out;
            let [one, several] = reason.words();
            let (noun, such_as) = match count {
                1 => (one, ""),
                _ => (several, "such as "),
            };
            format!("{count} {noun} ({such_as}{})", below(example, from))
        };
        let words: Vec<String> = left_out.iter().map(words).collect();
        words.join(", ")
    }
}

/// A path as seen from a folder that it lies in.
fn below(path: &Path, from: &Path) -> String {
    match path.strip_prefix(from) {
        Ok(inner) if !inner.as_os_str().is_empty() => shown::path(inner),
        _ => shown::path(path),
    }
}

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            folder,
            train,
            test,
            final_test,
            classes,
            left_out,
            unlabelled,
            unused,
        } = self;
        let noun = |count: usize, one, several| if count == 1 { one } else { several };
        match train {
            Some(train) => {
                let images = noun(train.images, "image", "images");
                write!(f, "{} {images} to train on", train.images)?;
                if train.folder == test.folder {
                    write!(f, " and {} to evaluate on", test.images)?;
                    write!(f, " (both from {})", below(&train.folder, folder))?;
                } else {
                    write!(f, " ({}), {}", below(&train.folder, folder), test.images)?;
                    write!(f, " to evaluate on ({})", below(&test.folder, folder))?;
                }
            }
            None => {
                let images = noun(test.images, "image", "images");
                write!(f, "{} {images} to evaluate on", test.images)?;
                write!(f, " ({})", below(&test.folder, folder))?;
            }
        }
        if let Some(InventoryPart {
            folder: of, images, ..
        }) = final_test
        {
            write!(
                f,
                ", {images} to test on at the end ({})",
                below(of, folder)
            )?;
        }
        write!(f, ", {classes} {}", noun(*classes, "class", "classes"))?;
        if test.classes < *classes {
            write!(f, ", {} of them to evaluate on", test.classes)?;
        }
        if !left_out.is_empty() {
            write!(f, "; left out: {}", Self::left_out(left_out, folder))?;
        }
        if let Some(path) = unlabelled {
            let path = below(path, folder);
            write!(
                f,
                "; {path} is not used, as its images are in no folder of a class"
            )?;
        }
        for path in unused {
            write!(
                f,
                "; {} is not used unless --split test asks for it",
                below(path, folder)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(folder: &str, images: usize, classes: usize) -> InventoryPart {
        InventoryPart {
            folder: folder.into(),
            images,
            classes,
        }
    }

    #[test]
    fn it_is_one_line() {
        let mut inventory = Inventory {
            folder: "/data".into(),
            train: Some(part("/data/train", 12, 3)),
            test: part("/data/val", 4, 3),
            final_test: None,
            classes: 3,
            left_out: Vec::new(),
            unlabelled: None,
            unused: Vec::new(),
        };
        insta::assert_snapshot!(inventory, @"12 images to train on (train), 4 to evaluate on (val), 3 classes");
        let left_out = |reason, count, example: &str| LeftOut {
            reason,
            count,
            example: example.into(),
        };
        inventory.left_out = vec![
            left_out(LeftOutReason::OtherFormat, 2, "/data/train/a/1.heic"),
            left_out(LeftOutReason::Hidden, 1, "/data/val/.x"),
            left_out(LeftOutReason::Unreadable, 1, "/data/train/a/pipe"),
            left_out(LeftOutReason::DanglingLink, 3, "/elsewhere/x\n.jpg"),
            left_out(LeftOutReason::LinkLoop, 1, "/data/train/a/up"),
            left_out(LeftOutReason::EmptyClass, 1, "/data/train/c"),
            left_out(LeftOutReason::OutsideClasses, 1, "/data/train/labels.csv"),
        ];
        inventory.unlabelled = Some("/data/test".into());
        inventory.test.classes = 2;
        insta::assert_snapshot!(inventory, @r"12 images to train on (train), 4 to evaluate on (val), 3 classes, 2 of them to evaluate on; left out: 2 files of other formats (such as train/a/1.heic), 1 hidden file or folder (val/.x), 1 unreadable file or folder (train/a/pipe), 3 dangling links (such as /elsewhere/x\n.jpg), 1 loop of links (train/a/up), 1 class folder without images (train/c), 1 file beside the class folders (train/labels.csv); test is not used, as its images are in no folder of a class");
        inventory.unlabelled = None;
        inventory.final_test = Some(part("/data/test", 5, 3));
        let aside = Inventory {
            train: Some(part("/data", 1, 1)),
            test: part("/data", 1, 1),
            classes: 1,
            left_out: Vec::new(),
            ..inventory
        };
        insta::assert_snapshot!(aside, @"1 image to train on and 1 to evaluate on (both from /data), 5 to test on at the end (test), 1 class");
        let evaluated = Inventory {
            train: None,
            test: part("/data/val", 5, 2),
            final_test: None,
            classes: 3,
            unused: vec!["/data/test".into()],
            ..aside
        };
        insta::assert_snapshot!(evaluated, @"5 images to evaluate on (val), 3 classes, 2 of them to evaluate on; test is not used unless --split test asks for it");
    }
}
