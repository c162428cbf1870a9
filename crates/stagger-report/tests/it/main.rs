//! The sinks, fed with streams of events as a pipeline emits them.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their files themselves"
)]

mod console;
mod epochs;
mod metrics;
mod run_log;
mod stream;
mod throughput;
mod weights;
