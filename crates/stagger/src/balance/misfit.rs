//! Why a file says nothing about the cut of a run.

use std::io;
use std::path::PathBuf;

use stagger_data::{shown_path, shown_text};
use stagger_plan::{PipelineError, ProfileError};

use crate::job::MOST_THREADS;

/// Why a file says nothing about the cut of a run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileMisfit {
    /// It cannot be read.
    #[error(
        "{} cannot be read: {source}; measure one with `stagger profile --output FILE`",
        shown_path(path)
    )]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It is no profile.
    #[error(
        "{}: {source}; measure one with `stagger profile --output FILE`",
        shown_path(path)
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ProfileError,
    },
    /// It names an engine or a number format that there is not.
    #[error(
        "{}: its {what} is \"{}\"; it has to be {expected}",
        shown_path(path),
        shown_text(found)
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// What of it.
        what: &'static str,
        /// What it says.
        found: String,
        /// What there are.
        expected: &'static str,
    },
    /// A device has a number of threads that no run has.
    #[error(
        "{}: its device {device} has {found} threads; give 1 to {MOST_THREADS}",
        shown_path(path)
    )]
    Threads {
        /// The file.
        path: PathBuf,
        /// The device.
        device: usize,
        /// Its threads.
        found: usize,
    },
    /// A device has Winograd's method, or not, and another engine than `cpu`.
    #[error(
        "{}: its device {device} has winograd, which is of engine cpu alone; leave it out there",
        shown_path(path)
    )]
    Winograd {
        /// The file.
        path: PathBuf,
        /// The device.
        device: usize,
    },
    /// Devices were measured with what all stages of a run have alike.
    #[error(
        "{}: its devices have different {field}, and all stages of a run have the same; measure them alike",
        shown_path(path)
    )]
    Differing {
        /// The file.
        path: PathBuf,
        /// The field.
        field: &'static str,
    },
    /// Its network is none, or does not fit its images or classes.
    #[error("{}: {}", shown_path(path), shown_text(what))]
    Network {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// A device takes no time for any block.
    #[error(
        "{}: the blocks take no time on device {device}, and so there is nothing to cut by; give them times above 0, or give numbers of blocks",
        shown_path(path)
    )]
    NoTime {
        /// The file.
        path: PathBuf,
        /// The device.
        device: usize,
    },
    /// It is one of something else.
    #[error(
        "{} is a profile of {}, and the run trains {expected}; measure that with `stagger profile`",
        shown_path(path),
        shown_text(found)
    )]
    Other {
        /// The file.
        path: PathBuf,
        /// What the profile is of.
        found: String,
        /// What the run is of.
        expected: String,
    },
    /// It has neither one device nor one for each stage, or its links do not fit these, or its times are too long.
    #[error("{}: {source}", shown_path(path))]
    Devices {
        /// The file.
        path: PathBuf,
        /// How many it has.
        source: PipelineError,
    },
    /// It has neither one link nor one for each pair of neighbouring devices.
    #[error(
        "{} has {found} links, and there {}; give one link for all{}",
        shown_path(path),
        match devices {
            1 => "is 1 device".to_owned(),
            devices => format!("are {devices} devices"),
        },
        match devices {
            1 | 2 => String::new(),
            devices => format!(", or {}: one from each device to the next", devices - 1),
        }
    )]
    Links {
        /// The file.
        path: PathBuf,
        /// How many it has.
        found: usize,
        /// Devices.
        devices: usize,
    },
}
