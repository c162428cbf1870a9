//! Networks of one's own: files that the option `model` names in the place of a network of the zoo.
//!
//! The text of the file goes into the options (`network`), and with them into the run folder, to other ranks and into profiles, so that
//! none of these needs the file again.

use std::io;
use std::path::{Path, PathBuf};

use stagger_data::{foreign, shown_path, shown_text};
use stagger_model::{Model, ModelFileError};
use stagger_plan::Profile;

use crate::balance::ProfileMisfit;
use crate::error::Error;
use crate::options::TrainingOptions;
use crate::refusal::{Refusal, check_path};

/// Far above the file of any network that trains.
const MOST_BYTES: u64 = 1 << 20;

/// Why a file, or a text from one, is no network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// It cannot be read.
    #[error("{} cannot be read: {source}", shown_path(path))]
    Unread {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// What it says is no network for these images.
    #[error("{place}, {}", shown_text(&source.to_string()))]
    Text {
        /// The file, or what else the text is from.
        place: String,
        /// What is wrong, with the line.
        source: ModelFileError,
    },
}

/// Whether the option `model` is a path: it has a `/` in it, or ends in `.toml`.
fn is_path(model: &str) -> bool {
    model.contains('/') || model.ends_with(".toml")
}

fn refused(source: NetworkError) -> Refusal {
    Refusal::Unreadable {
        option: "model",
        source: Box::new(source),
    }
}

fn misread(place: &str) -> impl Fn(ModelFileError) -> Refusal {
    let place = place.to_owned();
    move |source| {
        let place = place.clone();
        refused(NetworkError::Text { place, source })
    }
}

/// The text of a model file, and the name of the network in it.
fn read(path: &str) -> Result<(String, String), Refusal> {
    let file = Path::new(path);
    check_path("model", file)?;
    let text = foreign::text(file, MOST_BYTES).map_err(|source| {
        let path = file.to_owned();
        refused(NetworkError::Unread { path, source })
    })?;
    let name = Model::name_in_toml(&text).map_err(misread(&shown_path(file).to_string()))?;
    Ok((text, name))
}

/// Brings the file that the option `model` names into the options, and drops a network of which `model` is not the name. Gives what the
/// network's text is to be called in messages.
///
/// # Errors
/// When the file is none of a network.
pub(crate) fn bring_in(options: &mut TrainingOptions) -> Result<String, Refusal> {
    let model = options.model.clone().unwrap_or_default();
    if is_path(&model) {
        let (text, name) = read(&model)?;
        (options.model, options.network) = (Some(name), Some(text));
        return Ok(shown_path(Path::new(&model)).to_string());
    }
    if let Some(network) = &options.network
        && Model::name_in_toml(network).map_err(misread(IN_CONFIG))? != model
    {
        options.network = None;
    }
    Ok(network_of(&model))
}

fn network_of(name: &str) -> String {
    format!("network {}", shown_text(name))
}

/// Brings the file that the option `model` names into the options, so that it is not read again.
///
/// # Errors
/// When the file is none of a network.
pub fn take_network(options: &mut TrainingOptions) -> Result<(), Refusal> {
    bring_in(options).map(drop)
}

/// What a text that is in no file of its own is called.
const IN_CONFIG: &str = "`network`";

/// The network that options name, or have the text of, which messages call `place`.
///
/// # Errors
/// When it does not fit the images, or there is none.
pub(crate) fn model(
    options: &TrainingOptions,
    place: &str,
    input: [usize; 3],
    classes: usize,
) -> Result<Model, Error> {
    match &options.network {
        Some(text) => Ok(Model::from_toml(text, input, classes).map_err(misread(place))?),
        None => {
            let name = options.model.as_deref().unwrap_or_default();
            Ok(Model::by_name(name, input, classes)?)
        }
    }
}

/// The zoo's network of this name, or the one in the file of this path (with a `/` in it, or ending in `.toml`).
///
/// # Errors
/// When there is none, or it does not fit the images.
pub fn named_model(model: &str, input: [usize; 3], classes: usize) -> Result<Model, Error> {
    if !is_path(model) {
        return Ok(Model::by_name(model, input, classes)?);
    }
    let (text, _) = read(model)?;
    let place = shown_path(Path::new(model)).to_string();
    Ok(Model::from_toml(&text, input, classes).map_err(misread(&place))?)
}

/// The network that a profile in this file is of.
///
/// # Errors
/// [`ProfileMisfit::Network`].
pub(crate) fn of_profile(profile: &Profile, path: &Path) -> Result<Model, ProfileMisfit> {
    let Profile { input, classes, .. } = *profile;
    let model = match &profile.network {
        Some(text) => Model::from_toml(text, input, classes).map_err(|source| {
            // The line is one of the text, not of the file.
            format!("in its `network`, {source}")
        }),
        None => Model::by_name(&profile.model, input, classes).map_err(|error| error.to_string()),
    };
    model.map_err(|what| ProfileMisfit::Network {
        path: path.to_owned(),
        what,
    })
}

/// Whether two texts are the same network for these images, whatever their comments and spaces are.
pub(crate) fn is_same(one: &str, other: &str, input: [usize; 3], classes: usize) -> bool {
    let read = |text| Model::from_toml(text, input, classes).ok();
    one == other || read(one).is_some_and(|one| Some(one) == read(other))
}
