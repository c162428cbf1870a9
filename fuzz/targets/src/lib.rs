//! What every fuzz target checks, apart from libFuzzer: the fuzzer calls it with bytes that it makes up (`fuzz/run`), and
//! a test of this crate with every file of the corpora.

mod bounded;

pub use bounded::bounded;

/// Declares the modules of the targets, and lists them.
macro_rules! targets {
    ($($name:ident),* $(,)?) => {
        $(pub mod $name;)*

        /// Name and check of every target. A check panics when it finds something.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $name::check)),*];
    };
}

targets! {
    cifar,
    cifar_python,
    config,
    idx,
    images,
    manifest,
    metrics,
    profile,
    schedule,
    stage_file,
    straggler,
    trace,
    weights,
    wire,
}
