//! Data sets, augmentation, deterministic sampling and background loading for stagger.
//!
//! ```
//! use stagger_data::{Images, Loader, LoaderOptions, Sampler, labels, shapes};
//!
//! let split = shapes::draw(0, 100, 20)?;
//! let mut sampler = Sampler::new(split.train.len(), 32, 1)?;
//! let loader = Loader::start(
//!     Images::train(&split),
//!     sampler.clone(),
//!     0..sampler.batches_per_epoch(),
//!     LoaderOptions::default(),
//! )?;
//! for batch in loader {
//!     let batch = batch?;
//!     let labels = labels(split.train.as_ref(), sampler.indices(batch.batch));
//!     assert_eq!(batch.shape, [labels.len(), 3, 32, 32]);
//! }
//! # Ok::<(), stagger_data::DataError>(())
//! ```
//!
//! Everything random is a function of (seed, purpose, epoch, image), never of the order of calls
//! or of threads (docs/algorithm.md, "Semantics that are easy to get wrong"). Files are distrusted:
//! sizes and labels are checked, allocations are bounded by what is there, and messages name the
//! file and the record.
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their files themselves"
    )
)]

mod augmentation;
mod contact_sheet;
mod dataset;
mod datasets;
mod error;
mod file;
mod file_error;
mod fingerprint;
pub mod foreign;
mod framing;
mod inventory;
mod loader;
mod memory;
mod mixing;
mod normalization;
mod parallel;
mod picture;
mod place;
mod random;
mod resize;
mod sampler;
mod shown;
mod split;
mod trained_on;

pub use augmentation::{
    Augmentation, ColorChange, ColorJitter, Operation, Placement, RandAugment, Region,
};
pub use contact_sheet::{ContactRow, ContactSheet};
pub use dataset::{Dataset, labels, source_sizes};
pub use datasets::recognise::{Recognised, recognise};
pub use datasets::{NAMES, cifar, idx, image_folder, open, open_for_evaluation, shapes};
pub use error::DataError;
pub use file_error::FileError;
pub use framing::Framing;
pub use inventory::{Inventory, InventoryPart, LeftOut, LeftOutReason};
pub use loader::{ImageBatch, Images, Loader, LoaderOptions};
pub use memory::InMemory;
pub use mixing::{Mix, Mixing};
pub use normalization::Normalization;
pub use picture::Picture;
pub use place::{Colour, EvaluationPart, NotAColour, OpenOptions, ValSplit};
pub use sampler::Sampler;
pub use shown::{
    json as shown_json, lines as shown_lines, path as shown_path, path_for_shell,
    sentence as shown_sentence, shell as quoted_for_shell, text as shown_text,
};
pub use split::Split;
pub use trained_on::TrainedOn;
