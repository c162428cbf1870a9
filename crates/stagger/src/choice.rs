//! Arguments that are either a name or an object.

use std::sync::Arc;

use stagger_data::Split;
use stagger_engine::{LearningRate, Optimizer};
use stagger_model::Model;
use stagger_schedule::{Method, Schedule};

/// Something by its name, or the thing itself. Made by `into()`.
#[derive(Clone, Debug)]
pub enum Choice<N, T> {
    /// What options call it.
    Named(N),
    /// The object.
    Given(T),
}

impl<T> From<&str> for Choice<String, T> {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl<T> From<String> for Choice<String, T> {
    fn from(name: String) -> Self {
        Self::Named(name)
    }
}

impl<T> From<f64> for Choice<f64, T> {
    fn from(value: f64) -> Self {
        Self::Named(value)
    }
}

macro_rules! given {
    ($($name:ty => $kind:ty),*) => {
        $(impl From<$kind> for Choice<$name, $kind> {
            fn from(given: $kind) -> Self {
                Self::Given(given)
            }
        })*
    };
}

given!(String => Model, String => Split, String => Schedule, String => Optimizer, f64 => LearningRate);

/// A method that the notation need not know.
impl From<Arc<dyn Method>> for Choice<String, Schedule> {
    fn from(method: Arc<dyn Method>) -> Self {
        Self::Given(method.into())
    }
}

impl<N, T> Choice<N, T> {
    /// Puts the choice where it belongs: one of the two places holds it, the other nothing.
    pub(crate) fn store(self, name: &mut Option<N>, object: &mut Option<T>) {
        (*name, *object) = match self {
            Self::Named(named) => (Some(named), None),
            Self::Given(given) => (None, Some(given)),
        };
    }
}
