//! Lists what the class folders of one split hold, and finds out what of it are images.

use std::ffi::{OsStr, OsString};
use std::fs::{self, FileType};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::decode;
use super::tally::Tally;
use crate::file;
use crate::file_error::FileError;
use crate::inventory::LeftOutReason;
use crate::parallel;

/// How files of the formats that are read are called.
const ENDINGS: [&str; 11] = [
    "jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "tiff", "mpo",
];
/// What the system calls too many links on the way to a file.
const ELOOP: Option<i32> = if cfg!(any(target_os = "linux", target_os = "android")) {
    Some(40)
} else if cfg!(unix) {
    Some(62)
} else {
    None
};

/// An image in a class folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Image {
    pub(super) path: PathBuf,
    /// Bytes of the end of the path that is below the class folder.
    pub(super) name_bytes: usize,
    pub(super) size_bytes: u64,
}

impl Image {
    /// Its path below the class folder: the name of its file, where the class folder holds no others.
    pub(super) fn name(&self) -> &[u8] {
        let path = self.path.as_os_str().as_encoded_bytes();
        &path[path.len().saturating_sub(self.name_bytes)..]
    }
}

/// A class folder.
#[derive(Debug)]
pub(super) struct Class {
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    /// Its images: those of the folder itself by name, then those of each folder in it.
    pub(super) images: Vec<Image>,
    /// Files and links in it that may have been meant as images.
    pub(super) missed: usize,
    /// One of them.
    pub(super) missed_example: Option<PathBuf>,
}

/// The folder of a split.
#[derive(Debug)]
pub(super) struct SplitFolder {
    pub(super) path: PathBuf,
    /// In the order of their names.
    pub(super) classes: Vec<Class>,
    /// Images that lie beside the class folders.
    pub(super) images_beside: usize,
    /// One of them.
    pub(super) beside_example: Option<PathBuf>,
}

/// A file that may be an image.
struct Candidate {
    path: PathBuf,
    name_bytes: usize,
    /// Its class; `None` beside the class folders.
    class: Option<usize>,
    is_hidden: bool,
}

/// What a file turns out to be.
enum Content {
    Image { size_bytes: u64 },
    Other,
    Unreadable,
}

/// What a name in a folder stands for.
enum Entry {
    File,
    /// A folder, and where it really is, if the name is a link.
    Folder(Option<PathBuf>),
    LeftOut(LeftOutReason),
}

/// Reads the folder of a split: every folder in it is a class, searched to any depth. Links are followed, but not back to a
/// folder that the link lies in. What is no image goes to the tally.
///
/// # Errors
/// [`FileError::Io`] if the folder itself cannot be read.
pub(super) fn read(split: &Path, tally: &mut Tally) -> Result<SplitFolder, FileError> {
    let real = fs::canonicalize(split).map_err(FileError::io(split))?;
    let mut walk = Walk {
        classes: Vec::new(),
        candidates: Vec::new(),
        keeps_unreadable: false,
        tally,
    };
    for (name, path, kind) in entries(split).map_err(FileError::io(split))? {
        if is_hidden(&name) {
            walk.hidden(path, None, kind);
            continue;
        }
        match entry(&path, kind, std::slice::from_ref(&real)) {
            Entry::File => walk.candidates.push(Candidate {
                name_bytes: name.len(),
                path,
                class: None,
                is_hidden: false,
            }),
            Entry::LeftOut(reason) => walk.tally.add(reason, path),
            Entry::Folder(target) => {
                let mut came_through = vec![real.clone()];
                match target {
                    Some(target) => came_through.push(target),
                    None => came_through[0].push(&name),
                }
                walk.class(name, path, came_through);
            }
        }
    }
    Ok(walk.sorted_out(split))
}

/// The images in a folder at any depth, in the order of those of a class. Files that are called pictures and cannot be read are among
/// them.
///
/// # Errors
/// [`FileError::Io`] if the folder itself cannot be read.
pub(super) fn read_whole(folder: &Path, tally: &mut Tally) -> Result<Vec<Image>, FileError> {
    fs::read_dir(folder).map_err(FileError::io(folder))?;
    let real = fs::canonicalize(folder).map_err(FileError::io(folder))?;
    let mut walk = Walk {
        classes: Vec::new(),
        candidates: Vec::new(),
        keeps_unreadable: true,
        tally,
    };
    let name = folder.file_name().unwrap_or_default().to_owned();
    walk.class(name, folder.to_path_buf(), vec![real]);
    let classes = walk.sorted_out(folder).classes.into_iter();
    Ok(classes.flat_map(|class| class.images).collect())
}

struct Walk<'a> {
    classes: Vec<Class>,
    candidates: Vec<Candidate>,
    /// Whether a file that is called a picture and cannot be read is one, so that reading it says why.
    keeps_unreadable: bool,
    tally: &'a mut Tally,
}

impl Walk<'_> {
    /// Lists a class folder. `came_through` is where it really is, after the places that a link led away from.
    fn class(&mut self, name: OsString, path: PathBuf, came_through: Vec<PathBuf>) {
        let label = self.classes.len();
        let prefix_bytes = path.as_os_str().len() + 1;
        self.classes.push(Class {
            name,
            path: path.clone(),
            images: Vec::new(),
            missed: 0,
            missed_example: None,
        });
        let mut folders = Vec::new();
        let mut pending = vec![(path, came_through)];
        while let Some((folder, came_through)) = pending.pop() {
            let Ok(entries) = entries(&folder) else {
                self.left_out(LeftOutReason::Unreadable, folder, label);
                continue;
            };
            let mut files = Vec::new();
            for (name, path, kind) in entries {
                if is_hidden(&name) {
                    self.hidden(path, Some(label), kind);
                    continue;
                }
                match entry(&path, kind, &came_through) {
                    Entry::File => files.push(path),
                    Entry::LeftOut(LeftOutReason::DanglingLink | LeftOutReason::Unreadable)
                        if self.keeps_unreadable && is_called_a_picture(&path) =>
                    {
                        files.push(path);
                    }
                    Entry::LeftOut(reason) => self.left_out(reason, path, label),
                    Entry::Folder(target) => {
                        let mut came_through = came_through.clone();
                        match (target, came_through.last_mut()) {
                            (None, Some(last)) => last.push(&name),
                            (target, _) => came_through.extend(target),
                        }
                        pending.push((path, came_through));
                    }
                }
            }
            folders.push((folder, files));
        }
        // As `sorted(os.walk(…))` has them: folders by their whole path, the files of each by name.
        folders.sort_unstable_by(|(one, _), (other, _)| one.as_os_str().cmp(other.as_os_str()));
        let files = folders.into_iter().flat_map(|(_, files)| files);
        self.candidates.extend(files.map(|path| Candidate {
            name_bytes: path.as_os_str().len() - prefix_bytes,
            path,
            class: Some(label),
            is_hidden: false,
        }));
    }

    /// A hidden file is left out in any case, but looked at: it may have been meant as an image.
    fn hidden(&mut self, path: PathBuf, class: Option<usize>, kind: FileType) {
        match kind.is_file() {
            true => self.candidates.push(Candidate {
                path,
                name_bytes: 0,
                class,
                is_hidden: true,
            }),
            false => self.tally.add_unmissed(LeftOutReason::Hidden, path),
        }
    }

    fn left_out(&mut self, reason: LeftOutReason, path: PathBuf, class: usize) {
        if reason.is_of_files() {
            let class = &mut self.classes[class];
            class.missed += 1;
            class.missed_example.get_or_insert_with(|| path.clone());
        }
        self.tally.add(reason, path);
    }

    /// Looks into all candidates.
    fn sorted_out(mut self, split: &Path) -> SplitFolder {
        let candidates = std::mem::take(&mut self.candidates);
        let contents = parallel::map(&candidates, |candidate| content(&candidate.path));
        let (mut images_beside, mut beside_example) = (0, None);
        for (candidate, content) in candidates.into_iter().zip(contents) {
            let Candidate {
                path,
                name_bytes,
                class,
                is_hidden,
            } = candidate;
            let is_image = matches!(content, Content::Image { .. });
            match (class, content) {
                (Some(class), _) if is_hidden && is_image => {
                    self.left_out(LeftOutReason::Hidden, path, class);
                }
                _ if is_hidden => self.tally.add_unmissed(LeftOutReason::Hidden, path),
                (None, _) => {
                    if is_image {
                        images_beside += 1;
                        beside_example.get_or_insert_with(|| path.clone());
                    }
                    self.tally.add(LeftOutReason::OutsideClasses, path);
                }
                (Some(class), Content::Image { size_bytes }) => {
                    self.classes[class].images.push(Image {
                        path,
                        name_bytes,
                        size_bytes,
                    });
                }
                (Some(class), Content::Unreadable)
                    if self.keeps_unreadable && is_called_a_picture(&path) =>
                {
                    self.classes[class].images.push(Image {
                        path,
                        name_bytes,
                        size_bytes: 0,
                    });
                }
                (Some(class), Content::Other) => {
                    self.left_out(LeftOutReason::OtherFormat, path, class);
                }
                (Some(class), Content::Unreadable) => {
                    self.left_out(LeftOutReason::Unreadable, path, class);
                }
            }
        }
        SplitFolder {
            path: split.to_path_buf(),
            classes: self.classes,
            images_beside,
            beside_example,
        }
    }
}

/// The first image below a folder, among so many names at most.
pub(super) fn first_image(folder: &Path, mut names: usize) -> Option<PathBuf> {
    let mut pending = vec![folder.to_path_buf()];
    while let Some(folder) = pending.pop() {
        let mut folders = Vec::new();
        for (name, path, kind) in entries(&folder).unwrap_or_default() {
            names = names.checked_sub(1)?;
            if is_hidden(&name) {
                continue;
            }
            if kind.is_dir() {
                folders.push(path);
            } else if matches!(content(&path), Content::Image { .. }) {
                return Some(path);
            }
        }
        pending.extend(folders.into_iter().rev());
    }
    None
}

/// Whether a name says that it is not to be seen.
pub(super) fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// Names, paths and kinds in a folder, sorted by name. Links are links here, whatever they lead to.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<(OsString, PathBuf, FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        entries.push((entry.file_name(), entry.path(), entry.file_type()?));
    }
    entries.sort_unstable_by(|(one, ..), (other, ..)| one.cmp(other));
    Ok(entries)
}

/// Follows links. `came_through` is where the folders really are through which the walk came to this one.
fn entry(path: &Path, kind: FileType, came_through: &[PathBuf]) -> Entry {
    if !kind.is_symlink() {
        return match kind.is_dir() {
            true => Entry::Folder(None),
            false => Entry::File,
        };
    }
    match fs::metadata(path) {
        Ok(target) if !target.is_dir() => Entry::File,
        Ok(_) => match fs::canonicalize(path) {
            Ok(target) if came_through.iter().any(|from| from.starts_with(&target)) => {
                Entry::LeftOut(LeftOutReason::LinkLoop)
            }
            Ok(target) => Entry::Folder(Some(target)),
            Err(_) => Entry::LeftOut(LeftOutReason::Unreadable),
        },
        Err(error) => Entry::LeftOut(match error.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory => LeftOutReason::DanglingLink,
            _ if ELOOP.is_some() && error.raw_os_error() == ELOOP => LeftOutReason::LinkLoop,
            _ => LeftOutReason::Unreadable,
        }),
    }
}

/// Whether a file's name says that it is a picture of a format that is read. If it is none, it is damaged, and not left out;
/// but what systems put beside pictures, such as `._1.jpg`, is not meant.
fn is_called_a_picture(path: &Path) -> bool {
    if path.file_name().is_some_and(is_hidden) {
        return false;
    }
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| {
        ENDINGS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(ending))
    })
}

fn content(path: &Path) -> Content {
    let mut head = [0; decode::SIGNATURE_BYTES as usize];
    let read = file::open(path).and_then(|(mut file, size_bytes)| {
        let found = file::read_up_to(&mut file, &mut head).map_err(FileError::io(path))?;
        Ok((found, size_bytes))
    });
    match read {
        Ok((found, size_bytes))
            if decode::is_picture(&head[..found]) || is_called_a_picture(path) =>
        {
            Content::Image { size_bytes }
        }
        Ok(_) => Content::Other,
        Err(_) => Content::Unreadable,
    }
}
