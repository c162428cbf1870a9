//! What a message takes from a stage to the next: there and back over the real hop.

use std::error::Error as StdError;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use stagger_engine::HostTensor;
use stagger_model::elements;
use stagger_plan::{Distribution, LinkProfile};
use stagger_transport::wire::{PayloadError, WireTensor};
use stagger_transport::{
    Capacities, Content, Header, Hop, Lane, Link, LinkError, Message, Payload, Transport,
    stop_channel,
};

use crate::block_times::micro_batch;
use crate::error::Error;
use crate::job::Job;

/// How long messages took over a hop and back, in seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RoundTrips {
    /// The stage below the hop.
    pub stage: usize,
    /// Bytes of a large message, one way: those of a micro-batch's activation.
    pub bytes: u64,
    /// With one value there and one back.
    pub small: Vec<f64>,
    /// With a large message there and one back.
    pub large: Vec<f64>,
}

impl RoundTrips {
    /// Says what is wrong with those that another process sends.
    pub fn fault(&self) -> Option<String> {
        let is_time = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
        let is_sound = |times: &Vec<f64>| !times.is_empty() && times.iter().all(is_time);
        let sound = is_sound(&self.small) && is_sound(&self.large) && self.bytes > 0;
        (!sound).then(|| format!("no times of the hop above stage {}", self.stage))
    }

    /// The hop in a profile.
    pub fn link(&self) -> LinkProfile {
        let one_way = |times: &[f64]| times.iter().map(|seconds| seconds / 2.0).collect();
        let latency = Distribution::Samples(one_way(&self.small));
        let small = latency.center();
        let megabytes = self.bytes as f64 / 1e6;
        let large: Vec<f64> = one_way(&self.large);
        let longer = large.iter().map(|seconds| (seconds - small).max(0.0));
        LinkProfile {
            latency,
            per_megabyte: Distribution::Samples(longer.map(|s| s / megabytes).collect()),
        }
    }
}

/// A tensor in host memory, which crosses to another process as its values.
#[derive(Clone)]
pub(crate) struct Parcel(HostTensor);

impl Payload for Parcel {
    fn with_values(&self, write: impl FnOnce(&[usize], &[f32])) -> Result<(), PayloadError> {
        write(&self.0.shape, &self.0.data);
        Ok(())
    }

    fn read(tensor: WireTensor<'_>) -> Result<Self, PayloadError> {
        let values = tensor.values();
        Ok(Self(HostTensor::new(tensor.shape, values)?))
    }
}

/// Sends messages over the hops of the job's first replicas and back, so many times after once that does not count, one hop after
/// the other. Gives what the hops take whose lower ends are in this process.
///
/// # Errors
/// [`Error::Hop`] when a hop cannot be connected, or carries nothing.
pub(crate) fn round_trips(
    job: &Job,
    transport: &impl Transport<Parcel>,
    rounds: usize,
) -> Result<Vec<RoundTrips>, Error> {
    let mut found = Vec::new();
    for stage in 0..job.schedule.stages().saturating_sub(1) {
        found.extend(over(job, transport, stage, rounds)?);
    }
    Ok(found)
}

/// The same over the hop above one stage.
pub(super) fn over(
    job: &Job,
    transport: &impl Transport<Parcel>,
    stage: usize,
    rounds: usize,
) -> Result<Option<RoundTrips>, Error> {
    let failed = |source: Box<dyn StdError + Send + Sync>| Error::Hop { stage, source };
    let hop = Hop {
        number: stage,
        lower: job.replicas.number(stage, 0),
        upper: job.replicas.number(stage + 1, 0),
        exact: false,
    };
    let capacities = Capacities {
        activation: 1,
        gradient: 1,
    };
    let mut shape = job.model.stage_input_shape(job.cut.stages()[stage].end)?;
    shape.insert(0, micro_batch(job));
    let values = usize::try_from(elements(&shape)).unwrap_or(usize::MAX);
    // Raised when this function returns: no end waits for one that has failed.
    let (_source, stop) = stop_channel();
    let ends = transport.connect(hop, capacities, &stop).map_err(failed)?;
    let small = Parcel(HostTensor {
        shape: vec![1],
        data: vec![0.5],
    });
    let large = Parcel(HostTensor {
        shape,
        data: vec![0.5; values],
    });
    let bytes = 4 * values as u64;
    let exchange = move |mut link: Box<dyn Link<Parcel>>| -> Result<RoundTrips, LinkError> {
        let mut found = RoundTrips {
            stage,
            bytes,
            small: Vec::new(),
            large: Vec::new(),
        };
        for round in 0..=rounds {
            for (parcel, times) in [(&small, &mut found.small), (&large, &mut found.large)] {
                let message = message(Lane::Activation, round, Content::Payload(parcel.clone()));
                let started = Instant::now();
                link.send(message)?;
                link.receive(Lane::Gradient)?;
                if round > 0 {
                    times.push(started.elapsed().as_secs_f64());
                }
            }
        }
        Ok(found)
    };
    let answer = move |mut link: Box<dyn Link<Parcel>>| -> Result<(), LinkError> {
        for at in 0..2 * (rounds + 1) {
            let content = link.receive(Lane::Activation)?.content;
            link.send(message(Lane::Gradient, at, content))?;
        }
        Ok(())
    };
    let failed = |source: LinkError| failed(source.into());
    thread::scope(|scope| match (ends.lower, ends.upper) {
        (Some(lower), Some(upper)) => {
            scope.spawn(move || answer(upper));
            exchange(lower).map(Some).map_err(failed)
        }
        (Some(lower), None) => exchange(lower).map(Some).map_err(failed),
        (None, Some(upper)) => answer(upper).map(|()| None).map_err(failed),
        (None, None) => Ok(None),
    })
}

fn message(lane: Lane, batch: usize, content: Content<Parcel>) -> Message<Parcel> {
    Message {
        header: Header {
            lane,
            batch,
            micro: 0,
            version: 0,
            sent_at: Duration::ZERO,
            mark: None,
        },
        content,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_large_message_takes_longer_is_the_links() {
        let found = RoundTrips {
            stage: 0,
            bytes: 2_000_000,
            small: vec![0.5, 1.0, 8.0],
            large: vec![5.0, 0.75],
        };
        assert_eq!(found.fault(), None);
        let link = found.link();
        assert_eq!(link.latency, Distribution::Samples(vec![0.25, 0.5, 4.0]));
        assert_eq!(link.per_megabyte, Distribution::Samples(vec![1.0, 0.0]));
        let nothing = RoundTrips {
            small: vec![f64::NAN],
            ..found
        };
        assert_eq!(
            nothing.fault().unwrap(),
            "no times of the hop above stage 0"
        );
    }
}
