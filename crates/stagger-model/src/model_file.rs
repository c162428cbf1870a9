//! A network of one's own, as a text: a TOML list of layers, from which shapes fill in what follows from them.
//!
//! ```toml
//! name = "two-convolutions"
//!
//! [[blocks]]
//! name = "stem"
//! layers = [
//!     { kind = "conv2d", out_channels = 16, kernel = 3, padding = 1 },
//!     { kind = "batch-norm2d" },
//!     { kind = "relu" },
//! ]
//!
//! [[blocks]]
//! name = "head"
//! layers = [
//!     { kind = "global-avg-pool" },
//!     { kind = "flatten" },
//!     { kind = "linear", outputs = "classes" },
//! ]
//! ```

mod entry;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::block::Block;
use crate::layer::Layer;
use crate::model::Model;
use crate::zoo;
use entry::{Builder, Entry};

/// More than any network has that trains.
const MOST_LAYERS: usize = 10_000;

/// Why a text is no network for the images that it is to be trained on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {sentence}")]
pub struct ModelFileError {
    /// The line at fault, from 1.
    pub line: usize,
    /// What is wrong there, and what to do.
    pub sentence: String,
}

/// A fault at a place in the text.
struct Fault {
    at: Range<usize>,
    sentence: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: Spanned<String>,
    #[serde(default)]
    input: Option<Spanned<[usize; 3]>>,
    #[serde(default)]
    classes: Option<Spanned<usize>>,
    blocks: Vec<FileBlock>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileBlock {
    name: Spanned<String>,
    layers: Vec<Spanned<Entry>>,
}

impl Model {
    /// Reads a network from the text of a model file, for images of this shape (channels, height, width) and so many classes.
    ///
    /// Of a layer, what follows from the shape of its input may be left out: `in_channels`, `channels` and `inputs`. `outputs =
    /// "classes"` is the number of classes, and a layer without a name gets one from its block and kind, such as `stem.conv1`. The
    /// fields are otherwise those of [`Layer`]; `input` and `classes` at the top make sure that the network is used for these.
    ///
    /// # Errors
    /// [`ModelFileError`] with the line of the first fault.
    pub fn from_toml(
        text: &str,
        input: [usize; 3],
        classes: usize,
    ) -> Result<Self, ModelFileError> {
        let located = |fault: Fault| ModelFileError {
            line: line_of(text, fault.at.start),
            sentence: fault.sentence,
        };
        let file = parse(text)?;
        build(file, input, classes).map_err(located)
    }

    /// The name of the network in the text of a model file.
    ///
    /// # Errors
    /// When the text is no model file, whatever the images are.
    pub fn name_in_toml(text: &str) -> Result<String, ModelFileError> {
        let name = parse(text)?.name;
        check_name(&name).map_err(|fault| ModelFileError {
            line: line_of(text, fault.at.start),
            sentence: fault.sentence,
        })?;
        Ok(name.into_inner())
    }
}

fn parse(text: &str) -> Result<File, ModelFileError> {
    toml::from_str(text).map_err(|error| ModelFileError {
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        sentence: plain(error.message()),
    })
}

/// What the parser says, in one line and without the names of Rust's types.
fn plain(message: &str) -> String {
    let mut said = message.trim().replace('\n', ", ");
    for (kind, name) in [
        ("expected f64", "expected a number"),
        ("expected usize", "expected a whole number"),
        (
            "expected a boolean",
            "expected true or false, without quotes",
        ),
        ("expected a string", "expected a text in quotes"),
        ("expected a sequence", "expected a list in brackets"),
        (
            "expected struct FileBlock",
            "expected a block with `name` and `layers`",
        ),
        (
            "expected struct Entry",
            "expected a layer such as { kind = \"relu\" }",
        ),
    ] {
        said = said.replace(kind, name);
    }
    said
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.get(..at.min(text.len())).unwrap_or(text);
    before.matches('\n').count() + 1
}

fn fault(at: Range<usize>, sentence: impl Into<String>) -> Fault {
    Fault {
        at,
        sentence: sentence.into(),
    }
}

/// Whether a name can stand in tables and among those of tensors.
fn is_plain(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=64).contains(&name.len()) && name.chars().all(is_plain)
}

/// What such names are.
const PLAIN: &str = "1 to 64 letters, digits, `-`, `_` and `.`";

/// Run folders are named after it.
fn check_name(name: &Spanned<String>) -> Result<(), Fault> {
    let text = name.get_ref();
    let sentence = if !is_plain(text) {
        format!("a network has a name of {PLAIN}")
    } else if text.ends_with(".toml") {
        "the name of a network does not end in .toml, as files do".to_owned()
    } else if zoo::has(text) {
        format!("`{text}` is a network of the zoo; give this one another name")
    } else {
        return Ok(());
    };
    Err(fault(name.span(), sentence))
}

fn build(file: File, input: [usize; 3], classes: usize) -> Result<Model, Fault> {
    check_name(&file.name)?;
    if let Some(said) = file.input.filter(|said| *said.get_ref() != input) {
        let [expected, found] = [*said.get_ref(), input].map(|[c, h, w]| format!("{c}x{h}x{w}"));
        let sentence = format!("the network is for images of {expected}, and these are {found}");
        return Err(fault(said.span(), sentence));
    }
    if let Some(said) = file.classes.filter(|said| *said.get_ref() != classes) {
        let expected = said.get_ref();
        let sentence = format!("the network is for {expected} classes, and there are {classes}");
        return Err(fault(said.span(), sentence));
    }
    let mut shape = input.to_vec();
    let mut layers_left = MOST_LAYERS;
    let mut names = Names::default();
    let mut blocks = Vec::new();
    let mut end = file.name.span();
    for block in file.blocks {
        let at = block.name.span();
        let name = block.name.into_inner();
        if !is_plain(&name) {
            let sentence = format!("a block has a name of {PLAIN}");
            return Err(fault(at, sentence));
        }
        if blocks.iter().any(|other: &Block| other.name == name) {
            let sentence = format!("a block needs a name of its own, and this is `{name}`");
            return Err(fault(at, sentence));
        }
        if block.layers.is_empty() {
            let sentence =
                format!("block `{name}` has no layers; give it one or leave the block out");
            return Err(fault(at, sentence));
        }
        let mut builder = Builder::new(&name, classes, &mut layers_left, &mut names);
        let (layers, output) = builder.layers(block.layers, &shape)?;
        shape = output;
        blocks.push(Block::new(name, layers));
        end = at;
    }
    if shape != [classes] {
        let sentence = format!(
            "the last block has to end in shape [{classes}], one value per class, and ends in {shape:?}; end it with {{ kind = \"linear\", outputs = \
             \"classes\" }}"
        );
        return Err(fault(end, sentence));
    }
    let name = file.name;
    let at = name.span();
    Model::new(name.into_inner(), input, classes, blocks)
        .map_err(|error| fault(at, error.to_string()))
}

/// The names of layers so far, each of which prefixes parameters of its own.
#[derive(Default)]
struct Names {
    taken: BTreeSet<String>,
    /// The last number of each block and kind.
    numbers: BTreeMap<String, usize>,
}

impl Names {
    /// Takes a name, or the next one of its kind that is free.
    fn take(&mut self, said: Option<String>, block: &str, kind: &str) -> Result<String, String> {
        if let Some(name) = said {
            if !is_plain(&name) {
                return Err(format!("a layer has a name of {PLAIN}"));
            }
            return match self.taken.insert(name.clone()) {
                true => Ok(name),
                false => Err(format!(
                    "the name `{name}` is there twice; give each layer a name of its own"
                )),
            };
        }
        let prefix = format!("{block}.{kind}");
        let number = self.numbers.entry(prefix.clone()).or_default();
        loop {
            *number += 1;
            let name = format!("{prefix}{number}");
            if self.taken.insert(name.clone()) {
                return Ok(name);
            }
        }
    }
}

/// A layer that has been built, and the shape of its output.
type Built = (Layer, Vec<usize>);

#[cfg(test)]
mod tests;
