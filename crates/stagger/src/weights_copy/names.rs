//! How other programs call the tensors of the zoo's networks.

use std::fmt;
use std::str::FromStr;

use crate::refusal::Refusal;

/// Whose names the tensors of a weights file have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Those that stagger writes: torchvision's for networks of ImageNet's size, those of the usual ports for CIFAR's.
    #[default]
    Own,
    /// torchvision's: `downsample` and `fc` in every ResNet, `features` and one layer `classifier` in a VGG.
    Torchvision,
    /// timm's: as torchvision's, with `head.fc` in a VGG.
    Timm,
    /// Those of the usual ports for CIFAR: `shortcut` and `linear` in ResNets of basic blocks (akamaster, kuangliu),
    /// `downsample` and `fc` in those of pre-activation bottlenecks (bearpaw), `features` and `classifier` in a VGG (kuangliu).
    Cifar,
}

impl Names {
    const ALL: [(Self, &str); 4] = [
        (Self::Own, "own"),
        (Self::Torchvision, "torchvision"),
        (Self::Timm, "timm"),
        (Self::Cifar, "cifar"),
    ];

    /// The name of a tensor that a network of the zoo calls `name`; nothing where the other program has no such network.
    pub(super) fn of(self, model: &str, name: &str) -> Option<String> {
        let is_vgg = model.starts_with("vgg");
        match self {
            Self::Own => Some(name.to_owned()),
            // Their own names are those of the ports, and networks of ImageNet's size have another stem there.
            Self::Cifar => (!is_of_imagenet(model)).then(|| name.to_owned()),
            // It calls all of its tensors otherwise.
            Self::Timm if model == "mobilenet-v2" => None,
            Self::Timm if is_vgg => Some(as_layer(name, "classifier", "head.fc")),
            Self::Torchvision | Self::Timm => {
                let name = name.replace(".shortcut.", ".downsample.");
                Some(as_layer(&name, "linear", "fc"))
            }
        }
    }
}

/// Whether a network of the zoo is one of ImageNet's size.
fn is_of_imagenet(model: &str) -> bool {
    let starts = ["resnext50-", "resnext101-", "resnext152-", "mobilenet-"];
    matches!(
        model,
        "resnet18" | "resnet34" | "resnet50" | "resnet101" | "resnet152"
    ) || starts.iter().any(|start| model.starts_with(start))
}

/// The same tensor of a layer that has another name.
fn as_layer(name: &str, layer: &str, other: &str) -> String {
    match name.rsplit_once('.') {
        Some((found, tensor)) if found == layer => format!("{other}.{tensor}"),
        _ => name.to_owned(),
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Self::ALL.iter();
        let name = all.filter_map(|(names, name)| (names == self).then_some(*name));
        name.take(1).try_for_each(|name| f.write_str(name))
    }
}

impl FromStr for Names {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let mut all = Self::ALL.iter();
        let found = all.find(|(_, name)| *name == text);
        found.map(|(names, _)| *names).ok_or(Refusal::Choice {
            option: "names",
            found: text.to_owned(),
            expected: "own, torchvision, timm or cifar",
        })
    }
}

#[cfg(test)]
mod tests {
    use stagger_engine::{HostTensor, StageState};
    use stagger_model::{MODEL_NAMES, Model};

    use super::super::renamed;
    use super::*;
    use crate::weights_fit;

    /// All tensors and counters of a network, each with values of its own.
    fn state(model: &Model) -> StageState {
        let blocks = 0..model.blocks.len();
        let mut state = StageState::default();
        let parameters = model.parameters(blocks.clone());
        let buffers = model.buffers(blocks);
        let shapes = (parameters.into_iter().map(|one| (one.name, one.shape)))
            .chain(buffers.into_iter().map(|one| (one.name, one.shape)));
        for (number, (name, shape)) in shapes.enumerate() {
            // Values do not matter, and the largest networks have 150 MB of them.
            let elements = shape.iter().product::<usize>();
            let small = elements < 100_000;
            let data = vec![number as f32; if small { elements } else { 0 }];
            state.tensors.insert(name, HostTensor { shape, data });
        }
        let layers = model.blocks.iter().flat_map(|block| &block.layers);
        let counters = layers.flat_map(|layer| layer.batch_counters());
        state.counters = counters.zip(7..).collect();
        state
    }

    #[test]
    fn every_network_comes_back_from_every_programs_names() {
        for name in MODEL_NAMES {
            let model = Model::by_name(name, [3, 224, 224], 10).unwrap();
            let own = state(&model);
            for (names, _) in Names::ALL {
                let Ok(other) = renamed(own.clone(), names, name) else {
                    assert!(names == Names::Cifar || name == "mobilenet-v2", "{name}");
                    let large =
                        ["18", "34", "50", "101", "152"].map(|depth| format!("resnet{depth}"));
                    assert!(
                        large.iter().any(|of| of == name)
                            || ["resnext50-32x4d", "mobilenet-v2"].contains(&name)
                    );
                    continue;
                };
                let back = weights_fit::fit(&model, other, "w", &mut Vec::new()).unwrap();
                assert!(back == own, "{name} with {names} names");
            }
        }
    }

    #[test]
    fn names_are_those_of_the_other_program() {
        let found = |names: Names, model, name| names.of(model, name);
        for (names, model, own, other) in [
            (Names::Torchvision, "resnet20", "linear.bias", "fc.bias"),
            (
                Names::Timm,
                "resnet18-cifar",
                "layer2.0.shortcut.1.num_batches_tracked",
                "layer2.0.downsample.1.num_batches_tracked",
            ),
            (
                Names::Timm,
                "vgg16-bn",
                "classifier.weight",
                "head.fc.weight",
            ),
            (
                Names::Torchvision,
                "vgg16-bn",
                "classifier.weight",
                "classifier.weight",
            ),
            (Names::Cifar, "resnet20", "linear.bias", "linear.bias"),
        ] {
            assert_eq!(found(names, model, own).as_deref(), Some(other));
        }
        assert_eq!(found(Names::Cifar, "resnet50", "fc.bias"), None);
    }

    #[test]
    fn names_are_read_as_they_are_shown() {
        for (names, text) in Names::ALL {
            assert_eq!(names.to_string(), text);
            assert_eq!(text.parse::<Names>().unwrap(), names);
        }
        let refused = "keras".parse::<Names>().unwrap_err().to_string();
        assert!(
            refused.contains("own, torchvision, timm or cifar"),
            "{refused}"
        );
    }
}
