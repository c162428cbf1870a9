//! What a run would take, before it runs.
//!
//! A [`Profile`] is what was measured of blocks, devices and links; with a cut and a schedule it becomes a [`Pipeline`], which says
//! how long every action of every stage takes.

mod distribution;
mod grid;
mod pipeline;
mod profile;
mod rate;
mod simulation;
mod staleness;
pub mod theory;
mod times;

pub use distribution::{Distribution, DistributionError};
pub use grid::grid;
pub use pipeline::{HopTimes, Pipeline, PipelineError, RingTimes};
pub use profile::{
    BlockSize, DeviceProfile, LinkProfile, MOST_SAMPLES, MeasuredStages, Profile, ProfileError,
    StageTimes,
};
pub use rate::{RateError, exact_period};
pub use simulation::{Pauses, Simulated, Simulation, SimulationError, StageSimulated, Step};
pub use staleness::{FoundStaleness, LeastStaleness, StalenessError};
pub use times::{Direction, Slowdown, Times};
