//! What makes links: the seam at which one transport is replaced by another.

use std::error::Error;

use crate::link::Link;
use crate::stop::StopSignal;

/// Connects stages, and the replicas of a stage.
///
/// A run asks its transport once per hop, before any stage starts. `T` is what the links carry, so a transport that moves ownership takes any `T: Send`, and one that writes bytes asks for a `T` that
/// it can write and read.
///
/// What the two ends of a hop have to keep, whatever lies between them:
///
/// - **Order.** Each lane delivers every message exactly once and in the order of sending. Lanes do not order each other.
/// - **Room.** A lane holds as many messages as its capacity says, and `send` waits for room. With capacity 0 it waits until
///   the other end has taken the message. The evaluation lane is bounded too; its length changes no numbers.
/// - **Evaluation.** While the upper end waits on [`Lane::Evaluation`](crate::Lane::Evaluation) it also takes in
///   activations; see [`Link`].
/// - **Stop.** Once `stop` is raised, every call, also one that waits, returns
///   [`LinkError::Stopped`](crate::LinkError::Stopped), before anything that is queued.
/// - **Departure.** When one end is dropped, the other still receives what was sent, and then
///   [`LinkError::PeerGone`](crate::LinkError::PeerGone); sending to it gives that error at once.
///
/// Under these rules the numbers of a run do not depend on the transport. `tests/it/contract.rs` checks them for each
/// transport of this crate.
pub trait Transport<T> {
    /// The ends of one hop that belong to this process.
    ///
    /// # Errors
    /// When the neighbour cannot be reached.
    fn connect(
        &self,
        hop: Hop,
        capacities: Capacities,
        stop: &StopSignal,
    ) -> Result<Ends<T>, ConnectError>;
}

/// Which two places a hop connects. A place is a stage, or a replica of one: the run numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hop {
    /// Its number among the hops of the run.
    pub number: usize,
    /// The place of its lower end.
    pub lower: usize,
    /// The place of its upper end.
    pub upper: usize,
    /// Whether values cross it as they are, whatever format the transport writes others in.
    pub exact: bool,
}

impl Hop {
    /// Hop k of a pipeline without replicas: from stage k to stage k+1.
    #[must_use]
    pub fn above(stage: usize) -> Self {
        Self {
            number: stage,
            lower: stage,
            upper: stage + 1,
            exact: false,
        }
    }
}

/// Why a hop could not be connected.
pub type ConnectError = Box<dyn Error + Send + Sync>;

/// How many messages the training lanes of a hop hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacities {
    /// c_k: activations from stage k to k+1.
    pub activation: usize,
    /// b_k: gradients from stage k+1 to k.
    pub gradient: usize,
}

/// The ends of a hop; `None` for one that another process holds.
pub struct Ends<T> {
    /// The end of stage k.
    pub lower: Option<Box<dyn Link<T>>>,
    /// The end of stage k+1.
    pub upper: Option<Box<dyn Link<T>>>,
}

impl<T> Ends<T> {
    /// Both ends, in this process.
    pub fn both(lower: impl Link<T> + 'static, upper: impl Link<T> + 'static) -> Self {
        Self {
            lower: Some(Box::new(lower)),
            upper: Some(Box::new(upper)),
        }
    }
}
