//! A stage as its executor sees it.

#[macro_use]
mod support;

#[cfg(feature = "torch")]
mod agreement;
#[cfg(feature = "torch")]
mod bf16;
mod cuts;
mod passes;
mod shares;
mod states;
mod synthesizers;
#[cfg(feature = "torch")]
mod torch_threads;
mod updates;
mod weights;
