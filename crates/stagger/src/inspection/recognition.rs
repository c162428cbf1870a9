//! Which data set a folder holds.

use stagger_data::{DataError, Split};

use crate::error::Error;
use crate::job::{Given, images};
use crate::options::TrainingOptions;

/// Data sets that lie in folders, in the order in which a folder is tried as one.
const KINDS: [&str; 5] = [
    "image-folder",
    "cifar10",
    "cifar100",
    "mnist",
    "fashion-mnist",
];
/// The files of MNIST and of Fashion-MNIST have the same names: a folder called so holds the latter.
const FASHION: &str = "fashion";

/// Opens the data set that the options name, or else the first one that the folder holds; gives the options as a run would have
/// them.
///
/// # Errors
/// That of the named data set; where no kind is found, that of an image folder, which says what is there instead.
pub(super) fn open(options: TrainingOptions) -> Result<(TrainingOptions, Split), Error> {
    let open_as = |kind: Option<&str>| {
        let mut options = options.clone();
        options.dataset = kind.map(str::to_owned).or(options.dataset);
        let options = options.or(TrainingOptions::defaults());
        let split = images::open(&options, &Given::default())?;
        Ok((options, split))
    };
    // Only an image folder takes what these say.
    let is_image_folder = options.val_split.is_some() || options.allow_left_out == Some(true);
    if options.dataset.is_some() {
        return open_as(None);
    }
    let folder = options.data_dir.as_deref().unwrap_or("".as_ref());
    let is_fashion = folder.to_string_lossy().to_lowercase().contains(FASHION);
    let mut kinds = KINDS;
    if is_fashion {
        kinds.swap(3, 4);
    }
    let as_image_folder = match open_as(Some(kinds[0])) {
        Err(Error::Data(error @ (DataError::NotFound { .. } | DataError::Layout { .. })))
            if !is_image_folder =>
        {
            error
        }
        found => return found,
    };
    for kind in &kinds[1..] {
        match open_as(Some(kind)) {
            Err(Error::Data(DataError::NotFound { .. })) => {}
            found => return found,
        }
    }
    Err(as_image_folder.into())
}
