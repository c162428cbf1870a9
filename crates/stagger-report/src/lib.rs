//! Sinks of runtime events: console, run folder, metrics, weights, snapshots.
//!
//! The runtime emits [`Event`](stagger_runtime::Event)s and never prints or writes a file. [`Sinks`] hands each event to
//! every [`Sink`], in the order in which they were pushed:
//!
//! | sink | writes | made by |
//! | --- | --- | --- |
//! | [`MetricsFile`] | `metrics.jsonl`: a typed [`Record`] per batch and epoch | [`MetricsFile::open`] |
//! | [`WeightsFiles`] | `last.safetensors` and `best.safetensors`, with PyTorch's names | [`WeightsFiles::new`] |
//! | [`LogSink`] | `run.log`: a line per epoch, with the time | [`RunLog::sink`] |
//! | [`Console`] | the same lines, on the standard output or any other writer | [`Console::new`] |
//! | [`trace::TraceFile`] | what every stage did when, for Perfetto | [`trace::TraceFile::new`] |
//! | [`TensorBoard`] | scalars for TensorBoard | [`TensorBoard::new`] |
//! | that of [`MetricsServer`] | nothing: it answers Prometheus | [`MetricsWatch::sink`] |
//! | [`snapshot::SnapshotWriter`] | a folder per snapshot, in the background | [`snapshot::SnapshotWriter::start`] |
//!
//! The snapshot writer comes last, so that a snapshot on disk has its metrics and weights on disk. [`Sink`] shows how a
//! program adds a sink of its own.
//!
//! All numbers come from two tallies, [`EpochTally`] and [`RunTally`], whose memory does not grow with the length of the
//! run. [`RunFolder`] is where the files go; it never overwrites another run.
//!
//! **Invariants:** one writer per file; a file that may be read at any time is complete or missing ([`write_atomic`]); a
//! failed write ends the run with an error, except for one to the standard output ([`Unprinted`]).
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their files themselves"
    )
)]

mod atomic_file;
mod available_memory;
mod base64;
mod charts;
pub mod checksum;
pub mod compare;
mod confusion;
mod console;
mod contact_page;
mod disk_watch;
mod environment;
mod epoch;
mod epoch_line;
mod error;
mod folder_sync;
mod foreign_file;
mod inspect;
mod log;
mod memory;
mod metrics;
mod metrics_file;
mod metrics_follower;
mod metrics_reader;
mod metrics_seal;
mod new_file;
mod new_place;
mod passing_error;
mod prediction;
mod progress;
mod prometheus;
mod run_folder;
mod run_lines;
pub mod run_report;
mod run_tally;
mod safetensors_writer;
mod saturating;
mod seconds;
mod sink;
pub mod snapshot;
mod stage_tally;
mod staleness_bars;
mod summary;
mod table;
mod tensorboard;
mod timestamp;
mod torch_file;
pub mod trace;
mod weights;
mod weights_file;
mod weights_reader;
mod weights_seal;

pub use atomic_file::write_atomic;
pub use available_memory::{AvailableMemory, MemoryLimit, available_memory};
pub use confusion::{Confusion, ConfusionFormat, Mistake};
pub use console::{Console, Unprinted, is_closed};
pub use contact_page::{ContactPageRow, contact_page};
pub use disk_watch::{DiskStall, DiskWatch};
pub use environment::Environment;
pub use epoch::{EpochPlan, EpochTally};
pub use epoch_line::format_epoch;
pub use error::ReportError;
pub use folder_sync::folders_cannot_be_flushed;
pub use inspect::inspect;
pub use log::{LogSink, RunLog};
pub use memory::{peak_resident_bytes, reset_peak_resident, resident_bytes};
pub use metrics::{BatchRecord, EndRecord, METRICS_FORMAT, Record, RunRecord, SkippedRecord};
pub use metrics_file::MetricsFile;
pub use metrics_follower::{Look, MetricsFollower};
pub use metrics_reader::{not_read_further, read_metrics, read_metrics_from};
pub use metrics_seal::{MetricsCoverage, MetricsSeals};
pub use new_file::NewFile;
pub use new_place::is_same_place;
pub use prediction::{Guess, Prediction};
pub use progress::{EndedEpoch, EpochProgress, StageProgress, TrainedSums};
pub use prometheus::{MetricsServer, MetricsWatch};
pub use run_folder::{
    AVERAGE_WEIGHTS_FILE, BEST_WEIGHTS_FILE, CONFIG_FILE, DATA_FILE, DEFAULT_BASE,
    ENVIRONMENT_FILE, LAST_WEIGHTS_FILE, LOG_FILE, METRICS_FILE, ROLLBACK_FILE, RunFolder,
    TEST_FILE, default_path,
};
pub use run_tally::RunTally;
pub use sink::{Sink, Sinks};
pub use summary::{EpochSummary, RunSummary, StageSummary};
pub use table::Table;
pub use tensorboard::TensorBoard;
pub use weights::WeightsFiles;
pub use weights_file::{MAX_WEIGHTS_BYTES, Weights, decode_weights, encode_weights, write_weights};
pub use weights_reader::{
    StageOrWeights, read_stage_or_weights, read_weights, read_weights_inside,
};
