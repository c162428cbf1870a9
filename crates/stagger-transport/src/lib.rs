//! Links that carry tensors between neighbouring stages.
//!
//! A [`Link`] is one end of the hop between stage k and stage k+1, and a [`Transport`] makes both ends. Each hop has three
//! lanes ([`Lane`]): activations and evaluation inputs travel up, gradients travel down. Every lane is FIFO and bounded, so
//! the numbers of a run depend on the order of the actions of each stage and on nothing else: a Kahn process network.
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`threads`] | stages are threads of one process; a message is a move of ownership, never a copy |
//! | [`bytes`] | the same, but every message goes through the wire format |
//! | [`delayed`] | as [`threads`], but messages take time on their way |
//! | [`ranks`] | stages are shared out over the processes of a [`World`] |
//! | [`sequential`] | all stages in one thread; a receive that would block is an error, not a hang |
//! | [`wire`] | messages as bytes |
//! | [`world`] | the processes of a run, and frames to and from them |
//! | [`sync`] | the locks, channels and threads that all of them wait on: the standard library's, or the model checker's |
//!
//! **Invariant:** this crate knows no tensor library; a payload is any `T: Send`, and between processes any [`Payload`].

pub mod bytes;
pub mod delayed;
mod link;
mod message;
mod placement;
pub mod ranks;
mod remote;
pub mod sequential;
mod stop;
pub mod sync;
pub mod threads;
mod transport;
pub mod wire;
pub mod world;

pub use bytes::Bytes;
pub use delayed::{Delay, Delayed};
pub use link::{Link, LinkError};
pub use message::{Content, Header, Lane, Mark, Message};
pub use placement::{Placement, TooFewStages};
pub use ranks::Ranks;
pub use sequential::Sequential;
pub use stop::{StopSignal, StopSource, stop_channel};
pub use threads::Threads;
pub use transport::{Capacities, ConnectError, Ends, Hop, Transport};
pub use wire::{Payload, WireError};
pub use world::World;
