//! A stage as its executor sees it.

mod cuts;
mod passes;
mod states;
mod support;
mod updates;
