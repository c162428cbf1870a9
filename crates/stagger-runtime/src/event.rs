//! What a run tells the world. Terminal, files and dashboards are sinks of these.

use std::sync::Arc;
use std::time::Duration;

use stagger_engine::Profile;
use stagger_schedule::Action;

use crate::board::Stall;
use crate::snapshot::StageSnapshot;

/// What a stage waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// The loader, to have the next images ready.
    pub loader: Duration,
    /// A neighbour, to send something.
    pub receive: Duration,
    /// A neighbour, to have room in its queue.
    pub send: Duration,
}

impl Waits {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.loader + self.receive + self.send
    }
}

/// Something that happened. Times are since the start of the run, which is when every stage has
/// been built.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// Every stage has been built; the clock starts.
    Started {
        /// Number of stages, K.
        stages: usize,
    },
    /// A stage has completed an action.
    Acted {
        /// The stage.
        stage: usize,
        /// What it did.
        action: Action,
        /// When it began.
        started_at: Duration,
        /// When it was done.
        ended_at: Duration,
        /// The part of that time in which it waited.
        waits: Waits,
        /// The part of that time in which it brought an input to its device.
        transfer: Duration,
        /// The part of that time in which it slept as a straggler, after computing.
        delayed: Duration,
        /// For a backward: the updates between this batch's forward and this backward, counted.
        staleness: Option<usize>,
        /// For a backward, when it was measured: how far the weights have moved since the forward, ‖w − w_forward‖ / ‖w‖.
        gap: Option<f64>,
    },
    /// The last stage has computed the loss of a training batch.
    Trained {
        /// The batch.
        batch: usize,
        /// Samples in it.
        samples: usize,
        /// Mean loss over its samples (with label smoothing, when that is on).
        loss: f32,
        /// Samples whose label had the highest score.
        correct_top1: usize,
        /// Samples whose label was among the five highest scores.
        correct_top5: usize,
        /// Learning rate of this batch.
        learning_rate: f64,
        /// When.
        at: Duration,
    },
    /// The loss of a training batch is not finite, and the stages leave out their updates of it.
    Skipped {
        /// The batch.
        batch: usize,
        /// NaN or an infinity.
        loss: f32,
        /// When.
        at: Duration,
    },
    /// The last stage has finished an evaluation of w^version over the whole test set.
    Evaluated {
        /// Version of the parameters.
        version: usize,
        /// Samples in the test set.
        samples: usize,
        /// Mean loss over them, without label smoothing.
        loss: f64,
        /// Samples whose label had the highest score.
        correct_top1: usize,
        /// Samples whose label was among the five highest scores.
        correct_top5: usize,
        /// When.
        at: Duration,
    },
    /// A stage has trained its synthesizer on the true gradient of a batch.
    Synthesized {
        /// The stage.
        stage: usize,
        /// The batch.
        batch: usize,
        /// Mean squared difference between the synthetic and the true gradient of a sample's loss.
        loss: f64,
        /// Mean square of the true one: what the loss would be of a synthesizer that says 0.
        loss_of_silence: f64,
    },
    /// A stage's part of the run at a version.
    Snapshot {
        /// The stage.
        stage: usize,
        /// Version of the parameters.
        version: usize,
        /// All that the stage needs to go on from there.
        snapshot: Arc<StageSnapshot>,
    },
    /// A stage has ended its program, and has measured its kernels.
    Profiled {
        /// The stage.
        stage: usize,
        /// Time per kind of kernel, over the whole program.
        profile: Profile,
    },
    /// Nothing has moved for [`Plan::stall_timeout`](crate::Plan::stall_timeout). The stop is raised with it; a stage that
    /// neither waits nor computes in steps may keep its thread all the same, and the run with it.
    Stalled(Stall),
    /// The run was asked to stop: it halts at this version, with what is in flight in its snapshot.
    Interrupted {
        /// The first batch that is not trained on, which is the version.
        batch: usize,
    },
}
