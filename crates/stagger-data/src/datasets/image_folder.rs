//! A folder of images, one folder per class: `train/CLASS/*` and `val/CLASS/*` (or `test`), or `CLASS/*` alone, of which a
//! share is set aside for evaluation. With `val` or a share, the images of `test` are for the end.
//!
//! Class folders are searched to any depth, and links are followed. Which files are images their content says, not their
//! names. What is left out is counted, see [`Inventory`](crate::Inventory).
//!
//! The size of all images is the one asked for; else, if all files have one size of at most
//! 512×512, that one; else 224×224. Images of another size are cut to the centre and resized, or resized and cut
//! ([`Framing`](crate::Framing)). The set is decoded once and kept in memory if it fits, else each image is decoded when it is used. Images that do not decode are
//! told of by name, or left out where the options say so.

mod class_name;
mod content;
mod damage;
mod decode;
mod evaluation;
mod fit;
pub(crate) mod locate;
mod pictures;
mod scan;
mod tally;
mod val_split;
mod walk;

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;

use crate::augmentation::Augmentation;
use crate::dataset::{Dataset, check_image};
use crate::error::DataError;
use crate::file;
use crate::file_error::FileError;
use crate::framing::Framing;
use crate::memory::InMemory;
use crate::normalization::Normalization;
use crate::parallel::fill_images;
use crate::picture::Picture;
use crate::place::{Colour, OpenOptions, Place};
use crate::resize::Resize;
use crate::split::Split;
use damage::Depth;
pub(crate) use evaluation::open_for_evaluation;
pub use pictures::{Pictures, open_pictures};
use scan::Item;

const PLACE: Place = Place {
    dataset: "image-folder",
    folders: &[],
    looks_for: "images in train/CLASS and in val/CLASS or test/CLASS",
    hint: "put each class into a folder of its own and name the folder above train with \
           --data-dir",
};

pub(crate) const NAME: &str = PLACE.dataset;
/// Side of the images if they differ in size and none is asked for.
const DEFAULT_SIDE: usize = 224;
/// Largest side that is taken over from the files.
const MOST_NATIVE_SIDE: usize = 512;
/// Largest side that can be asked for.
const MOST_SIDE: usize = 4096;
/// Largest image file in bytes.
const FILE_LIMIT_BYTES: u64 = 1 << 28;
/// Enough of most files to hold their header.
const HEAD_BYTES: u64 = 1 << 14;

/// Height and width in pixels of a JPEG, PNG, WebP, BMP, GIF or TIFF file as a viewer shows it, after what its header declares and how
/// its EXIF data have it turned; `bytes` is the file or, for all but WebP and TIFF, its beginning.
///
/// # Errors
/// One sentence without the file's name: the bytes are of no such format, damaged, or declare more than is read.
pub fn image_size(bytes: &[u8]) -> Result<[usize; 2], String> {
    decode::dimensions(bytes)
}

/// Decodes a file of these formats to 8-bit RGB, as a viewer shows it on white, and brings it to `size` (height and width): `pixels`, of `3 × height × width`
/// bytes, are written channel by channel, row by row.
///
/// # Errors
/// One sentence without the file's name: as [`image_size`], or the file is cut short or shorter than what it declares.
///
/// # Panics
/// If `pixels` has another length.
pub fn decode_image(bytes: &[u8], size: [usize; 2], pixels: &mut [u8]) -> Result<(), String> {
    fit::fit(&decode::decode(bytes, Colour::WHITE)?, size, pixels);
    Ok(())
}

/// What pictures are brought to.
#[derive(Clone, Copy, Debug)]
struct Target {
    /// Height and width.
    size: [usize; 2],
    framing: Framing,
}

/// Brings a picture to `size`.
fn frame(
    picture: RgbImage,
    size: [usize; 2],
    framing: Framing,
    pixels: &mut [u8],
) -> Result<(), String> {
    match framing {
        Framing::LargestPart => {
            fit::fit(&picture, size, pixels);
            Ok(())
        }
        Framing::CentreCrop => Resize::default().centre(&picture_of(picture), size, pixels),
    }
}

fn picture_of(picture: RgbImage) -> Picture {
    let (width, height) = picture.dimensions();
    Picture {
        size: [height as usize, width as usize],
        rgb: picture.into_raw(),
    }
}

/// Reads the set in the folder of the options, kept in memory if training and evaluation images together take no more
/// bytes than the cache.
pub(crate) fn open(options: &OpenOptions) -> Result<Split, DataError> {
    let folder = PLACE.folder(options)?;
    options.val_split.map_or(Ok(()), val_split::check)?;
    let layout = locate::locate(folder, options.val_split.is_some())?;
    let scan::Listing {
        class_names,
        train,
        test,
        final_test,
        skipped,
        inventory,
    } = scan::scan(&layout, folder, options)?;
    // Those of the end do not decide on the size of the others.
    let seen: Vec<&Item> = train.iter().chain(&test).collect();
    let all: Vec<&Item> = seen.iter().copied().chain(&final_test).collect();
    // Which images are damaged is told of all at once, where that takes no longer than to keep them.
    let damaged = |depth, error| match options.skip_bad_images || !damage::is_of_image(&error) {
        true => error,
        false => damage::listed(&all, depth, error),
    };
    let file_bytes: u64 = all.iter().map(|item| item.image.size_bytes).sum();
    let depth = |is_small| {
        if is_small {
            Depth::Whole
        } else {
            Depth::Header
        }
    };
    let mut notes = Vec::new();
    let size = match options.image_size {
        Some(side) if !(1..=MOST_SIDE).contains(&side) => {
            return Err(DataError::ImageSize {
                requested: side,
                most: MOST_SIDE,
            });
        }
        Some(side) => [side, side],
        None if options.framing == Framing::CentreCrop => {
            return Err(DataError::NoImageSize);
        }
        None => common_size(&seen)
            .map_err(|error| damaged(depth(file_bytes <= options.cache_bytes), error.into()))?
            .unwrap_or_else(|| {
                notes.push(format!(
                    "the pictures differ in size, or are larger than {MOST_NATIVE_SIDE}x{MOST_NATIVE_SIDE}, so each is brought to \
                     {DEFAULT_SIDE}x{DEFAULT_SIDE}; another image size can be asked for"
                ));
                [DEFAULT_SIDE; 2]
            }),
    };
    let background = options.background.unwrap_or(Colour::WHITE);
    let fits = |images: usize| (images * 3 * size[0] * size[1]) as u64 <= options.cache_bytes;
    // Crops of a picture are of any part and size of it, so that those to train on cannot be kept at one size.
    let beside = match options.framing {
        Framing::LargestPart => 0,
        Framing::CentreCrop => train.len(),
    };
    let (is_kept, is_all_kept) = (fits(seen.len() - beside), fits(all.len() - beside));
    let is_train_kept = is_kept && beside == 0;
    let part = |items: &[Item], is_kept: bool| {
        Folder::new(
            class_names.clone(),
            items.to_vec(),
            Target {
                size,
                framing: options.framing,
            },
            background,
            skipped,
        )
        .opened(is_kept)
        .map_err(|error| damaged(depth(is_kept), error))
    };
    let (train, test) = (part(&train, is_train_kept)?, part(&test, is_kept)?);
    let final_test = match final_test.is_empty() {
        true => None,
        false => Some(part(&final_test, is_all_kept)?),
    };
    let normalization = Normalization::measure(train.as_ref())
        .map_err(|error| damaged(depth(is_train_kept), error))?;
    let augmentation = match options.framing {
        Framing::LargestPart => Augmentation::crop(train.shape(), true),
        Framing::CentreCrop => Augmentation::IMAGENET,
    };
    Ok(Split {
        train,
        test,
        final_test,
        normalization,
        augmentation,
        inventory: Some(inventory),
        notes,
    })
}

/// Height and width of all images, if they share one that is not too large to train on.
fn common_size(items: &[&Item]) -> Result<Option<[usize; 2]>, FileError> {
    let mut common = None;
    for item in items {
        let size = dimensions(&item.image.path)?;
        if size.into_iter().max() > Some(MOST_NATIVE_SIDE) || *common.get_or_insert(size) != size {
            return Ok(None);
        }
    }
    Ok(common)
}

fn dimensions(path: &Path) -> Result<[usize; 2], FileError> {
    let (file, size_bytes) = file::open(path)?;
    let mut head = Vec::new();
    file.take(HEAD_BYTES)
        .read_to_end(&mut head)
        .map_err(FileError::io(path))?;
    let is_part = size_bytes > HEAD_BYTES;
    let found = match decode::dimensions(&head) {
        // A header may be long, for instance with a preview in it.
        found if is_part && (found.is_err() || decode::needs_whole_file(&head)) => {
            decode::dimensions(&file::read(path, FILE_LIMIT_BYTES)?)
        }
        found => found,
    };
    found.map_err(|reason| FileError::decode(path, &reason))
}

/// Images that are decoded each time they are read.
#[derive(Debug)]
struct Folder {
    class_names: Vec<String>,
    items: Vec<Item>,
    target: Target,
    background: Colour,
    fingerprint: u64,
}

impl Folder {
    fn new(
        class_names: Vec<String>,
        items: Vec<Item>,
        target: Target,
        background: Colour,
        skipped: Option<u64>,
    ) -> Self {
        Self {
            fingerprint: scan::fingerprint(&class_names, &items, target, background, skipped),
            class_names,
            items,
            target,
            background,
        }
    }

    /// Reads and decodes one picture.
    fn decode(&self, index: usize) -> Result<RgbImage, DataError> {
        let len = self.len();
        let item = self.items.get(index);
        let path = &item
            .ok_or(DataError::IndexOutOfRange { index, len })?
            .image
            .path;
        let bytes = file::read(path, FILE_LIMIT_BYTES)?;
        decode::decode(&bytes, self.background)
            .map_err(|reason| FileError::decode(path, &reason).into())
    }

    /// In memory, or to be decoded image by image.
    fn opened(self, fits_into_memory: bool) -> Result<Arc<dyn Dataset>, DataError> {
        match fits_into_memory {
            true => Ok(Arc::new(self.decoded()?)),
            false => Ok(Arc::new(self)),
        }
    }

    /// Decodes every image, on all cores.
    fn decoded(self) -> Result<InMemory, DataError> {
        let image_bytes = self.shape().iter().product();
        let mut pixels = vec![0; self.len() * image_bytes];
        fill_images(&mut pixels, image_bytes, |index, image| {
            self.image(index, image)
        })?;
        let labels = self.items.iter().map(|item| item.label).collect();
        let shape = self.shape();
        let framing = self.framing();
        let set = InMemory::new(NAME, self.class_names, shape, labels, pixels)?.framed(framing);
        Ok(set.with_fingerprints(self.fingerprint, content::fingerprint(&self.items)?))
    }
}

impl Dataset for Folder {
    fn name(&self) -> &str {
        NAME
    }

    fn len(&self) -> usize {
        self.items.len()
    }

    fn classes(&self) -> usize {
        self.class_names.len()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn shape(&self) -> [usize; 3] {
        let [height, width] = self.target.size;
        [3, height, width]
    }

    fn label(&self, index: usize) -> usize {
        usize::from(self.items[index].label)
    }

    fn image(&self, index: usize, pixels: &mut [u8]) -> Result<(), DataError> {
        check_image(index, self.len(), self.shape(), pixels)?;
        let Target { size, framing } = self.target;
        frame(self.decode(index)?, size, framing, pixels)
            .map_err(|reason| FileError::decode(&self.items[index].image.path, &reason).into())
    }

    fn picture(&self, index: usize) -> Result<Option<Picture>, DataError> {
        self.decode(index).map(picture_of).map(Some)
    }

    fn framing(&self) -> Framing {
        self.target.framing
    }

    fn source_size(&self, index: usize) -> Result<[usize; 2], DataError> {
        let len = self.len();
        let item = self.items.get(index);
        let item = item.ok_or(DataError::IndexOutOfRange { index, len })?;
        Ok(dimensions(&item.image.path)?)
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn content_fingerprint(&self) -> Result<Option<u64>, DataError> {
        content::fingerprint(&self.items).map(Some)
    }
}
