//! A run as its folder shows it, while another process writes there.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use stagger_data::{foreign, shown_text};
use stagger_report::{
    Look, METRICS_FILE, MetricsFollower, ROLLBACK_FILE, ReportError, not_read_further,
};

use crate::seen::{Rollback, RunSeen};

/// Far more than the file on a rollback has.
const MOST_ROLLBACK_BYTES: u64 = 1 << 16;

/// Follows a run folder: each look takes what is new.
#[derive(Debug)]
pub(crate) struct FollowedFolder {
    path: PathBuf,
    metrics: MetricsFollower,
    pub seen: RunSeen,
    modified: Option<SystemTime>,
}

impl FollowedFolder {
    /// Opens a folder and takes a first look.
    ///
    /// # Errors
    /// [`ReportError::NoRun`] when it is no run folder, [`ReportError::Io`] when its metrics cannot be read, [`ReportError::Metrics`] when
    /// they do not even begin like metrics.
    pub fn open(path: &Path) -> Result<(Self, bool), ReportError> {
        let metrics = path.join(METRICS_FILE);
        if !foreign::is_there(&metrics) {
            return Err(ReportError::NoRun {
                path: path.to_owned(),
            });
        }
        let mut followed = Self {
            path: path.to_owned(),
            metrics: MetricsFollower::new(&metrics),
            seen: RunSeen::default(),
            modified: None,
        };
        let look = followed.metrics.look()?;
        if let Some((1, what)) = &look.fault {
            return Err(ReportError::Metrics {
                path: metrics,
                line: 1,
                what: what.clone(),
            });
        }
        let has_more = followed.take(&look);
        Ok((followed, has_more))
    }

    /// Takes what is new; says whether there is more. What cannot be read now is said on the screen, and tried again at the next look.
    pub fn look(&mut self) -> bool {
        match self.metrics.look() {
            Ok(look) => self.take(&look),
            Err(error) => {
                self.seen.fault = Some(shown_text(&error.to_string()));
                false
            }
        }
    }

    fn take(&mut self, look: &Look) -> bool {
        if look.begins_again {
            self.seen = RunSeen::default();
        }
        look.records
            .iter()
            .for_each(|record| self.seen.take(record));
        let fault = look.fault.as_ref();
        self.seen.fault = fault.map(|(line, what)| not_read_further(*line, what));
        self.seen.rollback = rollback(&self.path.join(ROLLBACK_FILE));
        self.modified = look.modified;
        look.has_more
    }

    /// The time since the file was written to.
    pub fn silence(&self) -> Duration {
        let since = self.modified.and_then(|at| at.elapsed().ok());
        since.unwrap_or_default()
    }
}

/// The last rollback, where there is one that can be read: without it the run is shown all the same.
fn rollback(path: &Path) -> Option<Rollback> {
    let bytes = foreign::read_inside(path, MOST_ROLLBACK_BYTES).ok()?;
    let read: Value = serde_json::from_slice(&bytes).ok()?;
    let number = |name: &str| read.get(name)?.as_u64()?.try_into().ok();
    Some(Rollback {
        version: number("version")?,
        times: number("rollbacks")?,
        rate_factor: read.get("learning_rate_factor").and_then(Value::as_f64),
    })
}
