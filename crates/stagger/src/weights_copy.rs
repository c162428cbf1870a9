//! Weights out of a run, a snapshot or a file, under the names that another program gives to them.

mod names;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stagger_data::{foreign, shown_path};
use stagger_engine::StageState;
use stagger_model::{Model, ModelError};
use stagger_report::snapshot::{MANIFEST_FILE, Manifest, SnapshotStore};
use stagger_report::{
    BEST_WEIGHTS_FILE, CONFIG_FILE, LAST_WEIGHTS_FILE, NewFile, Weights, read_weights,
    read_weights_inside, write_weights,
};

use crate::error::Error;
use crate::refusal::refuse_emulated;
use crate::weights_fit;

pub use names::Names;

/// Weights that are written anew.
#[derive(Clone, Debug)]
pub struct WeightsCopy {
    /// A run folder (its best weights, or without these its last ones), a snapshot, or a weights file.
    pub from: PathBuf,
    /// The safetensors file; must not exist.
    pub to: PathBuf,
    /// The names of the tensors in it.
    pub names: Names,
    /// The zoo's name of the network, where `from` does not say it, as the files of other programs.
    pub model: Option<String>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopiedWeights {
    /// The file, snapshot or run that they are from.
    pub from: PathBuf,
    /// Lines for people: what names in it were translated.
    pub notes: Vec<String>,
    /// Tensors in the new file, counters among them.
    pub tensors: usize,
}

/// Why weights cannot be written under other names.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsCopyError {
    /// The file is there already.
    #[error("{} exists already; name another file, or remove it", shown_path(path))]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file's name is that of another format.
    #[error(
        "{} would be no file of torch.save: stagger writes safetensors; name it ….safetensors, and where a .pth is needed, \
         save it from Python by torch.save(safetensors.torch.load_file(\"….safetensors\"), \"….pth\")",
        shown_path(path)
    )]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// There are no weights at this place.
    #[error(
        "{} is neither a run folder with weights, nor a snapshot, nor a weights file",
        shown_path(path)
    )]
    NoWeights {
        /// The place.
        path: PathBuf,
    },
    /// The network is unknown, so its names are, too.
    #[error(
        "{} does not say of which network it is; name it, as in --model resnet50",
        shown_path(path)
    )]
    NoModel {
        /// The place.
        path: PathBuf,
    },
    /// The network is none of the zoo's.
    #[error("the names that other programs have are known for networks of the zoo: {source}")]
    Model {
        /// Why not.
        source: Box<ModelError>,
    },
    /// Another program has no network like this one.
    #[error(
        "there is no {model} among the networks with {names} names; {names} networks have other tensors"
    )]
    NoSuchNetwork {
        /// The zoo's name.
        model: String,
        /// The other program's.
        names: Names,
    },
}

impl WeightsCopy {
    /// Reads the weights and writes them under the other names. Parameters, running statistics and counters
    /// (`num_batches_tracked`) are written, optimizer state is not.
    ///
    /// # Errors
    /// When there are no weights, when they do not fit the network, when its names are not known, and when the file cannot be
    /// written or exists.
    pub fn run(&self) -> Result<CopiedWeights, Error> {
        self.check_target()?;
        refuse_emulated(&self.from, None)?;
        let (from, found) = self.read()?;
        refuse_emulated(&from, Some(&found.state))?;
        let mut notes = Vec::new();
        let model = self
            .model
            .as_deref()
            .or(found.metadata.get("model").map(String::as_str))
            .map(str::to_owned);
        let state = match (&model, self.names) {
            // A network of one's own has its own names.
            (_, Names::Own) if self.model.is_none() => found.state.without_optimizer(),
            (None, _) => return Err(WeightsCopyError::NoModel { path: from }.into()),
            (Some(name), names) => {
                let model = model_of(name, &found).map_err(|source| WeightsCopyError::Model {
                    source: Box::new(source),
                })?;
                let shown = shown_path(&from);
                let state = found.state.without_optimizer();
                let state = weights_fit::fit(&model, state, &shown, &mut notes);
                let mut state = state.map_err(|misfit| Error::Weights {
                    path: from.clone(),
                    model: Some(model.name.clone()),
                    what: misfit.to_string(),
                })?;
                // Files without counters are complete for stagger, and not for PyTorch.
                let layers = model.blocks.iter().flat_map(|block| &block.layers);
                for counter in layers.flat_map(|layer| layer.batch_counters()) {
                    state.counters.entry(counter).or_insert(0);
                }
                renamed(state, names, &model.name)?
            }
        };
        let mut metadata = found.metadata;
        if let Some(model) = model {
            metadata.entry("model".to_owned()).or_insert(model);
        }
        let tensors = state.tensors.len() + state.counters.len();
        let written = write_weights(&self.to, &Weights { metadata, state });
        written.map_err(Error::NotWritten)?;
        Ok(CopiedWeights {
            from,
            notes,
            tensors,
        })
    }

    fn check_target(&self) -> Result<(), Error> {
        let path = self.to.clone();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("pth" | "pt" | "bin" | "ckpt")) {
            return Err(WeightsCopyError::Format { path }.into());
        }
        match path.symlink_metadata() {
            Ok(_) => Err(WeightsCopyError::Exists { path }.into()),
            Err(_) => Ok(NewFile::at(&path).map(drop)?),
        }
    }

    /// The weights, and where they were found.
    fn read(&self) -> Result<(PathBuf, Weights), Error> {
        let path = self.from.clone();
        if foreign::is_there(&path.join(MANIFEST_FILE)) {
            let (manifest, snapshot) = SnapshotStore::of_run(&path).load(&path)?;
            let mut state = StageState::default();
            for stage in snapshot.stages {
                state.merge(stage.state);
            }
            let metadata = metadata_of(manifest);
            return Ok((path, Weights { metadata, state }));
        }
        if foreign::is_there(&path) && !path.is_dir() {
            let found = read_weights(&path)?;
            return Ok((path, found));
        }
        let files = [BEST_WEIGHTS_FILE, LAST_WEIGHTS_FILE];
        let mut files = files.iter().map(|file| path.join(file));
        match files.find(|file| foreign::is_there(file) && path.join(CONFIG_FILE).is_file()) {
            Some(file) => {
                let found = read_weights_inside(&file)?;
                Ok((file, found))
            }
            None => Err(WeightsCopyError::NoWeights { path }.into()),
        }
    }
}

fn metadata_of(manifest: Manifest) -> BTreeMap<String, String> {
    let entry = |name: &str, value: String| (name.to_owned(), value);
    BTreeMap::from([
        entry("model", manifest.model),
        entry("dataset", manifest.dataset),
        entry("schedule", manifest.schedule),
        entry("seed", manifest.seed.to_string()),
        entry("batches", manifest.version.to_string()),
    ])
}

/// The zoo's network of this name, for images and classes as these weights have them.
fn model_of(name: &str, found: &Weights) -> Result<Model, ModelError> {
    let tensors = found.state.tensors.iter();
    let tensors = tensors.filter(|(name, _)| !name.starts_with("optimizer."));
    let shapes = || tensors.clone().map(|(_, tensor)| &tensor.shape);
    let matrices = shapes().filter(|shape| shape.len() == 2);
    // Where there are several, the network is none of the zoo's, and is refused by its tensors.
    let classes = matrices.map(|shape| shape[0]).min();
    // Any size has the same tensors.
    let of = |channels| Model::by_name(name, [channels, 224, 224], classes.unwrap_or(1000));
    let model = of(3)?;
    match image_channels(&model, shapes().collect()) {
        Some(channels) => of(channels),
        None => Ok(model),
    }
}

/// The channels of the images of a network: those of its first kernel, which is the one of its shape that is left of `shapes` where each later
/// kernel of the model has one taken away.
fn image_channels(model: &Model, mut shapes: Vec<&Vec<usize>>) -> Option<usize> {
    let parameters = model.parameters(0..model.blocks.len());
    let mut kernels = parameters.iter().map(|parameter| &parameter.shape);
    let first = kernels.find(|shape| shape.len() == 4)?;
    for later in kernels {
        if let Some(at) = shapes.iter().position(|shape| *shape == later) {
            shapes.swap_remove(at);
        }
    }
    let mut left = shapes
        .into_iter()
        .filter(|shape| shape.len() == 4 && shape[0] == first[0] && shape[2..] == first[2..]);
    left.next().map(|shape| shape[1])
}

fn renamed(state: StageState, names: Names, model: &str) -> Result<StageState, WeightsCopyError> {
    let new = |name: String| {
        names
            .of(model, &name)
            .ok_or_else(|| WeightsCopyError::NoSuchNetwork {
                model: model.to_owned(),
                names,
            })
    };
    let mut other = StageState::default();
    for (name, tensor) in state.tensors {
        other.tensors.insert(new(name)?, tensor);
    }
    for (name, count) in state.counters {
        other.counters.insert(new(name)?, count);
    }
    Ok(other)
}

/// Copies weights to a new file under other names; see [`WeightsCopy`].
///
/// # Errors
/// As [`WeightsCopy::run`].
pub fn copy_weights(from: &Path, to: &Path, names: Names) -> Result<CopiedWeights, Error> {
    let (from, to) = (from.to_owned(), to.to_owned());
    WeightsCopy {
        from,
        to,
        names,
        model: None,
    }
    .run()
}
