//! The methods, one per file, and the registry by which the notation finds them.
//!
//! To add a method: write a file with a struct that implements [`Method`], a `build` function and
//! an `example` function, and add its line to [`REGISTRY`]. Parsing, `explain`, interpreter and
//! runtime follow from it.

mod bp;
mod dsp;
mod dsp_relations;

use std::sync::Arc;

use crate::notation::{Arguments, Fault, Word};
use crate::{Method, NotationProblem};

/// Every method that the notation knows.
const REGISTRY: &[Entry] = &[
    Entry {
        name: "bp",
        example: bp::example,
        build: bp::build,
    },
    Entry {
        name: "dsp",
        example: dsp::example,
        build: dsp::build,
    },
];

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
    REGISTRY
        .iter()
        .find(|entry| entry.name == lower)
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
