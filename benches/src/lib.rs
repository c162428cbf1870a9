//! Microbenchmarks of the hot parts: `cargo bench -p stagger-benches --features criterion`, with `--bench NAME` for one of
//! them. They live apart so that tests do not build criterion.
