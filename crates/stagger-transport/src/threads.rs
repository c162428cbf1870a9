//! Links between threads of one process: ownership moves, nothing is copied.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, Sender, bounded, select_biased};

use crate::link::{Link, LinkError};
use crate::message::{Lane, Message};
use crate::stop::StopSignal;

/// Evaluation inputs that may wait at a stage. One in the queue and one in work keep both sides
/// busy; more would only hold memory.
const EVALUATION_CAPACITY: usize = 1;

/// How many messages the training lanes of a hop hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// c_k: activations from stage k to k+1.
    pub activation: usize,
    /// b_k: gradients from stage k+1 to k.
    pub gradient: usize,
}

/// The end held by stage k.
#[derive(Debug)]
pub struct LowerEnd<T> {
    activations: Sender<Message<T>>,
    evaluations: Sender<Message<T>>,
    gradients: Receiver<Message<T>>,
    stop: StopSignal,
}

/// The end held by stage k+1.
#[derive(Debug)]
pub struct UpperEnd<T> {
    activations: Receiver<Message<T>>,
    evaluations: Receiver<Message<T>>,
    gradients: Sender<Message<T>>,
    /// Activations taken in while waiting for evaluation inputs.
    early: VecDeque<Message<T>>,
    stop: StopSignal,
}

/// The two ends of a hop.
#[must_use]
pub fn pair<T>(capacities: Capacities, stop: &StopSignal) -> (LowerEnd<T>, UpperEnd<T>) {
    let (activations_in, activations_out) = bounded(capacities.activation);
    let (evaluations_in, evaluations_out) = bounded(EVALUATION_CAPACITY);
    let (gradients_in, gradients_out) = bounded(capacities.gradient);
    let lower = LowerEnd {
        activations: activations_in,
        evaluations: evaluations_in,
        gradients: gradients_out,
        stop: stop.clone(),
    };
    let upper = UpperEnd {
        activations: activations_out,
        evaluations: evaluations_out,
        gradients: gradients_in,
        early: VecDeque::new(),
        stop: stop.clone(),
    };
    (lower, upper)
}

fn send<T>(
    channel: &Sender<Message<T>>,
    message: Message<T>,
    stop: &StopSignal,
) -> Result<(), LinkError> {
    let lane = message.header.lane;
    select_biased! {
        recv(stop.raised()) -> _ => Err(LinkError::Stopped),
        send(channel, message) -> sent => sent.map_err(|_| LinkError::PeerGone { lane }),
    }
}

fn receive<T>(
    channel: &Receiver<Message<T>>,
    lane: Lane,
    stop: &StopSignal,
) -> Result<Message<T>, LinkError> {
    select_biased! {
        recv(stop.raised()) -> _ => Err(LinkError::Stopped),
        recv(channel) -> message => message.map_err(|_| LinkError::PeerGone { lane }),
    }
}

impl<T: Send> Link<T> for LowerEnd<T> {
    fn send(&mut self, message: Message<T>) -> Result<(), LinkError> {
        match message.header.lane {
            Lane::Activation => send(&self.activations, message, &self.stop),
            Lane::Evaluation => send(&self.evaluations, message, &self.stop),
            lane @ Lane::Gradient => Err(LinkError::WrongDirection { verb: "send", lane }),
        }
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<T>, LinkError> {
        match lane {
            Lane::Gradient => receive(&self.gradients, lane, &self.stop),
            Lane::Activation | Lane::Evaluation => Err(LinkError::WrongDirection {
                verb: "receive",
                lane,
            }),
        }
    }
}

impl<T: Send> UpperEnd<T> {
    fn receive_evaluation(&mut self) -> Result<Message<T>, LinkError> {
        let lane = Lane::Evaluation;
        loop {
            select_biased! {
                recv(self.stop.raised()) -> _ => return Err(LinkError::Stopped),
                recv(self.evaluations) -> message => {
                    return message.map_err(|_| LinkError::PeerGone { lane });
                }
                recv(self.activations) -> message => match message {
                    Ok(activation) => self.early.push_back(activation),
                    Err(_) => return receive(&self.evaluations, lane, &self.stop),
                },
            }
        }
    }
}

impl<T: Send> Link<T> for UpperEnd<T> {
    fn send(&mut self, message: Message<T>) -> Result<(), LinkError> {
        match message.header.lane {
            Lane::Gradient => send(&self.gradients, message, &self.stop),
            lane @ (Lane::Activation | Lane::Evaluation) => {
                Err(LinkError::WrongDirection { verb: "send", lane })
            }
        }
    }

    fn receive(&mut self, lane: Lane) -> Result<Message<T>, LinkError> {
        match lane {
            Lane::Activation => match self.early.pop_front() {
                Some(message) => Ok(message),
                None => receive(&self.activations, lane, &self.stop),
            },
            Lane::Evaluation => self.receive_evaluation(),
            Lane::Gradient => Err(LinkError::WrongDirection {
                verb: "receive",
                lane,
            }),
        }
    }
}
