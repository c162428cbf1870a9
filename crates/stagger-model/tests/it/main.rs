//! Networks as data: shapes, names, cost, cuts, and the figures of the papers.

mod cuts;
mod model_file;
mod names;
mod published_figures;
mod shapes;
mod summary;
