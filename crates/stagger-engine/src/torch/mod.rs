//! Engine `torch`: stages over libtorch.

#[allow(dead_code, unused_imports)]
mod shim;
