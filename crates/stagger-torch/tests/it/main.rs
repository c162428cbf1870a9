//! Engine `torch`: what every engine has to hold, its agreement with engine `cpu`, bf16, and its threads.
#![cfg(feature = "torch")]

mod agreement;
mod bf16;
mod torch_threads;

stagger_conformance::conformance!(stagger_torch::Torch);
