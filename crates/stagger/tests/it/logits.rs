//! The outputs of a network for given images, for `benchmarks/pytorch/weights.py`, which compares them with PyTorch's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use stagger::cpu::{CpuDevice, CpuStage};
use stagger::engine::{Activation, HostTensor, Stage, StageSpec, StageState};
use stagger::model::Model;
use stagger::report::{Weights, read_weights, write_weights};

/// A folder that has for each network NAME the folder NAME with `own.safetensors`, which `stagger weights` has written, and
/// `images.safetensors`, whose tensor `images` is `[samples, channels, height, width]`.
const FOLDER: &str = "STAGGER_LOGITS_FOLDER";

/// Puts `logits-ENGINE.safetensors` beside them, with a tensor `logits`, `[samples, classes]`.
#[test]
#[ignore = "for a script, which says in STAGGER_LOGITS_FOLDER where weights and images are"]
fn of_given_weights_and_images() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else {
        eprintln!("skipped: {FOLDER} is not set");
        return;
    };
    for entry in fs::read_dir(folder).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap();
        let state = read_weights(&folder.join("own.safetensors")).unwrap().state;
        let images = read_weights(&folder.join("images.safetensors")).unwrap();
        let images = &images.state.tensors["images"];
        let &[_, channels, height, width] = images.shape.as_slice() else {
            panic!("{:?}", images.shape);
        };
        let mut tensors = state.tensors.values();
        let head = tensors.find(|tensor| tensor.shape.len() == 2).unwrap();
        let model = Model::by_name(name, [channels, height, width], head.shape[0]).unwrap();
        let spec = StageSpec::new(&model, 0..model.blocks.len(), 1);
        let stage = CpuStage::new(&spec, CpuDevice::default()).unwrap();
        write(&folder, "cpu", outputs(stage, &state, images));
        #[cfg(feature = "torch")]
        {
            use stagger_torch::{TorchDevice, TorchStage};
            let stage = TorchStage::new(&spec, TorchDevice::default()).unwrap();
            write(&folder, "torch", outputs(stage, &state, images));
        }
    }
}

fn outputs<S: Stage>(mut stage: S, state: &StageState, images: &HostTensor) -> HostTensor {
    stage.import(state).unwrap();
    let images = stage.upload(images.clone()).unwrap();
    stage.evaluate(&images).unwrap().to_host().unwrap()
}

fn write(folder: &Path, engine: &str, logits: HostTensor) {
    let mut weights = Weights::default();
    weights.state.tensors.insert("logits".to_owned(), logits);
    let path = folder.join(format!("logits-{engine}.safetensors"));
    write_weights(&path, &weights).unwrap();
}
