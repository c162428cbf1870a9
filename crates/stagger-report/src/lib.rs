//! Sinks of runtime events: console, run folder, metrics, weights.
//!
//! The runtime emits [`Event`](stagger_runtime::Event)s and never prints; what becomes of them is
//! decided here. [`Sinks`] hands each event to every [`Sink`]:
//!
//! | sink | gives |
//! | --- | --- |
//! | [`Console`] | a progress bar on a terminal, a line per epoch |
//! | [`LogSink`] | the same lines in `run.log`, with the time |
//! | [`MetricsFile`] | `metrics.jsonl`: a typed [`Record`] per batch and epoch |
//! | [`snapshot::SnapshotWriter`] | a folder per snapshot, written in the background |
//! | [`WeightsFiles`] | `last.safetensors` and `best.safetensors`, with PyTorch's names |
//!
//! All numbers come from two tallies, [`EpochTally`] and [`RunTally`], whose memory does not grow
//! with the length of the run. [`RunFolder`] is where the files go: it never overwrites anything.
//!
//! **Invariants:** one writer per file; a file that others may read at any time is whole or not
//! there ([`write_atomic`]); what cannot be written is an error that ends the run, never silence,
//! except for a closed standard output.

mod atomic_file;
pub mod compare;
mod console;
mod environment;
mod epoch;
mod epoch_line;
mod error;
mod inspect;
mod log;
mod memory;
mod metrics;
mod metrics_file;
mod metrics_reader;
mod progress;
mod run_folder;
mod run_tally;
mod safetensors_writer;
mod seconds;
mod sink;
pub mod snapshot;
mod stage_tally;
mod summary;
mod utc;
mod weights;
mod weights_file;

pub use atomic_file::write_atomic;
pub use console::{Console, is_closed};
pub use environment::Environment;
pub use epoch::{EpochPlan, EpochTally};
pub use epoch_line::format_epoch;
pub use error::ReportError;
pub use inspect::inspect;
pub use log::{LogSink, RunLog};
pub use memory::{peak_resident_bytes, reset_peak_resident, resident_bytes};
pub use metrics::{BatchRecord, EndRecord, METRICS_FORMAT, Record, RunRecord, SkippedRecord};
pub use metrics_file::MetricsFile;
pub use metrics_reader::{read_metrics, read_metrics_from};
pub use progress::{EpochProgress, StageProgress};
pub use run_folder::{
    BEST_WEIGHTS_FILE, CONFIG_FILE, DEFAULT_BASE, ENVIRONMENT_FILE, LAST_WEIGHTS_FILE, LOG_FILE,
    METRICS_FILE, RunFolder, default_path,
};
pub use run_tally::RunTally;
pub use sink::{Sink, Sinks};
pub use summary::{EpochSummary, RunSummary, StageSummary};
pub use weights::WeightsFiles;
pub use weights_file::{
    MAX_WEIGHTS_BYTES, Weights, decode_weights, encode_weights, read_weights, write_weights,
};
