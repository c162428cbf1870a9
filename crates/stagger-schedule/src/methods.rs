//! The methods, one per file, and the registry by which the notation finds them.
//!
//! To add a method: write a file with a struct that implements [`Method`], a `build` function and
//! an `example` function, and add its line to [`REGISTRY`]. Parsing, `explain`, interpreter and
//! runtime follow from it.

mod adl;
mod bp;
mod ddg;
mod dni;
mod dp;
mod dsp;
mod dsp_relations;
mod fdg;
mod features_replay;
mod gpipe;
mod one_f_one_b;
mod pipedream;
mod pipemare;
mod two_bw;
mod zero_bubble;

use std::sync::Arc;

use crate::notation::{Arguments, Fault, Word};
use crate::{Method, NotationProblem, Schedule};

/// Every method that the notation knows: its name, its example, its builder.
const REGISTRY: &[Entry] = &[
    entry("bp", bp::example, bp::build),
    entry("dp", dp::example, dp::build),
    entry("gpipe", gpipe::example, gpipe::build),
    entry("1f1b", one_f_one_b::example, one_f_one_b::build),
    entry("zb", zero_bubble::example, zero_bubble::build),
    entry("pipedream", pipedream::example, pipedream::build),
    entry("2bw", two_bw::example, two_bw::build),
    entry("pipemare", pipemare::example, pipemare::build),
    entry("ddg", ddg::example, ddg::build),
    entry("fr", features_replay::example, features_replay::build),
    entry("fdg", fdg::example, fdg::build),
    entry("adl", adl::example, adl::build),
    entry("dni", dni::example, dni::build),
    entry("dsp", dsp::example, dsp::build),
];

/// Other names of methods, which are never printed.
const ALIASES: &[(&str, &str)] = &[("pipedream-2bw", "2bw")];

const fn entry(
    name: &'static str,
    example: fn(Option<usize>) -> String,
    build: fn(&Arguments, Option<usize>) -> Built,
) -> Entry {
    Entry {
        name,
        example,
        build,
    }
}

/// How the notation reaches a method.
pub(crate) struct Entry {
    /// The name, in lower case.
    pub(crate) name: &'static str,
    /// A right notation, for error messages; for the number of stages asked for, if any.
    pub(crate) example: fn(Option<usize>) -> String,
    /// Checks the arguments against the method's rules and the number of stages asked for.
    pub(crate) build: fn(&Arguments, Option<usize>) -> Built,
}

/// A method, or what is wrong with its arguments.
pub(crate) type Built = Result<Arc<dyn Method>, Fault>;

/// Looks a method up by its name, in any letter case.
pub(crate) fn find(name: &Word) -> Result<&'static Entry, Fault> {
    let lower = name.text.to_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == lower);
    let wanted = alias.map_or(lower.as_str(), |(_, name)| name);
    REGISTRY
        .iter()
        .find(|entry| entry.name == wanted)
        .ok_or_else(|| {
            let known = REGISTRY
                .iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
                .join(", ");
            name.fault(NotationProblem::UnknownMethod {
                found: name.text.clone(),
                known,
            })
        })
}

/// The example for a text that names no known method.
pub(crate) fn default_example(stages: Option<usize>) -> String {
    dsp::example(stages)
}

/// A right notation of every method, for the number of stages asked for, if any: of those that fit it.
pub(crate) fn examples(stages: Option<usize>) -> Vec<String> {
    let fits = |text: &String| stages.is_none() || Schedule::parse(text, stages).is_ok();
    REGISTRY
        .iter()
        .map(|entry| (entry.example)(stages))
        .filter(fits)
        .collect()
}

/// The number of stages of a method that fits any.
fn stages_given(method: &'static str, stages: Option<usize>) -> Result<usize, Fault> {
    stages.ok_or(Fault::at(1, NotationProblem::StagesUnknown { method }))
}
