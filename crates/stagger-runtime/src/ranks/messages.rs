//! What goes over the control lane of a stretch.

use serde::{Deserialize, Serialize};
use stagger_schedule::Action;
use stagger_transport::wire::{read_control, write_control};
use stagger_transport::{Lane, LinkError};

use crate::board::Doing;
use crate::fault::{Fault, RunError};
use crate::host::{End, Reported};

/// From a follower to the leader.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Up {
    /// Its stages are built.
    Ready,
    /// Something happened on one of them.
    Event(Reported),
    /// It has failed.
    Failed(Failed),
    /// What its stages do, from its first one up; and a number that grows as long as anything moves there.
    Doing { lines: Vec<Doing>, beats: u64 },
    /// Its threads have ended: where the programs ended that came to their end. The last message of the stretch.
    Ended(Vec<End>),
}

/// From the leader to a follower.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Down {
    /// All stages are built; the clock starts.
    Start,
    /// The run is over.
    Stop,
}

/// Why a follower failed, as far as the leader has to know.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Failed {
    Build {
        stage: usize,
        cause: Cause,
    },
    Stage {
        stage: usize,
        action: Action,
        version: usize,
        cause: Cause,
    },
    Other(String),
}

/// A [`Fault`]: those that the leader acts upon, and others as their sentence.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Cause {
    NonFiniteLoss(f32),
    /// The neighbour is gone, on this lane, as [`number`] has it.
    PeerGone(u8),
    Other(String),
}

const LANES: [Lane; 3] = [Lane::Activation, Lane::Gradient, Lane::Evaluation];

fn number(lane: Lane) -> u8 {
    LANES.iter().position(|&other| other == lane).unwrap_or(0) as u8
}

impl From<&Fault> for Cause {
    fn from(fault: &Fault) -> Self {
        match fault {
            Fault::NonFiniteLoss { value } => Self::NonFiniteLoss(*value),
            Fault::Link(LinkError::PeerGone { lane }) => Self::PeerGone(number(*lane)),
            other => Self::Other(other.to_string()),
        }
    }
}

impl Cause {
    fn on(self, rank: usize) -> Fault {
        match self {
            Self::NonFiniteLoss(value) => Fault::NonFiniteLoss { value },
            Self::PeerGone(lane) => match LANES.get(usize::from(lane)) {
                Some(&lane) => LinkError::PeerGone { lane }.into(),
                None => LinkError::Stopped.into(),
            },
            Self::Other(message) => Fault::Remote { rank, message },
        }
    }
}

impl From<&RunError> for Failed {
    fn from(error: &RunError) -> Self {
        match error {
            RunError::Build { stage, cause } => Self::Build {
                stage: *stage,
                cause: cause.into(),
            },
            RunError::Stage {
                stage,
                action,
                version,
                cause,
            } => Self::Stage {
                stage: *stage,
                action: *action,
                version: *version,
                cause: cause.into(),
            },
            other => Self::Other(other.to_string()),
        }
    }
}

impl Failed {
    /// The error of a rank.
    pub fn on(self, rank: usize) -> RunError {
        match self {
            Self::Build { stage, cause } => RunError::Build {
                stage,
                cause: cause.on(rank),
            },
            Self::Stage {
                stage,
                action,
                version,
                cause,
            } => RunError::Stage {
                stage,
                action,
                version,
                cause: cause.on(rank),
            },
            Self::Other(message) => RunError::Rank { rank, message },
        }
    }
}

/// The frame of a message.
///
/// # Errors
/// When it cannot be written, which no message here can cause.
pub(super) fn write(stretch: u32, message: &impl Serialize) -> Result<Vec<u8>, postcard::Error> {
    Ok(write_control(stretch, &postcard::to_stdvec(message)?))
}

/// The message of a frame; a sentence when there is none.
pub(super) fn read<M: for<'a> Deserialize<'a>>(frame: &[u8]) -> Result<M, String> {
    let body = read_control(frame).map_err(|error| error.to_string())?;
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err("a message of the control lane is longer than its content".to_owned()),
        Err(error) => Err(format!(
            "a message of the control lane cannot be read: {error}"
        )),
    }
}

/// Reads a frame as the leader does, and as a follower does: for tests of foreign bytes. Gives whether either understands it.
pub fn check_control(frame: &[u8]) -> bool {
    read::<Up>(frame).is_ok() || read::<Down>(frame).is_ok()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use stagger_engine::{HostTensor, Profile};

    use super::*;
    use crate::event::{Acted, Event, Waits};
    use crate::snapshot::StageSnapshot;

    fn every_event() -> Vec<Event> {
        let at = Duration::from_millis(5);
        let mut profile = Profile::default();
        profile.add("convolution", at);
        vec![
            Event::Started { stages: 3 },
            Event::Acted(Acted {
                stage: 1,
                action: Action::Backward { batch: 7, micro: 2 },
                started_at: at,
                ended_at: 2 * at,
                waits: Waits::default(),
                transfer: at,
                delayed: at,
                staleness: Some(2),
                gap: Some(0.25),
            }),
            Event::Trained {
                batch: 3,
                samples: 8,
                loss: 1.5,
                correct_top1: 1,
                correct_top5: 4,
                learning_rate: 0.1,
                at,
            },
            Event::Skipped {
                batch: 4,
                loss: f32::NAN,
                at,
            },
            Event::Evaluated {
                version: 5,
                samples: 10,
                loss: 0.5,
                correct_top1: 2,
                correct_top5: 6,
                at,
            },
            Event::EvaluatedAverage {
                version: 5,
                samples: 10,
                loss: 0.5,
                correct_top1: 3,
                correct_top5: 6,
            },
            Event::Synthesized {
                stage: 0,
                batch: 1,
                loss: 0.5,
                loss_of_silence: 1.0,
            },
            Event::Snapshot {
                stage: 2,
                version: 6,
                snapshot: Arc::new(StageSnapshot::default()),
            },
            Event::Gradients {
                stage: 1,
                batch: 5,
                gradients: vec![(
                    "fc.bias".to_owned(),
                    HostTensor {
                        shape: vec![2],
                        data: vec![0.25, f32::INFINITY],
                    },
                )],
            },
            Event::Profiled { stage: 2, profile },
            Event::Logits {
                batch: 1,
                logits: HostTensor {
                    shape: vec![1, 2],
                    data: vec![0.5, f32::NAN],
                },
            },
            Event::Interrupted { batch: 9 },
        ]
    }

    /// What a frame holds, as it is printed: events have NaN in them, and are not compared.
    fn carried(message: Up) -> (String, String) {
        let frame = write(1, &message).unwrap();
        let found: Up = read(&frame).unwrap();
        (format!("{message:?}"), format!("{found:?}"))
    }

    #[test]
    fn every_report_arrives_as_it_was_sent() {
        let events = every_event().into_iter();
        let mut messages: Vec<Up> = events
            .map(|event| Up::Event(Reported { place: 1, event }))
            .collect();
        let end = End {
            version: 7,
            interrupted: true,
        };
        let nan = RunError::Stage {
            stage: 2,
            action: Action::Forward { batch: 3, micro: 0 },
            version: 1,
            cause: Fault::NonFiniteLoss { value: f32::NAN },
        };
        messages.extend([
            Up::Ready,
            Up::Failed(Failed::from(&nan)),
            Up::Doing {
                lines: vec![Doing::default(); 2],
                beats: 77,
            },
            Up::Ended(vec![end]),
        ]);
        for message in messages {
            let (sent, found) = carried(message);
            assert_eq!(sent, found);
        }
        for message in [Down::Start, Down::Stop] {
            let frame = write(1, &message).unwrap();
            assert_eq!(read(&frame), Ok(message));
        }
    }

    #[test]
    fn a_message_with_more_behind_it_is_refused() {
        let mut frame = write(1, &Up::Ready).unwrap();
        frame.push(0);
        let error = read::<Up>(&frame).expect_err("too long");
        assert_eq!(
            error,
            "a message of the control lane is longer than its content"
        );
    }
}
