//! A layer as a model file has it.

use serde::Deserialize;
use toml::{Spanned, Value};

use super::{Built, Fault, Names, fault};
use crate::layer::{DEFAULT_EPSILON, DEFAULT_MOMENTUM, Layer};

/// Larger than any size of a layer.
const LARGEST: usize = 1 << 16;

/// The fields of all kinds of layers.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    kind: String,
    name: Option<String>,
    in_channels: Option<usize>,
    out_channels: Option<usize>,
    channels: Option<usize>,
    kernel: Option<usize>,
    stride: Option<usize>,
    padding: Option<usize>,
    groups: Option<usize>,
    bias: Option<bool>,
    zero_weight: Option<bool>,
    epsilon: Option<f64>,
    momentum: Option<f64>,
    inputs: Option<usize>,
    outputs: Option<Value>,
    probability: Option<f64>,
    body: Option<Vec<Spanned<Entry>>>,
    shortcut: Option<Vec<Spanned<Entry>>>,
}

/// Which fields there are for a kind beside `kind`, and which it cannot do without.
struct Kind {
    name: &'static str,
    fields: &'static [&'static str],
    needed: &'static [&'static str],
}

const KINDS: [Kind; 13] = [
    Kind {
        name: "conv2d",
        fields: &[
            "name",
            "in_channels",
            "out_channels",
            "kernel",
            "stride",
            "padding",
            "groups",
            "bias",
            "zero_weight",
        ],
        needed: &["out_channels", "kernel"],
    },
    Kind {
        name: "batch-norm2d",
        fields: &["name", "channels", "epsilon", "momentum"],
        needed: &[],
    },
    Kind {
        name: "relu",
        fields: &[],
        needed: &[],
    },
    Kind {
        name: "relu6",
        fields: &[],
        needed: &[],
    },
    Kind {
        name: "residual",
        fields: &["body", "shortcut"],
        needed: &["body"],
    },
    Kind {
        name: "concat",
        fields: &["body"],
        needed: &["body"],
    },
    Kind {
        name: "max-pool2d",
        fields: &["kernel", "stride", "padding"],
        needed: &["kernel"],
    },
    Kind {
        name: "avg-pool2d",
        fields: &["kernel", "stride", "padding"],
        needed: &["kernel"],
    },
    Kind {
        name: "global-avg-pool",
        fields: &[],
        needed: &[],
    },
    Kind {
        name: "flatten",
        fields: &[],
        needed: &[],
    },
    Kind {
        name: "linear",
        fields: &["name", "inputs", "outputs", "bias", "zero_weight"],
        needed: &["outputs"],
    },
    Kind {
        name: "dropout",
        fields: &["name", "probability"],
        needed: &["probability"],
    },
    Kind {
        name: "subsample-pad",
        fields: &["stride", "in_channels", "out_channels"],
        needed: &["stride", "out_channels"],
    },
];

impl Entry {
    /// The fields that are said.
    fn said(&self) -> Vec<&'static str> {
        let all = [
            ("name", self.name.is_some()),
            ("in_channels", self.in_channels.is_some()),
            ("out_channels", self.out_channels.is_some()),
            ("channels", self.channels.is_some()),
            ("kernel", self.kernel.is_some()),
            ("stride", self.stride.is_some()),
            ("padding", self.padding.is_some()),
            ("groups", self.groups.is_some()),
            ("bias", self.bias.is_some()),
            ("zero_weight", self.zero_weight.is_some()),
            ("epsilon", self.epsilon.is_some()),
            ("momentum", self.momentum.is_some()),
            ("inputs", self.inputs.is_some()),
            ("outputs", self.outputs.is_some()),
            ("probability", self.probability.is_some()),
            ("body", self.body.is_some()),
            ("shortcut", self.shortcut.is_some()),
        ];
        let said = all.into_iter().filter(|(_, is_said)| *is_said);
        said.map(|(name, _)| name).collect()
    }

    /// Finds the kind, and checks that its fields are those that are said.
    fn check(&self) -> Result<(), String> {
        let kind = &self.kind;
        let Some(of) = KINDS.iter().find(|of| of.name == kind) else {
            let known = KINDS.map(|of| of.name).join(", ");
            return Err(format!(
                "there is no layer of kind `{kind}`; there are {known}"
            ));
        };
        let said = self.said();
        if let Some(other) = said.iter().find(|name| !of.fields.contains(name)) {
            let fields = match of.fields {
                [] => "no fields".to_owned(),
                fields => fields.join(", "),
            };
            return Err(format!("`{kind}` has no `{other}`; it has {fields}"));
        }
        if let Some(missing) = of.needed.iter().find(|name| !said.contains(name)) {
            return Err(format!("`{kind}` needs `{missing}`"));
        }
        let sizes = [
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("channels", self.channels),
            ("kernel", self.kernel),
            ("stride", self.stride),
            ("padding", self.padding),
            ("groups", self.groups),
            ("inputs", self.inputs),
        ];
        match sizes.into_iter().find(|(_, size)| *size > Some(LARGEST)) {
            Some((name, Some(size))) => {
                Err(format!("`{name}` is {size}, and at most {LARGEST} is read"))
            }
            _ => Ok(()),
        }
    }
}

/// Makes layers of entries, with what follows from the shapes that they get.
pub struct Builder<'a> {
    block: &'a str,
    classes: usize,
    layers_left: &'a mut usize,
    names: &'a mut Names,
}

impl<'a> Builder<'a> {
    /// For the entries of one block.
    pub fn new(
        block: &'a str,
        classes: usize,
        layers_left: &'a mut usize,
        names: &'a mut Names,
    ) -> Self {
        Self {
            block,
            classes,
            layers_left,
            names,
        }
    }

    /// The layers, and the shape of what the last of them gives for an input of this shape.
    pub fn layers(
        &mut self,
        entries: Vec<Spanned<Entry>>,
        input: &[usize],
    ) -> Result<(Vec<Layer>, Vec<usize>), Fault> {
        let mut shape = input.to_vec();
        let mut layers = Vec::with_capacity(entries.len());
        for entry in entries {
            let (layer, output) = self.layer(entry, &shape)?;
            layers.push(layer);
            shape = output;
        }
        Ok((layers, shape))
    }

    fn layer(&mut self, entry: Spanned<Entry>, input: &[usize]) -> Result<Built, Fault> {
        let at = entry.span();
        let mut entry = entry.into_inner();
        let refused = |sentence: String| fault(at.clone(), sentence);
        let Some(left) = self.layers_left.checked_sub(1) else {
            return Err(refused(format!(
                "a network has at most {} layers",
                super::MOST_LAYERS
            )));
        };
        *self.layers_left = left;
        entry.check().map_err(refused)?;
        let mut branch = |entries: Option<Vec<Spanned<Entry>>>| -> Result<Vec<Layer>, Fault> {
            Ok(self.layers(entries.unwrap_or_default(), input)?.0)
        };
        let body = branch(entry.body.take())?;
        let shortcut = branch(entry.shortcut.take())?;
        let layer = self.of(entry, body, shortcut, input).map_err(refused)?;
        let output = layer.output_shape(input);
        let output = output.map_err(|error| refused(error.to_string()))?;
        Ok((layer, output))
    }

    fn of(
        &mut self,
        entry: Entry,
        body: Vec<Layer>,
        shortcut: Vec<Layer>,
        input: &[usize],
    ) -> Result<Layer, String> {
        // Of an input of a wrong rank, the layer itself says so.
        let first = input.first().copied().unwrap_or_default();
        let mut name = |kind| self.names.take(entry.name.clone(), self.block, kind);
        let kernel = entry.kernel.unwrap_or(1);
        let padding = entry.padding.unwrap_or_default();
        let in_channels = entry.in_channels.unwrap_or(first);
        let out_channels = entry.out_channels.unwrap_or_default();
        Ok(match entry.kind.as_str() {
            "conv2d" => Layer::Conv2d {
                name: name("conv")?,
                in_channels,
                out_channels,
                kernel,
                stride: entry.stride.unwrap_or(1),
                padding,
                groups: entry.groups.unwrap_or(1),
                bias: entry.bias.unwrap_or(false),
                zero_weight: entry.zero_weight.unwrap_or(false),
            },
            "batch-norm2d" => Layer::BatchNorm2d {
                name: name("bn")?,
                channels: entry.channels.unwrap_or(first),
                epsilon: entry.epsilon.unwrap_or(DEFAULT_EPSILON),
                momentum: entry.momentum.unwrap_or(DEFAULT_MOMENTUM),
            },
            "relu" => Layer::Relu,
            "relu6" => Layer::Relu6,
            "residual" => Layer::Residual { body, shortcut },
            "concat" => Layer::Concat { body },
            // As in PyTorch, windows lie side by side if nothing else is said.
            "max-pool2d" => Layer::MaxPool2d {
                kernel,
                stride: entry.stride.unwrap_or(kernel),
                padding,
            },
            "avg-pool2d" => Layer::AvgPool2d {
                kernel,
                stride: entry.stride.unwrap_or(kernel),
                padding,
            },
            "global-avg-pool" => Layer::GlobalAvgPool,
            "flatten" => Layer::Flatten,
            "linear" => Layer::Linear {
                name: name("linear")?,
                inputs: entry.inputs.unwrap_or(first),
                outputs: outputs(entry.outputs.as_ref(), self.classes)?,
                bias: entry.bias.unwrap_or(true),
                zero_weight: entry.zero_weight.unwrap_or(false),
            },
            "dropout" => Layer::Dropout {
                name: name("dropout")?,
                probability: entry.probability.unwrap_or_default(),
            },
            // The only one that is left of those that the check lets through.
            _ => Layer::SubsamplePad {
                stride: entry.stride.unwrap_or(1),
                in_channels,
                out_channels,
            },
        })
    }
}

/// A number, or that of the classes.
fn outputs(said: Option<&Value>, classes: usize) -> Result<usize, String> {
    match said {
        Some(Value::String(text)) if text == "classes" => Ok(classes),
        Some(Value::Integer(number)) => usize::try_from(*number)
            .ok()
            .filter(|number| (1..=LARGEST).contains(number))
            .ok_or_else(|| format!("`outputs` is {number}, and 1 to {LARGEST} is read")),
        _ => Err("`outputs` is a whole number, or \"classes\"".to_owned()),
    }
}
