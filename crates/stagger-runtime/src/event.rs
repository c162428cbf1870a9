//! What a run reports. Terminal, files and dashboards are sinks of these events.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stagger_engine::{HostTensor, Profile};
use stagger_schedule::Action;

use crate::board::Stall;
use crate::snapshot::StageSnapshot;

/// What a stage waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waits {
    /// The loader, until the next images are ready.
    pub loader: Duration,
    /// A neighbour, until its message comes.
    pub receive: Duration,
    /// A neighbour, until its queue has room.
    pub send: Duration,
}

impl Waits {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.loader + self.receive + self.send
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.loader += other.loader;
        self.receive += other.receive;
        self.send += other.send;
    }
}

/// A completed action of a stage, and where its time went.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acted {
    /// The stage.
    pub stage: usize,
    /// What it did.
    pub action: Action,
    /// When it began.
    pub started_at: Duration,
    /// When it was done.
    pub ended_at: Duration,
    /// The part of that time in which it waited.
    pub waits: Waits,
    /// The part of that time in which it brought an input to its device.
    pub transfer: Duration,
    /// The part of that time in which it slept as a straggler, after computing.
    pub delayed: Duration,
    /// For a backward: the updates between this batch's forward and this backward, counted.
    pub staleness: Option<usize>,
    /// For a backward, when it was measured: how far the weights have moved since the forward, ‖w − w_forward‖ / ‖w‖.
    pub gap: Option<f64>,
}

impl Acted {
    /// The time from its start to its end.
    #[must_use]
    pub fn lasted(&self) -> Duration {
        self.ended_at.saturating_sub(self.started_at)
    }
}

/// Something that happened. Times are since the start of the run, which is when every stage has
/// been built.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Event {
    /// Every stage has been built; the clock starts.
    Started {
        /// Number of stages, K.
        stages: usize,
    },
    /// A stage has completed an action.
    Acted(Acted),
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
    /// The loss of a training batch is not finite, and all stages skip their update of it.
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
    /// The same by the running mean of the weights ([`Plan::average`](crate::Plan::average)). It comes before [`Event::Evaluated`] of the
    /// version.
    EvaluatedAverage {
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
    },
    /// A stage has trained its synthesizer on the true gradient of a batch.
    Synthesized {
        /// The stage.
        stage: usize,
        /// The batch.
        batch: usize,
        /// Mean squared difference between the synthetic and the true gradient of a sample's loss.
        loss: f64,
        /// Mean square of the true one: the loss of a synthesizer that always gives 0.
        loss_of_silence: f64,
    },
    /// A stage's part of the run at a version.
    Snapshot {
        /// The stage.
        stage: usize,
        /// Version of the parameters.
        version: usize,
        /// All that the stage needs to resume from there.
        snapshot: Arc<StageSnapshot>,
    },
    /// A stage is about to update with a batch, and has told its gradients; only where [`Plan::gradients_at`](crate::Plan::gradients_at) asks
    /// for them. A batch whose update is skipped has none.
    Gradients {
        /// The stage.
        stage: usize,
        /// The batch.
        batch: usize,
        /// Parameters by name, and their gradients: summed over micro-batches and replicas, before clipping and weight decay.
        gradients: Vec<(String, HostTensor)>,
    },
    /// A stage has ended its program, and has measured its kernels.
    Profiled {
        /// The stage.
        stage: usize,
        /// Time per kind of kernel, over the whole program.
        profile: Profile,
    },
    /// The last stage has passed on a batch of an evaluation; only where [`Plan::logits`](crate::Plan::logits) asks for it.
    Logits {
        /// The batch of the evaluation, from 0.
        batch: usize,
        /// Scores before softmax, `[N, classes]`.
        logits: HostTensor,
    },
    /// The run was asked to stop. It halts at this version; its snapshot there holds what is in flight.
    Interrupted {
        /// The first batch that is not trained on, which is the version.
        batch: usize,
    },
    /// Nothing has moved for [`Plan::stall_timeout`](crate::Plan::stall_timeout). The stop is raised with it. A stage that
    /// hangs inside one computation does not see the stop, and keeps the run from returning.
    // The last one: those that are skipped are counted in writing and not in reading.
    #[serde(skip)]
    Stalled(Stall),
}

impl Event {
    /// The stage that it happened on, where it names one.
    pub fn stage(&self) -> Option<usize> {
        match self {
            Self::Acted(acted) => Some(acted.stage),
            Self::Synthesized { stage, .. }
            | Self::Snapshot { stage, .. }
            | Self::Gradients { stage, .. }
            | Self::Profiled { stage, .. } => Some(*stage),
            _ => None,
        }
    }
}
