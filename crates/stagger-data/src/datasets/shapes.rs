//! `shapes`: a built-in data set, drawn by program.
//!
//! 32×32 colour images of ten figures, light on dark. Position, size, rotation, colours of figure
//! and background, a gradient, stray strokes and noise vary so much that no linear function of
//! the pixels tells the classes apart, while a few convolutions do. Image `index` of a split is a
//! function of (seed, split, index) alone, byte for byte the same on every platform; its label is
//! `index mod 10`.

mod drawing;
mod figure;

use crate::error::DataError;
use crate::memory::InMemory;
use crate::parallel::fill_images;
use crate::place::OpenOptions;
use crate::random::{Purpose, Stream};
use crate::split::Split;
use figure::Figure;

/// Images to train on that [`crate::open`] draws.
pub const TRAIN_LEN: usize = 10_000;
/// Images to evaluate on that [`crate::open`] draws.
pub const TEST_LEN: usize = 2_000;

/// Bytes of the images that [`crate::open`] draws.
pub const BYTES: usize = (TRAIN_LEN + TEST_LEN) * drawing::IMAGE_BYTES;

/// Draws the set for a run, by the seed of the options.
pub(crate) fn open(options: &OpenOptions) -> Result<Split, DataError> {
    options.fixed_size("shapes", drawing::SIDE)?;
    draw(options.seed, TRAIN_LEN, TEST_LEN)
}

/// Draws `train_len` images to train on and `test_len` to evaluate on.
///
/// A shorter set is the beginning of a longer one of the same seed. The images vary so much by
/// themselves that no augmentation is set.
///
/// # Errors
/// [`DataError::Empty`] if a length is 0.
pub fn draw(seed: u64, train_len: usize, test_len: usize) -> Result<Split, DataError> {
    let train = part(seed, Purpose::DrawTraining, train_len)?;
    let test = part(seed, Purpose::DrawTest, test_len)?;
    Split::new(train, test)
}

fn part(seed: u64, purpose: Purpose, len: usize) -> Result<InMemory, DataError> {
    let mut pixels = vec![0; len * drawing::IMAGE_BYTES];
    fill_images(&mut pixels, drawing::IMAGE_BYTES, |index, image| {
        let found = image.len();
        let image = image.try_into().map_err(|_| DataError::BufferSize {
            expected: drawing::IMAGE_BYTES,
            found,
        })?;
        let mut stream = Stream::new(seed, purpose, index as u64, 0);
        drawing::draw(Figure::ALL[index % Figure::ALL.len()], &mut stream, image);
        Ok(())
    })?;
    let class_names = Figure::ALL.iter().map(|figure| figure.name());
    let labels = (0..len)
        .map(|index| (index % Figure::ALL.len()) as u16)
        .collect();
    InMemory::new(
        "shapes",
        class_names,
        [3, drawing::SIDE, drawing::SIDE],
        labels,
        pixels,
    )
}
