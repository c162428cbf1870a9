//! A run over several processes: what rank 0 asks of the others, and what they answer.
//!
//! Rank 0 checks the request, owns terminal and run folder, and decides everything. The others are [followers](follow): they hold
//! their part of the stages and train when rank 0 orders it, with options, schedule and starting point from the order. Before
//! the first order all ranks compare how they were started, and then program, data and model ([`Facts`]), so that what differs is a
//! sentence, and neither a wrong number nor a flag without effect.

mod command_line;
mod error;
mod follower;
mod leader;
mod order;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use stagger_report::Environment;
use stagger_transport::wire::{Address, read_control, write_control};
use stagger_transport::{Placement, Ranks, World};

use crate::job::Job;

pub use command_line::CommandDifference;
pub use error::RanksError;
pub(crate) use follower::follow;
pub(crate) use leader::Leader;
pub use leader::dismiss;

/// The control lane between stretches of training.
const ORDERS: Address = Address::Control { stretch: 0 };

/// Where the program of a rank comes from, and how it was started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin<'a> {
    /// The commit that it was built from.
    pub commit: Option<&'a str>,
    /// The words of its command line.
    pub command_line: Option<&'a [String]>,
}

/// What ranks of a run have to agree on, and where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Facts {
    host: String,
    /// Version and commit.
    program: String,
    training_data: String,
    test_data: String,
    model: String,
    schedule: String,
    optimizer: String,
    learning_rate: String,
    /// The vector instructions, where stages of this rank compute on its processor: others give other last bits. GPUs do not
    /// know them.
    instructions: Option<String>,
}

impl Facts {
    /// Those of the rank that has these places.
    fn of(job: &Job, commit: Option<&str>, places: Range<usize>) -> Self {
        let environment = Environment::gather(env!("CARGO_PKG_VERSION"), commit);
        let data = |set: &dyn stagger_data::Dataset| {
            // A file that cannot be read differs from one that can.
            let content = set.content_fingerprint().map_or_else(
                |error| format!(" {error}"),
                |content| content.map_or(String::new(), |content| format!(" {content:016x}")),
            );
            format!("{} {:016x}{content}", set.name(), set.fingerprint())
        };
        Self {
            host: host(&environment),
            program: match &environment.git_commit {
                Some(commit) => format!("{} ({commit})", environment.stagger_version),
                None => environment.stagger_version.clone(),
            },
            training_data: data(&*job.split.train),
            test_data: data(&*job.split.test),
            model: format!(
                "{} of {} parameters in blocks {}",
                job.model.name,
                job.model.parameter_count(),
                job.cut
            ),
            schedule: job.schedule.to_string(),
            optimizer: format!("{:?}", job.optimizer),
            learning_rate: format!("{:?}", job.learning_rate),
            instructions: instructions(job, places),
        }
    }

    /// The first thing in which another rank differs and must not: what it is, what it has here, and there.
    fn differs<'a>(&'a self, other: &'a Self) -> Option<(&'static str, &'a str, &'a str)> {
        [
            ("program", &self.program, &other.program),
            ("training set", &self.training_data, &other.training_data),
            ("test set", &self.test_data, &other.test_data),
            ("model", &self.model, &other.model),
            ("schedule", &self.schedule, &other.schedule),
            ("optimizer", &self.optimizer, &other.optimizer),
            ("learning rate", &self.learning_rate, &other.learning_rate),
        ]
        .into_iter()
        .find(|(_, here, there)| here != there)
        .map(|(what, here, there)| (what, here.as_str(), there.as_str()))
    }
}

/// The vector instructions that the bits of these places depend on.
pub(crate) fn instructions(job: &Job, mut places: Range<usize>) -> Option<String> {
    let computes_here = places.any(|place| job.engine.at(place).cuda().is_none());
    computes_here.then(stagger_cpu::instruction_set)
}

/// Which rank has which stages, or replicas of stages.
fn placement(job: &Job, ranks: usize) -> Result<Placement, RanksError> {
    let (stages, places) = (job.schedule.stages(), job.replicas.places());
    Placement::even(places, ranks).map_err(|_| match job.replicas.any() {
        true => RanksError::TooFewReplicas {
            stages,
            replicas: job.replicas.to_string(),
            places,
            ranks,
        },
        false => RanksError::TooFewStages { stages, ranks },
    })
}

fn own_host() -> String {
    host(&Environment::gather("", None))
}

/// What connects the stages of a job in a stretch, as a rank of a world has it.
fn transport(world: &World, job: &Job, stretch: u32) -> Result<Ranks, RanksError> {
    Ok(Ranks {
        world: world.clone(),
        placement: placement(job, world.size())?,
        stretch,
        format: job.wire_format,
    })
}

fn host(environment: &Environment) -> String {
    let name = environment.host.clone();
    name.unwrap_or_else(|| "a host without a name".to_owned())
}

/// The frame of a message between stretches.
fn write(message: &impl Serialize) -> Result<Vec<u8>, RanksError> {
    let bytes = postcard::to_stdvec(message).map_err(|error| RanksError::Message {
        what: error.to_string(),
    })?;
    Ok(write_control(0, &bytes))
}

/// The message of a frame.
fn read<M: for<'a> Deserialize<'a>>(frame: &[u8]) -> Result<M, RanksError> {
    let failed = |what: String| RanksError::Message { what };
    let body = read_control(frame).map_err(|error| failed(error.to_string()))?;
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(failed("it is longer than its content".to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}
