//! Replicas that normalise a batch together: their shares give what the whole batch gives.

use std::ops::Range;
use std::sync::{Arc, Barrier, Mutex, PoisonError};
use std::thread;

use stagger_engine::layered::LayeredStage;
use stagger_engine::{
    AcrossReplicas, Activation, EngineError, HostTensor, Precision, Stage, StageSpec,
};
use stagger_model::{Layer, Model};

use crate::Engine;
use crate::fixtures::{bits, images, single, stage, values};
use crate::ladder::watch_for_hangs;

/// Where replicas on threads meet.
struct Table {
    all: Mutex<Vec<Vec<f32>>>,
    meeting: Barrier,
}

struct Seat {
    table: Arc<Table>,
    number: usize,
}

impl AcrossReplicas for Seat {
    fn gather(&self, own: Vec<f32>) -> Result<Vec<Vec<f32>>, EngineError> {
        let all = || {
            let all = self.table.all.lock();
            all.unwrap_or_else(PoisonError::into_inner)
        };
        all()[self.number] = own;
        self.table.meeting.wait();
        let found = all().clone();
        // The next exchange writes when all have read this one.
        self.table.meeting.wait();
        Ok(found)
    }
}

fn seats(of: usize) -> Vec<Arc<Seat>> {
    let table = Arc::new(Table {
        all: Mutex::new(vec![Vec::new(); of]),
        meeting: Barrier::new(of),
    });
    let seat = |number| {
        let table = Arc::clone(&table);
        Arc::new(Seat { table, number })
    };
    (0..of).map(seat).collect()
}

/// Normalisations of every kind: alone, with a ReLU, with a sum, with both, in a shortcut, and of one value per sample.
fn model() -> Model {
    let conv = |name: &str, from, to, stride| Layer::conv3x3(name, from, to, stride);
    let norm = |name: &str, channels| Layer::batch_norm(name, channels);
    let branch = |name: &str, from, to, stride| {
        let (conv_name, norm_name) = (format!("{name}.conv"), format!("{name}.bn"));
        vec![conv(&conv_name, from, to, stride), norm(&norm_name, to)]
    };
    let residual = |body, shortcut| Layer::Residual { body, shortcut };
    let layers = [
        branch("one", 3, 4, 1),
        branch("two", 4, 5, 1),
        vec![
            Layer::Relu,
            residual(branch("three", 5, 5, 1), vec![]),
            residual(branch("four", 5, 6, 2), branch("shortcut", 5, 6, 2)),
            Layer::Relu,
            Layer::GlobalAvgPool,
            norm("last.bn", 6),
            Layer::Flatten,
            Layer::linear("linear", 6, 4),
        ],
    ];
    single([3, 6, 6], 4, layers.concat())
}

/// What a pass forward and backward leaves.
struct Passed {
    output: HostTensor,
    input_grad: HostTensor,
    gradients: Vec<HostTensor>,
    statistics: Vec<HostTensor>,
}

const SAMPLES: usize = 8;

/// The stage of the model, between others.
fn between<K: Engine>(model: &Model, precision: Precision) -> LayeredStage<K> {
    let blocks = 0..model.blocks.len();
    let mut stage = stage::<K>(&StageSpec {
        first: false,
        precision,
        ..StageSpec::new(model, blocks.clone(), 11)
    });
    let weights = model.parameters(blocks).into_iter().map(|parameter| {
        // Scales around 1, so that no normalisation is flat.
        let centre = match parameter.name.ends_with("bn.weight") {
            true => 1.5,
            false => 0.0,
        };
        let len = parameter.shape.iter().product();
        let data = values(&parameter.name, len).into_iter();
        let data = data.map(|value| (centre + value) as f32).collect();
        HostTensor::new(parameter.shape, data).unwrap()
    });
    let weights = stage.import_weights(weights.collect()).unwrap();
    stage.replace_weights(weights);
    stage
}

/// Passes these rows of the batch through the model, forward and backward.
fn pass<K: Engine>(
    precision: Precision,
    rows: Range<usize>,
    replicas: Option<Arc<Seat>>,
) -> Passed {
    let model = model();
    let mut stage = between::<K>(&model, precision);
    if let Some(replicas) = replicas {
        stage.normalize_across(replicas).unwrap();
    }
    let input = stage
        .upload(images(SAMPLES, 3, 6, 0).rows(rows.clone()))
        .unwrap();
    let before = stage.forward(&input, 3).unwrap();
    let (output, graph) = stage.record(&input, 3).unwrap();
    assert_eq!(
        bits(&before),
        bits(&output),
        "forward and record give the same bits"
    );
    let statistics = stage.export_statistics(&stage.statistics()).unwrap();
    let factors = values("factors", SAMPLES * model.classes).into_iter();
    let factors = factors.map(|value| value as f32).collect();
    let factors = HostTensor::new(vec![SAMPLES, model.classes], factors).unwrap();
    let output_grad = stage.upload(factors.rows(rows)).unwrap();
    let input_grad = stage.backward(graph, output_grad.clone()).unwrap().unwrap();
    let gradients = stage.export_gradients().unwrap();
    stage.discard_gradients();
    let graph = stage.recompute(&input, 3).unwrap();
    let (again, pending) = stage.backward_input(graph, output_grad).unwrap();
    stage.backward_weights(pending).unwrap();
    assert_eq!(
        bits(&input_grad),
        bits(&again.unwrap()),
        "recompute gives the bits of record, and both halves those of backward"
    );
    assert_eq!(stage.export_gradients().unwrap(), gradients);
    Passed {
        output: output.to_host().unwrap(),
        input_grad: input_grad.to_host().unwrap(),
        gradients,
        statistics,
    }
}

/// The shares of a batch, each passed by a replica on a thread of its own.
fn pass_shares<K: Engine>(precision: Precision, sizes: &[usize], together: bool) -> Vec<Passed> {
    let mut from = 0;
    let shares = sizes.iter().zip(seats(sizes.len())).map(|(size, seat)| {
        let rows = from..from + size;
        from = rows.end;
        (rows, together.then_some(seat))
    });
    let shares: Vec<_> = shares.collect();
    thread::scope(|scope| {
        let threads = shares
            .into_iter()
            .map(|(rows, seat)| scope.spawn(move || pass::<K>(precision, rows, seat)));
        let threads: Vec<_> = threads.collect();
        let passed = threads.into_iter().map(|thread| thread.join().unwrap());
        passed.collect()
    })
}

/// The largest difference of two tensors, by the largest value of the second if that is above 1: sums that should be 0 are not quite.
fn difference(found: &HostTensor, expected: &HostTensor) -> f32 {
    assert_eq!(found.shape, expected.shape);
    let largest = |values: &mut dyn Iterator<Item = f32>| values.fold(0.0, f32::max);
    let pairs = found.data.iter().zip(&expected.data);
    let off = largest(&mut pairs.map(|(found, expected)| (found - expected).abs()));
    off / largest(&mut expected.data.iter().map(|value| value.abs())).max(1.0)
}

fn sum(all: &[Passed], at: usize) -> HostTensor {
    let mut tensors = all.iter().map(|passed| &passed.gradients[at]);
    let mut sum = tensors.next().unwrap().clone();
    for tensor in tensors {
        for (sum, value) in sum.data.iter_mut().zip(&tensor.data) {
            *sum += value;
        }
    }
    sum
}

/// How far shares are from the whole batch in anything.
fn furthest(shares: &[Passed], whole: &Passed) -> f32 {
    let joined = |of: fn(&Passed) -> &HostTensor| {
        let parts: Vec<HostTensor> = shares.iter().map(|share| of(share).clone()).collect();
        difference(&HostTensor::of_rows(&parts).unwrap(), of(whole))
    };
    let outputs = joined(|passed| &passed.output).max(joined(|passed| &passed.input_grad));
    let gradients = whole.gradients.iter().enumerate();
    let gradients = gradients.map(|(at, gradient)| difference(&sum(shares, at), gradient));
    let statistics = shares.iter().flat_map(|share| {
        let pairs = share.statistics.iter().zip(&whole.statistics);
        pairs.map(|(found, expected)| difference(found, expected))
    });
    gradients.chain(statistics).fold(outputs, f32::max)
}

/// Outputs, all gradients and running statistics, up to so much of the largest value of each.
pub(crate) fn shares_are_the_whole<K: Engine>(precision: Precision, tolerance: f32) {
    watch_for_hangs();
    let whole = pass::<K>(precision, 0..SAMPLES, None);
    // A share of one sample has one value per channel in the last normalisation.
    for sizes in [&[SAMPLES][..], &[3, 5], &[1, 7], &[3, 1, 4]] {
        let shares = pass_shares::<K>(precision, sizes, true);
        let found = furthest(&shares, &whole);
        assert!(found <= tolerance, "{sizes:?} differ by {found}");
        for share in &shares[1..] {
            assert_eq!(share.statistics, shares[0].statistics, "{sizes:?}");
        }
        if sizes.len() > 1 && !sizes.contains(&1) {
            let apart = furthest(&pass_shares::<K>(precision, sizes, false), &whole);
            assert!(apart > 0.1, "{sizes:?} alone differ by {apart}");
        }
    }
}

pub fn shares_normalised_together_are_the_whole_batch<K: Engine>() {
    shares_are_the_whole::<K>(Precision::F32, 1e-4);
}

pub fn a_whole_batch_of_one_value_is_refused<K: Engine>() {
    let model = single(
        [2, 1, 1],
        2,
        vec![Layer::batch_norm("bn", 2), Layer::Flatten],
    );
    let mut stage = stage::<K>(&StageSpec::new(&model, 0..1, 1));
    let [seat] = seats(1).try_into().ok().unwrap();
    stage.normalize_across(seat).unwrap();
    let input = stage.upload(images(1, 2, 1, 0)).unwrap();
    let error = stage.forward(&input, 0).err().unwrap();
    assert!(
        matches!(error, EngineError::OneValuePerChannel { values: 1, .. }),
        "{error}"
    );
}
