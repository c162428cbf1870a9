//! Names of other programs, and the model's names for them.

use std::collections::BTreeMap;

use stagger_engine::StageState;

use super::{Expected, Misfit};

/// What wrappers of modules put into names, at any place: `DataParallel`, `torch.compile`, FSDP, activation checkpoints.
const WRAPPERS: [&str; 4] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
];

/// How the last linear layer is called: torchvision and timm (`fc`, `classifier`, `head.fc`), ports for CIFAR (`linear`),
/// transformers (`classifier.1`), and older ones.
const HEADS: [&str; 12] = [
    "fc",
    "linear",
    "classifier",
    "head",
    "head.fc",
    "classifier.1",
    "last_linear",
    "output",
    "classifier.6",
    "fc.0",
    "cls_head.fc",
    "heads.head",
];

/// Whether a name's first part is one that programs give to classifiers.
pub fn is_of_some_head(name: &str) -> bool {
    let first = name.split('.').next().unwrap_or_default();
    let others = ["pre_logits", "cls_head", "heads"];
    HEADS.contains(&first) || others.contains(&first)
}

/// The state under the model's names, as far as they are found.
pub fn rename(
    expected: &Expected,
    state: StageState,
    from: &str,
    notes: &mut Vec<String>,
) -> Result<StageState, Misfit> {
    let is_complete = |name: &String| state.tensors.contains_key(name);
    if expected.shapes.keys().all(is_complete) {
        return Ok(state);
    }
    let all = || state.tensors.keys().chain(state.counters.keys());
    let prefix = prefix(expected, all())?;
    let mut how = How::default();
    let mut new_names: BTreeMap<String, String> = BTreeMap::new();
    // A name that is right already is not given away.
    let mut taken: std::collections::BTreeSet<String> =
        all().filter(|name| expected.knows(name)).cloned().collect();
    for name in all().filter(|name| !expected.knows(name)) {
        let Some((new, part)) = translate(expected, name, &prefix) else {
            continue;
        };
        if taken.insert(new.clone()) {
            how.note(name, &new, part);
            new_names.insert(name.clone(), new);
        }
    }
    how.say(from, notes);
    let new = |name: String| new_names.get(&name).cloned().unwrap_or(name);
    Ok(StageState {
        tensors: state
            .tensors
            .into_iter()
            .map(|(name, tensor)| (new(name), tensor))
            .collect(),
        counters: state
            .counters
            .into_iter()
            .map(|(name, count)| (new(name), count))
            .collect(),
    })
}

/// What most of the model's tensors have before their names; nothing where no other prefix leads to more of them.
fn prefix<'a>(
    expected: &Expected,
    names: impl Iterator<Item = &'a String>,
) -> Result<String, Misfit> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in names.filter(|name| !name.starts_with("optimizer.")) {
        let ends = name.match_indices('.').map(|(at, _)| at + 1);
        for end in std::iter::once(0).chain(ends) {
            if resolve(expected, &name[end..]).is_some() {
                *counts.entry(&name[..end]).or_default() += 1;
            }
        }
    }
    let most = counts.values().copied().max().unwrap_or_default();
    let best: Vec<&str> = counts
        .iter()
        .filter_map(|(&prefix, &count)| (count == most).then_some(prefix))
        .collect();
    match best.as_slice() {
        // The empty prefix comes first.
        [] => Ok(String::new()),
        ["", ..] => Ok(String::new()),
        [only] => Ok((*only).to_owned()),
        // A handful of names may look alike; that is no second network.
        [one, other, ..] if 2 * most > expected.shapes.len() => Err(Misfit::Twice {
            one: (*one).to_owned(),
            other: (*other).to_owned(),
        }),
        _ => Ok(String::new()),
    }
}

/// The model's name for a name behind a prefix, or behind a part of it, and what was before it.
fn translate<'a>(expected: &Expected, name: &'a str, prefix: &str) -> Option<(String, &'a str)> {
    let ends = prefix.rmatch_indices('.').map(|(at, _)| at + 1);
    for end in ends.chain([0]) {
        if let Some(rest) = name.strip_prefix(&prefix[..end]) {
            let found = resolve(expected, rest).or_else(|| resolve(expected, &unwrapped(rest)));
            if let Some(found) = found {
                return Some((found, &name[..end]));
            }
        }
    }
    None
}

fn unwrapped(name: &str) -> String {
    let parts: Vec<&str> = name
        .split('.')
        .filter(|part| !WRAPPERS.contains(part))
        .collect();
    parts.join(".")
}

/// The model's name for a name without a prefix.
fn resolve(expected: &Expected, name: &str) -> Option<String> {
    if expected.knows(name) {
        return Some(name.to_owned());
    }
    let others = [
        other_shortcut(name),
        expected
            .head
            .as_deref()
            .and_then(|head| as_head(name, head)),
        of_transformers(name),
    ];
    let mut others = others.into_iter().flatten();
    others.find(|other| expected.knows(other))
}

/// `layer2.0.downsample.1.weight` is `layer2.0.shortcut.1.weight` in other ports.
fn other_shortcut(name: &str) -> Option<String> {
    let swapped = match name {
        _ if name.contains(".downsample.") => name.replace(".downsample.", ".shortcut."),
        _ if name.contains(".shortcut.") => name.replace(".shortcut.", ".downsample."),
        _ => return None,
    };
    Some(swapped)
}

fn as_head(name: &str, head: &str) -> Option<String> {
    let (layer, parameter) = name.rsplit_once('.')?;
    HEADS
        .contains(&layer)
        .then(|| format!("{head}.{parameter}"))
}

/// Names of the ResNets of Hugging Face's transformers.
fn of_transformers(name: &str) -> Option<String> {
    if let Some(rest) = name.strip_prefix("embedder.embedder.") {
        return match rest.split_once('.')? {
            ("convolution", rest) => Some(format!("conv1.{rest}")),
            ("normalization", rest) => Some(format!("bn1.{rest}")),
            _ => None,
        };
    }
    let rest = name.strip_prefix("encoder.stages.")?;
    let parts: Vec<&str> = rest.split('.').collect();
    let (block, rest) = match parts.as_slice() {
        [stage, "layers", layer, rest @ ..] => {
            (format!("layer{}.{layer}", number(stage)? + 1), rest)
        }
        _ => return None,
    };
    match rest {
        ["layer", index, "convolution", last] => {
            Some(format!("{block}.conv{}.{last}", number(index)? + 1))
        }
        ["layer", index, "normalization", last] => {
            Some(format!("{block}.bn{}.{last}", number(index)? + 1))
        }
        ["shortcut", "convolution", last] => Some(format!("{block}.downsample.0.{last}")),
        ["shortcut", "normalization", last] => Some(format!("{block}.downsample.1.{last}")),
        _ => None,
    }
}

fn number(text: &str) -> Option<u16> {
    text.parse().ok()
}

/// What was done to names, each kind told once.
#[derive(Default)]
struct How {
    prefixes: Vec<String>,
    examples: Vec<(String, String)>,
}

impl How {
    /// `prefix` is what was cut off.
    fn note(&mut self, name: &str, new: &str, prefix: &str) {
        if !prefix.is_empty() && !self.prefixes.iter().any(|known| known == prefix) {
            self.prefixes.push(prefix.to_owned());
        }
        let rest = &name[prefix.len()..];
        let kind = |name: &str| {
            let layer = name.rsplit_once('.').map_or(name, |(layer, _)| layer);
            let is_number = |part: &&str| part.bytes().all(|byte| byte.is_ascii_digit());
            let parts: Vec<&str> = layer.split('.').filter(|part| !is_number(part)).collect();
            parts.last().map(|last| (*last).to_owned())
        };
        if rest != new {
            let seen = |(old, _): &(String, String)| kind(old) == kind(rest);
            if !self.examples.iter().any(seen) {
                self.examples.push((rest.to_owned(), new.to_owned()));
            }
        }
    }

    fn say(self, from: &str, notes: &mut Vec<String>) {
        if !self.prefixes.is_empty() {
            let prefixes: Vec<String> = (self.prefixes.iter())
                .map(|prefix| format!("`{prefix}`"))
                .collect();
            notes.push(format!(
                "names in {from} begin with {}, which is left out",
                prefixes.join(" or ")
            ));
        }
        if !self.examples.is_empty() {
            let examples = self.examples.iter().take(3);
            let examples: Vec<String> = examples
                .map(|(old, new)| format!("`{old}` is `{new}`"))
                .collect();
            notes.push(format!(
                "names in {from} are those of another program: {}",
                examples.join(", ")
            ));
        }
    }
}
