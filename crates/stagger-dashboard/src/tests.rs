//! What the screen shows.

mod following;
mod pictures;
