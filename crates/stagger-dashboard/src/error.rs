//! Why a run cannot be shown.

use std::io;

use stagger_report::ReportError;

/// Why a run cannot be shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DashboardError {
    /// Its folder cannot be read.
    #[error(transparent)]
    Folder(#[from] ReportError),
    /// The terminal does not do what a screen needs.
    #[error("the terminal cannot be used: {source}")]
    Terminal {
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl DashboardError {
    pub(crate) fn terminal(source: io::Error) -> Self {
        Self::Terminal { source }
    }
}
