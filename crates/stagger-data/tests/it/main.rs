//! Data sets as training reads them: files, pictures, order, loading.

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
