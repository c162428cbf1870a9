//! Runs as one page, from their folders: also of a run that is in progress, or was killed.
//!
//! [`ReportedRun::read`] reads what a run folder holds and writes nothing; [`to_html`] makes a page that needs no network. Memory and page
//! stay small however long a run is: neighbouring batches and epochs are averaged or left out, and the page says so. With a trace the page
//! has a timeline that can be zoomed; its script is the only one that a browser runs there.

mod figures;
mod page;
mod reported_run;
mod thinned;
mod timeline;
mod wrong_images;

pub use page::to_html;
pub use reported_run::ReportedRun;
pub use thinned::Thinned;
pub use timeline::TRACE_FILE;
pub use wrong_images::{WrongImage, WrongImages};

#[cfg(test)]
mod tests;
