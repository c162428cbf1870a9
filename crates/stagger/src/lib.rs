//! Train deep convolutional networks split over several devices, with *diversely stale parameters*
//! (DSP).
//!
//! This crate re-exports the crates that make up stagger. A program that wants to train from its own
//! code uses them as `examples/timeline.rs` does.
//!
//! | crate | what is in it |
//! | --- | --- |
//! | [`schedule`] | methods as programs per stage, their notation and facts |
//! | [`model`] | networks as data: zoo, cost, cuts |
//! | [`data`] | data sets, order of samples, loading |
//! | [`engine`] | executable stages, optimizers |
//! | [`transport`] | bounded links between stages |
//! | [`runtime`] | the workers that execute a schedule |
//! | [`report`] | what is told to people and written to files |

pub use stagger_data as data;
pub use stagger_engine as engine;
pub use stagger_model as model;
pub use stagger_report as report;
pub use stagger_runtime as runtime;
pub use stagger_schedule as schedule;
pub use stagger_transport as transport;
