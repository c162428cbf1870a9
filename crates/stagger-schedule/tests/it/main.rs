//! Notation, programs, interpreter, facts and printed text of every method.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their files themselves"
)]

mod documentation;
mod drawn;
mod explain;
mod facts;
mod interpreter;
mod methods;
mod notation;
mod split;
mod toy_method;
