//! Gradient clipping by the norm over all stages.
//!
//! Before an update each stage tells the one below the norms of its own gradients and of all above it, parameter by parameter.
//! Stage 0 adds them up, in the order of the network's parameters: so the norm has the same bits however the network is cut. It
//! then goes up again, and all stages clip by it.
//!
//! **No exchange can lead to a deadlock**, where no stage runs ahead of the batch that it pulls back: a stage that waits in its
//! update of a batch has made all passes of it, so its neighbours have all that they need to come to the same update. Other
//! schedules cannot have it; see [`Plan::clip_norm`].

use stagger_engine::{HostTensor, Stage};
use stagger_transport::{Header, Lane};

use super::Worker;
use super::times::Times;
use super::values::{give, take};
use crate::board::{Line, WaitsFor};
use crate::cargo::Cargo;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::ports::Chain;

/// Adds 1e-6 to the norm that divides, as PyTorch's `clip_grad_norm_` does.
const MARGIN: f64 = 1e-6;

/// What a stage clips by, and its links to the neighbours that it tells of its norms: those of a first replica, which asks for all
/// replicas of its stage.
pub(super) struct Clipping<T> {
    /// The largest norm.
    limit: f64,
    links: Chain<T>,
}

impl<T> Clipping<T> {
    /// What the plan says of it, with the links of this place.
    pub fn of(plan: &Plan, links: Chain<T>) -> Option<Self> {
        plan.clip_norm.map(|limit| Self { limit, links })
    }
}

impl<S: Stage> Worker<S> {
    /// Scales the stage's gradient so that the norm over all stages is at most the limit. A batch that is void has no
    /// gradient; its stages still tell each other so, as all of them have to make the same exchanges.
    pub(super) fn clip(
        &mut self,
        version: usize,
        is_void: bool,
        times: &mut Times,
    ) -> Result<(), Fault> {
        let Some(clipping) = &mut self.clipping else {
            return Ok(());
        };
        let mut norm = 0.0;
        if self.place.is_first() {
            let own = match is_void {
                true => Vec::new(),
                false => self.stage.gradient_norms()?,
            };
            let header = |lane| Header {
                lane,
                batch: version,
                micro: 0,
                version,
                sent_at: self.clock.elapsed(),
                mark: None,
            };
            norm = clipping.links.norm(own, &self.line, header, times)?;
        }
        if let Some(siblings) = &self.siblings {
            // Only the first replica knows it.
            let mut told = [HostTensor::new(vec![1], vec![norm])?];
            siblings.ring.sum(&mut told, version, times)?;
            norm = told[0].data.first().copied().unwrap_or_default();
        }
        let (norm, limit) = (f64::from(norm), clipping.limit);
        if norm > limit {
            self.stage.scale_gradients(limit / (norm + MARGIN))?;
        }
        Ok(())
    }
}

impl<T> Chain<Cargo<T>> {
    /// The norm over all stages, of which this one has `own` norms.
    fn norm(
        &mut self,
        own: Vec<f32>,
        line: &Line,
        header: impl Fn(Lane) -> Header,
        times: &mut Times,
    ) -> Result<f32, Fault> {
        let mut norms = own;
        if let Some(above) = &mut self.above {
            let header = header(Lane::Gradient);
            norms.extend(take(above.as_mut(), WaitsFor::Above, header, line, times)?);
        }
        let Some(below) = &mut self.below else {
            let squares = norms.iter().map(|&norm| f64::from(norm).powi(2));
            let norm = squares.sum::<f64>().sqrt() as f32;
            self.tell_above(norm, line, header(Lane::Activation), times)?;
            return Ok(norm);
        };
        let down = header(Lane::Gradient);
        give(below.as_mut(), WaitsFor::Below, down, norms, line, times)?;
        let up = header(Lane::Activation);
        let told = take(below.as_mut(), WaitsFor::Below, up, line, times)?;
        let [norm] = told[..] else {
            return Err(Fault::Program {
                what: "other values than the norm of a gradient",
            });
        };
        self.tell_above(norm, line, header(Lane::Activation), times)?;
        Ok(norm)
    }

    fn tell_above(
        &mut self,
        norm: f32,
        line: &Line,
        header: Header,
        times: &mut Times,
    ) -> Result<(), Fault> {
        match &mut self.above {
            Some(above) => give(
                above.as_mut(),
                WaitsFor::Above,
                header,
                vec![norm],
                line,
                times,
            ),
            None => Ok(()),
        }
    }
}
