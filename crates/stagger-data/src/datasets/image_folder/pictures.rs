//! Pictures without labels, for a trained network to say what they show.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::tally::Tally;
use super::{FILE_LIMIT_BYTES, decode, walk};
use crate::augmentation::Augmentation;
use crate::dataset::{Dataset, check_image};
use crate::error::DataError;
use crate::file;
use crate::file_error::FileError;
use crate::fingerprint::Fingerprint;
use crate::framing::Framing;
use crate::inventory::{Inventory, LeftOut};
use crate::place::Colour;
use crate::shown;
use crate::split::Split;
use crate::trained_on::TrainedOn;

/// Pictures that are brought to the shape of those that a network was trained on, each when it is read. One that cannot be read
/// is black, and [`Pictures::take_failure`] says why.
///
/// Every picture has label 0, as its class is not known.
pub struct Pictures {
    paths: Vec<PathBuf>,
    left_out: Vec<LeftOut>,
    trained_on: TrainedOn,
    background: Colour,
    failures: Mutex<BTreeMap<usize, DataError>>,
}

/// Finds pictures: files as they are named, and in place of a folder those that it holds at any depth, in the order in which an
/// image folder has those of a class. What is named twice is there twice. What a folder holds besides is counted in
/// [`Pictures::left_out`]; a file that is named itself is not looked into before it is read.
///
/// Pictures are read as those of an image folder, on `background` (white without it), cut and resized to the size of training; where
/// the network takes one channel, it is their luminance (Rec. 709).
///
/// # Errors
/// [`FileError::Io`] for a path that is not there and a folder that cannot be read; [`DataError::Empty`] for a folder without
/// pictures, and when no path is named.
pub fn open_pictures(
    paths: &[PathBuf],
    background: Option<Colour>,
    trained_on: &TrainedOn,
) -> Result<Arc<Pictures>, DataError> {
    let mut tally = Tally::default();
    let mut found = Vec::new();
    for path in paths {
        match fs::metadata(path).map_err(FileError::io(path))?.is_dir() {
            false => found.push(path.clone()),
            true => found.extend(in_folder(path, &mut tally)?),
        }
    }
    if found.is_empty() {
        return Err(DataError::Empty {
            what: "the list of pictures".to_owned(),
        });
    }
    Ok(Arc::new(Pictures {
        paths: found,
        left_out: tally.left_out(),
        trained_on: trained_on.clone(),
        background: background.unwrap_or(Colour::WHITE),
        failures: Mutex::default(),
    }))
}

fn in_folder(folder: &Path, tally: &mut Tally) -> Result<Vec<PathBuf>, DataError> {
    let mut own = Tally::default();
    let images = walk::read_whole(folder, &mut own)?;
    let left_out = own.left_out();
    if images.is_empty() {
        let dir = shown::path(folder);
        return Err(DataError::Empty {
            what: match left_out.is_empty() {
                true => dir,
                false => format!(
                    "{dir} (left out: {})",
                    Inventory::left_out(&left_out, folder)
                ),
            },
        });
    }
    tally.join(own);
    Ok(images.into_iter().map(|image| image.path).collect())
}

impl Pictures {
    /// The file of each picture, by its index.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// What the folders hold besides pictures: an entry for each reason.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Why a picture could not be read, if it has been tried; the second time there is nothing to take.
    pub fn take_failure(&self, index: usize) -> Option<DataError> {
        self.failures().remove(&index)
    }

    /// The pictures as those to evaluate on, normalised as the images of the training were. There are none to train on.
    #[must_use]
    pub fn split(self: &Arc<Self>) -> Split {
        let test: Arc<Self> = Arc::clone(self);
        Split {
            train: Arc::new(self.trained_on.absent()),
            test,
            final_test: None,
            normalization: self.trained_on.normalization.clone(),
            augmentation: Augmentation::NONE,
            inventory: None,
            notes: Vec::new(),
        }
    }

    fn failures(&self) -> std::sync::MutexGuard<'_, BTreeMap<usize, DataError>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, path: &Path, pixels: &mut [u8]) -> Result<(), FileError> {
        let [channels, height, width] = self.trained_on.shape;
        let bytes = file::read(path, FILE_LIMIT_BYTES)?;
        let picture =
            decode::decode(&bytes, self.background).map_err(|reason| FileError::Decode {
                path: path.to_path_buf(),
                reason,
            })?;
        let frame = |pixels: &mut [u8]| {
            super::frame(picture, [height, width], self.trained_on.framing, pixels)
                .map_err(|reason| FileError::decode(path, &reason))
        };
        if channels == 3 {
            return frame(pixels);
        }
        let mut planes = vec![0; 3 * height * width];
        frame(&mut planes)?;
        luminance(&planes, pixels);
        Ok(())
    }
}

/// Red, green and blue planes as one of grey; grey pictures keep their values.
fn luminance(planes: &[u8], grey: &mut [u8]) {
    let (red, others) = planes.split_at(grey.len());
    let (green, blue) = others.split_at(grey.len());
    let colours = red.iter().zip(green).zip(blue);
    for (grey, ((red, green), blue)) in grey.iter_mut().zip(colours) {
        let [red, green, blue] = [*red, *green, *blue].map(u32::from);
        *grey = ((2126 * red + 7152 * green + 722 * blue + 5000) / 10_000) as u8;
    }
}

impl Dataset for Pictures {
    fn name(&self) -> &str {
        &self.trained_on.dataset
    }

    fn len(&self) -> usize {
        self.paths.len()
    }

    fn classes(&self) -> usize {
        self.trained_on.class_names.len()
    }

    fn class_names(&self) -> &[String] {
        &self.trained_on.class_names
    }

    fn shape(&self) -> [usize; 3] {
        self.trained_on.shape
    }

    fn framing(&self) -> Framing {
        self.trained_on.framing
    }

    fn label(&self, _index: usize) -> usize {
        0
    }

    fn image(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError> {
        check_image(index, self.len(), self.shape(), pixels)?;
        if let Err(error) = self.read(&self.paths[index], pixels) {
            pixels.fill(0);
            self.failures().insert(index, error.into());
        }
        Ok(())
    }

    fn fingerprint(&self) -> u64 {
        let paths = self.paths.iter().map(|path| path.as_os_str());
        let hash = paths.fold(Fingerprint::default(), |hash, path| {
            hash.bytes(path.as_encoded_bytes())
        });
        hash.finish()
    }
}

impl fmt::Debug for Pictures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pictures")
            .field("paths", &self.paths)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalization::Normalization;
    use image::{GrayImage, Luma, Rgb, RgbImage};

    fn trained_on(channels: usize) -> TrainedOn {
        TrainedOn {
            dataset: "tones".to_owned(),
            class_names: vec!["dark".to_owned(), "light".to_owned()],
            shape: [channels, 2, 2],
            framing: Framing::LargestPart,
            normalization: Normalization {
                mean: vec![0.5; channels],
                std: vec![0.25; channels],
            },
            images: 1,
        }
    }

    #[test]
    fn grey_is_kept_and_colours_become_their_luminance() {
        let mut grey = [0; 256];
        let each: Vec<u8> = (0..=255).collect();
        luminance(&[&each[..], &each, &each].concat(), &mut grey);
        assert_eq!(grey[..], each);
        let mut one = [0];
        luminance(&[0, 255, 0], &mut one);
        assert_eq!(one, [182]);
    }

    #[test]
    fn folders_are_searched_and_what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("d/deep")).unwrap();
        GrayImage::from_pixel(2, 2, Luma([7]))
            .save(at("d/deep/b.png"))
            .unwrap();
        RgbImage::from_pixel(5, 3, Rgb([9, 9, 9]))
            .save(at("d/a.png"))
            .unwrap();
        fs::write(at("d/notes.txt"), "no picture").unwrap();
        fs::write(at("d/damaged.jpg"), "no picture either").unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("nowhere", at("d/gone.jpg")).unwrap();
        let names = [at("d/deep/b.png"), at("d")];
        let pictures = open_pictures(&names, None, &trained_on(1)).unwrap();
        let mut expected = vec!["d/deep/b.png", "d/a.png", "d/damaged.jpg", "d/deep/b.png"];
        if cfg!(unix) {
            expected.insert(3, "d/gone.jpg");
        }
        let expected: Vec<PathBuf> = expected.into_iter().map(at).collect();
        assert_eq!(pictures.paths(), expected);
        assert_eq!(pictures.left_out().len(), 1);
        let mut pixels = [1; 4];
        for (index, tone) in [(0, 7), (1, 9), (2, 0), (expected.len() - 1, 7)] {
            pictures.image(index, &mut pixels).unwrap();
            assert_eq!(pixels, [tone; 4]);
        }
        let failure = pictures.take_failure(2).unwrap().to_string();
        assert!(failure.contains("damaged.jpg does not decode"), "{failure}");
        if cfg!(unix) {
            pictures.image(3, &mut pixels).unwrap();
            let failure = pictures.take_failure(3).unwrap().to_string();
            assert!(failure.contains("gone.jpg"), "{failure}");
        }
        assert!(pictures.take_failure(2).is_none() && pictures.take_failure(1).is_none());
        pictures.split().validate().unwrap();
    }

    #[test]
    fn paths_that_lead_to_no_picture() {
        let folder = tempfile::tempdir().unwrap();
        let message = |paths: &[PathBuf]| {
            let error = open_pictures(paths, None, &trained_on(3)).unwrap_err();
            let dir = folder.path().display().to_string();
            error.to_string().replace(&dir, "DIR")
        };
        let nowhere = folder.path().join("nowhere.png");
        let missing = message(&[nowhere]);
        assert!(
            missing.starts_with("cannot read DIR/nowhere.png: "),
            "{missing}"
        );
        assert_eq!(message(&[]), "the list of pictures holds no images");
        let dir = folder.path().to_path_buf();
        assert_eq!(message(std::slice::from_ref(&dir)), "DIR holds no images");
        fs::write(dir.join("x.heic"), "film").unwrap();
        assert_eq!(
            message(&[dir]),
            "DIR (left out: 1 file of another format (x.heic)) holds no images"
        );
    }
}
