//! Reads what Python's `pickle` wrote, protocols 0 to 5, without executing anything.
//!
//! A pickle is a program for a machine with a stack. Where Python would look a function up and call it, this machine keeps the
//! function's name and its arguments as an [`Object`]; and a name that the reader does not expect ends it. What a pickle of
//! plain tables needs is there: numbers, texts, bytes, lists, dictionaries, and [arrays of numpy](Pickle::array).
//!
//! ```
//! use stagger_pickle::{Pickle, is_of_numpy};
//!
//! // pickle.dumps({"answer": [42, 43]}, protocol=2)
//! let bytes = b"\x80\x02}q\x00X\x06\x00\x00\x00answerq\x01]q\x02(K*K+es.";
//! let pickle = Pickle::read(bytes, is_of_numpy)?;
//! let answer = pickle.entry(pickle.root(), "answer").unwrap();
//! assert_eq!(pickle.integers(answer)?, [42, 43]);
//! # Ok::<(), stagger_pickle::PickleError>(())
//! ```
//!
//! Memory is bounded by the input: texts and bytes are slices of it where they can be, and every instruction makes at most one
//! value.

mod error;
mod line;
mod machine;
mod numpy;
mod value;

pub use error::PickleError;
pub use numpy::{Array, is_of_numpy};
pub use value::{Id, Object, Pickle, Value};
