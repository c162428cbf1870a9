//! Trains a small convolutional network with DSP in the sequential executor, and measures the gradient over all of its images
//! as docs/theory.md speaks of it. `benchmarks/convergence/run.py` runs it many times.
//!
//! ```text
//! cargo run -p stagger-runtime --example gradient_norm -- \
//!     --data-dir DIR/fashion-mnist --staleness 6,4,2,0 --beta 0.9 --rate 0.02 --batches 512 --seed 1
//! ```
//!
//! The network has four stages: three convolutions with ReLU, and a linear layer; no normalisation. Batches are drawn with
//! replacement, so that they are independent. It prints a line per measured version n, with tabs between:
//!
//! | column | meaning |
//! | --- | --- |
//! | version | n |
//! | loss | F(w^n) |
//! | gradient | ‖∇F(w^n)‖² |
//! | bias | ‖e^n‖ = ‖ḡ^n − ∇F(w^n)‖, where ḡ^n is the mean over all images of what DSP computes |
//! | moved | ‖w^n − w̃^n‖, how far the weights are from those of the forward passes |
//! | curvature | ‖∇F(w^(n+1)) − ∇F(w^n)‖ / ‖w^(n+1) − w^n‖ |
//!
//! The last three are measured with `--bias true` only, as they take three gradients where one is needed. After a loss that is not finite it prints a line with the word `diverged` and what was measured before.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use stagger_cpu::{CpuDevice, CpuStage};
use stagger_data::{OpenOptions, Split};
use stagger_engine::{HostTensor, Optimizer, Stage, StageSpec, StageState, WeightDecay};
use stagger_model::{Block, Layer, Model};
use stagger_runtime::{
    Event, Fault, FeedError, Feeds, Inputs, Labels, Place, Plan, RunError, sequential,
};
use stagger_schedule::{Horizon, Schedule};

type Fallible<T> = Result<T, Box<dyn Error>>;

const STAGES: usize = 4;

/// Images that pass through the network at once when the gradient is measured.
const CHUNK: usize = 250;

#[derive(Clone, Debug)]
struct Options {
    data_dir: PathBuf,
    staleness: Vec<usize>,
    beta: f64,
    /// `s` of docs/theory.md (4).
    nesterov: f64,
    /// η̂ = η / (1 − β).
    rate: f64,
    batches: usize,
    seed: u64,
    images: usize,
    batch_size: usize,
    measurements: usize,
    bias: bool,
    /// Whether the mean image is taken off all images.
    centred: bool,
}

impl Options {
    fn parse() -> Fallible<Self> {
        let mut options = Self {
            data_dir: PathBuf::new(),
            staleness: vec![0; STAGES],
            beta: 0.0,
            nesterov: 0.0,
            rate: 0.01,
            batches: 128,
            seed: 1,
            images: 1000,
            batch_size: 16,
            measurements: 32,
            bias: false,
            centred: false,
        };
        let mut words = std::env::args().skip(1);
        while let Some(flag) = words.next() {
            let value = words.next().ok_or("every flag has a value")?;
            match flag.as_str() {
                "--data-dir" => options.data_dir = value.into(),
                "--staleness" => {
                    let numbers = value.split(',').map(str::parse);
                    options.staleness = numbers.collect::<Result<_, _>>()?;
                }
                "--beta" => options.beta = value.parse()?,
                "--nesterov" => options.nesterov = value.parse()?,
                "--rate" => options.rate = value.parse()?,
                "--batches" => options.batches = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--images" => options.images = value.parse()?,
                "--batch-size" => options.batch_size = value.parse()?,
                "--measurements" => options.measurements = value.parse()?,
                "--centred" => options.centred = value.parse()?,
                "--bias" => options.bias = value.parse()?,
                _ => return Err(format!("no flag {flag}").into()),
            }
        }
        Ok(options)
    }

    /// Evenly spaced versions, 0 among them.
    fn measured(&self) -> BTreeSet<usize> {
        let versions = 0..self.measurements;
        versions
            .map(|at| at * self.batches / self.measurements)
            .collect()
    }
}

fn model() -> Fallible<Model> {
    let block = |name: &str, in_channels, out_channels, stride| {
        let convolution = Layer::Conv2d {
            name: format!("{name}.conv"),
            in_channels,
            out_channels,
            kernel: 3,
            stride,
            padding: 1,
            groups: 1,
            bias: true,
            zero_weight: false,
        };
        Block::new(name, vec![convolution, Layer::Relu])
    };
    let blocks = vec![
        block("first", 1, 8, 2),
        block("second", 8, 16, 2),
        block("third", 16, 16, 1),
        Block::new(
            "head",
            vec![Layer::Flatten, Layer::linear("head.linear", 784, 10)],
        ),
    ];
    Ok(Model::new("three-convolutions", [1, 28, 28], 10, blocks)?)
}

/// The first images of the training set.
struct Data {
    pixels: Vec<f32>,
    labels: Vec<usize>,
}

/// Numbers of an image.
const SIZE: usize = 28 * 28;

impl Data {
    fn load(options: &Options) -> Fallible<Self> {
        let open = OpenOptions {
            data_dir: Some(options.data_dir.clone()),
            ..OpenOptions::default()
        };
        let Split {
            train,
            normalization,
            ..
        } = stagger_data::open("fashion-mnist", &open)?;
        if train.len() < options.images || options.images == 0 {
            return Err(format!("there are {} images", train.len()).into());
        }
        let (mean, std) = (normalization.mean[0], normalization.std[0]);
        let mut pixels = Vec::with_capacity(options.images * SIZE);
        let mut image = vec![0; SIZE];
        for index in 0..options.images {
            train.image(index, &mut image)?;
            let values = image
                .iter()
                .map(|&byte| (f32::from(byte) / 255.0 - mean) / std);
            pixels.extend(values);
        }
        if options.centred {
            take_mean_off(&mut pixels);
        }
        let labels = (0..options.images).map(|index| train.label(index));
        Ok(Self {
            pixels,
            labels: labels.collect(),
        })
    }

    fn images(&self, indices: impl ExactSizeIterator<Item = usize>) -> Fallible<HostTensor> {
        let shape = vec![indices.len(), 1, 28, 28];
        let images = indices.map(|at| &self.pixels[at * SIZE..(at + 1) * SIZE]);
        Ok(HostTensor::new(shape, images.flatten().copied().collect())?)
    }
}

/// Otherwise one direction of the first weights is far steeper than the others, that of the mean image.
fn take_mean_off(pixels: &mut [f32]) {
    let images = pixels.len() / SIZE;
    for at in 0..SIZE {
        let sum: f32 = pixels.iter().skip(at).step_by(SIZE).sum();
        for value in pixels.iter_mut().skip(at).step_by(SIZE) {
            *value -= sum / images as f32;
        }
    }
}

/// Batches drawn with replacement: a function of (seed, batch, sample).
#[derive(Clone)]
struct Draws {
    data: Arc<Data>,
    seed: u64,
    batch_size: usize,
}

impl Draws {
    fn indices(&self, batch: usize) -> impl ExactSizeIterator<Item = usize> + '_ {
        let images = self.data.labels.len() as u64;
        let draw = move |sample| {
            // SplitMix64, over a key for each sample.
            let number = batch * self.batch_size + sample;
            let mut state = self.seed << 40 ^ number as u64;
            for _ in 0..2 {
                state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                state = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                state = (state ^ state >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
                state ^= state >> 31;
            }
            ((u128::from(state) * u128::from(images)) >> 64) as usize
        };
        (0..self.batch_size).map(draw)
    }
}

impl Inputs for Draws {
    fn train(&mut self, batch: usize) -> Result<HostTensor, FeedError> {
        let images = self.data.images(self.indices(batch));
        images.map_err(|error| error.to_string().into())
    }

    fn evaluation(&mut self, _batch: usize) -> Result<Option<HostTensor>, FeedError> {
        Ok(None)
    }
}

impl Labels for Draws {
    fn train(&mut self, batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(self.indices(batch).map(|at| self.data.labels[at]).collect())
    }

    fn evaluation(&mut self, _batch: usize) -> Result<Vec<usize>, FeedError> {
        Ok(Vec::new())
    }
}

/// Parameters of a stage by version.
type Versions = BTreeMap<(usize, usize), StageState>;

/// Measures gradients over all images.
struct Meter {
    stages: Vec<CpuStage>,
    data: Arc<Data>,
}

/// Stage by stage, and the loss at the weights of the forward passes of the lower stages and of the last one.
struct Gradient {
    stages: Vec<Vec<f32>>,
    loss: f64,
}

impl Meter {
    /// As docs/theory.md (1) and (2), with all images as the batch.
    fn gradient(&mut self, weights: &[&StageState], stale: &[&StageState]) -> Fallible<Gradient> {
        let images = self.data.labels.len();
        let starts: Vec<usize> = (0..images).step_by(CHUNK).collect();
        let ends = |start: usize| (start + CHUNK).min(images);
        let mut points = vec![Vec::new()];
        for &start in &starts {
            let host = self.data.images(start..ends(start))?;
            points[0].push(self.stages[0].upload(host)?);
        }
        for k in 0..STAGES - 1 {
            self.stages[k].import(stale[k])?;
            let mut outputs = Vec::new();
            for point in &points[k] {
                outputs.push(self.stages[k].forward(point, 0)?);
            }
            points.push(outputs);
        }
        for (stage, state) in self.stages.iter_mut().zip(weights) {
            stage.import(state)?;
        }
        let mut loss = 0.0;
        for (at, &start) in starts.iter().enumerate() {
            let labels = &self.data.labels[start..ends(start)];
            let share = labels.len() as f64 / images as f64;
            let mut upstream = None;
            for (stage, points) in self.stages.iter_mut().zip(&points).rev() {
                let (output, graph) = stage.record(&points[at], 0)?;
                let output_grad = match upstream.take() {
                    Some(grad) => grad,
                    None => {
                        let found = stage.loss(&output, labels, share)?;
                        loss += f64::from(found.value) * share;
                        found.grad
                    }
                };
                upstream = stage.backward(graph, output_grad)?;
            }
        }
        let mut stages = Vec::new();
        for stage in &mut self.stages {
            let tensors = stage.export_gradients()?;
            stage.discard_gradients();
            stages.push(tensors.into_iter().flat_map(|tensor| tensor.data).collect());
        }
        Ok(Gradient { stages, loss })
    }
}

fn square<'a>(pairs: impl Iterator<Item = (&'a f32, &'a f32)>) -> f64 {
    let squares = pairs.map(|(one, other)| (f64::from(*one) - f64::from(*other)).powi(2));
    squares.sum()
}

fn apart(one: &Gradient, other: &Gradient) -> f64 {
    let pairs = one
        .stages
        .iter()
        .flatten()
        .zip(other.stages.iter().flatten());
    square(pairs).sqrt()
}

fn moved(one: &[&StageState], other: &[&StageState]) -> f64 {
    let values = |states: &[&StageState]| -> Vec<f32> {
        let tensors = states.iter().flat_map(|state| state.tensors.values());
        tensors.flat_map(|tensor| tensor.data.clone()).collect()
    };
    square(values(one).iter().zip(&values(other))).sqrt()
}

fn main() -> Fallible<()> {
    let options = Options::parse()?;
    let data = Arc::new(Data::load(&options)?);
    let model = model()?;
    let (versions, diverged) = train(&options, &model, &data)?;
    let stages = (0..STAGES).map(|k| {
        let spec = StageSpec::new(&model, k..k + 1, options.seed);
        CpuStage::new(&spec, CpuDevice::default())
    });
    let mut meter = Meter {
        stages: stages.collect::<Result<_, _>>()?,
        data,
    };
    println!("version\tloss\tgradient\tbias\tmoved\tcurvature");
    for n in options.measured() {
        let at = |behind: &dyn Fn(usize) -> usize| {
            let states = (0..STAGES).map(|k| versions.get(&(behind(k), k)));
            states.collect::<Option<Vec<_>>>()
        };
        let stale = at(&|k| n.saturating_sub(options.staleness[k]));
        let (Some(now), Some(next), Some(stale)) = (at(&|_| n), at(&|_| n + 1), stale) else {
            // The run has not come as far.
            break;
        };
        let full = meter.gradient(&now, &now)?;
        let values = full.stages.iter().flatten();
        let size: f64 = values.map(|&value| f64::from(value).powi(2)).sum();
        print!("{n}\t{:.6e}\t{size:.6e}", full.loss);
        if options.bias {
            let bias = apart(&meter.gradient(&now, &stale)?, &full);
            let turned = apart(&meter.gradient(&next, &next)?, &full);
            let curvature = turned / moved(&next, &now);
            print!("\t{bias:.6e}\t{:.6e}\t{curvature:.6e}", moved(&now, &stale));
        }
        println!();
    }
    if diverged {
        println!("diverged");
    }
    Ok(())
}

/// Trains, and keeps the versions that are measured. Says whether the loss ceased to be finite.
fn train(options: &Options, model: &Model, data: &Arc<Data>) -> Fallible<(Versions, bool)> {
    let list: Vec<String> = options.staleness.iter().map(usize::to_string).collect();
    let schedule = Schedule::parse(&format!("dsp(m={})", list.join(",")), Some(STAGES))?;
    let mut kept = BTreeSet::new();
    for n in options.measured() {
        for (k, m) in options.staleness.iter().enumerate() {
            kept.extend([(n, k), (n + 1, k), (n.saturating_sub(*m), k)]);
        }
    }
    let at: BTreeSet<usize> = kept.iter().map(|&(version, _)| version).collect();
    let horizon = Horizon {
        snapshot_at: at.into_iter().collect(),
        ..Horizon::of(options.batches)
    };
    let optimizer = Optimizer::Momentum {
        beta: options.beta,
        nesterov: options.nesterov,
        weight_decay: WeightDecay::default(),
    };
    let rate = options.rate * (1.0 - options.beta);
    let plan = Plan::new(schedule, horizon, optimizer, move |_| rate);
    let draws = Draws {
        data: Arc::clone(data),
        seed: options.seed,
        batch_size: options.batch_size,
    };
    let feeds = Feeds {
        inputs: Box::new(draws.clone()),
        labels: Box::new(draws),
    };
    let build = |place: Place, optimizer| {
        let spec = StageSpec {
            optimizer,
            ..StageSpec::new(model, place.stage..place.stage + 1, options.seed)
        };
        CpuStage::new(&spec, CpuDevice::default())
    };
    let mut versions = Versions::new();
    let outcome = sequential::run(&plan, build, feeds, |event| {
        if let Event::Snapshot {
            stage,
            version,
            snapshot,
        } = event
            && kept.contains(&(version, stage))
        {
            let state = snapshot.state.clone().without_optimizer();
            versions.insert((version, stage), state);
        }
        Ok(())
    });
    match outcome {
        Ok(_) => Ok((versions, false)),
        Err(RunError::Stage {
            cause: Fault::NonFiniteLoss { .. },
            ..
        }) => Ok((versions, true)),
        Err(error) => Err(error.into()),
    }
}
