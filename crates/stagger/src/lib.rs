//! Train deep convolutional networks split over several devices, with *diversely stale parameters*
//! (DSP).
//!
//! [`Training`] is a whole run: it says what to train, on what and how, checks that all of it fits together, trains, and
//! gives back what came of it as a [`Run`]. Everything else of this crate is an argument of it or of what it gives.
//!
//! The crates below it are re-exported, for models, data sets, methods and sinks of one's own:
//!
//! | crate | what is in it |
//! | --- | --- |
//! | [`schedule`] | methods as programs per stage, their notation and facts |
//! | [`model`] | networks as data: zoo, cost, cuts |
//! | [`data`] | data sets, order of samples, loading |
//! | [`engine`] | executable stages, optimizers |
//! | [`cpu`] | the default engine |
//! | [`plan`] | profiles, simulated runs, exact rates |
//! | [`emulate`] | stages that sleep instead of computing |
//! | [`transport`] | bounded links between stages |
//! | [`runtime`] | the workers that execute a schedule |
//! | [`report`] | sinks: console, metrics, weights, snapshots |
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests make their files themselves"
    )
)]

pub use stagger_cpu as cpu;
pub use stagger_data as data;
pub use stagger_emulate as emulate;
pub use stagger_engine as engine;
pub use stagger_model as model;
pub use stagger_plan as plan;
pub use stagger_report as report;
pub use stagger_runtime as runtime;
pub use stagger_schedule as schedule;
pub use stagger_transport as transport;

pub mod account;
mod balance;
pub mod bench;
mod block_times;
mod choice;
pub mod config_file;
mod data_file;
mod durations;
#[cfg(any(test, feature = "torch"))]
mod either;
mod error;
mod evaluation;
mod inspection;
pub mod job;
mod limits;
mod memory;
mod model_file;
mod options;
mod planning;
mod prediction;
pub mod profiling;
mod ranks;
mod refusal;
mod resume_refusal;
mod run_weights;
pub mod series;
mod simulation;
mod stages;
pub mod theory;
mod training;
mod weights_copy;
mod weights_fit;
mod wrong_images;

pub use balance::{
    Estimate, EstimateFor, ProfileMisfit, UnmeasuredCut, cut_by_profile, cut_without_measuring,
};
pub use choice::Choice;
pub use durations::{Durations, DurationsChoice, DurationsError};
pub use error::{Error, Source};
pub use evaluation::{Evaluation, PreparedEvaluation, evaluate_run};
pub use inspection::{ClassCounts, InspectedData, SourceSizes, inspect_data};
pub use model_file::{NetworkError, named_model, take_network};
pub use options::{Augment, TrainingOptions};
pub use planning::{Candidate, DeviceChange, Planned, Planning};
pub use prediction::{LogitsOf, PreparedPrediction, predict};
pub use ranks::{CommandDifference, RanksError, dismiss};
pub use refusal::{Refusal, Spelling, check_path};
pub use resume_refusal::ResumeRefusal;
pub use run_weights::RunWeights;
pub use simulation::{PreparedSimulation, SimulatedEvaluations, SimulatedSnapshots, Simulation};
pub use stagger_report::{Guess, Prediction, ReportError, Sink};
pub use stagger_runtime::{EarlyEnd, Event, Interrupt};
pub use training::{FinalTest, Prepared, Run, SnapshotCost, Stalled, TestScores, Training};
pub use weights_copy::{CopiedWeights, Names, WeightsCopy, WeightsCopyError, copy_weights};
pub use wrong_images::{MOST_WRONG_IMAGES, wrong_images};
