//! Gradients of probe batches, at the weights of chosen versions: docs/theory.md (1) and (2), on stages of the job's engine.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use stagger_engine::{EngineError, HostTensor, MixedLabels, Stage, StageState};

use super::error::TheoryError;
use super::point::Point;
use super::versions::{Version, Versions};
use crate::error::Error;
use crate::job::Job;
use crate::stages::{self, OnStages};

/// Threads that share out the probe batches. Always as many, so that sums do not depend on the machine.
const GROUPS: usize = 2;

/// A batch of which the gradient is taken at all measured versions.
#[derive(Debug)]
pub(super) struct Probe {
    /// Its number, by which its dropout masks are drawn.
    batch: usize,
    images: HostTensor,
    labels: Vec<usize>,
    /// The labels of what its samples are mixed with, and the share of each that is its own.
    others: Vec<usize>,
    own: f64,
}

impl Probe {
    /// So many whole batches, from batch `first` of the job's order on: images as they are trained on.
    pub fn read(job: &Job, first: usize, count: usize) -> Result<Vec<Self>, Error> {
        let whole = job.sampler.batch_len(0);
        let numbers: Vec<usize> = (first..)
            .filter(|&batch| job.sampler.batch_len(batch) == whole)
            .take(count)
            .collect();
        let end = numbers.last().map_or(first, |last| last + 1);
        let mut feeds = stages::feeds(job, first..end)?;
        let mut probes = Vec::with_capacity(count);
        let failed = |source| TheoryError::Images { source };
        for batch in first..end {
            // Batches are read in order, and each of them once.
            let images = feeds.inputs.train(batch).map_err(failed)?;
            if numbers.contains(&batch) {
                let labels = feeds.labels.train(batch).map_err(failed)?;
                let own = feeds.labels.own_share(batch).map_err(failed)?;
                let mut others = labels.clone();
                // Each sample is mixed with the one before it.
                others.rotate_right(1);
                probes.push(Self {
                    batch,
                    images,
                    labels,
                    others,
                    own,
                });
            }
        }
        Ok(probes)
    }

    /// Samples in it.
    pub fn samples(&self) -> usize {
        self.labels.len()
    }
}

/// Gradients of several batches at one version, added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    /// The gradients, by stage and parameter.
    pub gradients: Vec<Vec<Vec<f32>>>,
    /// `Σ ‖g_k‖²` of each stage.
    pub squares: Vec<f64>,
    /// The losses, as the last stage has them in these passes.
    pub loss: f64,
    pub batches: usize,
}

impl Sum {
    /// Both, in this order.
    fn and(mut self, other: &Self) -> Self {
        let pairs = self.gradients.iter_mut().zip(&other.gradients);
        let tensors = pairs.flat_map(|(own, others)| own.iter_mut().zip(others));
        tensors.for_each(|(own, other)| add(own, other));
        let squares = self.squares.iter_mut().zip(&other.squares);
        squares.for_each(|(own, other)| *own += other);
        self.loss += other.loss;
        self.batches += other.batches;
        self
    }
}

fn add(sum: &mut [f32], values: &[f32]) {
    let pairs = sum.iter_mut().zip(values);
    pairs.for_each(|(sum, value)| *sum += value);
}

/// What was found at a measured version, before anything is made of it.
#[derive(Debug)]
pub(super) struct Found {
    /// At `w^n`.
    pub now: Sum,
    /// At `w^(n+1)`.
    pub next: Sum,
    /// What the method computes, where stale weights differ from `w^n`.
    pub stale: Option<Sum>,
    pub places: Places,
}

/// Parameters of all stages, in the order of their gradients.
pub(super) type Parameters = Vec<Vec<HostTensor>>;

/// Where the weights are.
#[derive(Debug, Default)]
pub(super) struct Places {
    pub now: Parameters,
    pub next: Parameters,
    pub stale: Option<Parameters>,
}

/// Measures at all versions, in order.
pub(super) fn measure(
    job: &Job,
    probes: &[Probe],
    versions: &Versions,
) -> Result<Vec<Point>, Error> {
    let measuring = Measuring {
        job,
        probes,
        versions,
    };
    stages::on_stages(job, measuring)
}

struct Measuring<'a> {
    job: &'a Job,
    probes: &'a [Probe],
    versions: &'a Versions,
}

type Sent = Result<Found, TheoryError>;

impl OnStages for Measuring<'_> {
    type Output = Result<Vec<Point>, Error>;

    fn run<S: Stage>(
        self,
        build: impl Fn(usize) -> Result<S, EngineError> + Sync,
    ) -> Result<Vec<Point>, Error> {
        let Self {
            job,
            probes,
            versions,
        } = self;
        let groups: Vec<Vec<&Probe>> = (0..GROUPS.min(probes.len()))
            .map(|group| probes.iter().skip(group).step_by(GROUPS).collect())
            .collect();
        let build = &build;
        thread::scope(|scope| {
            let receivers: Vec<Receiver<Sent>> = groups
                .iter()
                .map(|group| {
                    let (sender, receiver) = sync_channel(1);
                    scope.spawn(move || work(build, group, versions, &sender));
                    receiver
                })
                .collect();
            let mut points = Vec::new();
            for version in versions.measured() {
                let mut sum: Option<Found> = None;
                for receiver in &receivers {
                    let Ok(found) = receiver.recv() else {
                        // Its thread has panicked, and the scope says so.
                        return Ok(points);
                    };
                    let found = found?;
                    sum = Some(match sum {
                        None => found,
                        Some(sum) => sum.and(found),
                    });
                }
                if let Some(found) = sum {
                    points.push(Point::of(version, &found, &job.optimizer)?);
                }
            }
            Ok(points)
        })
    }
}

impl Found {
    fn and(self, other: Self) -> Self {
        Self {
            now: self.now.and(&other.now),
            next: self.next.and(&other.next),
            stale: match (self.stale, other.stale) {
                (Some(own), Some(other)) => Some(own.and(&other)),
                (own, _) => own,
            },
            // They are the same.
            places: self.places,
        }
    }
}

/// One thread: its batches at every version. Ends early where the other end is gone.
fn work<S: Stage>(
    build: &impl Fn(usize) -> Result<S, EngineError>,
    probes: &[&Probe],
    versions: &Versions,
    sender: &SyncSender<Sent>,
) {
    let mut meter = None;
    for number in versions.measured() {
        let mut found = || {
            let meter = match &mut meter {
                Some(meter) => meter,
                None => meter.insert(Meter::new(versions.stages(), build)?),
            };
            meter.at(&versions.at(number), probes)
        };
        let found = found().map_err(|source| TheoryError::Gradient {
            version: number,
            source: Box::new(source),
        });
        let is_over = found.is_err();
        if sender.send(found).is_err() || is_over {
            return;
        }
    }
}

/// Stages of one network.
pub(super) struct Meter<S: Stage> {
    stages: Vec<S>,
}

impl<S: Stage> Meter<S> {
    pub fn new(
        stages: usize,
        build: &impl Fn(usize) -> Result<S, EngineError>,
    ) -> Result<Self, EngineError> {
        let stages = (0..stages).map(build).collect::<Result<_, _>>()?;
        Ok(Self { stages })
    }

    fn at(&mut self, version: &Version<'_>, probes: &[&Probe]) -> Result<Found, EngineError> {
        let mut places = Places::default();
        let stale = match &version.stale {
            None => None,
            Some(stale) => {
                let backward = match version.is_stashed {
                    true => stale,
                    false => &version.now,
                };
                let sum = self.gradient(backward, stale, probes)?;
                self.import(stale)?;
                places.stale = Some(self.parameters()?);
                Some(sum)
            }
        };
        let now = self.gradient(&version.now, &version.now, probes)?;
        places.now = self.parameters()?;
        let next = self.gradient(&version.next, &version.next, probes)?;
        places.next = self.parameters()?;
        Ok(Found {
            now,
            next,
            stale,
            places,
        })
    }

    /// `Σ g(w, u; ξ)` over these batches: forwards at `u`, of which the stages below the last keep their inputs, and then forwards
    /// again and backwards at `w`. Batch by batch, so that only one has its activations in memory.
    pub fn gradient(
        &mut self,
        backward: &[&StageState],
        forward: &[&StageState],
        probes: &[&Probe],
    ) -> Result<Sum, EngineError> {
        let mut sum = Sum {
            squares: vec![0.0; self.stages.len()],
            ..Sum::default()
        };
        for probe in probes {
            let inputs = self.inputs(forward, probe)?;
            self.import(backward)?;
            let mut upstream = None;
            for (stage, input) in self.stages.iter_mut().zip(inputs).rev() {
                let (output, graph) = stage.record(&input, probe.batch)?;
                let output_grad = match upstream.take() {
                    Some(grad) => stage.take_over(grad)?,
                    None => {
                        let labels = MixedLabels {
                            labels: &probe.labels,
                            others: &probe.others,
                            own: probe.own,
                        };
                        let found = stage.mixed_loss(&output, labels, 1.0)?;
                        sum.loss += f64::from(found.value);
                        found.grad
                    }
                };
                upstream = stage.backward(graph, output_grad)?;
            }
            self.add_gradients(&mut sum)?;
        }
        sum.batches = probes.len();
        Ok(sum)
    }

    /// The input of every stage, of one batch, by forwards at these weights.
    fn inputs(
        &mut self,
        forward: &[&StageState],
        probe: &Probe,
    ) -> Result<Vec<S::Activation>, EngineError> {
        let last = self.stages.len() - 1;
        let mut inputs = vec![self.stages[0].upload(probe.images.clone())?];
        for stage in 0..last {
            self.stages[stage].import(forward[stage])?;
            let output = self.stages[stage].forward(&inputs[stage], probe.batch)?;
            inputs.push(self.stages[stage + 1].take_over(output)?);
        }
        Ok(inputs)
    }

    /// Takes the gradients of one batch from the stages.
    fn add_gradients(&mut self, sum: &mut Sum) -> Result<(), EngineError> {
        for (at, stage) in self.stages.iter_mut().enumerate() {
            let tensors = stage.export_gradients()?;
            stage.discard_gradients();
            let values = tensors.iter().flat_map(|tensor| &tensor.data);
            sum.squares[at] += values.map(|&value| f64::from(value).powi(2)).sum::<f64>();
            match sum.gradients.get_mut(at) {
                None => sum
                    .gradients
                    .push(tensors.into_iter().map(|tensor| tensor.data).collect()),
                Some(sums) => {
                    let pairs = sums.iter_mut().zip(&tensors);
                    pairs.for_each(|(sum, tensor)| add(sum, &tensor.data));
                }
            }
        }
        Ok(())
    }

    fn import(&mut self, states: &[&StageState]) -> Result<(), EngineError> {
        let mut pairs = self.stages.iter_mut().zip(states);
        pairs.try_for_each(|(stage, state)| stage.import(state))
    }

    /// The parameters at present.
    fn parameters(&self) -> Result<Parameters, EngineError> {
        let of = |stage: &S| stage.export_position(&stage.position());
        self.stages.iter().map(of).collect()
    }
}
