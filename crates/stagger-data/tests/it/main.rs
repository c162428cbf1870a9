//! Data sets as training reads them: files, pictures, order, loading.
#![allow(
    clippy::disallowed_methods,
    reason = "tests make their files themselves"
)]

mod as_found;
mod damaged;
mod files;
mod folders;
mod jpeg;
mod layouts;
mod loader;
mod mnist;
mod real_data;
mod shapes;
mod splits;
mod support;
mod transforms;
