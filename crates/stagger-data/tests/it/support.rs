//! Image folders for tests, and what is read of them.

use std::fs;
#[cfg(unix)]
use std::path::Path;
use std::path::PathBuf;

use image::{GrayImage, ImageFormat, Luma};
use stagger_data::{DataError, Dataset, OpenOptions, Split, ValSplit, open};
use tempfile::TempDir;

/// A folder that is filled by a few words.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Two images of each of the classes `a` and `b` in `train`, and one of each in `val`.
    pub fn ordinary() -> Self {
        let folder = Self::new();
        for class in ["a", "b"] {
            folder.picture(&format!("train/{class}/1.png"), 10);
            folder.picture(&format!("train/{class}/2.png"), 20);
            folder.picture(&format!("val/{class}/1.png"), 30);
        }
        folder
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// A PNG of 4×4 grey pixels, whatever its name.
    pub fn picture(&self, name: &str, grey: u8) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = GrayImage::from_pixel(4, 4, Luma([grey]));
        image.save_with_format(path, ImageFormat::Png).unwrap();
    }

    pub fn folder(&self, name: &str) {
        fs::create_dir_all(self.path(name)).unwrap();
    }

    #[cfg(unix)]
    pub fn link(&self, target: impl AsRef<Path>, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    }

    pub fn options(&self) -> OpenOptions {
        OpenOptions {
            data_dir: Some(self.0.path().to_path_buf()),
            ..OpenOptions::default()
        }
    }

    pub fn set_aside(&self, share: f64, seed: u64) -> OpenOptions {
        OpenOptions {
            val_split: Some(ValSplit { share, seed }),
            ..self.options()
        }
    }

    pub fn open_with(&self, options: &OpenOptions) -> Result<Split, DataError> {
        open("image-folder", options)
    }

    pub fn open(&self) -> Split {
        self.open_with(&self.options()).unwrap()
    }

    /// The sentence of what is wrong, with the name of the folder replaced by DIR.
    pub fn message_with(&self, options: &OpenOptions) -> String {
        let error = self.open_with(options).unwrap_err().to_string();
        error.replace(&self.0.path().display().to_string(), "DIR")
    }

    pub fn message(&self) -> String {
        self.message_with(&self.options())
    }

    /// The line on what is used and what is left out.
    pub fn account(&self, split: &Split) -> String {
        let line = split.inventory.as_ref().unwrap().to_string();
        line.replace(&self.0.path().display().to_string(), "DIR")
    }
}

/// Label and grey level of each image.
pub fn content(set: &dyn Dataset) -> Vec<(usize, u8)> {
    let mut pixels = vec![0; set.shape().iter().product()];
    let mut image = |index| {
        set.image(index, &mut pixels).unwrap();
        (set.label(index), pixels[0])
    };
    (0..set.len()).map(&mut image).collect()
}
