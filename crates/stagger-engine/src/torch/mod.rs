//! Engine `torch`: stages over libtorch.

mod shim;
